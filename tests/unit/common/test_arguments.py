"""Types of command-line flags."""

from argparse import ArgumentTypeError

import pytest

from mnist_lightning.common.arguments import origin, positive_int


def test_positive_integers() -> None:
    assert [positive_int(text) for text in ("1", "007", "64")] == [1, 7, 64]


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "one", "²"])
def test_anything_else_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not an integer of at least 1"):
        positive_int(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.com:443/", "https://example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_as_browsers_send_it(text: str, expected: str) -> None:
    assert origin(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "null", "example.com", "ftp://example.com", "https://a,https://b", "https://é.fr"),
        "https://a.com:65536",
    ],
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is no origin: .*https://example\.com"):
        origin(text)
