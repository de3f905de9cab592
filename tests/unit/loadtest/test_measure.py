"""Results from the generators' counts, and the verb's errors."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning import benchmark
from mnist_lightning.loadtest import measure
from mnist_lightning.loadtest.generators import LoadError, LoadStats, Target
from mnist_lightning.serving.torchserve import free_port
from tests.pages import stub_model_server
from tests.support import SEVEN

TARGET = Target("http://127.0.0.1/predictions/mnist", [b"picture"])
STATS = LoadStats(
    responses=100, error_responses=7, timeouts=3, connection_errors=5, seconds=2.0, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0
)


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the generator by STATS at once; the durations that it was called with."""
    seconds: list[int] = []
    monkeypatch.setattr(measure, "SETTLE_SECONDS", 0)

    def generate(_: Target, __: int, duration: int) -> LoadStats:
        seconds.append(duration)
        return STATS

    monkeypatch.setattr(measure, "generate_load", generate)
    return seconds


def test_only_successful_responses_count_as_throughput(generated: list[int]) -> None:
    result = measure.measure_load(TARGET, 4, 10, 2, [])
    assert result == measure.LoadResult(4, 45.0, 1.0, 2.0, 3.0, errors=15, memory_mb=None)
    assert measure.table_row(result) == ("4", "45", "1.0", "2.0", "3.0", "15", "n/a")
    assert generated == [2, 10]  # the warm-up first


def test_no_response_at_all_is_an_error(generated: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "generate_load", lambda *_: replace(STATS, responses=0))
    with pytest.raises(LoadError, match="gave no answer in 10 s"):
        measure.measure_load(TARGET, 4, 10, 2, [])


def test_memory_is_that_of_the_process_tree() -> None:
    memory = measure.resident_memory_mb([os.getpid(), os.getpid()])
    assert memory is not None
    assert memory > 10
    assert measure.resident_memory_mb([]) is None


def test_report_is_json_on_the_last_line(
    generated: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "new" / "load.png"
    with stub_model_server(lambda: (200, {})) as url:
        flags = ["--url", url, "--connections", "1", "4", "--picture", str(SEVEN), "--plot", str(plot)]
        assert benchmark.main([*flags, "--seconds", "3", "--warm-up", "1"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["seconds"], report["warm_up"], report["pictures"]) == (3, 1, {"png": 1})
    assert report["mean_bytes"] == SEVEN.stat().st_size
    assert [load["connections"] for load in report["loads"]] == [1, 4]
    assert generated == [1, 3, 1, 3]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--url", f"http://127.0.0.1:{free_port()}"], "no server at"),
        (["--url", "nonsense"], "see --url"),
        (["--picture", "nowhere.png"], "nowhere.png"),
    ],
    ids=["absent server", "invalid URL", "absent file"],
)
def test_impossible_load_is_one_error_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--picture", str(SEVEN), *flags]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert message in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(("flag", "value"), [("--connections", "0"), ("--seconds", "half"), ("--kinds", "fax")])
def test_invalid_flag_is_a_usage_error(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        benchmark.main([flag, value])
    assert caught.value.code == 2
    assert f"'{value}'" in capsys.readouterr().err
