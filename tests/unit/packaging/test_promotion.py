"""From finished runs in MLflow to the model store."""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlflow
import numpy as np
import pytest
import torch

from mnist_lightning import package, rollback
from mnist_lightning.common.constants import ARCHIVE, DESCRIPTION, EXPORTED, REFERENCE
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.reference import parse
from mnist_lightning.inference.features import FEATURES
from mnist_lightning.models import digitnet
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import LEGACY_KEYS, DigitNet, checkpoint_of
from mnist_lightning.packaging import archiver, promotion, reference
from mnist_lightning.packaging import store as stores
from mnist_lightning.packaging.archiver import PackagingError
from mnist_lightning.tracking import comparisons, history, registry, runs, selection, served_model
from tests.disks import file_size_limit
from tests.mlflow_stores import log_served_model, log_training
from tests.small_archive import committed_export
from tests.support import PROJECT, WEIGHTS_FILE

SUMMARY = {"optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy"}


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return digitnet.load(WEIGHTS_FILE.read_bytes())


def log_network(comparison_id: str, optimizer: str, checkpoint: object, accuracy: float = 0.99) -> str:
    """A finished training with a checkpoint, and a temperature of 2."""
    torch.save(checkpoint, "best.ckpt")
    files = {runs.CHECKPOINT: Path("best.ckpt")}
    return log_training(comparison_id, optimizer, accuracy, temperature=2.0, files=files)


def test_a_run_is_archived_with_calibrated_logits_and_described(mlflow_store: Path, network: DigitNet) -> None:
    with runs.run("comparison") as parent:
        log_training(parent, "Adam", 0.995)
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    with patch.object(archiver, "to_onnx", lambda *_: b"model"):  # a real export takes seconds
        path = promotion.archive_run(run_id, Path("store"), parts=Path("build"))
    assert path == Path("store/mnist.mar")
    images = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        archived, expected = load_network(path).predict_with_ood(images), network.predict_with_ood(images)
    torch.testing.assert_close(archived[0], expected[0] / 2, rtol=0, atol=0.02)
    torch.testing.assert_close(archived[1], expected[1], rtol=0, atol=0.02)
    description = json.loads(Path("store/mnist.json").read_text())
    assert (description["run_id"], description["optimizer"], description["temperature"]) == (run_id, "SGD", 2.0)
    assert [candidate["optimizer"] for candidate in description["candidates"]] == ["Adam", "SGD"]
    assert all(set(candidate) == {*SUMMARY, "seconds"} for candidate in description["candidates"])
    assert set(description) == {
        *SUMMARY,
        *("temperature", "is_digit_threshold", "candidates", "git_commit", "versions", "created"),
    }
    assert sorted(path.name for path in Path("store").iterdir()) == ["mnist.json", "mnist.mar"]
    assert {path.name for path in Path("build").iterdir()} == {
        *("mnist.onnx", "mnist.pt", "digit_handler.py", "model-config.yaml", "code")
    }


def test_the_archive_has_the_reference_where_the_run_had_mnist(
    mlflow_store: Path, network: DigitNet, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    with patch.object(archiver, "to_onnx", committed_export), patch.object(reference, "PICTURES", 50):
        without = promotion.archive_run(run_id, Path("without"))
        assert "MNIST is missing, so the archive has no reference" in capsys.readouterr().err
        Path("data/MNIST").mkdir(parents=True)
        Path("data/MNIST/raw").symlink_to(mnist_folder)
        path = promotion.archive_run(run_id, Path("store"))
    assert capsys.readouterr().err == ""
    with zipfile.ZipFile(without) as archive:
        assert REFERENCE not in archive.namelist()
    with zipfile.ZipFile(path) as archive:
        counts = parse(archive.read(REFERENCE), REFERENCE)
    assert {name: sum(bins.values()) for name, bins in counts.items()} == dict.fromkeys(
        set(FEATURES) - {"picture_size"}, 50
    )
    assert {len(bins) for bins in counts.values()} == {len(FEATURES[name].bounds) for name in counts}


def test_a_checkpoint_without_an_architecture_and_with_former_names_is_archived(mlflow_store: Path) -> None:
    """Runs that were recorded before the names changed have `judge.*` for the out-of-distribution head."""
    network = load_network(WEIGHTS_FILE.with_name("legacy.mar"))
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    for former, current in LEGACY_KEYS.items():
        weights = {name.replace(current, former): value for name, value in weights.items()}
    checkpoint = {"state_dict": weights, "epoch": 9, "callbacks": {}, "current_model_state": {"network.x": 1}}
    assert any(name.startswith("network.judge.") for name in weights)
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint)
    with patch.object(archiver, "to_onnx", lambda *_: b"model"):
        archived = load_network(promotion.archive_run(run_id, Path("store")))
    assert archived.architecture == network.architecture
    images = torch.rand(4, 1, 28, 28)
    with torch.inference_mode():
        scores, expected = (one.predict_with_ood(images)[1] for one in (archived, network))
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("failing", ["build", "describe"])
def test_a_failure_leaves_the_former_archive_and_description(
    failing: str, mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PackagingError("the disk is full")

    Path("store").mkdir()
    for name in (ARCHIVE, DESCRIPTION):
        Path("store", name).write_text(f"former {name}")
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    monkeypatch.setattr(promotion, failing, fail)
    if failing == "describe":
        monkeypatch.setattr(promotion, "build", build_fast)
    with pytest.raises(PackagingError, match="the disk is full"):
        promotion.archive_run(run_id, Path("store"))
    assert sorted(path.name for path in Path("store").iterdir()) == ["mnist.json", "mnist.mar"]
    for name in (ARCHIVE, DESCRIPTION):
        assert Path("store", name).read_text() == f"former {name}"


def build_fast(_: DigitNet, folder: Path, *__: object) -> Path:
    """An archive without content."""
    (folder / "parts").mkdir()
    (folder / ARCHIVE).write_text("new")
    return folder / ARCHIVE


def test_both_files_are_complete_before_one_is_replaced(
    mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive comes first: a description never names a run whose archive is not there yet."""
    replaced = []
    replace = Path.replace

    def record(self: Path, target: Path) -> Path:
        folder = self.parent
        names = (ARCHIVE, DESCRIPTION)
        replaced.append((target.name, [name for name in names if (folder / name).exists()]))
        return replace(self, target)

    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    monkeypatch.setattr(promotion, "build", build_fast)
    monkeypatch.setattr(Path, "replace", record)
    promotion.archive_run(run_id, Path("store"))
    assert replaced == [(ARCHIVE, [ARCHIVE, DESCRIPTION]), (DESCRIPTION, [DESCRIPTION])]


def test_a_full_disk_leaves_the_former_files(
    mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("store").mkdir()
    for name in (ARCHIVE, DESCRIPTION):
        Path("store", name).write_text(f"former {name}")
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    monkeypatch.setattr(archiver, "to_onnx", lambda *_: b"model")
    with file_size_limit(80_000):  # enough for the network, not for the archive
        assert package.main(["--run", run_id, "--store", "store"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name: path.read_text() for path in Path("store").iterdir()} == {
        name: f"former {name}" for name in (ARCHIVE, DESCRIPTION)
    }


def test_a_container_can_read_the_store_whatever_the_umask(
    mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    monkeypatch.setattr(archiver, "to_onnx", lambda *_: b"model")
    before = os.umask(0o077)
    try:
        promotion.archive_run(run_id, Path("store"))
        archiver.copy_model(Path("store") / ARCHIVE)
    finally:
        os.umask(before)
    assert Path("store").stat().st_mode & 0o777 == 0o755
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path("store").iterdir()}
    assert modes == dict.fromkeys((ARCHIVE, EXPORTED, DESCRIPTION), 0o644)


def test_what_a_killed_process_left_in_the_store_is_deleted_an_hour_later(
    mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runs.run("comparison") as parent:
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
    for name in ("old", "new"):
        Path("store", f"{stores.SCRATCH}{name}", "parts").mkdir(parents=True)
    os.utime(Path("store", f"{stores.SCRATCH}old"), (0, 0))
    monkeypatch.setattr(promotion, "build", build_fast)
    promotion.archive_run(run_id, Path("store"))
    assert {path.name for path in Path("store").iterdir()} == {*(ARCHIVE, DESCRIPTION, f"{stores.SCRATCH}new")}


def test_runs_that_cannot_be_archived(mlflow_store: Path) -> None:
    with runs.run("comparison") as parent:
        with pytest.raises(KeyboardInterrupt), runs.run("Adam") as killed:
            raise KeyboardInterrupt
        without_checkpoint = log_training(parent, "SGD")
        wrong = log_network(parent, "RMSprop", {"state_dict": {"network.weight": torch.zeros(3)}})
    with pytest.raises(PackagingError, match=rf"run {killed} did not finish.*--from-run {killed}"):
        promotion.archive_run(killed, Path("store"))
    with pytest.raises(runs.TrackingError, match=r"has no checkpoints/best\.ckpt"):
        promotion.archive_run(without_checkpoint, Path("store"))
    with pytest.raises(PackagingError, match=f"the weights of run {wrong} do not fit"):
        promotion.archive_run(wrong, Path("store"))
    assert list(Path("store").iterdir()) == []


def test_the_missing_trainings_of_a_shared_comparison(mlflow_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent = comparisons.join("half", (PROJECT / "config/quick.yaml").read_text())
    log_training(parent, "SGD")
    with pytest.raises(ValueError, match="diverged"), runs.run("Adam", parent=parent):
        raise ValueError("diverged")
    sentence = "comparison 'half' is not complete: it lacks Adam (FAILED), RMSprop (not started)"
    assert promotion.missing("half") == sentence
    assert package.main(["--comparison", "half", "--store", "store"]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", f"error: {sentence}\n")
    assert not Path("store").exists()
    for optimizer in ("Adam", "RMSprop"):
        log_training(parent, optimizer)
    assert promotion.missing("half") == ""


def log_shared(network: DigitNet) -> tuple[str, str]:
    """A complete shared comparison, `whole`, whose best run has a checkpoint; both runs."""
    parent = comparisons.join("whole", (PROJECT / "config/quick.yaml").read_text())
    log_training(parent, "RMSprop", 0.8)
    best = log_network(parent, "Adam", checkpoint_of(network, "network."), 0.995)
    log_training(parent, "SGD", 0.7)
    for run in comparisons.finished(parent):
        log_curves(run.run_id)
    return parent, best


def log_curves(run_id: str) -> None:
    for curve in selection.CURVES:
        mlflow.MlflowClient().log_metric(run_id, curve, 0.5, step=0)


def test_a_complete_shared_comparison_is_promoted(
    mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, best = log_shared(network)
    monkeypatch.setattr(archiver, "to_onnx", committed_export)
    assert package.main(["--comparison", "whole", "--store", "store", "--parts", "build"]) == 0
    assert capsys.readouterr().out.endswith(
        "champion: Adam, version 1 of the registered model mnist, archived to store/mnist.mar\n"
    )
    assert {path.name for path in Path("store").iterdir()} == {ARCHIVE, DESCRIPTION}
    assert Path("build", EXPORTED).is_file()
    assert registry.champion() == best
    assert mlflow.get_run(parent).info.status == "FINISHED"
    drawing = np.zeros((28, 28), np.uint8)
    drawing[4:24, 13:16] = 255
    champion: Any = mlflow.pyfunc.load_model("models:/mnist@champion")
    assert champion.predict({"image": drawing[None]})[0]["number"] == "1"


@pytest.mark.parametrize("failing", ["build", "log"])
def test_a_failed_promotion_changes_neither_the_champion_nor_the_store(
    failing: str, mlflow_store: Path, network: DigitNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PackagingError("the disk is full")

    log_shared(network)
    monkeypatch.setattr(archiver, "to_onnx", committed_export)
    monkeypatch.setattr(*((promotion, "build") if failing == "build" else (served_model, "log")), fail)
    assert package.main(["--comparison", "whole", "--store", "store"]) == 1
    assert list(Path("store").iterdir()) == []
    with pytest.raises(runs.TrackingError, match="no champion"):
        registry.champion()


def test_the_champion_is_archived_by_default(
    mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "champion", lambda: "champion's run")
    monkeypatch.setattr(promotion, "archive_run", lambda run_id, store, parts: f"{run_id} in {store}")
    assert package.main([]) == 0
    assert package.main(["--run", "another"]) == 0
    assert capsys.readouterr().out == "champion's run in model_store\nanother in model_store\n"


@pytest.mark.parametrize("name", ["mnist", "challenger", "someones"])
def test_an_archive_is_packaged_again_with_the_present_code(
    name: str, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archiver, "to_onnx", committed_export)
    former = Path("former")
    former.mkdir()
    for suffix, content in {".mar": (small_store / "mnist.mar").read_bytes(), ".json": b'{"run_id": "7"}'}.items():
        (former / (name + suffix)).write_bytes(content)
    assert package.main(["--archive", f"former/{name}.mar", "--store", "store"]) == 0
    kept = "mnist" if name == "someones" else name
    output = capsys.readouterr()
    assert output.out == f"store/{kept}.mar\n"
    assert "warning: MNIST is missing" in output.err
    assert Path(f"store/{kept}.json").read_bytes() == b'{"run_id": "7"}'
    again, before = (load_network(path) for path in (Path(f"store/{kept}.mar"), former / f"{name}.mar"))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in before.state_dict().items())
    assert {path.name for path in Path("store").iterdir()} == {f"{kept}.mar", f"{kept}.json"}
    assert not Path("mlflow.db").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "former.mar does not exist"),
        (b"no zip file", "former.mar does not hold a digit network"),
        ("small", "former.json does not exist; an archive is moved together with its description"),
    ],
)
def test_what_is_no_archive_is_not_packaged_again(
    content: bytes | str | None,
    message: str,
    small_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        archive = (small_store / "mnist.mar").read_bytes() if isinstance(content, str) else content
        Path("former.mar").write_bytes(archive)
    assert package.main(["--archive", "former.mar", "--store", "store"]) == 1
    assert f"error: {message}" in capsys.readouterr().err
    assert not Path("store").exists()


@pytest.mark.parametrize("flags", [[], ["--run", "unknown"], ["--comparison", "unknown"]])
def test_without_a_store_nothing_is_created(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert package.main(flags) == 1
    output = capsys.readouterr()
    message = "error: no MLflow store at sqlite:///mlflow.db; train first: python -m mnist_lightning.train\n"
    assert (output.out, output.err) == ("", message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no champion yet; train one: python -m mnist_lightning.train"),
        (["--run", "unknown"], "has no run 'unknown'"),
        (["--comparison", "unknown"], "no comparison 'unknown'"),
    ],
)
def test_errors_are_one_line_and_leave_the_folder_as_it_is(
    flags: list[str], message: str, mlflow_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(mlflow_store.iterdir())
    assert package.main(flags) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert message in output.err
    assert output.err.count("\n") == 1
    assert sorted(mlflow_store.iterdir()) == before


def kept_archive(store: Path, name: str, run_id: str, content: bytes) -> None:
    with zipfile.ZipFile(store / f"{name}.mar", "w") as archive:
        archive.writestr("mnist.pt", content)
    (store / f"{name}.json").write_text(json.dumps({"run_id": run_id}))


def two_champions(network: DigitNet) -> tuple[str, str]:
    """The runs of the previous champion and of the champion."""
    with runs.run("comparison") as parent:
        both = [log_network(parent, optimizer, checkpoint_of(network, "network.")) for optimizer in ("SGD", "Adam")]
    for run_id in both:
        log_served_model(run_id)
        registry.make_champion(registry.register(run_id))
    return both[0], both[1]


def two_kept_archives(network: DigitNet) -> tuple[Path, str, str]:
    """A store with the archives of the previous champion and of the champion, and their runs."""
    first, second = two_champions(network)
    store = Path("store")
    store.mkdir()
    kept_archive(store, "mnist", second, b"second")
    kept_archive(store, "previous", first, b"first")
    return store, first, second


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_a_rollback_exchanges_the_archives(mlflow_store: Path, network: DigitNet) -> None:
    store, first, second = two_kept_archives(network)
    before = contents(store)
    assert promotion.roll_back(store, "it misreads sevens") == store / ARCHIVE
    assert registry.champion() == first
    assert history.events()[-1].weights == short_digest(b"first")
    exchanged = {"mnist.mar": "previous.mar", "previous.mar": "mnist.mar"}
    exchanged |= {"mnist.json": "previous.json", "previous.json": "mnist.json"}
    assert contents(store) == {exchanged[name]: content for name, content in before.items()}
    promotion.roll_back(store, "")
    assert contents(store) == before
    assert registry.champion() == second


def test_a_failed_rollback_changes_nothing(mlflow_store: Path, network: DigitNet) -> None:
    store, _, second = two_kept_archives(network)
    before = contents(store)
    for failing in ((registry, "exchange"), (stores, "exchange")):
        with patch.object(*failing, side_effect=OSError("the disk is full")), pytest.raises(OSError, match="is full"):
            promotion.roll_back(store, "")
        assert contents(store) == before
        assert registry.champion() == second
    (store / "previous.json").rename(store / "elsewhere.json")
    (store / "previous.json").mkdir()
    with patch.object(archiver, "to_onnx", lambda *_: b"model"), pytest.raises(IsADirectoryError):
        promotion.roll_back(store, "")
    assert (store / ARCHIVE).read_bytes() == before[ARCHIVE]
    assert registry.champion() == second


@pytest.mark.parametrize("kept", ["nothing", "another run's", "a damaged one"])
def test_a_rollback_builds_the_archive_that_was_not_kept(kept: str, mlflow_store: Path, network: DigitNet) -> None:
    first, second = two_champions(network)
    store = Path("store")
    store.mkdir()
    kept_archive(store, "mnist", second, b"second")
    if kept == "another run's":
        kept_archive(store, "previous", "another run", b"another")
    elif kept == "a damaged one":
        kept_archive(store, "previous", first, b"first")
        (store / "previous.mar").write_bytes(b"PK")
    with patch.object(archiver, "to_onnx", lambda *_: b"model"):
        promotion.roll_back(store, "")
    assert load_network(store / ARCHIVE).architecture == network.architecture
    described = [json.loads((store / name).read_text())["run_id"] for name in ("mnist.json", "previous.json")]
    assert described == [first, second]


def test_a_rollback_without_a_previous_champion_changes_nothing(
    mlflow_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("store").mkdir()
    kept_archive(Path("store"), "mnist", "a run", b"weights")
    before = contents(Path("store"))
    assert rollback.main(["--store", "store"]) == 1
    assert capsys.readouterr().err.startswith("error: MLflow at sqlite:///")
    assert contents(Path("store")) == before


def test_a_champion_that_mlflow_does_not_know_comes_back(mlflow_store: Path, network: DigitNet) -> None:
    """Such as the pretrained model, which the first promotion has replaced."""
    store = Path("store")
    store.mkdir()
    kept_archive(store, "mnist", "a run", b"new")
    kept_archive(store, "previous", "unknown", b"pretrained")
    promotion.roll_back(store, "")
    assert stores.digest(store, stores.CHAMPION) == short_digest(b"pretrained")
    (event,) = history.events()
    assert (event.version, event.weights, event.champion) == ("", short_digest(b"pretrained"), short_digest(b"new"))


@pytest.fixture
def winner(mlflow_store: Path, network: DigitNet) -> Iterator[str]:
    """The run of a training, alone in the comparison that is open."""
    with (
        runs.run("comparison") as parent,
        patch.object(archiver, "to_onnx", lambda *_: b"model"),
        patch.object(served_model, "log", lambda run_id, _: log_served_model(run_id)),
    ):
        run_id = log_network(parent, "SGD", checkpoint_of(network, "network."))
        log_curves(run_id)
        yield run_id


def test_a_promotion_keeps_the_archive_that_it_replaces(winner: str) -> None:
    store = Path("store")
    store.mkdir()
    kept_archive(store, "mnist", "a run", b"weights")
    before = contents(store)
    promotion.promote(comparisons.parent_of(winner), store, as_challenger=False)
    assert (store / "previous.mar").read_bytes() == before["mnist.mar"]
    assert (store / "previous.json").read_bytes() == before["mnist.json"]
    assert json.loads((store / "mnist.json").read_text())["run_id"] == winner
    (event,) = history.events()
    assert (event.kind, event.run_id, event.champion) == ("promotion", winner, short_digest(b"weights"))
    assert event.weights == stores.digest(store, stores.CHAMPION)
    assert event.reason == "the best of 1 on validation, 99.00 %"


def test_a_challenger_leaves_the_champion_in_its_place(winner: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Path("store")
    store.mkdir()
    kept_archive(store, "mnist", "a run", b"weights")
    before = contents(store)
    promotion.promote(comparisons.parent_of(winner), store, as_challenger=True)
    after = contents(store)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"challenger.mar", "challenger.json"}
    assert stores.holds(store, stores.CHALLENGER, winner)
    challenger = registry.find(registry.CHALLENGER)
    assert challenger is not None
    assert challenger.run_id == winner
    assert registry.find(registry.CHAMPION) is None
    assert [event.kind for event in history.events()] == ["challenger"]
    assert "challenger: SGD, version 1 of the registered model mnist, archived to store/challenger.mar" in (
        capsys.readouterr().out
    )


def test_the_history_is_a_table(mlflow_store: Path, network: DigitNet, capsys: pytest.CaptureFixture[str]) -> None:
    store = Path("store")
    store.mkdir()
    for name, run_id in zip(("previous", "mnist"), two_champions(network), strict=True):
        kept_archive(store, name, run_id, name.encode())
    promotion.roll_back(store, "it misreads sevens")
    assert rollback.main(["--history"]) == 0
    table = capsys.readouterr().out
    assert table.count("rollback") == 1
    assert "it misreads sevens" in table
