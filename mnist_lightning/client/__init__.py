"""Client of a running server: classify pictures of digits over HTTP."""

from mnist_lightning.client.api import DEFAULT_URL, TOKEN_HELP, ClientError, ServerUnreachableError, ask, number_of
from mnist_lightning.client.many import ask_many, ask_many_async

__all__ = [
    "DEFAULT_URL",
    "TOKEN_HELP",
    "ClientError",
    "ServerUnreachableError",
    "ask",
    "ask_many",
    "ask_many_async",
    "number_of",
]
