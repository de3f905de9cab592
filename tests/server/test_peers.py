"""Other servers with the same network: they give the same answers, leave no process behind, and may fail."""

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from benchmarks.peers import __main__ as command
from benchmarks.peers.predictor import Answer, Predictor
from benchmarks.peers.process import PeerError, running
from benchmarks.peers.registry import PEERS, Peer
from mnist_lightning.client import ask
from mnist_lightning.datasets import samples
from mnist_lightning.loadtest import measure
from mnist_lightning.serving.torchserve import Server

BROKEN = Peer(("{python} -c \"print('out of luck'); raise SystemExit(3)\"",))
FIXED_ANSWER = Peer(("{python} -m tests.server.fixed_answer {port}",))
OOD_FIELDS = {"is_digit", "note", "number"}  # only this project's server has them
AT_ONCE = 2  # peers that start at the same time


@dataclass(frozen=True)
class Outcome:
    """What is left to check after a peer has stopped."""

    answer: Any  # to the first picture
    survivors: list[psutil.Process]
    url: str


@pytest.fixture(scope="module")
def pictures(mnist_folder: Path) -> list[bytes]:
    """Three digits in every presentation."""
    return [sample.content for sample in samples.presented_digits(mnist_folder, list(samples.PRESENTATIONS), 3)]


@pytest.fixture(scope="module")
def answers(small_store: Path, pictures: list[bytes]) -> list[Answer]:
    return Predictor(small_store / "mnist.mar").predict_files(pictures)


@pytest.fixture(scope="module")
def digits(answers: list[Answer]) -> list[int]:
    return [int(str(answer["prediction"])) for answer in answers]


@pytest.fixture(scope="module")
def outcomes(small_store: Path, pictures: list[bytes], digits: list[int]) -> Mapping[str, Future[Outcome]]:
    """Every installed peer, started, checked and stopped, some of them at the same time."""

    def run(peer: Peer) -> Outcome:
        with running(peer, small_store, pictures, digits, workers=1) as (target, pid):
            processes = measure.process_tree(pid)
            answer = requests.post(target.url, target.bodies[0], headers=target.headers, timeout=30).json()
        return Outcome(answer, [process for process in processes if is_alive(process)], target.url)

    installed = {name: peer for name, peer in PEERS.items() if not missing_packages(peer)}
    with ThreadPoolExecutor(AT_ONCE) as pool:  # the last peer, MLflow's server, takes longest and starts first
        return {name: pool.submit(run, installed[name]) for name in reversed(installed)}


def missing_packages(peer: Peer) -> list[str]:
    return [package for package in peer.needs if find_spec(package) is None]


def is_close(one: Answer, other: Answer) -> bool:
    expected = pytest.approx(other["probabilities"], abs=5e-3)  # some run the weights, others the exported model
    return one["prediction"] == other["prediction"] and one["probabilities"] == expected


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie has ended."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_predictor_gives_the_servers_answers(server: Server, pictures: list[bytes], answers: list[Answer]) -> None:
    for picture, expected in zip(pictures, answers, strict=True):
        answer = ask(picture, server.url)
        assert set(answer) - OOD_FIELDS == set(expected)
        assert is_close(answer, expected)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_the_same_answer_and_leaves_no_process(
    name: str, outcomes: Mapping[str, Future[Outcome]], answers: list[Answer]
) -> None:
    if missing := missing_packages(PEERS[name]):
        pytest.skip(f"not installed: {', '.join(missing)}; see benchmarks/requirements-peers.txt")
    outcome = outcomes[name].result()
    answer = outcome.answer
    while not isinstance(answer, dict) or "predictions" in answer:  # the peer's own envelope
        answer = answer["predictions"] if isinstance(answer, dict) else answer[0]
    assert set(answer) - OOD_FIELDS == set(answers[0])
    assert is_close(answer, answers[0]) == PEERS[name].classifies
    assert outcome.survivors == []
    with pytest.raises(requests.ConnectionError):
        requests.get(outcome.url, timeout=5)


def test_a_peer_with_wrong_answers_is_rejected(small_store: Path, pictures: list[bytes], digits: list[int]) -> None:
    expected = pytest.raises(PeerError, match="answered 200, but not")
    with expected, running(FIXED_ANSWER, small_store, pictures, digits):
        pass


def test_a_failing_peer_is_reported_and_the_others_are_measured(
    small_store: Path,
    mnist_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    absent = replace(BROKEN, needs=("a_package_that_is_absent",))
    works = replace(FIXED_ANSWER, classifies=False)
    monkeypatch.setattr(command, "PEERS", {"broken": BROKEN, "absent": absent, "works": works})
    flags = ["--connections", "1", "2", "--seconds", "1", "--warm-up", "1", "--kinds", "mnist"]
    paths = ["--data", str(mnist_folder), "--store", str(small_store), "--plot", str(tmp_path / "peers.png")]
    assert command.main([*flags, *paths]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out.splitlines()[-1])
    assert [load["connections"] for load in report["servers"]["works"]] == [1, 2]
    assert all(load["errors"] == 0 and load["requests_per_second"] > 5 for load in report["servers"]["works"])
    assert "out of luck" in report["failed"]["broken"]
    assert "a_package_that_is_absent not installed" in report["failed"]["absent"]
    assert "out of luck" in output.err
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_archive_is_an_error(mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(mnist_folder), "--store", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
