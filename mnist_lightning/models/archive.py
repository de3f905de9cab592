"""Read a model archive (.mar) without a server."""

import zipfile
from pathlib import Path

from mnist_lightning.common.constants import WEIGHTS
from mnist_lightning.common.errors import first_line
from mnist_lightning.models.digitnet import DigitNet, load


class ArchiveError(RuntimeError):
    """The archive does not exist or does not hold a digit network."""


def load_network(path: Path) -> DigitNet:
    """An archive's network, in evaluation mode. Raises ArchiveError."""
    if not path.is_file():
        raise ArchiveError(f"{path} does not exist; create it with: python -m mnist_lightning.package")
    try:
        with zipfile.ZipFile(path) as archive:
            network = load(archive.read(WEIGHTS))
    except Exception as error:  # a damaged file raises errors of many types
        raise ArchiveError(f"{path} does not hold a digit network: {first_line(error)}") from error
    if network.ood_head is None:
        raise ArchiveError(f"{path} has no out-of-distribution head; train again: python -m mnist_lightning.train")
    return network
