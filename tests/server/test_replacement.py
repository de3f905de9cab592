"""New weights in a server that runs, with no request lost, and the old ones again."""

import io
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import torch

from mnist_lightning.serving.reload import ReplacementError, ask_for
from mnist_lightning.serving.torchserve import free_port
from tests.support import PROJECT, SEVEN, Trained, verb

RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def store(trained: Trained, tmp_path: Path) -> Path:
    shutil.copy(trained.store / "mnist.mar", tmp_path)
    return tmp_path


def put(store: Path, original: Path, **replaced: bytes) -> None:
    """The original archive with other files in it, in one step."""
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(store / "new", "w") as new:
        for name in old.namelist():
            new.writestr(name, replaced.get(name.replace(".", "_"), old.read(name)))
    (store / "new").replace(store / "mnist.mar")


def always_three(archive: Path) -> bytes:
    """The archive's weights, but for a mind made up."""
    with zipfile.ZipFile(archive) as old:
        weights = torch.load(io.BytesIO(old.read("mnist.pt")), weights_only=True)
    weights["head.bias"][3] += 1000
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()


@contextmanager
def served(store: Path) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    port = free_port()
    command = [sys.executable, "-m", "mnist_lightning.serve", "--port", str(port), "--store", str(store)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        try:
            yield port, process
        finally:
            process.terminate()


def prediction(port: int) -> int:
    url = f"http://127.0.0.1:{port}/predictions/mnist"
    answer = requests.post(url, data=SEVEN.read_bytes(), headers=RAW, timeout=30)
    assert answer.status_code == 200, answer.text
    digit: int = answer.json()["prediction"]
    return digit


def reload(store: Path, port: int) -> "subprocess.CompletedProcess[str]":
    return verb("serve", "--reload", "--store", str(store), "--port", str(port))


def test_there_and_back_with_no_request_lost(store: Path, trained: Trained) -> None:
    original, over = trained.store / "mnist.mar", threading.Event()
    with served(store) as (port, _), ThreadPoolExecutor(3) as pool:
        before = prediction(port)

        def go_on_asking() -> list[int]:
            got = []
            while not over.is_set():
                got.append(prediction(port))
            return got

        asking = [pool.submit(go_on_asking) for _ in range(3)]
        try:
            put(store, original, mnist_pt=always_three(original))
            assert prediction(port) == before  # a new archive alone changes nothing
            there = reload(store, port)
            assert there.returncode == 0, there.stderr
            assert prediction(port) == 3
            shutil.copy(original, store / "mnist.mar")
            back = reload(store, port)
            assert back.returncode == 0, back.stderr
            assert prediction(port) == before
        finally:
            over.set()
        got = [digit for one in asking for digit in one.result()]
    assert before != 3
    assert set(got) == {3, before}
    assert there.stdout.startswith("served: weights ")
    assert there.stdout != back.stdout


def test_what_cannot_be_served_replaces_nothing(store: Path, trained: Trained) -> None:
    original = trained.store / "mnist.mar"
    with served(store) as (port, process):
        before = prediction(port)
        put(store, original, mnist_pt=b"no weights")
        with pytest.raises(ReplacementError, match="did not take"):
            ask_for(store / "mnist.mar", port, seconds=4)
        assert prediction(port) == before
        put(store, original, digit_handler_py=b"import nothing", mnist_pt=always_three(original))
        with pytest.raises(ReplacementError, match="did not take"):
            ask_for(store / "mnist.mar", port, seconds=4)
        assert prediction(port) == before
        (store / "mnist.mar").write_bytes(b"no archive")
        damaged = reload(store, port)
        process.send_signal(signal.SIGHUP)
        assert prediction(port) == before
        process.terminate()
        told = process.communicate(timeout=20)[1]
    assert "mnist.mar is absent or damaged" in damaged.stderr
    assert damaged.returncode == 1
    assert "the new mnist.pt is not taken" in told
    assert "has another digit_handler.py than the server runs; restart it instead" in told
    assert "is absent or damaged" in told


def test_without_a_server_there_is_nothing_to_reload(trained: Trained) -> None:
    done = reload(trained.store, free_port())
    assert done.returncode == 1
    assert "answers on port" in done.stderr
    assert "Traceback" not in done.stderr
