"""The verb `promote`: what the gate decides, and what is left of it in MLflow and in the model store."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import mlflow
import numpy as np
import pytest
import torch
import yaml

from mnist_lightning import promote
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.paths import resource
from mnist_lightning.evaluation import gate
from mnist_lightning.evaluation.gate import Measurement
from mnist_lightning.evaluation.gate_data import TITLES, GateData
from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import checkpoint_of
from mnist_lightning.packaging import archiver
from mnist_lightning.packaging import store as stores
from mnist_lightning.packaging.store import CHALLENGER, CHAMPION, PREVIOUS
from mnist_lightning.tracking import history, registry, runs
from mnist_lightning.tracking.history import Kind
from tests.mlflow_stores import log_served_model, log_training
from tests.small_archive import committed_export
from tests.support import WEIGHTS_FILE

SMALL = {"test_digits": 20, "corrupted_digits": 1, "presented_digits": 1, "non_digits_per_kind": 1}
STORE = Path("model_store")


@pytest.fixture
def challenger(mlflow_store: Path) -> str:
    """The run of a challenger; MLflow has no champion, so the pretrained model is the champion."""
    torch.save(checkpoint_of(digitnet.load(WEIGHTS_FILE.read_bytes()), "network."), "best.ckpt")
    with runs.run("comparison") as parent:
        run_id = log_training(parent, "SGD", files={runs.CHECKPOINT: Path("best.ckpt")})
    log_served_model(run_id)
    registry.make_challenger(registry.register(run_id))
    return run_id


@pytest.fixture
def margins(tmp_path: Path) -> str:
    """A file of the shipped margins that reads few pictures."""
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(resource(gate.SHIPPED).read_text()) | SMALL))
    return str(path)


def decide(folder: Path, margins: str, *flags: str, gain: bool = True) -> int:
    """Run the verb with measurements of a challenger that has gained, or has not."""

    def measure(archives: Sequence[Path], data: GateData) -> list[Measurement]:
        assert len(archives) == 2
        assert all(stores.digest(path.parent, CHAMPION) for path in archives)
        correct = {name: np.ones(len(data.sets[name].labels), np.bool_) for name in TITLES if name in data.sets}
        same = Measurement(correct, (1.0,) * 10, validation_loss=0.02, latency=1e-4, size=1_000_000)
        return [same, replace(same, validation_loss=0.01 if gain else 0.02)]

    with patch.object(gate, "measure", measure), patch.object(archiver, "to_onnx", committed_export):
        return promote.main(["--data", str(folder), "--gate", margins, *flags])


def aliases() -> Mapping[str, str]:
    return {
        name: str(version)
        for name, version in mlflow.MlflowClient().get_registered_model(registry.REGISTERED_MODEL).aliases.items()
    }


def test_a_challenger_that_has_gained_becomes_the_champion(
    challenger: str, mnist_folder: Path, margins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(mnist_folder, margins) == 0
    output = capsys.readouterr()
    assert "promotion: version 1, weights " in output.out
    assert output.out.endswith("python -m mnist_lightning.serve --reload\n")
    assert aliases() == {"champion": "1"}
    assert stores.holds(STORE, CHAMPION, challenger)
    pretrained = stores.digest(resource("pretrained"), CHAMPION)
    assert stores.digest(STORE, PREVIOUS) == pretrained
    (event,) = history.events()
    assert (event.kind, event.run_id, event.champion) == ("promotion", challenger, pretrained)
    assert event.reason == "passes: gain in validation loss: 0.0100"
    (run,) = mlflow.search_runs(experiment_names=[history.EXPERIMENT], output_format="list")
    assert {"report.md", "comparison.png"} == {
        file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)
    }
    assert run.data.metrics["challenger.validation_loss"] == 0.01
    assert "| gain in validation loss | 0.0200 | 0.0100 |" in run.data.tags["mlflow.note.content"]


def put_challenger(run_id: str, archive: Path, weights: str) -> None:
    """An archive of a run as the store's challenger, and the digest that its training has recorded."""
    STORE.mkdir()
    shutil.copy(archive, STORE / CHALLENGER.archive)
    (STORE / CHALLENGER.description).write_text(json.dumps({"run_id": run_id}))
    version = registry.find(registry.CHALLENGER)
    history.record(Kind.CHALLENGER, version, weights=weights, champion="", reason="the best of 1 on validation")


def test_the_archive_that_was_tried_is_promoted_as_it_is(
    challenger: str, small_store: Path, mnist_folder: Path, margins: str
) -> None:
    put_challenger(challenger, small_store / ARCHIVE, stores.digest(small_store, CHAMPION))
    assert decide(mnist_folder, margins) == 0
    assert (STORE / ARCHIVE).read_bytes() == (small_store / ARCHIVE).read_bytes()
    assert stores.holds(STORE, CHALLENGER, challenger)
    assert stores.holds(STORE, CHAMPION, challenger)


def test_an_archive_of_other_weights_is_not_promoted_in_a_challengers_name(
    challenger: str, small_store: Path, mnist_folder: Path, margins: str
) -> None:
    put_challenger(challenger, resource("pretrained") / ARCHIVE, stores.digest(small_store, CHAMPION))
    assert decide(mnist_folder, margins) == 0
    assert stores.digest(STORE, CHAMPION) not in ("", stores.digest(resource("pretrained"), CHAMPION))


def test_a_challenger_is_promoted_once(
    challenger: str, mnist_folder: Path, margins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process promotes it during the comparison."""
    version = registry.find(registry.CHALLENGER)
    assert version is not None
    compare = gate.compare

    def compare_and_promote(before: Measurement, after: Measurement, config: gate.GateConfig) -> gate.Verdict:
        registry.make_champion(version)
        return compare(before, after, config)

    with patch.object(gate, "compare", compare_and_promote):
        assert decide(mnist_folder, margins) == 1
    assert "has changed the champion or the challenger meanwhile" in capsys.readouterr().err
    assert not (STORE / ARCHIVE).exists()
    assert history.events() == []


@pytest.mark.parametrize("failure", [OSError("the disk is full"), KeyboardInterrupt()])
def test_a_failed_promotion_changes_nothing(
    failure: BaseException, challenger: str, small_store: Path, mnist_folder: Path, margins: str
) -> None:
    STORE.mkdir()
    shutil.copy(small_store / ARCHIVE, STORE / CHAMPION.archive)
    (STORE / CHAMPION.description).write_text(json.dumps({"run_id": "the champion's"}))
    before = (STORE / ARCHIVE).read_bytes()

    def fail(*_: object) -> None:
        raise failure

    with patch.object(registry, "make_champion", fail):
        assert decide(mnist_folder, margins) in (1, 130)
    assert (STORE / ARCHIVE).read_bytes() == before
    assert aliases() == {"challenger": "1"}
    with patch.object(stores, "put", fail):
        assert decide(mnist_folder, margins) in (1, 130)
    assert (STORE / ARCHIVE).read_bytes() == before
    assert aliases() == {"challenger": "1"}


def test_a_challenger_that_has_not_gained_stays_one(
    challenger: str, mnist_folder: Path, margins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(mnist_folder, margins, gain=False) == 1
    assert "rejection: version 1" in capsys.readouterr().out
    assert aliases() == {"challenger": "1"}
    assert not (STORE / ARCHIVE).exists()
    assert [event.kind for event in history.events()] == ["rejection"]


def test_force_promotes_a_challenger_and_records_why(challenger: str, mnist_folder: Path, margins: str) -> None:
    assert decide(mnist_folder, margins, "--force", "the style matters more", gain=False) == 0
    assert aliases() == {"champion": "1"}
    assert stores.holds(STORE, CHAMPION, challenger)
    (event,) = history.events()
    assert event.kind == "forced promotion"
    assert event.reason.startswith("the style matters more (fails: gain in validation loss 0.0200")


def test_a_champion_that_the_store_does_not_hold_is_built_again(
    challenger: str, mnist_folder: Path, margins: str
) -> None:
    registry.make_champion(registry.register(challenger))  # the challenger is another version of the same run
    assert decide(mnist_folder, margins, gain=False) == 1
    (event,) = history.events()
    assert event.champion == event.weights


def test_the_history_is_printed(
    challenger: str, mnist_folder: Path, margins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(mnist_folder, margins, gain=False) == 1
    capsys.readouterr()
    assert promote.main(["--history"]) == 0
    table = capsys.readouterr().out
    assert "rejection" in table
    assert challenger in table


def test_without_a_challenger_nothing_is_compared(mlflow_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote.main([]) == 1
    error = capsys.readouterr().err
    assert error == "error: there is no challenger; train one: python -m mnist_lightning.train --challenger\n"
    assert not STORE.exists()


def test_without_a_store_of_mlflow_nothing_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert promote.main([]) == 1
    assert "no MLflow store at sqlite:///" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_invalid_margins_are_an_error(challenger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gate.yaml").write_text("significance: 1")
    assert promote.main(["--gate", "gate.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: gate.yaml: the gate has significance; it must have exactly ")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    assert promote.main(["--gate", "binary.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: binary.yaml: ")
    assert promote.main(["--gate", "missing.yaml"]) == 1
    assert "missing.yaml" in capsys.readouterr().err


def test_a_reason_is_not_blank(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        promote.main(["--force", " "])
    assert ended.value.code == 2
    assert "a reason has 1 to 500 characters" in capsys.readouterr().err
