"""Recipes as YAML: nested values by key path, former key names, differences between two recipes."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

KeyPath = tuple[str, ...]
Values = dict[str, Any]
Leaves = Mapping[KeyPath, Any]
FORMER_KEYS: Mapping[KeyPath, KeyPath] = {  # recorded recipes keep their former keys, and users have files with them
    ("calm",): ("finetune_fraction",),
    ("averaging",): ("ema_window",),
    ("augmentation", "habits"): ("augmentation", "regional_variants"),
    ("augmentation", "pens"): ("augmentation", "stroke_width"),
    ("augmentation", "moves"): ("augmentation", "affine"),
    ("augmentation", "damage"): ("augmentation", "corruption"),
}
# Keys that may differ within a comparison; the version of the feedback may not.
INCOMPARABLE = ("only", "comparison", "feedback", "challenger", "data_dir", "model_store")


class RecipeError(ValueError):
    """A recipe cannot be used; the message names the key, its value and what is allowed."""


def parse(text: str) -> Values:
    """The values of a recipe's YAML text, with former keys replaced. Raises RecipeError."""
    values, _ = replace_former_keys(parse_as_written(text))
    return values


def parse_as_written(text: str) -> Values:
    """The values of a recipe's YAML text. Raises RecipeError for a text that is not YAML, or not a mapping."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"the recipe is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"the recipe is {type(values).__name__} in YAML; it must be a mapping of keys to values")
    return values


def replace_former_keys(values: Values) -> tuple[Values, dict[str, str]]:
    """The same values under their current keys, and the former keys that were replaced, with the current ones."""
    leaves = dict(flatten(values))
    replaced = {".".join(path): ".".join(FORMER_KEYS[path]) for path in leaves if path in FORMER_KEYS}
    return unflatten({FORMER_KEYS.get(path, path): value for path, value in leaves.items()}), replaced


def with_values(text: str, **values: object) -> str:
    """The YAML text with some top-level values replaced."""
    return yaml.safe_dump({**parse(text), **values}, sort_keys=False)


def differences(text: str, other: str) -> list[str]:
    """The values that make the trainings of two recipes incomparable, as phrases."""
    mine, others = dict(flatten(parse(text))), dict(flatten(parse(other)))
    paths = [path for path in mine | others if path[0] not in INCOMPARABLE and mine.get(path) != others.get(path)]
    return [f"{'.'.join(path)} is {mine.get(path)}, there {others.get(path)}" for path in paths]


def flatten(values: Mapping[str, Any], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The leaves of nested mappings, by key path; an empty mapping is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, (*prefix, str(key)))
        else:
            yield (*prefix, str(key)), value


def unflatten(leaves: Leaves) -> Values:
    """The inverse of `flatten`; where a leaf and a mapping have the same path, the later one wins."""
    values: Values = {}
    for (*parents, key), value in leaves.items():
        inner = values
        for parent in parents:
            if not isinstance(inner.get(parent), dict):
                inner[parent] = {}
            inner = inner[parent]
        inner[key] = value
    return values
