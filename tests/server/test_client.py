"""The client without a model server: what it costs, and what it says when there is no answer."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mnist_lightning.client import ClientError, ask
from mnist_lightning.serving.torchserve import free_port
from tests.support import PROJECT, verb


@pytest.fixture
def picture(tmp_path: Path) -> str:
    (tmp_path / "picture.png").write_bytes(b"any bytes")
    return str(tmp_path / "picture.png")


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that is up, and no model server."""

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>not here</html>")

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, mnist_lightning.client; print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def failure(*flags: str) -> str:
    done = verb("client", *flags)
    assert done.returncode == 1
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    return errors[0]


def test_no_server(picture: str) -> None:
    told = failure("--url", f"http://127.0.0.1:{free_port()}", picture)
    assert "no server at" in told
    assert "mnist_lightning.serve" in told


def test_a_server_that_takes_too_long(picture: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = failure("--timeout", "0.3", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}", picture)
    assert "within 0.3 s" in told
    assert "--timeout" in told


def test_some_other_server(picture: str, stranger: str) -> None:
    assert "404" in failure("--url", stranger, picture)


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1"])
def test_an_address_that_is_none(url: str, picture: str) -> None:
    assert "--url" in failure("--url", url, picture)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in failure(str(tmp_path / "absent.png"))
    assert "Is a directory" in failure(str(tmp_path))


@pytest.mark.parametrize("top", ["0", "11", "three"])
def test_top_is_from_one_to_ten(top: str, picture: str) -> None:
    done = verb("client", "--top", top, picture)
    assert done.returncode == 2
    assert f"'{top}' is not a number from 1 to 10" in done.stderr


def test_one_picture_is_explained_at_a_time(picture: str) -> None:
    done = verb("client", "--explain", "why.png", picture, picture)
    assert done.returncode == 2
    assert "--explain draws one picture" in done.stderr


def test_drawing_needs_no_torch() -> None:
    program = "import sys, mnist_lightning.evaluation.plots; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_it_is_a_function_too() -> None:
    with pytest.raises(ClientError, match="no server at"):
        ask(b"picture", f"http://127.0.0.1:{free_port()}")
