"""The verb `feedback`: what it prints, its exit codes and errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.looped_script import draw, encode
from mnist_lightning import feedback
from mnist_lightning.web.feedback import FOLDER, save
from tests.small_archive import build_small_store
from tests.support import SEVEN


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_store(tmp_path_factory.mktemp("small"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default folder, with a seven and a zero that is labelled as a seven."""
    monkeypatch.chdir(tmp_path)
    save(FOLDER, SEVEN.read_bytes(), 7, prediction=1)
    save(FOLDER, encode(draw(0, np.random.default_rng(0))), 7, prediction=0)
    return FOLDER


def test_the_pictures_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "4-broken.png").write_bytes(b"no picture")
    assert feedback.main(["list"]) == 0
    output = capsys.readouterr().out
    assert output.count("data/feedback/7-") == 2
    assert "7, read as 1, 20" in output
    assert "data/feedback/4-broken.png: left out: cannot be read" in output
    assert feedback.main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert sum(share["7"] for share in listed["pictures"].values()) == 2
    assert f"version {listed['version']}" in output


def test_doubts_are_shown_and_settled(
    folder: Path, store: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["check", "--store", str(store), "--data", str(mnist_folder), "--out", "sheets"]
    assert feedback.main(check) == 1
    output = capsys.readouterr()
    (advice,) = [line for line in output.out.splitlines() if "pictures to settle" in line]
    assert "labelled 7; the champion reads 0, the second opinion 0" in output.out
    assert output.err == "see sheets/doubts-1.png\n"
    assert Path("sheets/doubts-1.png").stat().st_size > 0

    name = advice.split()[-1]
    assert feedback.main(["settle", "0", name]) == 0
    assert capsys.readouterr().out == f"data/feedback/{name}: 0\n"
    shutil.rmtree("sheets")
    assert feedback.main(check) == 0
    assert capsys.readouterr().out.endswith("no label is in doubt\n")
    assert not list(Path("sheets").iterdir())
    assert feedback.main(["settle", "ignore", name]) == 0
    assert feedback.main(["export", "set"]) == 0
    assert [path.name[0] for path in Path("set").rglob("*.png")] == ["7"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["list", "--folder", "absent"], "absent is not a folder"),
        (["settle", "7", "nothing"], "'nothing' names no pictures"),
        (["export", "data"], "data exists; choose a new folder"),
        (["check", "--store", "absent"], "absent/mnist.mar does not exist"),
        (["check", "--data", "absent"], "absent/train-images-idx3-ubyte is missing"),
    ],
)
def test_errors_are_one_line(
    flags: list[str], message: str, folder: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--data", str(mnist_folder)] if flags[0] == "check" and "--data" not in flags else []
    assert feedback.main([*flags, *places]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("decision", ["12", "", "keep", "²"])
def test_a_decision_is_a_digit_or_ignore(decision: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        feedback.main(["settle", decision, "7"])
    assert ended.value.code == 2
    assert f"{decision!r} is neither a digit nor 'ignore'" in capsys.readouterr().err
