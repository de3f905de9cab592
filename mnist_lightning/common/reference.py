"""Reference distributions of the pictures that a server is asked about, as a file: counts by feature and bin."""

import json
from collections.abc import Mapping

Counts = Mapping[str, Mapping[str, int]]  # by feature and bin, such as {"digit": {"7": 512}}


class BadReferenceError(RuntimeError):
    """A file holds no reference distributions."""


def dump(counts: Counts) -> bytes:
    """The content of a reference file."""
    return (json.dumps({"features": counts}, indent=2) + "\n").encode()


def parse(content: bytes, name: str) -> Counts:
    """The distributions of a reference file. Raises BadReferenceError, which has the file's `name`."""
    try:
        features: Counts = json.loads(content)["features"]
        if not all(_is_count(count) for bins in features.values() for count in bins.values()):
            raise ValueError("a count is not an integer of at least 0")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadReferenceError(
            f"{name} holds no reference distributions: {error}; record some with: python -m mnist_lightning.drift "
            "--record FILE"
        ) from error
    return features


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
