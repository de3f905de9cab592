"""A challenger beside the champion, in one worker. tests/server/test_rollout.py runs it in a server."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mnist_lightning.common.constants import CHALLENGER
from mnist_lightning.inference import shadow
from mnist_lightning.inference.canary import WINDOW
from mnist_lightning.inference.loader import Model, load_model
from mnist_lightning.inference.metrics import MetricsBuffer
from mnist_lightning.inference.rollout import REQUESTS, Rollout, load_rollout
from mnist_lightning.inference.second_look import Scores
from mnist_lightning.preprocessing.normalize import normalize_with_count
from mnist_lightning.preprocessing.strokes import Floats

IMAGE = normalize_with_count(np.pad(np.zeros((60, 10), np.uint8), 20, constant_values=255))


@pytest.fixture(scope="module")
def model(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = extract(small_store, tmp_path_factory.mktemp("model"))
    return load_model((folder / "mnist.onnx").read_bytes(), folder)


def extract(store: Path, folder: Path) -> Path:
    with zipfile.ZipFile(store / "mnist.mar") as archive:
        for name in ("mnist.onnx", "mnist.pt"):
            archive.extract(name, folder)
    return folder


def answering(digit: int, **changes: float) -> Any:
    """A model that answers every picture with one digit."""

    def predict(images: Floats) -> Scores:
        probabilities = np.full((len(images), 10), changes.get("rest", 0.0), dtype=np.float32)
        probabilities[:, digit] = 1
        return probabilities, np.ones(len(images), dtype=np.float32)

    return SimpleNamespace(predict=predict, digest=f"digest {digit}", threshold=0.1)


def failing(_: Floats) -> Scores:
    raise RuntimeError("index out of bounds")


def rollout(folder: Path, challenger: Any, canary: float, shadowed: float = 0.0) -> Rollout:
    return Rollout(challenger, shadowed, canary, folder, MetricsBuffer(None))


def answers(made: Rollout, model: Model, clients: int) -> tuple[list[int], set[int]]:
    """The digit of each request of a batch, and the requests that the challenger has answered."""
    found = made.answer(model.read, [[IMAGE]] * clients, lambda index: f"client {index}".encode())
    return [request[0].answer["prediction"] for request in found.readings], set(found.by_challenger)


def test_each_client_gets_its_models_answer(model: Model, tmp_path: Path) -> None:
    made = rollout(tmp_path, answering(3), canary=0.5)
    digits, by_challenger = answers(made, model, 30)
    assert digits == [3 if index in by_challenger else 1 for index in range(30)]
    assert by_challenger == {index for index in range(30) if made.canary.takes(f"client {index}".encode())}
    assert 5 < len(by_challenger) < 25
    counts = made.metrics.pending
    assert counts[REQUESTS, "challenger"] == len(by_challenger)
    assert counts[REQUESTS, "champion"] == 30 - len(by_challenger)
    assert counts[shadow.DISAGREEMENTS, "canary", "1", "3"] == len(by_challenger)


def test_the_shadow_changes_no_answer_and_gets_what_the_champion_answered(model: Model, tmp_path: Path) -> None:
    made = rollout(tmp_path, answering(3), canary=0.5, shadowed=1.0)
    _, by_challenger = answers(made, model, 30)
    made.shadow.compare_next()
    assert made.metrics.pending[shadow.DISAGREEMENTS, "shadow", "1", "3"] == 30 - len(by_challenger)
    alone = rollout(tmp_path, answering(3), canary=0.0, shadowed=1.0)
    assert answers(alone, model, 3) == ([1, 1, 1], set())
    assert (REQUESTS, "champion") not in alone.metrics.pending


@pytest.mark.parametrize(
    "challenger", [SimpleNamespace(predict=failing, digest="", threshold=0.1), answering(3, rest=np.nan)]
)
def test_the_champion_answers_where_the_challenger_fails(challenger: Any, model: Model, tmp_path: Path) -> None:
    made = rollout(tmp_path, challenger, canary=1.0)
    for _ in range(3):  # both models in turn are first
        assert answers(made, model, 2) == ([1, 1], set())
    assert made.metrics.pending[shadow.COMPARISONS, "canary", shadow.FAILED] == 3
    assert made.metrics.pending[REQUESTS, "champion"] == 6
    made.canary.check()
    assert not made.canary.is_running
    assert "failed on 6 of 6 requests" in (tmp_path / "canary-ended").read_text()
    assert answers(made, model, 2) == ([1, 1], set())
    assert made.metrics.pending[shadow.COMPARISONS, "canary", shadow.FAILED] == 3


def test_the_window_of_outcomes_is_bounded(model: Model, tmp_path: Path) -> None:
    made = rollout(tmp_path, answering(1), canary=1.0)
    for _ in range(WINDOW // 64 + 2):
        answers(made, model, 64)
    assert len(made.canary.outcomes) == WINDOW
    assert all(outcome.challenger_seconds is not None for outcome in made.canary.outcomes)


def test_requests_without_pictures_get_no_answer(model: Model, tmp_path: Path) -> None:
    made = rollout(tmp_path, answering(3), canary=1.0)
    found = made.answer(model.read, [[], [IMAGE], []], lambda index: pytest.fail("asked") if index != 1 else b"")
    assert [len(request) for request in found.readings] == [0, 1, 0]
    assert found.by_challenger == {1}


@pytest.fixture
def folder(small_store: Path, tmp_path: Path) -> Path:
    """The folder of a server's model with a challenger."""
    extract(small_store, tmp_path / CHALLENGER)
    (tmp_path / CHALLENGER / "shares.json").write_text(json.dumps({"shadow": 0.1, "canary": 0.05}))
    return tmp_path


def test_the_challenger_is_loaded_from_the_servers_folder(folder: Path, model: Model) -> None:
    made = load_rollout(folder, MetricsBuffer(None))
    assert made is not None
    assert (made.challenger.digest, made.shadow.share, made.canary.share) == (model.digest, 0.1, 0.05)
    assert made.canary.end_file.parent == folder


def test_a_server_without_a_challenger(folder: Path) -> None:
    shutil.rmtree(folder / CHALLENGER)
    assert load_rollout(folder, MetricsBuffer(None)) is None


def test_a_challenger_that_does_not_load_leaves_the_champion_alone(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / CHALLENGER / "mnist.onnx").write_bytes(b"no model")
    assert load_rollout(folder, MetricsBuffer(None)) is None
    assert "the challenger is not loaded: mnist.onnx is damaged" in caplog.text
