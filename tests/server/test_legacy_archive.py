"""An archive made before version 0.2, with other module names and no stored architecture, is still served and read."""

import shutil
from collections.abc import Iterator, Mapping

import pytest
import torch

from mnist_lightning.client import ask
from mnist_lightning.evaluation.classify import network_classifier
from mnist_lightning.models.archive import load_network
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import PROJECT, SEVEN

ARCHIVE = PROJECT / "tests" / "weights" / "legacy.mar"
DIGIT = SEVEN.read_bytes()


@pytest.fixture(scope="module")
def legacy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """TorchServe with the old archive, which brings its own code."""
    store = tmp_path_factory.mktemp("legacy")
    shutil.copy(ARCHIVE, store / "mnist.mar")
    with running(store, free_port()) as server:
        yield server


def test_the_archive_is_served_and_its_network_loads(legacy_server: Server) -> None:
    answer = ask(DIGIT, legacy_server.url)
    assert answer["prediction"] == 7
    (expected,) = network_classifier(load_network(ARCHIVE))([DIGIT])
    assert isinstance(expected, Mapping)
    # Its code predicts in bfloat16 on processors that multiply it faster, even if that is hidden from torch.
    capabilities = torch.cpu.get_capabilities()
    tolerance = 5e-3 if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else 2e-5
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=tolerance)
    assert answer["is_digit"] == pytest.approx(expected["is_digit"], abs=tolerance)
