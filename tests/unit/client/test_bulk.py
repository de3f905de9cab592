"""Folders of pictures on the command line, with a scripted server."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_lightning.client import bulk, many
from mnist_lightning.client.__main__ import main
from mnist_lightning.client.table import COLUMNS
from mnist_lightning.serving.torchserve import free_port
from tests.disks import file_size_limit
from tests.server.serve_process import wait_until
from tests.support import PROJECT, verb
from tests.unit.client.fake_server import BUSY, SEVEN, Reply, fake_server

NAMES = ["1.png", "=2.JPG", "deep/3.webp", "deep/er/4.heic"]
NO_DIGIT = Reply(400, {"code": 400, "type": "NoDigitError", "message": "no ink"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, and files that are none."""
    for name in [*NAMES, "notes.txt", ".hidden.png", ".thumbnails/5.png"]:
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "scans"


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "delay", lambda *_: 0.0)


@pytest.fixture
def url() -> Iterator[str]:
    with fake_server(lambda *_: Reply()) as url:
        yield url


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def paths(path: Path) -> list[str]:
    return sorted(row["path"] for row in table(path))


def test_a_folder_is_read_into_a_table(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out.csv"
    assert main([str(folder), "--csv", str(out), "--url", url]) == 0
    assert paths(out) == ["./=2.JPG", "1.png", "deep/3.webp", "deep/er/4.heic"]
    assert list(table(out)[0]) == list(COLUMNS)
    output = capsys.readouterr()
    assert output.out.startswith(f"{out}: 4 pictures: 4 read, 0 refused, 0 failed; 4 of them in ")
    assert "4/4" in output.err


def test_the_summary_as_json(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out.csv"
    assert main([str(folder), "--csv", str(out), "--url", url, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    seconds = summary.pop("seconds")
    assert summary == {"table": str(out), "pictures": 4, "read": 4, "refused": 0, "failed": 0, "asked": 4}
    assert seconds > 0


def test_paths_of_several_folders_and_files(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin with the folder as given, and a picture that is named twice has one row."""
    monkeypatch.chdir(folder.parent)
    assert main(["scans/deep", "scans/deep/er", "./scans/1.png", "--csv", "out.csv", "--url", url]) == 0
    assert paths(folder.parent / "out.csv") == ["scans/1.png", "scans/deep/3.webp", "scans/deep/er/4.heic"]


def test_refused_and_failed_pictures_have_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the next run asks again about the failed ones alone."""
    out, asked, is_busy = folder.parent / "out.csv", list[bytes](), True
    (folder / "6.png").symlink_to("absent.png")

    def script(_: int, body: bytes) -> Reply:
        asked.append(body)
        if b"=2.JPG" in body:
            return NO_DIGIT
        return BUSY if b"1.png" in body and is_busy else Reply()

    with fake_server(script) as url:
        assert main([str(folder), "--csv", str(out), "--url", url, "--json"]) == 1
        assert {row["path"]: row["error"] for row in table(out)} == {
            **dict.fromkeys(["deep/3.webp", "deep/er/4.heic"], ""),
            "./=2.JPG": "400 NoDigitError: no ink",
            "1.png": "503 BusyError: the queue is full",
        }
        is_busy = False
        asked.clear()
        assert main([str(folder), "--csv", str(out), "--url", url, "--json", "--resume"]) == 1
    assert asked == [b"1.png"]
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["read"], first["refused"], first["failed"], first["asked"]) == (2, 1, 1, 4)
    assert (second["read"], second["refused"], second["failed"], second["asked"]) == (3, 1, 0, 1)
    assert paths(out) == ["./=2.JPG", "1.png", "deep/3.webp", "deep/er/4.heic"]


def test_an_existing_table_is_left_alone(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out.csv"
    assert main([str(folder), "--csv", str(out), "--url", url]) == 0
    content = out.read_bytes()
    assert main([str(folder), "--csv", str(out), "--url", url]) == 1
    assert f"error: {out} exists; add --resume" in capsys.readouterr().err
    assert out.read_bytes() == content


def test_an_absent_server(folder: Path) -> None:
    """The command works without --resume once there is one."""
    out, flags = folder.parent / "out.csv", ["--url", f"http://127.0.0.1:{free_port()}"]
    for _ in range(2):
        done = verb("client", str(folder), "--csv", str(out), *flags)
        assert (done.returncode, done.stdout) == (1, "")
        assert "error: no server at" in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_the_rows(folder: Path, interruptible: None) -> None:
    out = folder.parent / "out.csv"
    for index in range(50):
        (folder / f"more-{index}.png").write_bytes(bytes(100_000))
    blocked = False

    def script(_: int, body: bytes) -> Reply:
        nonlocal blocked
        blocked = blocked or out.read_bytes().count(b"\n") > 20  # the header and 20 rows
        return BUSY if blocked else Reply()

    with fake_server(script) as url:
        words = [sys.executable, "-m", "mnist_lightning.client", str(folder), "--csv", str(out), "--url", url]
        words += ["--concurrency", "1"]
        with subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: blocked, "some rows")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"interrupted; {out} holds the rows so far, and --resume goes on" in errors
        assert "Traceback" not in errors
    rows = len(table(out))
    assert 20 <= rows < 54
    with fake_server(lambda *_: Reply()) as url:
        assert main([str(folder), "--csv", str(out), "--url", url, "--resume"]) == 0
    assert len(table(out)) == len(set(paths(out))) == 54


def test_folders_without_a_table_are_printed(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--json", "--url", url]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [{"picture": str(folder / name), **SEVEN} for name in NAMES]


def test_a_folder_of_several_pictures_is_not_explained(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--explain", "new.png", "--url", url]) == 1
    assert f"error: {folder} holds 4 pictures, and --explain accepts only one" in capsys.readouterr().err


def test_a_folder_that_cannot_be_listed_is_reported(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = bulk.find_pictures

    def deny(names: list[str], on_error: bulk.OnError) -> dict[str, Path]:  # root may list every folder
        on_error(PermissionError(13, "Permission denied", f"{folder}/secret"))
        return find(names, on_error)

    monkeypatch.setattr(bulk, "find_pictures", deny)
    assert main([str(folder), "--csv", str(folder.parent / "out.csv"), "--url", url]) == 1
    output = capsys.readouterr()
    assert f"error: {folder}/secret cannot be listed: Permission denied" in output.err
    assert "4 read" in output.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume"], "--resume cannot be used without --csv"),
        (["--offline"], "--offline cannot be used without --csv"),
        (["--concurrency", "4"], "--concurrency cannot be used without --csv"),
        (["--csv", "a.csv", "--top", "3"], "--top cannot be used with --csv"),
        (["--csv", "a.csv", "--explain", "a.png"], "--explain cannot be used with --csv"),
        (["--csv", "a.csv", "--store", "models"], "--store is for --offline"),
        (["--csv", "a.csv", "--concurrency", "0"], "'0' is not an integer from 1 to 256"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["folder", *flags])
    assert message in capsys.readouterr().err


def test_standard_input_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["-", "--csv", "a.csv"])
    assert "--csv reads folders and files, not standard input" in capsys.readouterr().err


@pytest.mark.parametrize("resume", [[], ["--resume"]])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("/dev/full", "/dev/full is no regular file"),
        ("scans", "scans is no regular file"),
        ("absent/out.csv", "No such file or directory: 'absent/out.csv'"),
    ],
)
def test_a_table_that_cannot_be_written(
    out: str,
    message: str,
    resume: list[str],
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(["scans", "--csv", out, *resume, "--url", url]) == 1
    assert message in capsys.readouterr().err


def test_a_full_disk_keeps_whole_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out.csv"
    with fake_server(lambda *_: Reply()) as url:
        with file_size_limit(150):
            assert main([str(folder), "--csv", str(out), "--url", url]) == 1
        assert f"error: [Errno 28] No space left on device: '{out}'" in capsys.readouterr().err
        assert paths(out) == []
        assert main([str(folder), "--csv", str(out), "--url", url, "--resume"]) == 0
    assert len(paths(out)) == 4


def test_two_files_of_one_path_in_the_table_are_reported(tmp_path: Path) -> None:
    for name in (b"\xff.png", rb"\xff.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"a picture")
    with pytest.raises(bulk.FolderError, match=r"two pictures have the path \\xff\.png in the table; rename one"):
        bulk.find_pictures([str(tmp_path)], on_error=print)
