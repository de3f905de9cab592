"""What goes wrong around a server in operation, and that it is over soon: killed workers, crowds, bad connections."""

import io
import json
import os
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from PIL import Image

from mnist_lightning.client import ask
from mnist_lightning.serving.config import OFFSETS
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import SEVEN, Trained, verb

DIGIT = SEVEN.read_bytes()
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def shaken(trained: Trained) -> Iterator[Server]:
    """A server of this file's own, with one worker and a queue of four."""
    with running(trained.store, free_port(), workers=1, job_queue_size=4) as server:
        yield server


@pytest.fixture(scope="module")
def sheet() -> bytes:
    """A large blank sheet but for a bar: some tenths of a second's work."""
    file = io.BytesIO()
    large = Image.new("L", (6500, 6500), 255)
    large.paste(0, (2900, 1300, 3600, 5200))
    large.save(file, "PNG")
    return file.getvalue()


def post(server: Server, body: bytes) -> tuple[int, str]:
    """Status and body of the answer; 0 where the connection broke."""
    try:
        answer = requests.post(f"{server.url}/predictions/mnist", data=body, headers=RAW, timeout=30)
    except requests.ConnectionError as error:
        return 0, str(error)
    return answer.status_code, answer.text


def worker(server: Server) -> int:
    base, _, port = server.url.rpartition(":")
    told = requests.get(f"{base}:{int(port) + OFFSETS['management']}/models/mnist", timeout=10).json()
    pid: int = told[0]["workers"][0]["pid"]
    return pid


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=30)


def head(length: int) -> bytes:
    return f"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_killed_worker_takes_down_what_is_in_its_hands_and_is_back_soon(shaken: Server) -> None:
    expected = ask(DIGIT, shaken.url)
    got: list[tuple[float, int, str]] = []
    over = threading.Event()

    def go_on_asking() -> None:
        while not over.is_set():
            status, body = post(shaken, DIGIT)
            got.append((time.monotonic(), status, body))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(go_on_asking) for _ in range(3)]
        time.sleep(1)
        first = worker(shaken)
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        while time.monotonic() < killed + 15 and not any(when > killed + 0.5 and s == 200 for when, s, _ in got[-9:]):
            time.sleep(0.05)
        back = time.monotonic() - killed
        time.sleep(0.5)
        over.set()
        for one in asking:
            one.result()
    assert back < 5
    assert worker(shaken) != first
    failed = [(status, body) for _, status, body in got if status != 200]
    assert len(failed) <= 3  # as many as were on their way; the others wait in the queue
    assert all(500 <= status < 600 for status, _ in failed), failed
    right = [body for _, status, body in got if status == 200]
    assert len(right) > 20
    assert {json.loads(body)["prediction"] for body in right} == {expected["prediction"]}


def test_a_crowd_is_told_that_it_is_one(shaken: Server, sheet: bytes) -> None:
    with ThreadPoolExecutor(24) as pool:
        got = list(pool.map(lambda _: post(shaken, sheet), range(24)))
    assert {status for status, _ in got} == {200, 503}
    refused = [json.loads(body) for status, body in got if status == 503]
    assert {told["type"] for told in refused} == {"BusyError"}
    assert all("queue is full" in told["message"] and "again later" in told["message"] for told in refused)
    assert ask(DIGIT, shaken.url)["prediction"] == 7


def test_a_client_that_sends_a_byte_a_second_holds_nobody_up(shaken: Server) -> None:
    alone = min(_timed(shaken) for _ in range(5))
    slow = [connect(shaken) for _ in range(20)]
    for one in slow:
        one.sendall(head(len(DIGIT)))
    times = []
    for n in range(3):
        for one in slow:
            one.sendall(DIGIT[n : n + 1])
        times += [_timed(shaken) for _ in range(5)]
        time.sleep(1)
    assert sorted(times)[len(times) // 2] < 5 * alone + 0.05
    slow[0].sendall(DIGIT[3:])  # and it gets its answer in the end
    assert slow[0].recv(4096).startswith(b"HTTP/1.1 200 ")
    for one in slow:
        one.close()


def _timed(server: Server) -> float:
    started = time.monotonic()
    assert ask(DIGIT, server.url)["prediction"] == 7
    return time.monotonic() - started


@pytest.mark.parametrize("cut", [0, len(DIGIT) // 2, len(DIGIT)], ids=["headers", "half", "before its answer"])
def test_who_hangs_up_harms_nobody(cut: int, shaken: Server) -> None:
    first = worker(shaken)
    for _ in range(30):
        with connect(shaken) as connection:
            connection.sendall(head(len(DIGIT)) + DIGIT[:cut])
    deadline = time.monotonic() + 5  # until the queue, of four alone, has room again
    while post(shaken, DIGIT)[0] == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [post(shaken, DIGIT)[0] for _ in range(5)] == [200] * 5
    assert worker(shaken) == first


def test_a_handler_that_cannot_be_imported_is_told_soon(trained: Trained, tmp_path: Path) -> None:
    with zipfile.ZipFile(trained.store / "mnist.mar") as whole, zipfile.ZipFile(tmp_path / "mnist.mar", "w") as broken:
        for name in whole.namelist():
            broken.writestr(name, b"import nothing_of_this_name\n" if name == "digit_handler.py" else whole.read(name))
    started = time.monotonic()
    done = verb("serve", "--port", str(free_port()), "--store", str(tmp_path))
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the archive's handler fails")
    assert "No module named 'nothing_of_this_name'" in done.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
