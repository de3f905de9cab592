"""All texts of the page are in one table, complete in each language."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mnist_lightning.inference.prediction import NOT_A_DIGIT
from mnist_lightning.web.app import EXAMPLES
from mnist_lightning.web.languages import LANGUAGES, TABLE, choose_language, load_texts
from mnist_lightning.web.render import PAGE, TEXT, VALUE, render_page

TABLE_TEXTS: dict[str, dict[str, dict[str, str]]] = json.loads(TABLE.read_text())
ENTRIES = [(group, name, texts) for group, entries in TABLE_TEXTS.items() for name, texts in entries.items()]
SCRIPT = re.findall(r"<script[^>]*>(.*?)</script>", PAGE.read_text(), re.DOTALL)[0]
NO_TEXT = {"language", "texts", "example_buttons"}  # what stands in index.html for something else
SPOKEN_ATTRIBUTES = ("alt", "aria-label", "aria-description", "aria-roledescription", "placeholder", "title")
WORDS = re.compile(r"[A-Za-zÀ-ÿ]{2,}")
# The functions and properties by which the script shows texts.
SHOWN = re.compile(
    r'(?:notify|announce)\(|textContent = |textContent: |innerText|"aria-label", |\bmessage: |\btitle = '
)


class Page(HTMLParser):
    """The texts and spoken attributes of index.html, without its style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.skipped = False
        self.feed(PAGE.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipped = tag in ("style", "script")
        self.texts += [value for name, value in attrs if name in SPOKEN_ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self.skipped = False

    def handle_data(self, data: str) -> None:
        if not self.skipped:
            self.texts.append(data)


def literals(code: str) -> Iterator[str]:
    """The string literals of JavaScript, without what `${…}` inserts."""
    for found in re.finditer(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', re.sub(r"(?<![:\"])//.*", "", code)):
        yield re.sub(r"\$\{[^}]*\}", "", found[1] or found[2] or "")


@pytest.mark.parametrize(("group", "name", "texts"), ENTRIES, ids=lambda each: each if isinstance(each, str) else "")
def test_each_text_is_in_each_language_with_the_same_placeholders(group: str, name: str, texts: dict[str, str]) -> None:
    assert tuple(texts) == LANGUAGES
    assert all(text == text.strip() and text for text in texts.values() if not text.startswith(","))
    assert len({frozenset(VALUE.findall(text)) for text in texts.values()}) == 1
    assert len({len(VALUE.findall(text)) for text in texts.values()}) == 1


def test_french_differs_where_english_has_words() -> None:
    alike = {"pixels", "percent", "more_than", "sentence"}
    assert {name for _, name, texts in ENTRIES if texts["en"] == texts["fr"]} == alike


def test_french_spaces_before_double_punctuation() -> None:
    for _, name, texts in ENTRIES:
        assert not re.search(r"[^\u202f][?!;]|[^\u00a0\u202f]:|'", texts["fr"]), name


def test_index_html_uses_each_of_its_texts_once_and_no_other() -> None:
    used = [name for name in TEXT.findall(PAGE.read_text()) if name not in NO_TEXT]
    inserted = {"for", "against"}  # into the legend
    assert set(used) | inserted == set(TABLE_TEXTS["page"])
    assert {name for name in used if used.count(name) > 1} == {"title"}


def test_the_script_uses_each_of_its_texts_with_its_values() -> None:
    used = set(re.findall(r'\btext\("(\w+)"', SCRIPT)) | {"counterclockwise", "clockwise"}
    assert used == set(TABLE_TEXTS["script"])
    values = {name: set(VALUE.findall(texts["en"])) for name, texts in TABLE_TEXTS["script"].items()}
    for name, given in re.findall(r'\btext\("(\w+)", \{([^}]*)\}', SCRIPT):
        named = set(re.findall(r"(?:^|, )(\w+)", re.sub(r"\([^)]*\)", "", given)))
        assert named | ({"index", "count"} if "...placeOf" in given else set()) == values[name], name
    for name in re.findall(r'\btext\("(\w+)"\)', SCRIPT):
        assert not values[name], name


def test_index_html_has_no_text_of_its_own() -> None:
    found = Page().texts
    assert any("{{title}}" in text for text in found)
    assert [text for text in found if WORDS.search(TEXT.sub("", text))] == []


def test_the_script_shows_no_text_of_its_own() -> None:
    """Sentences have no place in it, and what it shows comes from the table."""
    sentences = [text for text in literals(SCRIPT) if re.search(r"[A-Za-z]{2,}[ ,] ?[a-z]{2,} [a-z]{2,}", text)]
    assert sentences == []
    shown = [line[found.start() :] for line in SCRIPT.splitlines() if (found := SHOWN.search(line))]
    assert len(shown) > 10
    for code in shown:
        others = re.sub(r'\$\("[\w-]+"\)|\btext\("\w+"|"aria-label"', "", code)
        assert [text for text in literals(others) if WORDS.search(text)] in ([], ["explain"], ["clockwise"]), code


def test_the_servers_note_and_the_kinds_of_examples_are_in_the_table() -> None:
    assert set(TABLE_TEXTS["notes"]) == {NOT_A_DIGIT}
    kinds = {path.stem.split("-", 1)[1] for path in EXAMPLES.glob("*.jpg")}
    assert kinds | {"label"} == set(TABLE_TEXTS["examples"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rendered_page_is_in_one_language(language: str) -> None:
    page = render_page(language, Path("a & b"), ["3-boxed.jpg"])
    assert f'<html lang="{language}">' in page.text
    assert page.headers["Content-Language"] == language
    assert "<code>a &amp; b</code>" in page.text
    assert not TEXT.search(page.text)
    assert f'title="{load_texts(language)["examples"]["boxed"]}"' in page.text
    [script] = re.findall(r"const TEXTS = (.*);", page.text)
    assert json.loads(script.partition("; //")[0])["errors"] == load_texts(language)["errors"]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("*", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("FR-fr;q=0.9, de", "fr"),
        ("fr,en", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("en;q=0.3, fr-CH;q=0.5", "fr"),
        ("de, fr;q=0.5, en;q=0.4", "fr"),
        ("fr;q=0, de", "en"),
        ("fr;q=nonsense", "en"),
        ("fr;q=nan, en;q=-1", "en"),
        (",;,=;q", "en"),
        ("frisian, french", "en"),
    ],
)
def test_the_language_that_a_browser_prefers(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language
