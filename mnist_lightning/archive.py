"""What is inside a .mar, for those who read pictures without a server."""

import io
import zipfile
from pathlib import Path

import torch

from mnist_lightning.configuration import WEIGHTS
from mnist_lightning.network import DigitNet


class ArchiveError(RuntimeError):
    """The archive is absent or not one of ours."""


def network(path: Path) -> DigitNet:
    """The archive's network, ready to predict. Raises ArchiveError."""
    if not path.is_file():
        raise ArchiveError(f"{path} does not exist; make it with: python -m mnist_lightning.package")
    try:
        with zipfile.ZipFile(path) as archive:
            found = DigitNet.of(torch.load(io.BytesIO(archive.read(WEIGHTS)), weights_only=True))
    except (zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise ArchiveError(f"{path} does not hold this network: {str(error).splitlines()[0]}") from error
    if found.judge is None:
        raise ArchiveError(f"{path} knows nothing of what is no digit; train again: python -m mnist_lightning.train")
    return found
