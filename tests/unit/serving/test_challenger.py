"""The challenger that a server is started with."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from mnist_lightning.serving.challenger import Challenger, ChallengerError, Trial


@pytest.fixture(scope="module")
def champion(small_store: Path) -> Path:
    return small_store / "mnist.mar"


def write(path: Path, source: Path, **replaced: bytes | None) -> Path:
    """A copy of an archive with other files in it, or without those that are None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = replaced.get(Path(name).name.replace(".", "_"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def test_the_servers_archive_contains_model_weights_and_shares(champion: Path) -> None:
    members = Challenger(champion, shadow=0.1, canary=0.05).members(champion)
    with zipfile.ZipFile(champion) as archive:
        model, weights = archive.read("mnist.onnx"), archive.read("mnist.pt")
    assert json.loads(members.pop("challenger/shares.json")) == {"shadow": 0.1, "canary": 0.05}
    assert members == {"challenger/mnist.onnx": model, "challenger/mnist.pt": weights}


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"mnist_onnx": b"no model"}, "cannot be served: mnist.onnx is damaged"),
        ({"mnist_pt": b"other weights"}, "cannot be served: its model does not belong to its mnist.pt"),
        ({"mnist_onnx": None}, "is no archive of this project: .*mnist.onnx"),
    ],
)
def test_a_model_that_cannot_be_served_is_named(
    replaced: dict[str, bytes | None], message: str, champion: Path, tmp_path: Path
) -> None:
    broken = write(tmp_path / "broken.mar", champion, **replaced)
    with pytest.raises(ChallengerError, match=rf"the challenger .*broken\.mar {message}"):
        Challenger(broken, shadow=0.1).members(champion)


def test_a_file_that_is_missing_or_no_archive_is_named(champion: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mar").write_text("no archive")
    for name in ("missing.mar", "text.mar"):
        with pytest.raises(ChallengerError, match=rf"{name} is no archive of this project"):
            Challenger(tmp_path / name, shadow=0.1).members(champion)


def test_a_champion_whose_code_is_too_old_is_an_error(champion: Path, tmp_path: Path) -> None:
    old = write(tmp_path / "old.mar", champion, rollout_py=None)
    with pytest.raises(
        ChallengerError, match=r"the code in .*old\.mar is damaged, or too old for a challenger; create"
    ):
        Challenger(champion, shadow=0.1).members(old)


def test_an_ended_canary_is_reported_once_and_does_not_start_again(champion: Path, tmp_path: Path) -> None:
    trial = Trial(Challenger(champion, shadow=0.1, canary=0.05))
    model = tmp_path / "models" / "0f3c"
    model.mkdir(parents=True)
    assert trial.find_end(tmp_path) is None
    (model / "canary-ended").write_text("it failed")
    assert trial.find_end(tmp_path) == "it failed"
    assert trial.challenger == Challenger(champion, shadow=0.1, canary=0.0)
    assert trial.find_end(tmp_path) is None
    shutil.rmtree(model)
    assert trial.find_end(tmp_path) is None
    assert Trial(None).find_end(tmp_path) is None
