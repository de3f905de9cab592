"""Load the model of an archive (.mar) without a server and without torch."""

import zipfile
from pathlib import Path

from mnist_lightning.common.constants import EXPORTED, WEIGHTS
from mnist_lightning.common.errors import first_line
from mnist_lightning.inference.loader import Model, make_model
from mnist_lightning.serving.config import ARCHIVE_ERRORS


def load_archive(path: Path) -> Model:
    """An archive's exported model. Raises RuntimeError, whose message includes the remedy."""
    if not path.is_file():
        raise RuntimeError(f"{path} does not exist; create it with: python -m mnist_lightning.package")
    try:
        with zipfile.ZipFile(path) as archive:
            return make_model(archive.read(EXPORTED), archive.read(WEIGHTS))
    except (OSError, *ARCHIVE_ERRORS) as error:
        reason = first_line(error)
        raise RuntimeError(
            f"{path} holds no exported model: {reason}; create it again with: python -m mnist_lightning.package"
        ) from error
