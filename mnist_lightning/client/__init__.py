"""Ask a running server which digits pictures show."""

from mnist_lightning.client.api import DEFAULT_URL, ClientError, ask

__all__ = ["DEFAULT_URL", "ClientError", "ask"]
