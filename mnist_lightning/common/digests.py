"""Short identifiers of file contents."""

import hashlib
import zipfile
from pathlib import Path

from mnist_lightning.common.constants import WEIGHTS


def short_digest(content: bytes) -> str:
    """The first twelve hexadecimal digits of the content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]


def weights_digest(archive: Path) -> str:
    """The digest of an archive's weights, as the server's answers name it.

    Raises OSError, or, if the archive is damaged, the errors of `zipfile` and KeyError.
    """
    with zipfile.ZipFile(archive) as file:
        return short_digest(file.read(WEIGHTS))
