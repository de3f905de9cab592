"""A challenger beside the model of a running server: the shadow, the canary, and its end."""

import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from mnist_lightning.common.digests import weights_digest
from mnist_lightning.models.archive import load_network
from mnist_lightning.serving.torchserve import free_port
from tests.server.archives import always, failing, slow, write_archive
from tests.server.metrics_port import total, wait_for_flush
from tests.server.serve_process import ServeProcess, serve, wait_until
from tests.support import SEVEN, verb

RAW = {"Content-Type": "application/octet-stream"}
SHARE = 0.3
CLIENTS = [f"client {n}" for n in range(300)]


@pytest.fixture(scope="module")
def original(small_store: Path) -> Path:
    return small_store / "mnist.mar"


@pytest.fixture(scope="module")
def always_three(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose every prediction is a three."""
    path = tmp_path_factory.mktemp("three") / "three.mar"
    write_archive(original, path, **always(original, 3))
    assert load_network(path) is not None
    return path


@pytest.fixture(scope="module")
def process(original: Path, always_three: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server with a challenger that answers some clients and reads the batches of all others."""
    folder = tmp_path_factory.mktemp("rollout")
    (folder / "store").mkdir()
    shutil.copy(original, folder / "store")
    flags = ["--challenger", str(always_three), "--canary", str(SHARE), "--shadow", "1"]
    with serve(folder / "store", folder, *flags) as process:
        process.wait_until_ready()
        yield process


def ask(process: ServeProcess, client: str, path: str = "predictions/mnist") -> tuple[int, str]:
    """The prediction for a seven, and the digest of the model that made it."""
    headers = {**RAW, "X-Client-Id": client}
    answer = requests.post(f"{process.url}/{path}", data=SEVEN.read_bytes(), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["prediction"], answer.headers["X-Model-Digest"]


def test_a_share_of_the_clients_gets_the_challengers_answers(
    process: ServeProcess, original: Path, always_three: Path
) -> None:
    def requests_of(model: str) -> float:
        return total(process.url, "mnist_canary_requests_total", model=model)

    wait_for_flush()  # of the requests that have found the server ready
    before = requests_of("champion"), requests_of("challenger")
    answers = {client: ask(process, client) for client in CLIENTS}
    assert set(answers.values()) == {(7, weights_digest(original)), (3, weights_digest(always_three))}
    by_challenger = [client for client, (digit, _) in answers.items() if digit == 3]
    assert len(by_challenger) == pytest.approx(len(CLIENTS) * SHARE, rel=0.2)
    assert [client for client in CLIENTS if ask(process, client)[0] == 3] == by_challenger
    wait_for_flush()
    assert requests_of("challenger") - before[1] == 2 * len(by_challenger)
    assert requests_of("champion") - before[0] == 2 * (len(CLIENTS) - len(by_challenger))
    assert total(process.url, "mnist_canary", weights=weights_digest(always_three)) >= 1
    assert total(process.url, "mnist_challenger_disagreements_total", mode="canary", champion="7", challenger="3") > 0


def test_an_explanation_is_that_of_the_model_that_answers(process: ServeProcess) -> None:
    taken = next(client for client in CLIENTS if ask(process, client)[0] == 3)
    assert ask(process, taken, "explanations/mnist")[0] == 3


def test_the_shadow_compares_what_the_champion_answers(process: ServeProcess) -> None:
    client = next(client for client in CLIENTS if ask(process, client)[0] == 7)

    def disagreements() -> float:
        return total(process.url, "mnist_challenger_disagreements_total", mode="shadow", champion="7", challenger="3")

    before = disagreements()
    assert ask(process, client)[0] == 7
    wait_until(lambda: disagreements() > before, "the shadow compares nothing")
    for model in ("champion", "challenger"):
        assert total(process.url, "mnist_challenger_microseconds_total", mode="shadow", model=model) > 0
    assert total(process.url, "mnist_challenger_confidence_total", mode="shadow") > 0


def test_the_champion_can_be_replaced_beside_a_challenger(
    process: ServeProcess, original: Path, tmp_path: Path
) -> None:
    client = next(client for client in CLIENTS if ask(process, client)[0] == 7)
    archive = process.store / "mnist.mar"
    write_archive(original, archive, **always(original, 5))
    done = verb("serve", "--reload", "--store", str(archive.parent), XDG_RUNTIME_DIR=str(process.folder))
    assert done.returncode == 0, done.stderr
    assert ask(process, client) == (5, weights_digest(archive))
    assert {ask(process, each)[0] for each in CLIENTS[:50]} == {3, 5}
    wait_until(
        lambda: total(process.url, "mnist_challenger_disagreements_total", champion="5", challenger="3"),
        "the shadow does not compare the new champion",
    )
    shutil.copy(original, archive)
    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ask(process, client) == (7, weights_digest(original)), "the archive is not loaded again")


@pytest.mark.parametrize(
    ("broken", "reason"), [(failing, "the challenger failed on "), (slow, "where the champion needs ")]
)
def test_a_challenger_that_fails_or_is_slow_ends_its_canary(
    broken: Callable[[Path], dict[str, bytes]], reason: str, original: Path, tmp_path: Path, interruptible: None
) -> None:
    challenger = tmp_path / "broken.mar"
    write_archive(original, challenger, **broken(original))
    flags = ["--challenger", str(challenger), "--canary", "0.5", "--shadow", "0.5", "--workers", "2"]
    with serve(original.parent, tmp_path, *flags) as process:
        process.wait_until_ready()
        wait_until(lambda: total(process.url, "mnist_canary") == 2, "a worker does not start")
        digits = Counter[int]()

        def ask_and_look() -> bool:
            digits[ask(process, f"client {digits.total()}")[0]] += 1
            return "the canary has ended" in process.stderr.read_text()

        wait_until(ask_and_look, "the canary does not end")
        wait_until(lambda: total(process.url, "mnist_canary") == 0, "a worker does not learn that the canary has ended")
        assert reason in process.stderr.read_text()
        wait_for_flush()
        answered = total(process.url, "mnist_challenger_comparisons_total", mode="canary")
        for n in range(50):
            digits[ask(process, f"client {n}")[0]] += 1
        assert set(digits) == {7}
        wait_for_flush()
        assert total(process.url, "mnist_challenger_comparisons_total", mode="canary") == answered
        process.stop(signal.SIGINT)


def test_a_challenger_that_cannot_be_loaded_is_an_error_at_the_start(small_store: Path, tmp_path: Path) -> None:
    port = str(free_port())
    broken = tmp_path / "broken.mar"
    write_archive(small_store / "mnist.mar", broken, mnist_onnx=b"no model")
    for path in (broken, tmp_path / "missing.mar"):
        done = verb("serve", "--port", port, "--store", str(small_store), "--challenger", str(path), "--canary", "0.1")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: the challenger {path} ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--challenger", "a.mar"],
        ["--canary", "0.1"],
        ["--shadow", "0.1"],
        ["--challenger", "a.mar", "--shadow", "1.5"],
        ["--challenger", "a.mar", "--canary", "0"],
        ["--challenger", "a.mar", "--canary", "half"],
    ],
)
def test_flags_that_say_too_little_are_usage_errors(flags: list[str]) -> None:
    done = verb("serve", *flags)
    assert done.returncode == 2
    assert "--challenger FILE" in done.stderr or "is not a share, more than 0 and at most 1" in done.stderr
