"""The page's server without a browser: whom it answers, what it says where it cannot, and what it keeps."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from PIL import Image

from benchmarks.browser import served
from mnist_lightning.datasets import samples
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.serving.torchserve import Server, free_port
from mnist_lightning.web import feedback
from mnist_lightning.web.app import MAX_BYTES
from tests.support import PROJECT, SEVEN, Trained, verb

DIGIT = SEVEN.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "kept"


@pytest.fixture(scope="module")
def page(server: Server, folder: Path) -> Iterator[str]:
    with served("--url", server.url, "--feedback", str(folder)) as address:
        yield address


@pytest.fixture(scope="module")
def orphan() -> Iterator[str]:
    """A page whose model server is not there."""
    with served("--url", f"http://127.0.0.1:{free_port()}") as address:
        yield address


def post(page: str, path: str, body: bytes = DIGIT, **headers: str) -> tuple[int, dict[str, object]]:
    answer = requests.post(page + path, data=body, headers=headers, timeout=30)
    return answer.status_code, answer.json()


def test_the_page_may_load_nothing_and_ask_nobody_else(page: str) -> None:
    answer = requests.get(page, timeout=10)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert all(
        policy[name].startswith("'sha256-") and "unsafe" not in policy[name] for name in ("script-src", "style-src")
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_picture_is_read_and_explained(page: str) -> None:
    status, said = post(page, "read")
    assert status == 200
    assert said["seen"] == (255 * from_bytes(DIGIT)).round().astype(int).tolist()
    status, explained = post(page, "explain")
    assert (status, explained["seen"]) == (200, said["seen"])
    assert explained["prediction"] == said["answer"]["prediction"] == 7  # type: ignore[index]
    assert len(explained["explanation"]) == 28  # type: ignore[arg-type]


FOREIGN = [
    {"Origin": "http://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Host": "["},
    {"Host": ""},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "elsewhere.example"},
    {"Host": "127.0.0.1.elsewhere.example"},
    {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", ["read", "explain", "feedback/7"])
def test_nobody_else_s_page_may_ask(page: str, folder: Path, path: str, headers: dict[str, str]) -> None:
    kept = list(folder.glob("*"))
    assert post(page, path, **headers)[0] == 403
    assert list(folder.glob("*")) == kept


def test_its_own_may_by_any_of_the_machine_s_addresses(page: str) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "192.168.0.7"):
        name = f"{host}:{urlsplit(page).port}"
        assert post(page, "read", Host=name, Origin=f"http://{name}", **{"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert requests.get(page, headers={"Host": "elsewhere.example"}, timeout=10).status_code == 403
    assert requests.get(page, headers={"Sec-Fetch-Site": "cross-site"}, timeout=10).status_code == 200  # a link to it


def test_only_loopback_listens(page: str) -> None:
    port = urlsplit(page).port
    listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def refused(page: str, path: str, body: bytes, status: int, said: str) -> None:
    got, told = post(page, path, body)
    assert (got, told["code"]) == (status, status)
    assert said in str(told["message"])
    assert "accepted are" not in str(told["message"])  # forms of requests, which nobody who draws has heard of


@pytest.mark.parametrize("path", ["read", "explain", "feedback/7"])
def test_what_is_wrong_with_a_picture_is_told(page: str, path: str) -> None:
    blank = io.BytesIO()
    Image.new("L", (200, 200), 255).save(blank, "PNG")
    refused(page, path, b"", 400, "0 bytes" if path == "feedback/7" else "")
    refused(page, path, b"words", 400, "not a picture")
    refused(page, path, DIGIT[:2000], 400, "cut")
    refused(page, path, bytes(MAX_BYTES + 1), 413, "at most 10,485,760 bytes")
    if path != "feedback/7":
        refused(page, path, blank.getvalue(), 400, "no ink")


def test_its_limit_is_the_model_server_s() -> None:
    assert f"max_request_size={MAX_BYTES}\n" in (PROJECT / "config" / "config.properties").read_text()


@pytest.mark.parametrize("label", ["10", "-1", "seven", "7.5", "7?read=11", "7?read=x"])
def test_a_label_is_a_digit(page: str, folder: Path, label: str) -> None:
    kept = list(folder.glob("*"))
    refused(page, f"feedback/{label}", DIGIT, 400, "0 to 9")
    assert list(folder.glob("*")) == kept


@pytest.mark.parametrize("path", ["read", "explain"])
def test_a_model_server_that_is_not_there(orphan: str, path: str) -> None:
    refused(orphan, path, DIGIT, 502, "mnist_lightning.serve")


def test_what_is_kept_is_the_picture_and_nothing_else_of_its_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera's name"  # lying on its side
    photograph = io.BytesIO()
    Image.open(SEVEN).convert("RGB").rotate(90).save(photograph, "JPEG", exif=exif)
    path = feedback.keep(tmp_path, photograph.getvalue(), 7, 1)
    assert b"camera" not in path.read_bytes()
    assert (from_bytes(path.read_bytes()) == from_bytes(photograph.getvalue())).all()


def test_the_last_word_on_a_picture_counts(tmp_path: Path) -> None:
    other = io.BytesIO()
    Image.open(SEVEN).resize((140, 140)).save(other, "PNG")
    feedback.keep(tmp_path, DIGIT, 1)
    second = feedback.keep(tmp_path, other.getvalue(), 2)
    last = feedback.keep(tmp_path, DIGIT, 7)
    assert {path.name for path in tmp_path.iterdir()} == {second.name, last.name, feedback.LINES}
    lines = [json.loads(line) for line in (tmp_path / feedback.LINES).read_text().splitlines()]
    assert [(line["picture"], line["label"]) for line in lines] == [(second.name, 2), (last.name, 7)]
    assert [sample.label for sample in samples.pictures(tmp_path)] == [2, 7]


def test_many_hands_at_once_lose_no_line(tmp_path: Path) -> None:
    def kept(side: int) -> str:
        file = io.BytesIO()
        Image.open(SEVEN).resize((side, side)).save(file, "PNG")
        return feedback.keep(tmp_path, file.getvalue(), side % 10).name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(kept, range(60, 100)))
    lines = (tmp_path / feedback.LINES).read_text().splitlines()
    assert sorted(json.loads(line)["picture"] for line in lines) == sorted(names)
    assert len(list(samples.pictures(tmp_path))) == len(names)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with served("--feedback", str(tmp_path / "file" / "folder")) as address:
        refused(address, "feedback/7", DIGIT, 500, "cannot be written")


def test_it_starts_the_model_server_too_and_stops_both(trained: Trained, tmp_path: Path, interruptible: None) -> None:
    """With a token that its server asks for; another page without it is told what it lacks."""
    (tmp_path / "token").write_text("0123456789abcdef-of-this-test\n")
    command = [sys.executable, "-m", "mnist_lightning.draw", "--serve", "--no-browser", "--port", "0"]
    command += ["--store", str(trained.store), "--token-file", str(tmp_path / "token")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("draw: ").strip()
        status, _ = post(address, "read")
        children = psutil.Process(process.pid).children(recursive=True)
        with served("--url", inference(children)) as another:
            refused(another, "read", DIGIT, 502, "--token-file")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert (status, process.returncode, told) == (200, 0, "stopped\n")
    assert len(children) > 1
    assert not any(child.is_running() for child in children)


def inference(processes: list[psutil.Process]) -> str:
    """The address of the TorchServe among them: HTTP's ports are the three that lie together."""
    ports = {c.laddr.port for process in processes for c in process.net_connections("tcp") if c.status == "LISTEN"}
    (port,) = (port for port in ports if {port + 1, port + 2} <= ports)
    return f"http://127.0.0.1:{port}"


def test_a_demonstration_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    command = ["make", "-f", PROJECT / "Makefile", "-o", ".venv/.installed", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: model_store/ has no model; make one with: make run" in done.stderr


def test_a_port_in_use_is_named(page: str) -> None:
    done = verb("draw", "--no-browser", "--port", str(urlsplit(page).port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: port {urlsplit(page).port} on 127.0.0.1 cannot be had: ")
    assert "Traceback" not in done.stderr


def test_it_loads_no_torch() -> None:
    program = "import sys, mnist_lightning.draw; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
