"""Readiness and start-up failures, against a stub of TorchServe's APIs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mnist_lightning.serving.health import MAX_STARTS, WorkerRestarts, is_ready
from mnist_lightning.serving.torchserve import free_port


class Stub(ThreadingHTTPServer):
    """Answers every request with `status` and `body`, and remembers the last request's headers."""

    status, body = 200, b"{}"
    headers: dict[str, str]

    def list_workers(self, *pids: int) -> None:
        """Answer like the management API of a server with these workers."""
        workers = [{"id": f"900{index}", "pid": pid} for index, pid in enumerate(pids)]
        self.body = json.dumps([{"modelName": "mnist", "workers": workers}]).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.headers = dict(self.headers)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "ready"), [(200, True), (401, False), (500, False), (503, False)])
def test_a_server_is_ready_when_a_prediction_succeeds(status: int, ready: bool, stub: Stub) -> None:
    stub.status = status
    assert is_ready(stub.url) is ready
    assert "Authorization" not in stub.headers
    assert is_ready(stub.url, token="x" * 16) is ready
    assert stub.headers["Authorization"] == "Bearer " + "x" * 16


def test_a_port_where_nothing_listens_is_not_ready_and_not_a_failure() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert not is_ready(url)
    assert WorkerRestarts(url).startup_failure() is None


def test_an_archive_that_torchserve_rejects_is_a_failure(stub: Stub) -> None:
    stub.status = 404
    assert "rejects the archive" in (WorkerRestarts(stub.url).startup_failure() or "")


def test_a_worker_that_restarts_again_and_again_is_a_failure(stub: Stub) -> None:
    restarts = WorkerRestarts(stub.url)
    for pid in range(100, 100 + MAX_STARTS - 1):
        for listed in (pid, 0, -1, pid):  # 0 and -1: the process is starting
            stub.list_workers(listed)
            assert restarts.startup_failure() is None
    stub.list_workers(200)
    assert f"its worker ended {MAX_STARTS - 1} times" in (restarts.startup_failure() or "")


def test_several_workers_are_no_restarts(stub: Stub) -> None:
    restarts = WorkerRestarts(stub.url)
    stub.list_workers(*range(100, 100 + 2 * MAX_STARTS))
    assert [restarts.startup_failure() for _ in range(3)] == [None] * 3
