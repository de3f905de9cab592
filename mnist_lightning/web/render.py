"""index.html with its texts in one language, and the headers that it is sent with."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_lightning.web.languages import Texts, load_texts

PAGE = Path(__file__).with_name("index.html")
TEXT = re.compile(r"\{\{(\w+)\}\}")  # in index.html: the name of a text, or of what stands for no text
VALUE = re.compile(r"\{(\w+)\}")  # in a text
SCRIPT_GROUPS = ("script", "errors", "notes")
SECURITY_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class RenderedPage(NamedTuple):
    """The page in one language."""

    text: str
    headers: Mapping[str, str]


def render_page(language: str, folder: Path, examples: Sequence[str]) -> RenderedPage:
    """Return the page with headers that allow only its inline script and style, and requests to its server.

    Args:
        language: one of `languages.LANGUAGES`.
        folder: where corrections are stored, which the page says.
        examples: names of example pictures, DIGIT-KIND.jpg.
    """
    texts = load_texts(language)
    markup = {
        "folder": f"<code>{html.escape(str(folder))}</code>",
        **{name: f'<span id="{name}">{html.escape(texts["page"][name])}</span>' for name in ("for", "against")},
    }
    parts = {
        **{name: VALUE.sub(lambda found: markup[found[1]], html.escape(text)) for name, text in texts["page"].items()},
        "language": language,
        "texts": _json_for_script({group: texts[group] for group in SCRIPT_GROUPS}),
        "example_buttons": "\n".join(_example_button(name, texts) for name in examples),
    }
    text = TEXT.sub(lambda found: parts[found[1]], PAGE.read_text(encoding="utf-8"))
    script, style = (_csp_hashes(tag, text) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    language_headers = {"Content-Language": language, "Vary": "Accept-Language"}
    return RenderedPage(text, {"Content-Security-Policy": policy, **language_headers, **SECURITY_HEADERS})


def _json_for_script(value: object) -> str:
    """JSON that neither ends a script element nor starts a comment in it."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _example_button(name: str, texts: Texts) -> str:
    digit, kind = Path(name).stem.split("-", 1)
    title = texts["examples"][kind]
    label = html.escape(texts["examples"]["label"].format(digit=digit, kind=title))
    image = f'<img src="examples/{name}" alt="{label}" width="44" height="44">'
    return f'<button type="button" title="{html.escape(title)}">{image}</button>'


def _csp_hashes(tag: str, text: str) -> str:
    """Return the Content-Security-Policy sources of all inline elements with this tag."""
    elements = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
    digests = (hashlib.sha256(element.encode()).digest() for element in elements)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
