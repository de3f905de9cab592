"""A replaced file is loaded again, whatever happens to it in between."""

import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from mnist_lightning.inference import reload
from mnist_lightning.inference.reload import FileReloader


def replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"first")
    return path


def test_the_first_content_is_taken_once(file: Path) -> None:
    reloader = FileReloader(file, bytes.decode)
    assert reloader.take_new() == "first"
    reloader.poll()
    assert reloader.take_new() is None


def test_a_replaced_file_is_loaded(file: Path) -> None:
    reloader = FileReloader(file, bytes.decode)
    replace(file, b"second")
    reloader.poll()
    assert reloader.take_new() == "second"


def test_a_replacement_during_the_first_load_is_noticed(file: Path) -> None:
    """The version belongs to the content that was read, not to the path's file after loading."""

    def load(content: bytes) -> bytes:
        if content == b"first":
            replace(file, b"second")
        return content

    reloader = FileReloader(file, load)
    assert reloader.take_new() == b"first"
    reloader.poll()
    assert reloader.take_new() == b"second"


def test_a_replacement_between_opening_and_reading_is_noticed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fstat = os.fstat

    def slow(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        replace(file, b"second")
        return status

    monkeypatch.setattr(os, "fstat", slow)
    reloader = FileReloader(file, bytes)
    monkeypatch.undo()
    assert reloader.take_new() == b"first"
    reloader.poll()
    assert reloader.take_new() == b"second"


def test_an_absent_file_does_not_end_the_watch(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader = FileReloader(file, bytes)
    reloader.take_new()
    file.unlink()
    for _ in range(3):
        reloader.poll()
    assert [record.getMessage() for record in caplog.records] == [
        f"the new weights is not loaded: [Errno 2] No such file or directory: '{file}'"
    ]
    file.write_bytes(b"back")
    reloader.poll()
    assert reloader.take_new() == b"back"
    file.unlink()
    reloader.poll()
    assert len(caplog.records) == 2


def test_a_file_that_vanishes_before_it_is_read_is_loaded_when_it_returns(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloader = FileReloader(file, bytes)
    reloader.take_new()
    replace(file, b"second")

    def absent(path: Path) -> NoReturn:
        raise FileNotFoundError(path)

    with monkeypatch.context() as patch:
        patch.setattr(reload, "_read", absent)
        reloader.poll()
    assert reloader.take_new() is None
    reloader.poll()
    assert reloader.take_new() == b"second"


def test_only_the_latest_of_several_replacements_is_taken(file: Path) -> None:
    reloader = FileReloader(file, bytes)
    for content in (b"second", b"third"):
        replace(file, content)
        reloader.poll()
    assert reloader.take_new() == b"third"
    assert reloader.take_new() is None


def test_the_watch_goes_on_after_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.001)
    failed, loaded = threading.Event(), threading.Event()

    def load(content: bytes) -> bytes:
        if content == b"bad":
            failed.set()
            raise ValueError("bad")
        if content == b"third":
            loaded.set()
        return content

    reloader = FileReloader(file, load)
    reloader.start()
    replace(file, b"bad")
    assert failed.wait(60)
    replace(file, b"third")
    assert loaded.wait(60)


def test_a_file_that_cannot_be_loaded_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader = FileReloader(file, lambda content: int(content) if content.isdigit() else len(content))
    assert reloader.take_new() == 5
    reloader.load = int
    replace(file, b"no number")
    reloader.poll()
    assert reloader.take_new() is None
    assert "the new weights is not loaded" in caplog.text
    replace(file, b"42")
    reloader.poll()
    assert reloader.take_new() == 42
