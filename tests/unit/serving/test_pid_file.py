"""PID files: one per port, written while a server runs, and ignored when they are stale."""

import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import psutil
import pytest

from mnist_lightning.serving import pid_file

PORT, URL = 8080, "http://127.0.0.1:8080"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime folder for the duration of a test."""
    monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda *_, **__: str(tmp_path))
    return tmp_path


def write_record(folder: Path, pid: int, created: float) -> Path:
    path = folder / f"{PORT}.pid"
    path.write_text(json.dumps({"pid": pid, "created": created, "port": PORT, "url": URL}))
    return path


def pid_of(port: int | None) -> int | None:
    server = pid_file.find(port)
    return None if server is None else server.pid


def test_a_registered_server_is_found_by_its_port(folder: Path) -> None:
    with pid_file.registered(PORT, URL):
        assert pid_of(PORT) == os.getpid()
        assert pid_file.find(PORT + 1) is None
        assert [path.name for path in folder.iterdir()] == [f"{PORT}.pid"]
    assert pid_file.find(PORT) is None
    assert list(folder.iterdir()) == []


def test_the_file_is_removed_after_an_exception(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), pid_file.registered(PORT, URL):
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []


def test_a_file_of_a_process_that_ended_is_stale(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        write_record(folder, process.pid, psutil.Process(process.pid).create_time())
        assert pid_of(PORT) == process.pid
        process.kill()
        psutil.wait_procs([psutil.Process(process.pid)], timeout=10)
        assert pid_file.find(PORT) is None  # the process is gone, or a zombie
    assert pid_file.find(PORT) is None


def test_a_file_whose_pid_belongs_to_another_process_is_stale(folder: Path) -> None:
    created = psutil.Process().create_time()
    write_record(folder, os.getpid(), created - 60)
    assert pid_file.find(PORT) is None
    write_record(folder, os.getpid(), created + pid_file.CLOCK_TOLERANCE / 2)
    assert pid_of(PORT) == os.getpid()


def test_a_stale_file_is_replaced(folder: Path) -> None:
    write_record(folder, os.getpid(), 0)
    with pid_file.registered(PORT, URL):
        assert pid_of(PORT) == os.getpid()
    assert list(folder.iterdir()) == []


def test_the_file_of_a_running_server_is_left_alone(folder: Path) -> None:
    path = write_record(folder, os.getppid(), psutil.Process(os.getppid()).create_time())
    content = path.read_text()
    with pid_file.registered(PORT, URL):
        assert pid_of(PORT) == os.getppid()
    assert path.read_text() == content


@pytest.mark.parametrize("content", [b"", b"12", b"[]", b"{}", b'{"pid": "x", "created": 1}', b"\xff"])
def test_a_damaged_file_is_stale(content: bytes, folder: Path) -> None:
    (folder / f"{PORT}.pid").write_bytes(content)
    assert pid_file.find(PORT) is None


def test_without_a_runtime_folder_the_server_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError("the folder belongs to another user")

    monkeypatch.setattr(platformdirs, "user_runtime_dir", refuse)
    with pid_file.registered(PORT, URL):
        assert pid_file.find(PORT) is None
    assert "warning: no PID file" in capsys.readouterr().err


def test_the_runtime_folder_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without XDG_RUNTIME_DIR, as in a container."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert pid_file._path(PORT).parent.stat().st_mode & 0o077 == 0


def test_a_server_is_found_without_its_port_and_with_what_reaches_it(folder: Path, tmp_path: Path) -> None:
    assert pid_file.find() is None
    with pid_file.registered(9000, "http://127.0.0.2:9000", tmp_path / "token"):
        server = pid_file.find()
    assert server is not None
    assert (server.port, server.url, server.token_file) == (9000, "http://127.0.0.2:9000", str(tmp_path / "token"))
