"""The bearer token that a server may ask for: read from a file or the environment, never from a command line."""

import os
from pathlib import Path

FILE, VARIABLE = "MNIST_TOKEN_FILE", "MNIST_TOKEN"  # of the environment
SHORTEST = 16  # characters; `openssl rand -hex 32` makes 64


class TokenError(RuntimeError):
    """There is no token to be had; the message says what to do."""


def read(path: Path) -> str:
    """A file's token: one line without spaces. Raises TokenError, whose message leaves it out."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path}: the token cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from None
    if len(token) < SHORTEST or not (token.isprintable() and len(token.split()) == 1):
        raise TokenError(
            f"{path} holds no token: one line of {SHORTEST} letters or more, as by: openssl rand -hex 32 > {path}"
        )
    return token


def default_file() -> Path | None:
    """The file that the environment names."""
    return Path(os.environ[FILE]) if os.environ.get(FILE) else None


def chosen(path: Path | None = None) -> str | None:
    """The token of a client: the file's, else the environment's; None for none. Raises TokenError."""
    if found := path or default_file():
        return read(found)
    return os.environ.get(VARIABLE) or None


def headers(token: str | None) -> dict[str, str]:
    """What a request with the token says of it."""
    return {"Authorization": f"Bearer {token}"} if token else {}
