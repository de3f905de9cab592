"""The verb `drift`: what it prints, its exit codes, and references. tests/server/test_drift.py asks a server."""

import json
from pathlib import Path

import pytest

from mnist_lightning import drift
from mnist_lightning.common import reference
from mnist_lightning.monitoring.sources import Window

REFERENCE = {"digit": {"1": 500, "7": 500}, "stroke_width": {"0.0": 100, "2.0": 800, "4.5": 100}}
SAME = {"digit": {"1": 250.0, "7": 250.0}, "stroke_width": {"0.0": 50.0, "2.0": 400.0, "4.5": 50.0}}
THICK = {**SAME, "stroke_width": {"0.0": 0.0, "2.0": 200.0, "4.5": 300.0}}


def run(
    monkeypatch: pytest.MonkeyPatch, traffic: dict[str, dict[str, float]], *flags: str, known: object = REFERENCE
) -> int:
    window = Window("the last 60 seconds", traffic, known)  # type: ignore[arg-type]
    monkeypatch.setattr(drift, "watch_metrics", lambda url, seconds: window)
    return drift.main([*flags])


def test_stable_traffic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, SAME) == 0
    output = capsys.readouterr().out
    assert "the last 60 seconds: 500 pictures" in output
    assert output.count("stable") == 3
    assert output.endswith("stable: the pictures are as in the reference\n")


def test_a_large_change_is_named_and_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, THICK) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "stroke_width" in line]
    assert "large change" in line
    assert "4.5 and more: 10% → 60%" in line
    assert "people write with another pen" in line


def test_a_moderate_change_is_no_alarm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, {"digit": {"1": 350.0, "7": 150.0}}) == 0
    assert "moderate change: look at a sample of the pictures" in capsys.readouterr().out


def test_small_samples_and_features_without_reference_are_not_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"digit": {"1": 149.0, "7": 0.0}, "picture_size": {"65": 149.0}}
    assert run(monkeypatch, few, "--json") == 0
    (window,) = json.loads(capsys.readouterr().out)
    assert [(one["feature"], one["index"], one["status"]) for one in window["features"]] == [
        ("digit", None, "fewer than 150 pictures"),
        ("picture_size", None, "no reference (see --record)"),
    ]
    assert run(monkeypatch, few, known={}) == 0
    assert "no feature can be compared" in capsys.readouterr().out


def test_recorded_traffic_is_a_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "made" / "reference.json"
    assert run(monkeypatch, THICK, "--record", str(path)) == 0
    assert reference.parse(path.read_bytes(), "it") == THICK
    assert run(monkeypatch, THICK, "--reference", str(path)) == 0
    assert run(monkeypatch, SAME, "--reference", str(path)) == 1


def test_a_reference_needs_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reference.json"
    assert run(monkeypatch, {"digit": {"1": 499.0}}, "--record", str(path)) == 1
    assert "has 499 pictures, and a reference needs 500; count longer with --seconds" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"features": 1}', '{"features": {"digit": 1}}', '{"features": {"digit": {"1": -1}}}']
)
def test_a_file_that_is_no_reference_is_named(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reference.json"
    path.write_text(content)
    assert run(monkeypatch, SAME, "--reference", str(path)) == 1
    assert capsys.readouterr().err.startswith(f"error: {path} holds no reference distributions: ")


def test_files_that_cannot_be_read_or_written_are_errors_before_counting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, SAME, "--record", str(tmp_path)) == 1
    assert run(monkeypatch, SAME, "--reference", str(tmp_path / "missing")) == 1
    assert "counting" not in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["-1", "1.5", "many", "86401"])
def test_seconds_are_checked(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        drift.main(["--seconds", seconds])
    assert f"{seconds!r} is not a whole number of seconds" in capsys.readouterr().err


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> Window:
        raise KeyboardInterrupt

    monkeypatch.setattr(drift, "watch_metrics", interrupt)
    assert drift.main([]) == 130
