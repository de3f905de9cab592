"""The bearer token of a server. It is read from a file or from the environment, never from a command line."""

import os
from pathlib import Path

TOKEN_FILE_VARIABLE, TOKEN_VARIABLE = "MNIST_TOKEN_FILE", "MNIST_TOKEN"  # environment variables
MIN_LENGTH = 16  # characters; `openssl rand -hex 32` prints 64


class TokenError(RuntimeError):
    """The token cannot be read or is not valid. The message never contains the token."""


def read_token(path: Path) -> str:
    """Read a token from a file of one line without spaces. Raises TokenError."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise TokenError(f"{path}: the token cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokenError(f"{path}: the token is not ASCII text") from None
    if len(token) < MIN_LENGTH or not _can_be_sent(token):
        raise TokenError(
            f"{path} does not hold a token, which is one line of at least {MIN_LENGTH} characters without spaces; "
            f"create one with: openssl rand -hex 32 > {path}"
        )
    return token


def default_file() -> Path | None:
    """The file that the environment names, or None."""
    return Path(os.environ[TOKEN_FILE_VARIABLE]) if os.environ.get(TOKEN_FILE_VARIABLE) else None


def resolve_token(path: Path | None = None) -> str | None:
    """A client's token: from `path`, the environment's file or the environment; None if none is set.

    Raises TokenError.
    """
    if found := path or default_file():
        return read_token(found)
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and not _can_be_sent(token):
        raise TokenError(f"{TOKEN_VARIABLE} is not a token, which is ASCII text without spaces")
    return token


def auth_headers(token: str | None) -> dict[str, str]:
    """The HTTP headers that carry the token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _can_be_sent(token: str) -> bool:
    """Whether a header can carry the token."""
    return token.isascii() and token.isprintable() and len(token.split()) == 1
