"""The load generators with a stub server, whose answers are known exactly."""

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import count

import pytest

from mnist_lightning.loadtest.generators import LoadError, Target, generator_name, run_threads, run_wrk
from tests.http_servers import Quiet, serving
from tests.pages import stub_model_server

GENERATORS = {"wrk": run_wrk, "threads": run_threads}
installed = pytest.mark.parametrize(
    "generator",
    [
        pytest.param("wrk", marks=pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")),
        "threads",
    ],
)


@pytest.fixture
def flaky_server() -> Iterator[str]:
    """A server that closes the connection at every third request instead of answering."""
    requests = count(1)

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(requests) % 3:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

    with serving(Handler) as url:
        yield f"{url}/"


@installed
def test_broken_connections_are_counted(flaky_server: str, generator: str) -> None:
    stats = GENERATORS[generator](Target(flaky_server, [b"picture"]), 1, 1)
    assert 0 < stats.connection_errors == pytest.approx(stats.responses / 2, rel=0.1, abs=2)
    assert stats.error_responses == 0
    assert 0 < stats.p50_ms <= stats.p95_ms <= stats.p99_ms


@installed
def test_error_statuses_are_counted(generator: str) -> None:
    statuses = count()
    with stub_model_server(lambda: (400 if next(statuses) % 4 == 0 else 200, {})) as url:
        stats = GENERATORS[generator](Target(f"{url}/predictions/mnist", [b"one", b"two"]), 2, 1)
    assert 0 < stats.error_responses == pytest.approx(stats.responses / 4, abs=2)
    assert stats.connection_errors == 0


def test_generator_is_wrk_if_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generator_name().startswith("wrk" if shutil.which("wrk") else "threads")
    monkeypatch.setenv("PATH", "")
    assert generator_name().startswith("threads")


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_failure_of_wrk_is_a_load_error() -> None:
    with pytest.raises(LoadError, match="wrk failed: "):
        run_wrk(Target("no URL", [b"picture"]), 1, 1)


def test_token_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Target("http://127.0.0.1", [b""], token="secret"))  # noqa: S106
