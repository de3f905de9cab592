"""Types of command-line flags."""

from argparse import ArgumentTypeError

import pytest

from mnist_lightning.common.arguments import positive_int


def test_positive_integers() -> None:
    assert [positive_int(text) for text in ("1", "007", "64")] == [1, 7, 64]


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "one", "²"])
def test_anything_else_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not an integer of at least 1"):
        positive_int(text)
