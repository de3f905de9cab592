"""Whole folders, read by a running server and without one."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import bulk
from mnist_lightning.client import ClientError, ask, ask_many
from mnist_lightning.client.__main__ import main
from mnist_lightning.client.table import row_of
from mnist_lightning.datasets import mnist, samples
from mnist_lightning.serving.torchserve import Server
from tests.pictures import bars, encode_png, row_of_digits
from tests.server.serve_process import wait_until
from tests.support import PROJECT

COPIES = 50  # of each picture, for runs that are killed on their way


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Path:
    """Digits in several formats, numbers, and pictures that are refused, in sub-folders."""
    folder = tmp_path_factory.mktemp("pictures")
    digits, _ = mnist.load(mnist_folder, train=False)
    contents = {f"{one.group}/{one.name}.png": one.content for one in _presented(mnist_folder)}
    contents |= {f"numbers/{n}.png": encode_png(row_of_digits(digits[n : n + 3, 0].numpy())) for n in range(4)}
    contents |= {"lines.png": encode_png(bars(2, 3)), "=blank.pgm": b"P5 30 30 255\n" + b"\xff" * 900}
    contents |= {"text.png": b"no picture", "numbers/cut.png": contents["numbers/0.png"][:200]}
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The pictures COPIES times, as links."""
    folder = tmp_path_factory.mktemp("many")
    for copy in range(COPIES):
        for path in (path for path in pictures.rglob("*") if path.is_file()):
            link = folder / str(copy) / path.relative_to(pictures)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    return folder


def _presented(mnist_folder: Path) -> list[samples.Sample[int]]:
    return samples.presented_digits(mnist_folder, ["mnist", "drawing", "jpeg"], 12)


def table(path: Path) -> dict[str, dict[str, str]]:
    """The rows by path, each of which is there once."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == len(rows)
    return by_path


def start(folder: Path, out: Path, *flags: str) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "mnist_lightning.client", str(folder), "--csv", str(out), *flags]
    return subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL)


def kill_in_the_middle(process: "subprocess.Popen[bytes]", out: Path) -> int:
    """Kill a run once it has written 200 lines, and cut the last row; the number of whole rows."""
    with process:
        wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") > 200, "200 lines")
        process.kill()
    content = out.read_bytes()
    out.write_bytes(content[:-5])
    return content.count(b"\n") - 2


def test_the_table_has_the_answers_of_single_requests(server: Server, pictures: Path, tmp_path: Path) -> None:
    """Digits, numbers and errors do not depend on the pictures that share a request."""
    out = tmp_path / "out.csv"
    assert main([str(pictures), "--csv", str(out), "--url", server.url]) == 1
    rows = table(out)
    assert len(rows) == 44
    for path, row in rows.items():
        try:
            outcome: Any = ask((pictures / path).read_bytes(), server.url)
        except ClientError as error:
            outcome = error
        expected = row_of(path.removeprefix("./"), outcome)
        assert [row["path"], row["number"], row["prediction"], row["note"], row["error"]] == [
            str(expected[index]) for index in (0, 1, 2, 5, 6)
        ]
        if not row["error"]:
            assert float(row["confidence"]) == pytest.approx(outcome["confidence"], abs=1e-5)
            assert float(row["is_digit"]) == pytest.approx(outcome["is_digit"], abs=1e-5)
    assert {path for path, row in rows.items() if row["error"]} == {"./=blank.pgm", "numbers/cut.png", "text.png"}
    assert rows["lines.png"]["number"] == "111\n111"


def test_offline_and_online_are_equal(server: Server, small_store: Path, pictures: Path, tmp_path: Path) -> None:
    online, offline = tmp_path / "online.csv", tmp_path / "offline.csv"
    assert main([str(pictures), "--csv", str(online), "--url", server.url]) == 1
    assert main([str(pictures), "--csv", str(offline), "--offline", "--store", str(small_store)]) == 1
    rows = table(offline)
    for path, expected in table(online).items():
        for name in ("number", "prediction", "note", "error"):
            assert rows[path][name] == expected[name]
        for name in ("confidence", "is_digit"):
            if expected[name]:
                assert float(rows[path][name]) == pytest.approx(float(expected[name]), abs=1e-5)
    assert len(rows) == 44


def test_a_killed_run_is_resumed(server: Server, many_pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    flags = ["--url", server.url, "--concurrency", "1"]
    done = kill_in_the_middle(start(many_pictures, out, *flags), out)
    assert 190 < done < 44 * COPIES
    with start(many_pictures, out, *flags, "--resume") as process:
        assert process.wait(300) == 1  # some pictures are refused
    assert len(table(out)) == 44 * COPIES


def test_a_killed_run_without_a_server_leaves_no_process(
    small_store: Path, many_pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    flags = ["--offline", "--store", str(small_store), "--concurrency", "2"]
    process = start(many_pictures, out, *flags)
    wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") > 8, "rows")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    done = kill_in_the_middle(process, out)
    assert 190 < done < 44 * COPIES
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    with start(many_pictures, out, *flags, "--resume") as process:
        assert process.wait(300) == 1
    assert len(table(out)) == 44 * COPIES


def test_ctrl_c_without_a_server_leaves_no_process(
    small_store: Path, many_pictures: Path, tmp_path: Path, interruptible: None
) -> None:
    out = tmp_path / "out.csv"
    with start(many_pictures, out, "--offline", "--store", str(small_store), "--concurrency", "2") as process:
        wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") > 8, "rows")
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    assert 8 <= len(table(out)) < 44 * COPIES


def test_pictures_from_python(server: Server, pictures: Path) -> None:
    paths = sorted(path for path in pictures.rglob("*") if path.is_file())
    outcomes = ask_many([*paths, (pictures / "lines.png").read_bytes()], server.url)
    assert [isinstance(outcome, ClientError) for outcome in outcomes[:-1]] == [
        path.name in ("=blank.pgm", "cut.png", "text.png") for path in paths
    ]
    assert isinstance(outcomes[-1], dict)
    assert outcomes[-1]["number"] == "111\n111"


def test_the_benchmark(small_store: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--pictures", "40", "--kinds", "drawing", "--seconds", "1", "--rounds", "1", "--least", "0"]
    assert bulk.main([*flags, "--store", str(small_store), "--data", str(mnist_folder)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report.keys() == {"load_generator", "client", "offline"}
    assert min(report.values()) > 0
