"""Drift of a running server's traffic: alarms within 500 requests of a change, and quiet while nothing changes."""

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from numpy.random import Generator
from PIL import Image

from mnist_lightning import drift
from mnist_lightning.common.constants import EXPORTED, REFERENCE, WEIGHTS
from mnist_lightning.common.reference import Counts, parse
from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.samples import PRESENTATIONS, present
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.inference import features
from mnist_lightning.inference.loader import load_model
from mnist_lightning.monitoring.psi import LARGE, MIN_PICTURES, psi
from mnist_lightning.monitoring.report import measure_drift
from mnist_lightning.monitoring.sources import watch_metrics
from mnist_lightning.packaging.reference import PICTURES, measure_reference, present_validation_set
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import normalize_with_count
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.pictures import encode_png
from tests.server.metrics_port import metrics_url, wait_for_flush

REQUESTS = 300
Draw = Callable[[Bytes, Generator], bytes]  # a digit, white on black -> a file


def drawing(digit: Bytes, rng: Generator) -> bytes:
    return present(Image.fromarray(digit), PRESENTATIONS["drawing"])


def thick_pen(digit: Bytes, rng: Generator) -> bytes:
    large = cv2.dilate(cv2.resize(digit, (100, 100), interpolation=cv2.INTER_CUBIC), np.ones((9, 9), np.uint8))
    return encode_png(np.asarray(255 - large, dtype=np.uint8))


def rotated(digit: Bytes, rng: Generator) -> bytes:
    large = cv2.resize(digit, (100, 100), interpolation=cv2.INTER_CUBIC)
    matrix = cv2.getRotationMatrix2D((49.5, 49.5), 40, 1)
    return encode_png(np.asarray(255 - cv2.warpAffine(large, matrix, (100, 100)), dtype=np.uint8))


def letter(digit: Bytes, rng: Generator) -> bytes:
    return encode_png(outliers.vary_canvas(outliers.OUTLIER_KINDS["letter"](rng), rng))


@pytest.fixture(scope="module")
def unseen(mnist_folder: Path) -> Bytes:
    """MNIST's validation digits that the reference was not made of, (N, 28, 28)."""
    return np.asarray(MnistSplits.load(mnist_folder).validation[0][PICTURES:, 0].numpy())


@pytest.fixture(scope="module")
def parts(small_store: Path, mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model's files, with its reference."""
    folder = tmp_path_factory.mktemp("parts")
    with zipfile.ZipFile(small_store / "mnist.mar") as archive:
        for name in (EXPORTED, WEIGHTS):
            archive.extract(name, folder)
    images = present_validation_set(mnist_folder)
    assert images is not None
    (folder / REFERENCE).write_bytes(measure_reference(folder, images))
    return folder


@pytest.fixture(scope="module")
def watched(small_store: Path, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose archive has a reference."""
    store = tmp_path_factory.mktemp("drift")
    shutil.copy(small_store / "mnist.mar", store)
    with zipfile.ZipFile(store / "mnist.mar", "a") as archive:
        archive.write(parts / REFERENCE, REFERENCE)
    with running(store, free_port()) as server:
        yield server


def send(server: Server, pictures: Sequence[bytes]) -> None:
    with requests.Session() as http:
        for picture in pictures:
            http.post(f"{server.url}/predictions/mnist", picture, timeout=30).raise_for_status()
    wait_for_flush()


def large_changes(server: Server, unseen: Bytes, draw: Draw) -> set[str]:
    """The features that drift by REQUESTS pictures."""
    rng = np.random.default_rng(0)
    pictures = [draw(digit, rng) for digit in unseen[rng.permutation(len(unseen))[:REQUESTS]]]
    wait_for_flush()  # of earlier requests
    window = watch_metrics(metrics_url(server.url), 1, lambda _: send(server, pictures))
    assert window.pictures >= 0.9 * REQUESTS  # what shows several digits does not count
    return {one.feature for one in measure_drift(window) if one.is_large}


@pytest.mark.parametrize(
    ("draw", "expected"),
    [(drawing, set()), (thick_pen, {"stroke_width"}), (rotated, {"rotation"}), (letter, {"is_digit"})],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_traffic_alarms_by_the_feature_that_has_changed(
    draw: Draw, expected: set[str], watched: Server, unseen: Bytes
) -> None:
    found = large_changes(watched, unseen, draw)
    assert expected <= found
    assert bool(found) == bool(expected)


def test_recorded_traffic_becomes_the_reference_of_a_server(small_store: Path, unseen: Bytes, tmp_path: Path) -> None:
    """People with thick pens are no drift, and thin ones are, where thick ones were recorded."""
    path, rng = tmp_path / "recorded.json", np.random.default_rng(0)
    with running(small_store, free_port()) as server:
        url = metrics_url(server.url)
        send(server, [thick_pen(digit, rng) for digit in unseen[:1000]])
        assert drift.main(["--url", url, "--seconds", "0", "--record", str(path)]) == 0
    with running(small_store, free_port(), reference=path) as server:
        url = metrics_url(server.url)
        send(server, [thick_pen(digit, rng) for digit in unseen[1500:1700]])
        assert drift.main(["--url", url, "--seconds", "0"]) == 0
        send(server, [drawing(digit, rng) for digit in unseen[:500]])
        assert drift.main(["--url", url, "--seconds", "0"]) == 1


def test_a_server_without_a_reference_is_read_without_an_alarm(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for_flush()
    assert drift.main(["--url", metrics_url(server.url), "--seconds", "0"]) == 0
    assert "no feature can be compared" in capsys.readouterr().out


@pytest.mark.parametrize("size", [MIN_PICTURES, 500])
def test_at_most_two_of_a_hundred_quiet_windows_alarm(size: int, parts: Path, unseen: Bytes) -> None:
    model = load_model((parts / EXPORTED).read_bytes(), parts)
    (readings,) = model.read([[normalize_with_count(digit) for digit in unseen]])
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        chosen = features.count([readings[index] for index in rng.permutation(len(readings))[:size]])
        alarms += any(psi(bins(chosen, name), expected) >= LARGE for name, expected in model.reference.items())
    assert alarms <= 2


def bins(counts: dict[tuple[str, str], int], feature: str) -> dict[str, float]:
    return {each: counts[name, each] for name, each in features.bins() if name == feature}


def test_the_reference_has_every_feature_but_the_size(parts: Path) -> None:
    found: Counts = parse((parts / REFERENCE).read_bytes(), REFERENCE)
    assert set(found) == set(features.FEATURES) - {"picture_size"}
    assert {sum(each.values()) for each in found.values()} == {PICTURES}
