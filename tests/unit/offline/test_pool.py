"""Processes that answer without a server: archives that do not load, processes that end."""

import asyncio
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mnist_lightning.client.api import ClientError
from mnist_lightning.client.many import Outcome, answer_all
from mnist_lightning.common.constants import ARCHIVE, EXPORTED, WEIGHTS
from mnist_lightning.offline.frames import read_frame, to_frame
from mnist_lightning.offline.pool import WORKER, OfflineError, open_archive
from tests.support import PROJECT, SEVEN, verb

DIGIT = SEVEN.read_bytes()


def read(store: Path, pictures: list[bytes], report: Callable[[dict[int, Outcome]], object]) -> None:
    """Answer pictures in two processes."""

    async def run() -> None:
        async with open_archive(store, 2) as lanes:
            await answer_all(enumerate(pictures), lanes, report)

    asyncio.run(run())


def test_pictures_are_answered_or_refused(small_store: Path) -> None:
    outcomes: dict[int, Outcome] = {}
    bad = {1: b"", 5: b"no picture", 9: b'{"instances": []}', 13: b'{"instances": ["' + b"A" * 8 + b'"]}'}
    read(small_store, [bad.get(index, DIGIT) for index in range(20)], outcomes.update)
    errors = {key: one.body.get("type") for key, one in outcomes.items() if isinstance(one, ClientError)}
    assert errors == {1: "EmptyBodyError", 5: "NotAPictureError", 9: "EmptyBodyError", 13: "NotAPictureError"}
    assert {one["number"] for one in outcomes.values() if isinstance(one, dict)} == {"7"}
    assert sorted(outcomes) == list(range(20))


def test_a_picture_that_ends_its_process_has_an_error(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others of its chunk have their answers."""
    program = "import sys, mnist_lightning.offline.worker as w; parse = w._parse\n"
    program += "w._parse = lambda picture: parse(picture) if picture != b'deadly' else w.os._exit(1); w.main()"
    monkeypatch.setattr("mnist_lightning.offline.pool.COMMAND", [sys.executable, "-c", program])
    outcomes: dict[int, Outcome] = {}
    read(small_store, [DIGIT, b"deadly", DIGIT, DIGIT], outcomes.update)
    assert isinstance(outcomes[1], ClientError)
    assert "has ended before it answered" in str(outcomes[1])
    assert all(isinstance(outcomes[index], dict) for index in (0, 2, 3))


def test_processes_import_nothing_from_the_current_folder(small_store: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise SystemExit('from the current folder')")
    flags = ["--csv", "out.csv", "--offline", "--store", str(small_store), "--concurrency", "1"]
    done = verb("client", str(SEVEN), *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text().count("\n") == 2


def damaged(store: Path) -> str:
    (store / ARCHIVE).write_bytes(b"no archive")
    return "holds no exported model: File is not a zip file"


def old(store: Path) -> str:
    with zipfile.ZipFile(store / ARCHIVE, "w") as archive:
        archive.writestr(WEIGHTS, b"weights")
    return f"holds no exported model: .*{EXPORTED}"


def foreign(store: Path) -> str:
    with zipfile.ZipFile(store / ARCHIVE, "w") as archive:
        archive.writestr(EXPORTED, b"model")
        archive.writestr(WEIGHTS, b"weights")
    return f"{EXPORTED} is damaged"


@pytest.mark.parametrize("spoil", [damaged, old, foreign, lambda _: "does not exist; create it with: python -m"])
def test_archives_that_do_not_load(spoil: Callable[[Path], str], tmp_path: Path) -> None:
    message = spoil(tmp_path)
    with pytest.raises(OfflineError, match=message):
        read(tmp_path, [DIGIT], print)


def test_a_process_ends_with_its_input(small_store: Path) -> None:
    command = [sys.executable, "-m", WORKER, str(small_store / ARCHIVE)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(read_frame(process.stdout)) == []
        process.stdin.write(to_frame(b"1") + to_frame(DIGIT))
        process.stdin.flush()
        [(status, answer)] = json.loads(read_frame(process.stdout))
        assert (status, answer["prediction"]) == (200, 7)
        process.stdin.close()
        assert process.wait(60) == 0


def test_no_process_is_left_after_an_error(small_store: Path) -> None:
    def fail(_: object) -> None:
        raise OSError("the disk is full")

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(OSError, match="the disk is full"):
        read(small_store, [DIGIT] * 40, fail)
    started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert psutil.wait_procs(started, timeout=30)[1] == []
