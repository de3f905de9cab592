"""The folders of running servers: kept while the process lives, removed afterwards, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from mnist_lightning.serving.runtime_dir import server_dir

HOLD = """
import platformdirs, sys
platformdirs.user_runtime_dir = lambda *_, **__: sys.argv[1]
from mnist_lightning.serving.runtime_dir import server_dir
with server_dir() as folder:
    (folder / "file").write_text("content")
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda *_, **__: str(tmp_path))
    return tmp_path


def test_a_folder_lives_as_long_as_the_block(parent: Path) -> None:
    with server_dir() as one, server_dir() as other:
        assert one != other
        assert one.parent == other.parent == parent
        assert one.stat().st_mode & 0o077 == 0
        (one / "file").write_text("content")
    assert list(parent.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next_server_and_no_other(parent: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(parent)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed,
    ):
        assert living.stdout is not None
        assert killed.stdout is not None
        kept, left = (Path(process.stdout.readline().strip()) for process in (living, killed) if process.stdout)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert (left / "file").exists()
        with server_dir():
            assert not left.exists()
            assert (kept / "file").exists()
        living.kill()
