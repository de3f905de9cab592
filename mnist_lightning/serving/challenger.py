"""The challenger of a server: an archive whose model is tried beside the served one."""

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_lightning.common.constants import (
    CANARY_ENDED,
    CHALLENGER,
    EXPORTED,
    IMAGE_INPUT,
    IS_DIGIT_OUTPUT,
    PROBABILITIES_OUTPUT,
    SHARES,
    THRESHOLD_PROPERTY,
    WEIGHTS,
    WEIGHTS_PROPERTY,
)
from mnist_lightning.common.digests import short_digest
from mnist_lightning.serving.config import ARCHIVE_ERRORS

SUPPORT = "mnist_lightning/inference/rollout.py"  # in archives whose code can run a challenger


class ChallengerError(RuntimeError):
    """The challenger cannot be served; the message says what to do."""


@dataclass(frozen=True)
class Challenger:
    """An archive, and its shares: of the batches as a shadow, of the clients as a canary."""

    archive: Path
    shadow: float = 0.0
    canary: float = 0.0

    def members(self, champion: Path) -> dict[str, bytes]:
        """What the copy of the champion's archive contains besides, by name. Raises ChallengerError.

        The champion's code runs the challenger's model, so only that is taken.
        """
        weights, model = self._read()
        try:
            _check_model(model, weights)
        except Exception as error:  # a damaged model raises errors of many types
            raise ChallengerError(f"the challenger {self.archive} cannot be served: {error}") from error
        if SUPPORT not in _names(champion):
            raise ChallengerError(
                f"the code in {champion} is damaged, or too old for a challenger; create it again with: "
                "python -m mnist_lightning.package"
            )
        shares = json.dumps({"shadow": self.shadow, "canary": self.canary}).encode()
        files = {EXPORTED: model, WEIGHTS: weights, SHARES: shares}
        return {f"{CHALLENGER}/{name}": content for name, content in files.items()}

    def _read(self) -> tuple[bytes, bytes]:
        """The archive's weights and model. Raises ChallengerError."""
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return archive.read(WEIGHTS), archive.read(EXPORTED)
        except (OSError, *ARCHIVE_ERRORS) as error:
            raise ChallengerError(f"the challenger {self.archive} is no archive of this project: {error}") from error


@dataclass
class Trial:
    """The challenger of a server over all its starts: a canary that has ended does not start again."""

    challenger: Challenger | None

    def find_end(self, server_folder: Path) -> str | None:
        """Why the canary has ended, once; None if it has not."""
        if self.challenger is None or not self.challenger.canary:
            return None
        path = next(server_folder.glob(f"models/*/{CANARY_ENDED}"), None)
        if path is None:
            return None
        self.challenger = replace(self.challenger, canary=0.0)
        return path.read_text()


def _names(archive: Path) -> list[str]:
    """The names of an archive's files; none if it is damaged."""
    try:
        with zipfile.ZipFile(archive) as file:
            return file.namelist()
    except (OSError, *ARCHIVE_ERRORS):
        return []


def _check_model(content: bytes, weights: bytes) -> None:
    """Raise an error unless the model belongs to the weights and classifies a blank image."""
    import numpy as np  # here, because a health check needs neither

    from mnist_lightning.common.engine import load_session

    session = load_session(content, EXPORTED)
    properties = session.get_modelmeta().custom_metadata_map
    float(properties[THRESHOLD_PROPERTY])
    if properties.get(WEIGHTS_PROPERTY) != short_digest(weights):
        raise ValueError(f"its model does not belong to its {WEIGHTS}")
    blank = np.zeros((2, 1, 28, 28), dtype=np.float32)
    probabilities, is_digit = session.run([PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT], {IMAGE_INPUT: blank})
    if (probabilities.shape, is_digit.shape) != ((2, 10), (2,)):
        raise ValueError(f"its model has outputs of the shapes {probabilities.shape} and {is_digit.shape}")
