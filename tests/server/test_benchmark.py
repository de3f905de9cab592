"""The load benchmark as a user runs it, on a real server; by wrk where there is one, and by threads."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path

import psutil
import pytest

from mnist_lightning.datasets import samples
from mnist_lightning.loadtest import measure
from mnist_lightning.serving import resources
from mnist_lightning.serving.torchserve import Server, free_port
from tests.support import PROJECT, verb

SHORT = ("--seconds", "1", "--warm-up", "1")
# A PATH with wrk on it, if there is one, and a PATH with nothing.
PATHS = {"wrk": os.environ["PATH"], "threads": ""}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    return PATHS[name]


def report(done: "subprocess.CompletedProcess[str]") -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_table_a_figure_and_a_line_of_json(server: Server, path: str, tmp_path: Path) -> None:
    plot = tmp_path / "made" / "load.png"
    flags = ("--url", server.url, "--connections", "1", "4", "--plot", str(plot))
    done = verb("benchmark", *SHORT, *flags, PATH=path)
    told = report(done)
    assert told["url"] == f"{server.url}/predictions/mnist"
    assert str(told["generator"]).startswith("wrk" if path else "threads")
    assert told["pictures"] == dict.fromkeys(samples.KINDS, 40)
    one, four = told["loads"]  # type: ignore[misc]
    assert (one["connections"], four["connections"]) == (1, 4)
    for measured in (one, four):
        assert measured["errors"] == 0
        assert measured["requests_per_second"] > 5
        assert 0.1 < measured["p50_ms"] <= measured["p95_ms"] <= measured["p99_ms"]
        # Each connection waits for its answer: how many there are and how long they take is one fact told twice.
        assert measured["requests_per_second"] * measured["p50_ms"] / 1000 < 2 * measured["connections"]
        assert 200 < measured["memory_mb"] < 4000  # Java and a worker with torch
        assert f"{measured['requests_per_second']:,.0f}" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_what_is_not_answered_well_is_counted_as_an_error(server: Server, path: str, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "good.png").write_bytes(samples.as_sent(PROJECT / "data/MNIST/raw", ["mnist"], 1)[0].content)

    def one(*names: str) -> dict[str, float]:
        files = [str(tmp_path / name) for name in names]
        flags = ("--url", server.url, "--connections", "2", "--picture", *files)
        loads: list[dict[str, float]] = report(verb("benchmark", *SHORT, *flags, PATH=path))["loads"]  # type: ignore[assignment]
        return loads[0]

    bad, mixed = one("broken.png"), one("broken.png", "good.png")
    assert bad["requests_per_second"] == 0
    assert bad["errors"] > 10
    assert mixed["errors"] == pytest.approx(mixed["requests_per_second"], rel=0.3)


@pytest.fixture
def moody() -> Iterator[str]:
    """A server that hangs up on every third request instead of answering."""

    class Moody(BaseHTTPRequestHandler):
        asked = count(1)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(Moody.asked) % 3:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Moody) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_broken_connections_are_counted_as_errors(moody: str, path: str) -> None:
    done = verb("benchmark", *SHORT, "--url", moody, "--connections", "1", "--kinds", "mnist", PATH=path)
    (one,) = report(done)["loads"]  # type: ignore[misc]
    assert 0 < one["errors"] == pytest.approx(one["requests_per_second"] / 2, rel=0.3)


@pytest.mark.parametrize(
    ("flags", "said", "code"),
    [
        (["--url", f"http://127.0.0.1:{free_port()}"], "no server at", 1),
        (["--url", "nonsense"], "see --url", 1),
        (["--picture", "nowhere.png"], "nowhere.png", 1),
        (["--connections", "0"], "'0' is not a whole number", 2),
        (["--kinds", "fax"], "'fax'", 2),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_measured_is_one_clear_error(flags: list[str], said: str, code: int) -> None:
    done = verb("benchmark", *SHORT, *flags)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_path_that_is_not_there(server: Server) -> None:
    done = verb("benchmark", *SHORT, "--url", f"{server.url}/elsewhere")
    assert done.returncode == 1
    assert "answered 404" in done.stderr


def test_the_memory_is_that_of_the_whole_server(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    assert resources.listening(port) == [server.process.pid]
    whole = measure.resident([server.process.pid])
    java = psutil.Process(server.process.pid).memory_info().rss / 1e6
    assert whole is not None
    assert whole > java + 100  # a worker with torch
    assert resources.listening(free_port()) == []
    assert measure.resident([]) is None
