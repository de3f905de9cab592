"""The metrics port, and the dashboard and alerts that query it."""

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
import yaml
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from mnist_lightning.datasets import sketches
from mnist_lightning.inference.metrics import MetricsBuffer
from mnist_lightning.serving.resources import default_workers
from mnist_lightning.serving.torchserve import Server
from tests.pictures import bars, encode_png
from tests.server.metrics_port import Samples, scrape, wait_for_flush
from tests.support import PROJECT, SEVEN

DIGIT = SEVEN.read_bytes()
NUMBER = encode_png(bars(1, 5))  # 11111
RAW = {"Content-Type": "application/octet-stream"}
ALERTS, DASHBOARD = PROJECT / "config/alerts.yaml", PROJECT / "config/grafana-dashboard.json"


def ask(server: Server, body: bytes = DIGIT, path: str = "predictions/mnist") -> int:
    return requests.post(f"{server.url}/{path}", data=body, headers=RAW, timeout=30).status_code


@pytest.fixture(scope="module")
def scribble(server: Server) -> tuple[bytes, str]:
    """A picture that does not look like a digit to the server's network, and the digit predicted for it."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        picture = cv2.imencode(".png", 255 - sketches.scribble(rng))[1].tobytes()
        answer = requests.post(f"{server.url}/predictions/mnist", data=picture, headers=RAW, timeout=30).json()
        if answer["number"] == "?":
            return picture, str(answer["prediction"])
    raise AssertionError("fifty scribbles look like digits")


@pytest.fixture(scope="module")
def increase(server: Server, scribble: tuple[bytes, str]) -> Samples:
    """The increase of every sample by five pictures (one of no digit, one of five), three errors and a /ping."""
    assert ask(server) == 200
    wait_for_flush()  # of all earlier requests
    before = scrape(server.url)
    assert [ask(server, body) for body in (DIGIT, DIGIT, DIGIT, scribble[0], NUMBER)] == [200] * 5
    assert [ask(server, b"no picture") for _ in range(2)] == [400] * 2
    assert ask(server, path="predictions/nobody") == 404
    assert requests.get(f"{server.url}/ping", timeout=10).ok
    wait_for_flush()
    return {key: value - before.get(key, 0) for key, value in scrape(server.url).items()}


def test_predictions_and_errors_are_counted(increase: Samples, scribble: tuple[bytes, str]) -> None:
    def changed(name: str) -> dict[str, float]:
        found = {labels: value for (sample, labels), value in increase.items() if sample == name and value}
        return {" ".join(value for _, value in sorted(labels)): value for labels, value in found.items()}

    assert changed("mnist_request_seconds_count") == {"200": 5, "400": 2, "404": 1}
    assert changed("mnist_refusals_total") == {"NotAPictureError": 2}
    assert changed("mnist_batches_total") == {"1": 7}
    assert changed("mnist_pictures_total") == {"1": 4, "5": 1}
    assert sum(changed("mnist_predictions_total").values()) == 3 + 1 + 5
    assert {key.split()[1] for key in changed("mnist_predictions_total")} == {"7", scribble[1], "1"}
    assert changed("mnist_no_digits_total") == {"": 1}
    assert changed("ts_inference_requests_total") == {"mnist default": 7}


def test_the_histogram_adds_up(increase: Samples) -> None:
    buckets = {dict(labels)["le"]: v for (n, labels), v in increase.items() if n == "mnist_request_seconds_bucket"
               and ("code", "200") in labels}  # fmt: skip
    in_order = [buckets[bound] for bound in sorted(buckets, key=float)]
    assert in_order == sorted(in_order)
    assert (in_order[-1], buckets["0.001"], buckets["5.0"]) == (5, 0, 5)
    seconds = increase["mnist_request_seconds_sum", frozenset({("code", "200")})]
    assert 0.002 < seconds < 15


def test_the_served_model_has_a_name(server: Server) -> None:
    models = {
        (dict(labels)["weights"], dict(labels)["worker"])
        for (name, labels), value in scrape(server.url).items()
        if name == "mnist_model" and value
    }
    (weights,) = {weights for weights, _ in models}
    assert re.fullmatch("[0-9a-f]{12}", weights)
    assert {worker for _, worker in models} == {str(9000 + number) for number in range(default_workers())}


def test_clients_cannot_create_labels(server: Server) -> None:
    def labels() -> set[tuple[str, frozenset[tuple[str, str]]]]:
        wait_for_flush()
        return {key for key in scrape(server.url) if key[0].startswith("mnist_")}

    def send(text: str) -> None:
        ask(server, path=f"predictions/{text}")
        ask(server, path=f"predictions/mnist/{text}")
        ask(server, json.dumps({text: 1}).encode())
        requests.post(f"{server.url}/{text}", headers={"X-Request-Id": text, "Content-Type": text}, timeout=30)

    send("first")
    known = labels()
    for n in range(3):
        send(f"other{n}")
    assert labels() == known


# TorchServe leaves the file open.
@pytest.mark.filterwarnings("ignore:.*metrics.yaml", "ignore:.*metrics.yaml:pytest.PytestUnraisableExceptionWarning")
def test_a_thousand_batches_are_written_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    cache = MetricsCacheYamlImpl(str(PROJECT / "config/metrics.yaml"))
    cache.initialize_cache()
    counts = MetricsBuffer(cache)
    for n in range(1000):
        counts.batch(1 + n % 32, [{"prediction": n % 10, "confidence": n % 101 / 100}])
        counts.error(ValueError(f"number {n}"))
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        counts.flush()
        lines = [record.getMessage() for record in caplog.records]
        counts.flush()
        assert len(caplog.records) == len(lines) < 50
    totals: dict[str, int] = {}
    for line in lines:
        name, value = re.match(r"\[METRICS\](\w+)\.\w+:(\d+)\|", line).groups()  # type: ignore[union-attr]
        totals[name] = totals.get(name, 0) + int(value)
    names = ("mnist_predictions_total", "mnist_pictures_total", "mnist_batches_total", "mnist_refusals_total")
    assert totals == dict.fromkeys(names, 1000)


def expressions(path: Path) -> Iterator[str]:
    if path == ALERTS:
        yield from (rule["expr"] for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"])
    else:
        for panel in json.loads(path.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


@pytest.fixture(scope="module")
def exposed(increase: Samples) -> dict[str, set[str]]:
    """The label names of every exposed metric."""
    labels: dict[str, set[str]] = {}
    for name, values in increase:
        labels.setdefault(name, set()).update(key for key, _ in values)
    return labels


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=lambda path: path.name)
def test_queried_metrics_and_labels_exist(path: Path, exposed: dict[str, set[str]]) -> None:
    for expression in expressions(path):
        grouped = re.findall(r"\bby \(([^)]*)\)", expression)
        matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
        bare = re.sub(r"\bby \([^)]*\)|\{[^}]*\}|\[[^]]*\]", " ", expression)
        names = set(re.findall(r"\b[a-zA-Z_]\w*\b(?!\s*\()", bare)) - {"by"}
        assert names, expression
        assert names <= set(exposed), expression
        labels = {*matched, *(label.strip() for group in grouped for label in group.split(","))}
        assert labels <= set.union(*(exposed[name] for name in names)), expression


def test_the_alerts_are_valid_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH; it comes with Prometheus (Debian: apt-get install prometheus)")
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


def test_dashboard_panels_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text())
    sources = {f"${{{variable['name']}}}" for variable in board["templating"]["list"]}
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24, panel["title"]
        assert panel["datasource"]["uid"] in sources
        cells |= own
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
