"""`serve` as an operator's process: other addresses, proxies, tokens, checks without flags, and a Java that ends."""

import shutil
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import requests

from mnist_lightning.client import ask
from mnist_lightning.serve import MIN_UPTIME
from tests.server.serve_process import SECONDS, ServeProcess, serve, wait_until
from tests.support import PROJECT, SEVEN, verb

NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port
PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), NOWHERE)
TOKEN = "a token of sixteen characters or more".replace(" ", "-")


def test_another_address_with_a_token_behind_a_proxy(small_store: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    flags = ["--host", "127.0.0.2", "--token-file", str(token)]
    with serve(small_store, tmp_path, *flags, environment=PROXIES) as process:
        process.wait_until_ready()
        ask_serve = partial(verb, "serve", XDG_RUNTIME_DIR=str(process.folder), HTTP_PROXY=NOWHERE, http_proxy=NOWHERE)
        assert ask_serve("--check").returncode == 0
        assert ask_serve("--check", "--port", str(process.port)).returncode == 0
        assert ask_serve("--check", "--port", str(process.port + 7)).returncode == 1
        reloaded = ask_serve("--reload", "--store", str(small_store))
        assert reloaded.stdout.startswith("served: weights "), reloaded.stderr
        process.stop(signal.SIGTERM)


def java(process: ServeProcess) -> int:
    (found,) = [child.pid for child in process.children() if child.name() == "java"]
    return found


def test_a_java_that_ends_is_started_again(small_store: Path, tmp_path: Path) -> None:
    with serve(small_store, tmp_path) as process:
        process.wait_until_ready()
        time.sleep(MIN_UPTIME)
        process.process.send_signal(signal.SIGHUP)
        first = java(process)
        process.children()[0].kill()
        process.wait_until_ready()
        assert java(process) != first
        assert ask(SEVEN.read_bytes(), process.url)["prediction"] == 7
        assert "TorchServe exited with code -9; it starts again" in process.stderr.read_text()
        process.stop(signal.SIGTERM)


def test_a_java_that_ends_at_once_is_not(small_store: Path, tmp_path: Path) -> None:
    with serve(small_store, tmp_path) as process:
        process.wait_until_ready()
        process.children()[0].kill()
        assert process.process.wait(30) == 1
        assert "TorchServe exited with code -9 soon after its start" in process.stderr.read_text()


def test_reloads_in_quick_succession_harm_nothing(small_store: Path, tmp_path: Path, interruptible: None) -> None:
    with serve(small_store, tmp_path, "--workers", "2") as process:
        process.wait_until_ready()
        for _ in range(50):
            process.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        assert ask(SEVEN.read_bytes(), process.url)["prediction"] == 7
        metrics = f"http://127.0.0.1:{process.port + 2}/metrics"
        wait_until(lambda: served_by(metrics) == {"9000", "9001"}, "not every worker has a model")
        process.stop(signal.SIGINT)


def test_a_second_signal_does_not_interrupt_the_end(small_store: Path, tmp_path: Path) -> None:
    with serve(small_store, tmp_path) as process:
        process.wait_until_ready()
        family = process.children()
        for _ in range(5):
            process.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert process.process.wait(SECONDS) == 0
        assert [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE] == []


def served_by(metrics: str) -> set[str]:
    """The workers whose metrics name a model."""
    lines = requests.get(metrics, timeout=10).text.splitlines()
    served = [line for line in lines if line.startswith("mnist_model{") and line.endswith(" 1.0")]
    return {line.partition('worker="')[2].partition('"')[0] for line in served}


def test_a_folder_with_a_name_in_other_letters_and_nothing_that_can_be_written(
    small_store: Path, tmp_path: Path
) -> None:
    project = tmp_path / "mein Prøjekt – 数字"
    for name in ("mnist_lightning", "config", "frontend"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(small_store, project / "model_store")
    environment = {"HOME": "/nonexistent", "LANG": "C", "LC_ALL": "C", "PYTHONPATH": str(project)}
    with serve(project / "model_store", tmp_path, umask=0o077, cwd=project, environment=environment) as process:
        process.wait_until_ready()
        assert ask(SEVEN.read_bytes(), process.url)["prediction"] == 7
        process.stop(signal.SIGTERM)
