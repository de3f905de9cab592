"""Replacing the weights of a running server."""

import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from mnist_lightning.serving.reload import ReloadError, request_reload
from tests.server.archives import always, write_archive
from tests.server.serve_process import ServeProcess, serve, wait_until
from tests.support import SEVEN, verb

RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def original(small_store: Path) -> Path:
    return small_store / "mnist.mar"


@pytest.fixture(scope="module")
def always_three(original: Path) -> dict[str, bytes]:
    """The archive's weights and model, changed so that every prediction is a three."""
    return always(original, 3)


@pytest.fixture(scope="module")
def process(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server of this module's own, whose archive the tests replace."""
    folder = tmp_path_factory.mktemp("reload")
    (folder / "store").mkdir()
    shutil.copy(original, folder / "store")
    with serve(folder / "store", folder) as process:
        process.wait_until_ready()
        yield process


@pytest.fixture
def archive(process: ServeProcess, original: Path) -> Path:
    """The path of the server's archive, which holds the original."""
    path = process.store / "mnist.mar"
    shutil.copy(original, path)
    return path


def predict(process: ServeProcess) -> int:
    url = f"{process.url}/predictions/mnist"
    answer = requests.post(url, data=SEVEN.read_bytes(), headers=RAW, timeout=30)
    assert answer.status_code == 200, answer.text
    digit: int = answer.json()["prediction"]
    return digit


def test_reloading_there_and_back_drops_no_request(
    process: ServeProcess, archive: Path, original: Path, always_three: dict[str, bytes]
) -> None:
    def reload() -> str:
        done = verb("serve", "--reload", "--store", str(archive.parent), XDG_RUNTIME_DIR=str(process.folder))
        assert done.returncode == 0, done.stderr
        return done.stdout

    stopped = threading.Event()

    def keep_asking() -> list[int]:
        digits = []
        while not stopped.is_set():
            digits.append(predict(process))
        return digits

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(keep_asking) for _ in range(3)]
        try:
            write_archive(original, archive, **always_three)
            assert predict(process) == 7  # a new archive alone changes nothing
            there = reload()
            assert predict(process) == 3
            shutil.copy(original, archive)
            back = reload()
            assert predict(process) == 7
        finally:
            stopped.set()
        digits = [digit for client in clients for digit in client.result()]
    assert set(digits) == {3, 7}
    assert there.startswith("served: weights ")
    assert there != back


def test_an_archive_that_cannot_be_served_replaces_nothing(
    process: ServeProcess,
    archive: Path,
    original: Path,
    always_three: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(process.folder))
    write_archive(original, archive, mnist_pt=b"no weights")
    with pytest.raises(ReloadError, match="did not load"):
        request_reload(archive, process.port, timeout=3)
    assert predict(process) == 7
    write_archive(original, archive, digit_handler_py=b"import nothing", **always_three)
    with pytest.raises(ReloadError, match="did not load"):
        request_reload(archive, process.port, timeout=3)
    assert predict(process) == 7
    archive.write_bytes(b"no archive")
    with pytest.raises(ReloadError, match=r"mnist\.mar is missing or damaged"):
        request_reload(archive, process.port)
    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "is missing or damaged" in process.stderr.read_text(), "the server does not report the archive")
    assert predict(process) == 7
    errors = process.stderr.read_text()
    assert "the new mnist.onnx is not loaded" in errors
    assert "has a different digit_handler.py than the server runs; restart the server" in errors


def test_a_signal_during_start_up_reloads_as_soon_as_the_server_is_ready(
    original: Path, always_three: dict[str, bytes], tmp_path: Path, interruptible: None
) -> None:
    archive = tmp_path / "mnist.mar"
    shutil.copy(original, archive)
    with serve(tmp_path, tmp_path) as process:
        # From here on, the server has its own copy of the archive.
        wait_until(lambda: list(process.folder.rglob("server-*/config.properties")), "TorchServe is not started")
        write_archive(original, archive, **always_three)
        process.process.send_signal(signal.SIGHUP)
        process.wait_until_ready()
        wait_until(lambda: predict(process) == 3, "the archive is not loaded again")
        process.stop(signal.SIGINT)
