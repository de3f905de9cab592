"""Tokens are read from files and the environment, and errors never quote them."""

from pathlib import Path

import pytest

from mnist_lightning.common import tokens

TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (tokens.TOKEN_FILE_VARIABLE, tokens.TOKEN_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f" {TOKEN} \r\n"])
def test_a_file_holds_one_line(content: str, tmp_path: Path) -> None:
    assert tokens.read_token(write(tmp_path, content.encode())) == TOKEN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not hold a token"),
        (TOKEN[1:].encode(), "at least 16 characters"),
        (b"0123456789 abcdef", "without spaces"),
        (b"0123456789\nabcdefgh", "one line"),
        (b"0123456789\x07abcdef", "openssl rand"),
        ("0123456789abcdé".encode(), "not ASCII text"),
    ],
)
def test_an_invalid_file_is_rejected_without_quoting_it(content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(tokens.TokenError, match=message) as error:
        tokens.read_token(path)
    assert str(path) in str(error.value)
    assert "0123456789" not in str(error.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(tokens.TokenError, match=r"token: the token cannot be read: No such file"):
        tokens.read_token(tmp_path / "token")


def test_the_first_of_argument_file_and_variable_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokens.resolve_token() is None
    assert tokens.default_file() is None
    monkeypatch.setenv(tokens.TOKEN_VARIABLE, "of-the-variable")
    assert tokens.resolve_token() == "of-the-variable"
    path = write(tmp_path, TOKEN.encode())
    monkeypatch.setenv(tokens.TOKEN_FILE_VARIABLE, str(path))
    assert tokens.default_file() == path
    assert tokens.resolve_token() == TOKEN
    other = tmp_path / "other"
    other.write_text(TOKEN[::-1])
    assert tokens.resolve_token(other) == TOKEN[::-1]


def test_headers() -> None:
    assert tokens.auth_headers(TOKEN) == {"Authorization": f"Bearer {TOKEN}"}
    assert tokens.auth_headers(None) == {}
