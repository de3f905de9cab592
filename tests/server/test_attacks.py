"""Requests that are made to hurt: only their sender is refused, and its neighbours are answered as usual."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
import requests

from benchmarks.attacks import BODIES, FORMS, JSON, MULTIPART, PICTURES, RAW, numbers
from mnist_lightning.client import ask
from mnist_lightning.serving.config import GRPC_OFFSETS, OFFSETS
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.server.connections import connect, worker
from tests.server.serve_process import wait_until
from tests.support import SEVEN

DIGIT = SEVEN.read_bytes()
NEIGHBOURS = 16
MAX_SECONDS = 1.0  # until a neighbour has its answer
MAX_GROWTH = 150 << 20  # bytes of a worker's memory
REFUSED = {400, 408, 413, 429, 503}


@pytest.fixture(scope="module")
def own_server(small_store: Path) -> Iterator[Server]:
    """A server with one worker, as in a container with 1 GiB: Java has 256 MB."""
    with running(small_store, free_port(), workers=1, vmargs="-Xmx256m -XX:+UseSerialGC") as server:
        ask(DIGIT, server.url)
        yield server


def scheduled(process: psutil.Process) -> tuple[float, float]:
    """Nanoseconds that the process has run, and has waited for a core."""
    try:
        ran, waited, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    except OSError:  # a system that does not count them
        return time.time(), 0.0
    return float(ran), float(waited)


@contextmanager
def neighbours(server: Server) -> Iterator[None]:
    """Ask the server all the time while the block runs; check that each answer is right and in time.

    In time is meant for a worker that has a core whenever it wants one: the time for which it waited for a core, which
    other tests occupied, is taken off.
    """
    expected, ended = ask(DIGIT, server.url), threading.Event()
    process, before = worker(server), worker(server).memory_info().rss
    ran, waited = scheduled(process)
    peak = [before]

    def keep_asking(_: int) -> list[float]:
        seconds = []
        with requests.Session() as session:
            while not ended.is_set():
                started = time.perf_counter()
                answer = session.post(f"{server.url}/predictions/mnist", data=DIGIT, headers=RAW, timeout=30)
                seconds.append(time.perf_counter() - started)
                assert answer.status_code == 200, answer.text
                assert answer.json()["prediction"] == expected["prediction"]
                ended.wait(0.02)
        return seconds

    def keep_measuring() -> None:
        while not ended.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        asking = [pool.submit(keep_asking, number) for number in range(NEIGHBOURS)]
        measuring = pool.submit(keep_measuring)
        try:
            time.sleep(0.2)
            yield
        finally:
            ended.set()
        seconds = [value for asked in asking for value in asked.result()]
        measuring.result()
    assert worker(server).pid == process.pid, "the worker was restarted"
    ran, waited = (now - then for now, then in zip(scheduled(process), (ran, waited), strict=True))
    assert max(seconds) * ran / (ran + waited) < MAX_SECONDS
    assert peak[0] - before < MAX_GROWTH


def attack(
    server: Server, body: bytes, headers: dict[str, str], path: str = "predictions/mnist", times: int = 4
) -> list[requests.Response]:
    """Send the same request from several clients at once, while the neighbours are served."""

    def send(_: int) -> requests.Response:
        return requests.post(f"{server.url}/{path}", data=body, headers=headers, timeout=60)

    with neighbours(server), ThreadPoolExecutor(times) as pool:
        return list(pool.map(send, range(times)))


@pytest.mark.parametrize("attacked", FORMS)
def test_forms(own_server: Server, attacked: str) -> None:
    for answer in attack(own_server, FORMS[attacked](), MULTIPART):
        assert answer.status_code in REFUSED, answer.text[:500]
        assert len(answer.content) < 2000


@pytest.mark.parametrize("attacked", BODIES)
def test_json(own_server: Server, attacked: str) -> None:
    for answer in attack(own_server, BODIES[attacked](), JSON):
        assert answer.status_code in REFUSED, answer.text[:500]
        assert len(answer.content) < 4000


@pytest.mark.parametrize("attacked", PICTURES)
def test_pictures(own_server: Server, attacked: str) -> None:
    for answer in attack(own_server, PICTURES[attacked](), RAW):
        assert answer.status_code in {200, *REFUSED}, answer.text[:500]


def test_explanations(own_server: Server) -> None:
    ask(DIGIT, own_server.url, timeout=60, explain=True)  # the first one loads torch
    body = json.dumps({"instances": [base64.b64encode(DIGIT).decode()] * 8}).encode()
    answers = attack(own_server, body, JSON, "explanations/mnist", times=8)
    assert {answer.status_code for answer in answers} <= {200, 413}


def test_large_bodies_at_once(own_server: Server) -> None:
    answers = attack(own_server, bytes(10_000_000), RAW, times=25)
    assert {answer.status_code for answer in answers} <= REFUSED
    assert ask(DIGIT, own_server.url)["prediction"] == 7


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def head(**headers: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "x", **headers}.items()]
    return "\r\n".join(["POST /predictions/mnist HTTP/1.1", *lines, "", ""]).encode()


@pytest.mark.parametrize("sent", [0, 9_900_000])
def test_stalled_bodies(own_server: Server, sent: int) -> None:
    connections = [connect(own_server) for _ in range(25)]
    with neighbours(own_server):
        for connection in connections:
            connection.sendall(head(Content_Length=10_000_000) + bytes(sent))
        answers = [read_all(connection) for connection in connections]
    for answer, connection in zip(answers, connections, strict=True):
        connection.close()
        assert int(answer.split()[1]) in REFUSED


def test_half_a_head(own_server: Server) -> None:
    with connect(own_server) as connection:
        connection.sendall(b"POST /predictions/mnist HTTP/1.1\r\nHost")
        started = time.monotonic()
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")
        assert 5 < time.monotonic() - started < 20


def test_bodies_of_clients_that_leave_are_not_kept(own_server: Server) -> None:
    with neighbours(own_server):
        for _ in range(60):
            with connect(own_server) as connection:
                connection.sendall(head(Content_Length=9_000_000) + bytes(9_000_000))
    endpoint = f"{own_server.url}/predictions/mnist"
    wait_until(
        lambda: requests.post(endpoint, data=bytes(9_000_000), timeout=30).status_code == 400, "their memory is kept"
    )


AMBIGUOUS = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 5",
    "two different lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "a list of lengths": b"Content-Length: 5, 5",
    "a signed length": b"Content-Length: +5",
    "a negative length": b"Content-Length: -5",
    "a hexadecimal length": b"Content-Length: 0x5",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "another encoding": b"Transfer-Encoding: gzip, chunked",
    "an unknown encoding": b"Transfer-Encoding: xchunked",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "a space in a name": b"Content-Length : 5",
    "a control character in a name": b"Content-Length\x0b: 5",
    "another one": b"\x01Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("attacked", AMBIGUOUS)
def test_requests_of_ambiguous_length(own_server: Server, attacked: str) -> None:
    """A proxy in front could take the rest for another request, so the connection is closed."""
    smuggled = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(own_server) as connection:
        lines = b"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\n" + AMBIGUOUS[attacked]
        connection.sendall(lines + b"\r\n\r\n0\r\n\r\n" + smuggled)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_chunks_are_accepted(own_server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        yield DIGIT[:100]
        yield DIGIT[100:]

    answer = requests.post(f"{own_server.url}/predictions/mnist", data=chunks(), headers=RAW, timeout=30)
    assert answer.json()["prediction"] == 7


def test_pipelined_requests_are_answered_in_their_order(own_server: Server) -> None:
    """They are of different protocols, so that each answer says which request it belongs to."""
    picture = base64.b64encode(DIGIT).decode()
    several = [DIGIT, json.dumps({"instances": [picture]}).encode(), DIGIT, numbers(data=[255] * 10 + [0] * 774)] * 20
    with connect(own_server) as connection:
        connection.sendall(
            b"".join(head(Content_Length=len(body)) + body for body in several)
            + b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    assert {answer[:3] for answer in answers} == {b"200"}
    keys = [next(iter(json.loads(answer.partition(b"\r\n\r\n")[2]))) for answer in answers]
    assert keys == ["prediction", "predictions", "prediction", "model_name"] * 20 + ["status"]


def test_a_head_request_has_no_body(own_server: Server) -> None:
    with requests.Session() as session:
        assert session.head(f"{own_server.url}/ping", timeout=10).content == b""
        assert session.get(f"{own_server.url}/ping", timeout=10).json()["status"] == "Healthy"


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example", None])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_the_management_port_is_read_only(own_server: Server, method: str, host: str | None) -> None:
    port = (urlsplit(own_server.url).port or 0) + OFFSETS["management"]
    path = f"http://127.0.0.1:{port}/models/mnist?min_worker=0&max_worker=0"
    answer = requests.request(method, path, headers={"Host": host or ""}, timeout=10)
    assert answer.status_code == (200 if (method, host) == ("GET", "127.0.0.1") else 403)
    assert ask(DIGIT, own_server.url)["prediction"] == 7


def test_grpc_manages_nothing(own_server: Server) -> None:
    port = (urlsplit(own_server.url).port or 0) + GRPC_OFFSETS["grpc_management"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        scale = channel.unary_unary("/org.pytorch.serve.grpc.management.ManagementAPIsService/ScaleWorker")
        with pytest.raises(grpc.RpcError) as refused:
            scale(b"\x0a\x05mnist", timeout=10)  # model_name: "mnist", and no workers
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert ask(DIGIT, own_server.url)["prediction"] == 7
