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
from mnist_lightning.monitoring.psi import psi
from mnist_lightning.serving.resources import default_workers
from mnist_lightning.serving.torchserve import Server
from tests.pictures import bars, encode_png
from tests.server.metrics_port import Samples, scrape, wait_for_flush
from tests.support import PROJECT, SEVEN

DIGIT = SEVEN.read_bytes()
NUMBER = encode_png(bars(1, 5))  # 11111
RAW = {"Content-Type": "application/octet-stream"}
KEYWORDS = {"and", "or", "bool", "group_left"}
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


def declared() -> dict[str, set[str]]:
    """The label names of every metric that the workers may write."""
    kinds = yaml.safe_load((PROJECT / "config/metrics.yaml").read_text())["model_metrics"].values()
    return {metric["name"]: set(metric["dimensions"]) for kind in kinds for metric in kind}


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    """The metrics that recording rules make."""
    return {str(rule["record"]) for rule in rules() if "record" in rule}


def expressions(path: Path) -> Iterator[str]:
    if path == ALERTS:
        yield from (str(rule["expr"]) for rule in rules())
    else:
        for panel in json.loads(path.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


@pytest.fixture(scope="module")
def exposed(increase: Samples) -> dict[str, set[str]]:
    """The label names of every metric that is exposed, by a server with a challenger too, or recorded by a rule."""
    labels = {name: {"feature", "bin"} for name in recorded()}
    for name, own in declared().items():  # tests/server/test_rollout.py finds these exposed
        if name.startswith(("mnist_challenger", "mnist_canary", "mnist_features")):
            labels[name] = own
    for name, values in increase:
        labels.setdefault(name, set()).update(key for key, _ in values)
    return labels


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=lambda path: path.name)
def test_queried_metrics_and_labels_exist(path: Path, exposed: dict[str, set[str]]) -> None:
    for expression in expressions(path):
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
        bare = re.sub(r"\b(?:by|on) \([^)]*\)|\{[^}]*\}|\[[^]]*\]", " ", expression)
        names = set(re.findall(r"(?<![\w:.])[a-zA-Z_][\w:]*(?![\w:]|\s*\()", bare)) - KEYWORDS
        assert names, expression
        assert names <= set(exposed), expression
        labels = {*matched, *(label.strip() for group in grouped for label in group.split(","))}
        assert labels <= set.union(*(exposed[name] for name in names)), expression


def test_the_alerts_are_valid_rules() -> None:
    done = run_promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout


def run_promtool(*arguments: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH; it comes with Prometheus (Debian: apt-get install prometheus)")
    return subprocess.run([promtool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_prometheus_computes_the_index_of_the_verb(tmp_path: Path) -> None:
    """Two hours of pictures: the digits stay as they are, the strokes become thicker, few have a rotation."""
    reference = {"digit": {"1": 500, "7": 500}, "stroke_width": {"0.0": 500, "2.0": 1400, "4.5": 100}}
    per_minute = {"digit": {"1": 5, "7": 5}, "stroke_width": {"0.0": 0, "2.0": 5, "4.5": 5}, "rotation": {"0": 1}}

    def series(metric: str, counts: dict[str, dict[str, int]], text: str) -> list[dict[str, str]]:
        return [
            {"series": f'{metric}{{feature="{name}", bin="{each}"}}', "values": text.format(count)}
            for name, bins in counts.items()
            for each, count in bins.items()
        ]

    expected = psi({name: 60 * count for name, count in per_minute["stroke_width"].items()}, reference["stroke_width"])
    case = {
        "interval": "1m",
        "input_series": [
            *series("mnist_features_total", per_minute, "0+{}x120"),
            *series("mnist_features_reference", reference | {"rotation": {"0": 2000}}, "{}+0x120"),
            {"series": 'mnist_model{weights="a", worker="9000"}', "values": "1+0x120"},
        ],
        "promql_expr_test": [
            check("count(mnist:feature_psi:1h)", 2),  # not of the rotation, with its 60 pictures
            check('mnist:feature_psi:1h{feature="digit"} < bool 0.001', 1, '{feature="digit"}'),
            check(
                f'abs(mnist:feature_psi:1h{{feature="stroke_width"}} - {expected}) < bool 0.01',
                1,
                '{feature="stroke_width"}',
            ),
            check(
                'count by (feature) (ALERTS{alertname="MnistDrift", alertstate="firing"})',
                1,
                '{feature="stroke_width"}',
            ),
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}))
    done = run_promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def check(expression: str, value: float, labels: str = "{}") -> dict[str, object]:
    """A check of promtool's: the value of an expression after two hours."""
    return {"expr": expression, "eval_time": "2h", "exp_samples": [{"labels": labels, "value": value}]}


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
