"""The drawing page's server in front of TorchServe, as users start it."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from PIL import Image

from benchmarks.browser import page_server
from mnist_lightning import draw
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.serving.torchserve import Server
from mnist_lightning.web.app import EXAMPLES
from tests.pages import running_page
from tests.support import PROJECT, SEVEN

DIGIT = SEVEN.read_bytes()


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("feedback")
    with page_server("--url", server.url, "--feedback", str(folder)) as url:
        yield url


def post(page: str, path: str, body: bytes = DIGIT) -> tuple[int, dict[str, object]]:
    response = requests.post(page + path, data=body, timeout=30)
    return response.status_code, response.json()


def test_picture_is_predicted_and_explained(page: str) -> None:
    status, result = post(page, "read")
    assert status == 200
    assert result["seen"] == (255 * from_bytes(DIGIT)).round().astype(int).tolist()
    status, explained = post(page, "explain")
    assert status == 200, explained
    assert explained["seen"] == result["seen"]
    assert explained["prediction"] == result["answer"]["prediction"] == 7  # type: ignore[index]
    assert len(explained["explanation"]) == 28  # type: ignore[arg-type]


def check_error(page: str, path: str, body: bytes, status: int, message: str) -> None:
    answered, error = post(page, path, body)
    assert (answered, error["code"]) == (status, status)
    assert message in str(error["message"])
    assert "accepted:" not in str(error["message"])  # request formats, which the page hides


@pytest.mark.parametrize("path", ["read", "explain", "feedback/7"])
def test_error_names_the_problem_with_a_picture(page: str, path: str) -> None:
    blank = io.BytesIO()
    Image.new("L", (200, 200), 255).save(blank, "PNG")
    check_error(page, path, b"", 400, "0 bytes" if path == "feedback/7" else "")
    check_error(page, path, b"words", 400, "not a picture")
    check_error(page, path, DIGIT[:2000], 400, "cut")
    if path != "feedback/7":
        check_error(page, path, blank.getvalue(), 400, "no ink")


def test_page_listens_on_loopback_only(page: str) -> None:
    port = urlsplit(page).port
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr]
    assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}


def test_serve_starts_and_stops_the_model_server(small_store: Path, tmp_path: Path, interruptible: None) -> None:
    """With a token, which a page that is started without it reports as missing."""
    (tmp_path / "token").write_text("0123456789abcdef-of-this-test\n")
    command = [sys.executable, "-m", "mnist_lightning.draw", "--serve", "--no-browser", "--port", "0"]
    command += ["--store", str(small_store), "--token-file", str(tmp_path / "token")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("draw: ").strip()
        status, _ = post(url, "read")
        children = psutil.Process(process.pid).children(recursive=True)
        with running_page(inference_url(children), tmp_path) as page_without_token:
            check_error(page_without_token, "read", DIGIT, 502, "--token-file")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (status, process.returncode, errors) == (200, 0, "stopped\n")
    assert len(children) > 1
    assert not any(child.is_running() for child in children)


def inference_url(processes: list[psutil.Process]) -> str:
    """The URL of the TorchServe among the processes: its three HTTP ports are consecutive."""
    connections = [c for process in processes for c in process.net_connections("tcp")]
    ports = {c.laddr.port for c in connections if c.status == "LISTEN" and c.laddr}
    (port,) = (port for port in ports if {port + 1, port + 2} <= ports)
    return f"http://127.0.0.1:{port}"


def test_make_demo_without_a_trained_model_serves_the_pretrained_one(tmp_path: Path, interruptible: None) -> None:
    """In a folder without model_store, as a fresh clone is."""
    command = [sys.executable, "-m", "mnist_lightning.draw", "--serve", "--no-browser", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("draw: ").strip()
        status, result = post(url, "read", (EXAMPLES / "1-up-stroke.jpg").read_bytes())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (status, result["answer"]["prediction"]) == (200, 1)  # type: ignore[index]
    assert errors.startswith("model_store holds no model; the pretrained one (")
    assert "draw --serve" in (PROJECT / "Makefile").read_text()


@pytest.fixture
def restored_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_port_in_use_is_named(page: str, restored_sigterm: None, capsys: pytest.CaptureFixture[str]) -> None:
    port = urlsplit(page).port
    assert draw.main(["--no-browser", "--port", str(port)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: cannot listen on 127.0.0.1, port {port}: ")
