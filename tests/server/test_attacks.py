"""Requests that are made to hurt: only their sender is refused, and its neighbours are answered as usual."""

import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import pytest
import requests

from benchmarks.attacks import BINARY, BODIES, FORMS, JSON, MESSAGES, MULTIPART, PICTURES, RAW, field, infer, numbers
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


def scheduled(*pids: int) -> tuple[float, float]:
    """Nanoseconds that the threads of these processes have run, and have waited for a core."""
    ran = waited = 0.0
    for path in (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            values = path.read_text().split()
            ran, waited = ran + float(values[0]), waited + float(values[1])
    return ran or time.time(), waited  # a system that does not count them


@contextmanager
def neighbours(server: Server) -> Iterator[None]:
    """Ask the server all the time while the block runs; check that each answer is right and in time.

    In time is meant for a worker, a front end and clients that have a core whenever they want one: the share of time
    for which they waited for a core, which other tests occupied, is taken off.
    """
    expected, ended = ask(DIGIT, server.url), threading.Event()
    process, before = worker(server), worker(server).memory_info().rss
    involved = (process.pid, server.process.pid, os.getpid())
    ran, waited = scheduled(*involved)
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
                ended.wait(0.05)  # hundreds of requests a second in all
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
    ran, waited = (now - then for now, then in zip(scheduled(*involved), (ran, waited), strict=True))
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


@pytest.mark.parametrize("attacked", BINARY)
def test_binary_tensors(own_server: Server, attacked: str) -> None:
    body, length = BINARY[attacked]()
    headers = {**RAW, "Inference-Header-Content-Length": length}
    for answer in attack(own_server, body, headers, "v2/models/mnist/infer"):
        assert answer.status_code in REFUSED, answer.text[:500]
        assert set(answer.json()) == {"error"}
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


SMUGGLED = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
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
    with connect(own_server) as connection:
        lines = b"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\n" + AMBIGUOUS[attacked]
        connection.sendall(lines + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_chunks_are_accepted(own_server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        yield DIGIT[:100]
        yield DIGIT[100:]

    with requests.Session() as session:
        for _ in range(3):  # on one connection
            answer = session.post(f"{own_server.url}/predictions/mnist", data=chunks(), headers=RAW, timeout=30)
            assert answer.json()["prediction"] == 7


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunk_is_read_however_it_arrives(own_server: Server, size: int) -> None:
    """In pieces, with an extension and trailers, which are ignored, and followed by another request."""
    first, second = DIGIT[:100], DIGIT[100:]
    body = b"64;name=value\r\n%b\r\n%X\r\n%b\r\n0\r\nX-Digest: 1\r\n\r\n" % (first, len(second), second)
    with connect(own_server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), size):
            connection.sendall(body[start : start + size])
            time.sleep(0.001)
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200"]
    assert json.loads(answers[0].partition(b"\r\n\r\n")[2])["prediction"] == 7


BAD_CHUNKS = {
    "a negative size": b"-1\r\nabc\r\n",
    "minus zero": b"-0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n",
    "a space before": b" 3\r\nabc\r\n",
    "a space after": b"3 \r\nabc\r\n",
    "a prefix": b"0x3\r\nabc\r\n",
    "no size": b"\r\nabc\r\n",
    "no number": b"zz\r\nabc\r\n",
    "a size beyond 32 bits": b"FFFFFFFFF\r\nabc\r\n",
    "more than its size": b"3\r\nabcdef\r\n",
    "no end": b"3\r\nabcXX0\r\n\r\n",
    "a lone line feed": b"3\nabc\r\n",
    "a line feed in an extension": b"3;a=\nb\r\nabc\r\n",
    "a carriage return in an extension": b"3;a=\rb\r\nabc\r\n",
    "a long extension": b"3;" + b"a" * 9000 + b"\r\nabc\r\n",
    "long trailers": b"0\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("attacked", BAD_CHUNKS)
@pytest.mark.parametrize("first", [b"", b"3\r\nabc\r\n"])
def test_chunks_that_a_proxy_could_read_otherwise(own_server: Server, attacked: str, first: bytes) -> None:
    with connect(own_server) as connection:
        connection.sendall(b"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + first)
        connection.sendall(BAD_CHUNKS[attacked] + b"0\r\n\r\n" + SMUGGLED)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"BadHttpError"' in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Expect: bogus\r\nContent-Length: %d" % len(SMUGGLED), b"417"),
        (b"Expect: 100-continue\r\nContent-Length: 20000000", b"413"),
    ],
)
def test_a_body_that_was_not_expected_is_no_request(own_server: Server, lines: bytes, status: bytes) -> None:
    with connect(own_server) as connection:
        connection.sendall(b"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n" + SMUGGLED)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") == 1
    json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("line", [b"OPTIONS *", b"CONNECT a:80", b"GET ?", b"GET ping", b"GET http://x/ping"])
@pytest.mark.parametrize("kind", ["inference", "management"])
def test_a_target_that_is_no_path(own_server: Server, line: bytes, kind: str) -> None:
    port = (urlsplit(own_server.url).port or 0) + OFFSETS[kind]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(line + b" HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


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


INFER = "/inference.GRPCInferenceService/ModelInfer"
BAR = struct.pack("<784f", *(float(4 <= n // 28 < 24 and 13 <= n % 28 < 16) for n in range(784)))


def grpc_address(server: Server) -> str:
    return f"127.0.0.1:{(urlsplit(server.url).port or 0) + GRPC_OFFSETS['grpc_inference']}"


def call(server: Server, message: bytes, method: str = INFER) -> str:
    """The status of a call on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(grpc_address(server), options=options) as channel:
        try:
            channel.unary_unary(method)(message, timeout=60)
        except grpc.RpcError as error:
            assert len(error.details()) < 4000
            return str(error.code().name)
        return "OK"


@pytest.mark.parametrize("attacked", MESSAGES)
def test_grpc_messages(own_server: Server, attacked: str) -> None:
    """TorchServe's Java ends when so many large messages arrive at once."""
    message, java = MESSAGES[attacked](), own_server.process.pid
    with neighbours(own_server), ThreadPoolExecutor(20) as pool:
        found = set(pool.map(lambda _: call(own_server, message), range(20)))
    assert found <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, found
    assert call(own_server, infer(raw=BAR)) == "OK"
    assert (own_server.process.poll(), own_server.process.pid) == (None, java)


def test_large_calls_of_torchserve_s_own_service(own_server: Server) -> None:
    method = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
    # model_name, and input: a map of names to bytes
    message = field(1, b"mnist") + field(3, field(1, b"data") + field(2, bytes(10_000_000)))
    with neighbours(own_server), ThreadPoolExecutor(20) as pool:
        found = set(pool.map(lambda _: call(own_server, message, method), range(20)))
    assert found <= {"OK", "RESOURCE_EXHAUSTED"}, found  # OK: the error is in the answer
    assert own_server.process.poll() is None


def test_stalled_grpc_calls_end(own_server: Server) -> None:
    """More of them than may be in progress at once; then a call is answered."""
    ended = threading.Event()

    def never() -> Iterator[bytes]:
        ended.wait(60)
        yield from ()

    with grpc.insecure_channel(grpc_address(own_server)) as channel:
        calls = [channel.stream_unary(INFER).future(never(), timeout=60) for _ in range(40)]
        codes = {stalled.code().name for stalled in calls}
        ended.set()
    assert codes == {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert call(own_server, infer(raw=BAR)) == "OK"


def test_clients_that_leave_free_their_places(own_server: Server) -> None:
    with grpc.insecure_channel(grpc_address(own_server)) as channel:
        for _ in range(100):
            left = channel.unary_unary(INFER).future(infer(raw=BAR), timeout=60)
            left.cancel()
    wait_until(lambda: call(own_server, infer(raw=BAR)) == "OK", "the places are taken")
    with neighbours(own_server), ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: call(own_server, infer(raw=BAR)), range(40))) == {"OK"}


def test_grpc_manages_nothing(own_server: Server) -> None:
    port = (urlsplit(own_server.url).port or 0) + GRPC_OFFSETS["grpc_management"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        scale = channel.unary_unary("/org.pytorch.serve.grpc.management.ManagementAPIsService/ScaleWorker")
        with pytest.raises(grpc.RpcError) as refused:
            scale(b"\x0a\x05mnist", timeout=10)  # model_name: "mnist", and no workers
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert ask(DIGIT, own_server.url)["prediction"] == 7


@pytest.mark.parametrize("method", ["StreamPredictions", "StreamPredictions2"])
def test_grpc_has_no_streams(own_server: Server, method: str) -> None:
    """TorchServe's worker threads end by them."""
    port = (urlsplit(own_server.url).port or 0) + GRPC_OFFSETS["grpc_inference"]
    request = b"\x0a\x05mnist" + b"\x22\x03abc"  # model_name and sequence_id
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(f"/org.pytorch.serve.grpc.inference.InferenceAPIsService/{method}")
        with pytest.raises(grpc.RpcError) as refused:
            list(call(iter([request]), timeout=10))
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert ask(DIGIT, own_server.url)["prediction"] == 7
