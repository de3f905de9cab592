"""The examples of clients in docs/clients, as their commands say, against a server with a token."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import PROJECT, SEVEN, TIMEOUT

EXAMPLES = PROJECT / "docs" / "clients"
TOKEN = "0123456789abcdef-secret"  # noqa: S105 - of this test's server only
# The program, and what it needs: Java runs a source file only if it comes with a compiler.
COMMANDS = {
    "predict.sh": ("sh", "curl"),
    "predict.py": (sys.executable, sys.executable),
    "predict.mjs": ("node", "node"),
    "Predict.java": ("java", "javac"),
}
per_example = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(scope="module")
def guarded(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    token_file = tmp_path_factory.mktemp("token") / "token"
    token_file.write_text(TOKEN)
    with running(small_store, free_port(), token_file=token_file) as server:
        yield server


def run(name: str, url: str, picture: Path, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    program, needed = COMMANDS[name]
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    kept = {key: value for key, value in os.environ.items() if key != "MNIST_TOKEN"}
    return subprocess.run(
        [program, str(EXAMPLES / name), url, str(picture)],
        env=kept | ({} if token is None else {"MNIST_TOKEN": token}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_every_example_is_tested() -> None:
    tested_elsewhere = {"README.md", "predict.html"}
    assert {path.name for path in EXAMPLES.iterdir()} - tested_elsewhere == set(COMMANDS)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"docs/clients/{name} http://127.0.0.1:8080 data/example-7.png`" in readme for name in COMMANDS)


@per_example
def test_a_picture_is_answered(name: str, guarded: Server) -> None:
    done = run(name, guarded.url, SEVEN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["number"] == "7"


@per_example
def test_a_server_without_a_token_answers_too(name: str, server: Server) -> None:
    done = run(name, server.url, SEVEN, token=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["number"] == "7"


@per_example
def test_the_servers_error_is_shown(name: str, guarded: Server, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for picture, token, message in ((tmp_path / "text.png", TOKEN, "not a picture"), (SEVEN, "x", "requires a token")):
        done = run(name, guarded.url, picture, token)
        assert done.returncode != 0
        assert message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@per_example
def test_a_missing_server_is_an_error(name: str) -> None:
    done = run(name, f"http://127.0.0.1:{free_port()}", SEVEN)
    assert done.returncode != 0
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
