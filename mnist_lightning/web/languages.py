"""The page's languages: all texts of texts.json, and the language that a browser asks for."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

# {GROUP: {NAME: {LANGUAGE: TEXT}}}. The groups are `page` (in index.html), `script` (in its script), and what the
# script looks up: `errors` by type or status, and `notes` of answers. `examples` are those of the example pictures.
TABLE = Path(__file__).with_name("texts.json")
LANGUAGES = ("en", "fr")  # the first one is for browsers that ask for neither
Texts = Mapping[str, Mapping[str, str]]  # {GROUP: {NAME: TEXT}}


@functools.cache
def load_texts(language: str) -> Texts:
    """All texts in one language."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        group: {name: translations[language] for name, translations in entries.items()}
        for group, entries in table.items()
    }


def choose_language(accepted: str) -> str:
    """The best of LANGUAGES for an Accept-Language header, such as ``fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5``."""
    weights: dict[str, float] = {}
    for choice in accepted.split(","):
        tag, _, quality = choice.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES:
            weights[language] = max(weights.get(language, 0), _weight(quality))
    return max(weights, key=weights.__getitem__) if any(weights.values()) else LANGUAGES[0]


def _weight(quality: str) -> float:
    """The value of ``q=0.5``: 1 if there is none, 0 if it is not a number."""
    name, _, value = quality.strip().partition("=")
    try:
        return float(value) if name else 1.0
    except ValueError:
        return 0.0
