"""The archive of the small network whose weights are in tests/weights."""

from pathlib import Path
from unittest.mock import patch

import onnx
import torch

from mnist_lightning.common.constants import WEIGHTS_PROPERTY
from mnist_lightning.common.digests import short_digest
from mnist_lightning.models.digitnet import DigitNet, load
from mnist_lightning.packaging import archiver
from tests.support import WEIGHTS_FILE


def committed_export(_: DigitNet, weights: bytes) -> bytes:
    """In place of `to_onnx`, which takes seconds: the committed export, as that of a file with the same weights."""
    return with_weights_digest(onnx.load(WEIGHTS_FILE.with_suffix(".onnx")), weights)


def with_weights_digest(model: onnx.ModelProto, weights: bytes) -> bytes:
    """A model as the export of a file with weights."""
    for item in model.metadata_props:
        if item.key == WEIGHTS_PROPERTY:
            item.value = short_digest(weights)
    content: bytes = model.SerializeToString()
    return content


def build_small(folder: Path) -> Path:
    """An archive of the committed weights and the code as it is now, built in `folder`."""
    with patch.object(archiver, "to_onnx", committed_export):
        return archiver.build(load(WEIGHTS_FILE.read_bytes()), folder)


def build_small_store(folder: Path) -> Path:
    """A model store with the archive that `build_small` makes."""
    archive = build_small(folder)
    store = folder / "model_store"
    store.mkdir()
    archive.replace(store / archive.name)
    return store


def assert_rounded(network: DigitNet, exact: DigitNet) -> None:
    """The weights of a network are those of another one, rounded to 16 bits as an archive stores them."""
    weights = network.state_dict()
    for name, value in exact.state_dict().items():
        torch.testing.assert_close(weights[name], value.half().float() if value.ndim > 1 else value, rtol=0, atol=0)
