"""Other servers with the same network: they answer as ours does, leave nothing behind, and are told when they fail."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import requests

from benchmarks.peers import __main__ as command
from benchmarks.peers.process import PeerError, running
from benchmarks.peers.reader import Reader
from benchmarks.peers.registry import PEERS, Peer
from mnist_lightning.client import ask
from mnist_lightning.datasets import samples
from mnist_lightning.loadtest import measure
from mnist_lightning.serving.torchserve import Server
from tests.support import Trained

BROKEN = Peer(("{python} -c \"print('out of luck'); raise SystemExit(3)\"",))


@pytest.fixture(scope="module")
def pictures(mnist_folder: Path) -> list[bytes]:
    """Three digits in every kind."""
    return [sample.content for sample in samples.as_sent(mnist_folder, list(samples.KINDS), 3)]


@pytest.fixture(scope="module")
def answers(trained: Trained, pictures: list[bytes]) -> list[dict[str, object]]:
    return Reader(trained.store / "mnist.mar").read(pictures)


@pytest.fixture
def digits(answers: list[dict[str, object]]) -> list[int]:
    return [int(str(answer["prediction"])) for answer in answers]


JUDGED = {"is_digit", "note"}  # what this project's server alone says besides


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return one["prediction"] == other["prediction"] and one["probabilities"] == pytest.approx(
        other["probabilities"], abs=1e-4
    )


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended may wait for its new parent to take note."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_peers_answer_is_the_servers(
    server: Server, pictures: list[bytes], answers: list[dict[str, object]]
) -> None:
    for picture, answer in zip(pictures, answers, strict=True):
        told = ask(picture, server.url)
        assert set(told) - JUDGED == set(answer)
        assert same(told, answer)


@pytest.mark.parametrize("name", PEERS)
def test_it_reads_as_the_network_does_and_leaves_nothing(
    name: str, trained: Trained, pictures: list[bytes], answers: list[dict[str, object]], digits: list[int]
) -> None:
    peer = PEERS[name]
    if missing := [package for package in peer.needs if find_spec(package) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}; see benchmarks/requirements-peers.txt")
    with running(peer, trained.store, pictures, digits) as (target, pid):
        family = measure.family(pid)
        headers = {"Content-Type": target.content_type}
        told = requests.post(target.url, target.bodies[0], headers=headers, timeout=30).json()
    while not isinstance(told, dict) or "predictions" in told:  # the peer's own wrapping
        told = told["predictions"] if isinstance(told, dict) else told[0]
    assert set(told) - JUDGED == set(answers[0])
    assert same(told, answers[0]) == peer.reads
    assert [process for process in family if alive(process)] == []
    with pytest.raises(requests.ConnectionError):
        requests.get(target.url, timeout=5)


def test_one_that_answers_wrongly_is_not_measured(trained: Trained, pictures: list[bytes], digits: list[int]) -> None:
    wrong = replace(PEERS["empty-handler"], reads=True)
    with pytest.raises(PeerError, match="answered 200 and not"), running(wrong, trained.store, pictures, digits):
        pass


def test_one_that_fails_is_told_and_the_rest_goes_on(
    trained: Trained,
    mnist_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    absent = replace(BROKEN, needs=("a_package_that_is_absent",))
    monkeypatch.setattr(command, "PEERS", {"broken": BROKEN, "absent": absent, "flask": PEERS["flask"]})
    flags = ["--connections", "1", "2", "--seconds", "1", "--warm-up", "1", "--kinds", "mnist"]
    places = ["--data", str(mnist_folder), "--store", str(trained.store), "--plot", str(tmp_path / "peers.png")]
    assert command.main([*flags, *places]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out.splitlines()[-1])
    assert [one["connections"] for one in report["servers"]["flask"]] == [1, 2]
    assert all(one["errors"] == 0 and one["requests_per_second"] > 5 for one in report["servers"]["flask"])
    assert "out of luck" in report["failed"]["broken"]
    assert "a_package_that_is_absent not installed" in report["failed"]["absent"]
    assert "out of luck" in output.err
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_no_archive_is_one_clear_error(mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(mnist_folder), "--store", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
