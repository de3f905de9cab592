"""The archive: whole, alone, and telling what it is."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mnist_lightning import package
from mnist_lightning.tracking import runs
from tests.support import Trained, verb


def archived(trained: Trained, *flags: str) -> "tuple[int, str, str]":
    done = verb("package", *flags, cwd=trained.folder, MLFLOW_TRACKING_URI=trained.tracking_uri)
    return done.returncode, done.stdout, done.stderr


def test_the_archive_carries_all_that_is_served(trained: Trained, tmp_path: Path) -> None:
    with zipfile.ZipFile(trained.store / "mnist.mar") as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    served = {f"mnist_lightning/{name}" for name in package.SERVED_CODE}
    assert names == served | {"mnist.pt", "digit_handler.py", "model-config.yaml", "MAR-INF/MANIFEST.json"}
    weights = torch.load(tmp_path / "mnist.pt", weights_only=True)
    package.DigitNet.from_state_dict(weights)


def test_what_is_served_needs_no_training_package(trained: Trained, tmp_path: Path) -> None:
    with zipfile.ZipFile(trained.store / "mnist.mar") as archive:
        archive.extractall(tmp_path)
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"lightning", "pytorch_lightning", "mlflow", "torchvision", "torchmetrics"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Absent())
import digit_handler, mnist_lightning.models.digitnet, mnist_lightning.preprocessing.normalize
from types import SimpleNamespace
manifest = {"model": {"serializedFile": "mnist.pt"}}
handler = digit_handler.DigitHandler()
handler.initialize(SimpleNamespace(system_properties={"model_dir": "."}, manifest=manifest))
print(mnist_lightning.models.digitnet.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "mnist_lightning/network.py")


def test_the_description_names_all_candidates(trained: Trained) -> None:
    told = json.loads((trained.store / "mnist.json").read_text())
    assert {found["optimizer"] for found in told["candidates"]} == {"Adam", "SGD", "RMSprop"}
    assert told["validation_accuracy"] == max(found["validation_accuracy"] for found in told["candidates"])
    assert told["run_id"] == told["candidates"][0]["run_id"]
    assert set(told["candidates"][0]) == {
        *("optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy", "seconds")
    }
    assert {"git_commit", "versions", "created"} <= set(told)


def test_another_run_can_be_archived(trained: Trained, tmp_path: Path) -> None:
    last = json.loads((trained.store / "mnist.json").read_text())["candidates"][-1]
    code, out, errors = archived(trained, "--run", last["run_id"], "--store", str(tmp_path / "other"))
    assert code == 0, errors
    assert out.strip() == str(tmp_path / "other/mnist.mar")
    assert json.loads((tmp_path / "other/mnist.json").read_text())["optimizer"] == last["optimizer"]


def test_the_plain_archiver_makes_the_same(trained: Trained, tmp_path: Path) -> None:
    """The command of the README, on the parts that `package --parts` leaves."""
    code, _, errors = archived(trained, "--store", str(tmp_path / "ours"), "--parts", str(tmp_path / "build"))
    assert code == 0, errors
    command = [
        *("--model-name", "mnist", "--version", "1.0", "--serialized-file", "build/mnist.pt"),
        *("--handler", "build/digit_handler.py", "--extra-files", "build/code"),
        *("--config-file", "build/model-config.yaml", "--export-path", "."),
    ]
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    subprocess.run([archiver, *command], cwd=tmp_path, env={"TMPDIR": str(tmp_path)}, check=True)
    with zipfile.ZipFile(tmp_path / "mnist.mar") as plain, zipfile.ZipFile(tmp_path / "ours/mnist.mar") as ours:
        same = {name: plain.read(name) for name in plain.namelist() if not name.endswith("MANIFEST.json")}
        assert same == {name: ours.read(name) for name in ours.namelist() if not name.endswith("MANIFEST.json")}


@pytest.mark.parametrize(("flags", "said"), [(["--run", "nobody"], "knows no run 'nobody'")])
def test_what_cannot_be_archived_leaves_all_as_it_was(flags: list[str], said: str, trained: Trained) -> None:
    before = (trained.store / "mnist.mar").read_bytes()
    code, out, errors = archived(trained, *flags, "--store", str(trained.store))
    assert code == 1
    assert out == ""
    assert said in errors
    assert "Traceback" not in errors
    assert (trained.store / "mnist.mar").read_bytes() == before
    assert sorted(path.name for path in trained.store.iterdir()) == ["mnist.json", "mnist.mar"]


def test_an_archiver_that_fails_leaves_no_half(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model_store").mkdir()
    (tmp_path / "model_store/mnist.mar").write_bytes(b"what was there")
    run_id = json.loads((trained.store / "mnist.json").read_text())["run_id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.tracking_uri)
    runs.connect()
    monkeypatch.setattr(package, "_gather", lambda chosen, folder: folder / "nothing")
    with pytest.raises(package.PackagingError, match="torch-model-archiver failed"):
        package.archive(run_id, tmp_path / "model_store")
    assert [path.name for path in (tmp_path / "model_store").iterdir()] == ["mnist.mar"]
    assert (tmp_path / "model_store/mnist.mar").read_bytes() == b"what was there"
