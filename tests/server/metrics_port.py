"""Reads a server's metrics port."""

import time

import requests
from prometheus_client.parser import text_string_to_metric_families

from mnist_lightning.inference.metrics import FLUSH_SECONDS
from mnist_lightning.serving.config import OFFSETS

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def wait_for_flush() -> None:
    """Wait until every worker has written its counts, and TorchServe has read them."""
    time.sleep(FLUSH_SECONDS + 1)


def metrics_url(url: str) -> str:
    """The URL of the metrics of the server at `url`."""
    base, _, port = url.rpartition(":")
    return f"{base}:{int(port) + OFFSETS['metrics']}/metrics"


def scrape(url: str) -> Samples:
    """Return every sample by its name and labels, without the machine's name."""
    text = requests.get(metrics_url(url), timeout=10).text

    def original(name: str) -> str:
        return name if f"\n{name}{{" in text else name.removesuffix("_total")  # the parser adds it to every counter

    return {
        (
            original(sample.name),
            frozenset((k, v) for k, v in sample.labels.items() if k.lower() != "hostname"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(url: str, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(value for (name, own), value in scrape(url).items() if name == metric and labels.items() <= own)
