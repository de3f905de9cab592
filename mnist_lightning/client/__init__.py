"""Client of a running server: classify pictures of digits over HTTP."""

from mnist_lightning.client.api import DEFAULT_URL, TOKEN_HELP, ClientError, ServerUnreachableError, ask, number_of

__all__ = ["DEFAULT_URL", "TOKEN_HELP", "ClientError", "ServerUnreachableError", "ask", "number_of"]
