"""The counts of features from a metrics port and from Prometheus, both played by a small server."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mnist_lightning.monitoring.sources import SourceError, query_prometheus, watch_metrics

METRICS = """# HELP mnist_features_total Torchserve prometheus counter metric with unit: Count
# TYPE mnist_features_total counter
mnist_features_total{feature="digit",bin="7",Hostname="vm",} 5.0
mnist_features_total{feature="digit",bin="8",Hostname="vm",} 1.0
mnist_features_total{feature="rotation",bin="-45",Hostname="vm",} 6.0
mnist_features_reference{feature="digit",bin="7",Hostname="vm",} 198.0
mnist_model{weights="7297c03b985c",worker="9000",Hostname="vm",} 1.0
"""


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, and the bodies that it answers with, one after the other; the last one stays."""
    bodies = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.pop(0) if len(bodies) > 1 else bodies[0]
            asked = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
            content = body.replace("QUERY", asked).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics", bodies
        server.shutdown()
        thread.join()


def test_all_counts_since_the_start(served: tuple[str, list[str]]) -> None:
    url, bodies = served
    bodies.append(METRICS)
    window = watch_metrics(url, 0)
    assert window.traffic == {"digit": {"7": 5, "8": 1}, "rotation": {"-45": 6}}
    assert window.reference == {"digit": {"7": 198}}
    assert (window.period, window.pictures) == ("the time since the server's start", 6)


def test_a_window_is_the_difference_of_two_readings(served: tuple[str, list[str]]) -> None:
    url, bodies = served
    later = METRICS.replace('bin="7",Hostname="vm",} 5.0', 'bin="7",Hostname="vm",} 25.0')
    bodies.extend([METRICS, later + 'mnist_features_total{feature="digit",bin="9",Hostname="vm",} 2.0\n'])
    pauses = list[float]()
    window = watch_metrics(url, 60, pauses.append)
    assert pauses == [60]
    assert window.traffic == {"digit": {"7": 20, "8": 0, "9": 2}, "rotation": {"-45": 0}}
    assert (window.period, window.pictures) == ("the last 60 seconds", 22)


def test_a_server_that_was_started_again_counts_from_zero(served: tuple[str, list[str]]) -> None:
    url, bodies = served
    bodies.extend([METRICS, METRICS.replace("} 5.0", "} 3.0")])
    assert watch_metrics(url, 60, lambda _: None).traffic["digit"] == {"7": 3, "8": 1}


def test_prometheus_is_asked_for_the_last_hour_and_day(served: tuple[str, list[str]]) -> None:
    url, bodies = served

    def answer(feature: str, count: str) -> str:
        series = f'{{"metric": {{"feature": "{feature}", "bin": "QUERY"}}, "value": [1.5, "{count}"]}}'
        return f'{{"status": "success", "data": {{"result": [{series}]}}}}'

    bodies.extend([answer("digit", "200"), answer("digit", "10.5"), answer("digit", "100")])
    hour, day = query_prometheus(url)
    reference = {"digit": {"max by (feature, bin) (mnist_features_reference)": 200}}
    assert (hour.reference, day.reference) == (reference, reference)
    assert hour.traffic == {"digit": {"sum by (feature, bin) (increase(mnist_features_total[1h]))": 10.5}}
    assert day.traffic == {"digit": {"sum by (feature, bin) (increase(mnist_features_total[1d]))": 100}}
    assert (hour.period, day.period) == ("the last hour", "the last day")


@pytest.mark.parametrize("body", ["", "<html>", "mnist_features_total", "mnist_model{a} x"])
def test_a_page_without_the_metric_is_an_error(body: str, served: tuple[str, list[str]]) -> None:
    url, bodies = served
    bodies.append(body)
    with pytest.raises(SourceError, match="has no mnist_features_total: it is no metrics port, the"):
        watch_metrics(url, 0)
    with pytest.raises(SourceError, match="does not answer as Prometheus does; see --prometheus"):
        query_prometheus(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/metrics", "no url", "http://[::1", "http:///"])
def test_a_url_that_cannot_be_read_is_named(url: str) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        watch_metrics(url, 0)
