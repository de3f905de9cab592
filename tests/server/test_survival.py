"""A server under adverse conditions: killed workers, a full queue, slow and broken connections."""

import io
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image

from mnist_lightning.client import ask
from mnist_lightning.serving import torchserve
from mnist_lightning.serving.torchserve import Server, ServerError, free_port, running
from tests.server.connections import connect, worker
from tests.server.serve_process import wait_until
from tests.support import SEVEN, verb

DIGIT = SEVEN.read_bytes()
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def own_server(small_store: Path) -> Iterator[Server]:
    """A server with one worker and a queue of four requests."""
    with running(small_store, free_port(), workers=1, job_queue_size=4) as server:
        yield server


@pytest.fixture(scope="module")
def large_picture() -> bytes:
    """A large blank sheet with a bar, which takes some tenths of a second."""
    file = io.BytesIO()
    sheet = Image.new("L", (2880, 2880), 255)
    sheet.paste(0, (1500, 700, 1900, 2800))
    sheet.save(file, "PNG")
    return file.getvalue()


def post(server: Server, body: bytes) -> tuple[int, str]:
    """Return status and body of the answer; status 0 if the connection breaks."""
    try:
        answer = requests.post(f"{server.url}/predictions/mnist", data=body, headers=RAW, timeout=30)
    except requests.ConnectionError as error:
        return 0, str(error)
    return answer.status_code, answer.text


def request_head(length: int) -> bytes:
    return f"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_killed_worker_fails_only_its_requests_and_is_replaced(own_server: Server) -> None:
    expected = ask(DIGIT, own_server.url)
    answers: list[tuple[float, int, str]] = []
    stopped = threading.Event()

    def keep_asking() -> None:
        while not stopped.is_set():
            status, body = post(own_server, DIGIT)
            answers.append((time.monotonic(), status, body))

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(keep_asking) for _ in range(3)]
        try:
            wait_until(lambda: len(answers) > 20, "no answers")
            first = worker(own_server).pid
            os.kill(first, signal.SIGKILL)
            killed = time.monotonic()
            wait_until(
                lambda: any(t > killed + 0.5 and s == 200 for t, s, _ in answers[-9:]), "no answers after the kill"
            )
        finally:
            stopped.set()
        for client in clients:
            client.result()
    assert worker(own_server).pid != first
    failed = [(status, body) for _, status, body in answers if status != 200]
    assert len(failed) <= 3  # at most one request of each client was in the worker; the others wait in the queue
    assert all(500 <= status < 600 for status, _ in failed), failed
    assert {json.loads(body)["prediction"] for _, status, body in answers if status == 200} == {expected["prediction"]}


def test_a_full_queue_gets_503(own_server: Server, large_picture: bytes) -> None:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: post(own_server, large_picture), range(24)))
    assert {status for status, _ in answers} == {200, 503}
    rejected = [json.loads(body) for status, body in answers if status == 503]
    assert {error["type"] for error in rejected} == {"BusyError"}
    assert all("queue is full" in error["message"] and "again later" in error["message"] for error in rejected)
    assert ask(DIGIT, own_server.url)["prediction"] == 7


def test_slow_clients_delay_nobody(own_server: Server) -> None:
    slow = [connect(own_server) for _ in range(20)]
    for client in slow:
        client.sendall(request_head(len(DIGIT)))
    for n in range(3):
        for client in slow:
            client.sendall(DIGIT[n : n + 1])
        # Answered although twenty requests that came before are incomplete.
        assert [ask(DIGIT, own_server.url)["prediction"] for _ in range(5)] == [7] * 5
    slow[0].sendall(DIGIT[3:])  # a slow client gets its answer in the end
    assert slow[0].recv(4096).startswith(b"HTTP/1.1 200 ")
    for client in slow:
        client.close()


@pytest.mark.parametrize("cut", [0, len(DIGIT) // 2, len(DIGIT)], ids=["headers", "half", "whole request"])
def test_clients_that_disconnect_harm_nobody(cut: int, own_server: Server) -> None:
    first = worker(own_server).pid
    for _ in range(30):
        with connect(own_server) as connection:
            connection.sendall(request_head(len(DIGIT)) + DIGIT[:cut])
    wait_until(lambda: post(own_server, DIGIT)[0] != 503, "the queue stays full")
    assert [post(own_server, DIGIT)[0] for _ in range(5)] == [200] * 5
    assert worker(own_server).pid == first


def test_a_handler_that_cannot_be_imported_ends_the_start(small_store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(small_store / "mnist.mar") as whole, zipfile.ZipFile(tmp_path / "mnist.mar", "w") as broken:
        for name in whole.namelist():
            broken.writestr(name, b"import nothing_of_this_name\n" if name == "digit_handler.py" else whole.read(name))
    done = verb("serve", "--port", str(free_port()), "--store", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the archive's handler fails")
    assert "No module named 'nothing_of_this_name'" in done.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]


def test_a_server_that_took_the_port_meanwhile_does_not_answer_for_this_one(
    own_server: Server, small_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve, "check_ports_are_free", lambda *_: None)  # they were free when it looked
    port = int(own_server.url.rpartition(":")[2])
    with pytest.raises(ServerError, match="before it was ready"), running(small_store, port):
        pass
    assert ask(DIGIT, own_server.url)["prediction"] == 7
