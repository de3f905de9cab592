"""Where the counts of features come from: a server's metrics port, or a Prometheus server."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import requests

from mnist_lightning.client.api import session
from mnist_lightning.common.constants import FEATURES_METRIC, REFERENCE_METRIC
from mnist_lightning.common.reference import Counts

TIMEOUT = 10.0  # seconds
PERIODS = {"1h": "the last hour", "1d": "the last day"}  # in PromQL and in words
SAMPLE = re.compile(r"(\w+)\{(.*?)\} (\d+(?:\.\d+)?(?:E\d+)?)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
Sample = tuple[Mapping[str, str], float]  # labels and value


class SourceError(RuntimeError):
    """There are no counts at the URL; the message says what to do."""


@dataclass(frozen=True)
class Window:
    """The traffic of a period, and the distributions that it is compared with."""

    period: str  # in words
    traffic: Mapping[str, Mapping[str, float]]  # pictures by feature and bin
    reference: Counts

    @property
    def pictures(self) -> int:
        """The number of pictures whose features are counted."""
        return round(max((sum(bins.values()) for bins in self.traffic.values()), default=0))


def watch_metrics(url: str, seconds: float, pause: Callable[[float], object] = time.sleep) -> Window:
    """The traffic of the next `seconds`, by a server's metrics port; if they are 0, of all since its start.

    `pause` waits for so many seconds.

    Raises SourceError.
    """
    later = _scrape(url)
    if not seconds:
        return replace(later, period="the time since the server's start")
    earlier = later
    pause(seconds)
    later = _scrape(url)
    traffic = {name: _increase(earlier.traffic.get(name, {}), bins) for name, bins in later.traffic.items()}
    return Window(f"the last {seconds:g} seconds", traffic, later.reference)


def query_prometheus(url: str) -> list[Window]:
    """The traffic of the last hour and day, by the API of a Prometheus server that scrapes the metrics port.

    Raises SourceError.
    """
    reference = _as_counts(_query(url, f"max by (feature, bin) ({REFERENCE_METRIC})"))
    whole = {name: {each: round(count) for each, count in bins.items()} for name, bins in reference.items()}
    return [
        Window(words, _as_counts(_query(url, f"sum by (feature, bin) (increase({FEATURES_METRIC}[{period}]))")), whole)
        for period, words in PERIODS.items()
    ]


def _scrape(url: str) -> Window:
    samples = list(_parse(_get(url, {}).text))
    traffic = _as_counts(sample for name, sample in samples if name == FEATURES_METRIC)
    reference = _as_counts(sample for name, sample in samples if name == REFERENCE_METRIC)
    if not traffic:
        raise SourceError(
            f"{url} has no {FEATURES_METRIC}: it is no metrics port, the server has only just started, "
            "or its archive is too old"
        )
    return Window("", traffic, {name: {b: round(n) for b, n in bins.items()} for name, bins in reference.items()})


def _query(url: str, expression: str) -> Iterator[Sample]:
    body = _get(f"{url.rstrip('/')}/api/v1/query", {"query": expression})
    try:
        for series in body.json()["data"]["result"]:
            yield series["metric"], float(series["value"][1])
    except (ValueError, LookupError, TypeError) as error:
        raise SourceError(f"{url} does not answer as Prometheus does; see --prometheus") from error


def _get(url: str, parameters: Mapping[str, str]) -> requests.Response:
    try:
        with session(url) as http:
            response = http.get(url, params=parameters, timeout=TIMEOUT)
        response.raise_for_status()
    except (requests.RequestException, ValueError) as error:
        raise SourceError(f"{url} cannot be read: {error}; is the server running?") from error
    return response


def _parse(text: str) -> Iterator[tuple[str, Sample]]:
    """The samples of Prometheus's text format, by metric; the server's labels hold no quotes."""
    for line in text.splitlines():
        if found := SAMPLE.fullmatch(line):
            name, labels, value = found.groups()
            yield name, (dict[str, Any](LABEL.findall(labels)), float(value))


def _as_counts(samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """Pictures by feature and bin, of all servers and workers together."""
    counts: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for labels, value in samples:
        bins = counts[labels.get("feature", "")]
        bins[labels.get("bin", "")] = bins.get(labels.get("bin", ""), 0) + value
    return dict(counts)


def _increase(earlier: Mapping[str, float], later: Mapping[str, float]) -> dict[str, float]:
    """What each bin has gained; a bin that has less than before belongs to a server that was started again."""
    gained = {name: count - earlier.get(name, 0) for name, count in later.items()}
    return dict(later) if min(gained.values(), default=0) < 0 else gained
