"""TorchServe with the small network: every form of request, the client, start and stop."""

import base64
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from mnist_lightning.client import ask
from mnist_lightning.client.__main__ import main as client
from mnist_lightning.datasets import mnist
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import normalize_with_count, turn
from mnist_lightning.serving import config, torchserve
from mnist_lightning.serving.health import is_ready
from mnist_lightning.serving.torchserve import Server, free_port
from mnist_lightning.web.app import EXAMPLES
from tests.pictures import encode_png, lines_of_digits
from tests.server.serve_process import serve, wait_until
from tests.support import PROJECT, verb

RAW = {"Content-Type": "application/octet-stream"}
SECRET = {"AWS_SECRET_ACCESS_KEY": "a secret"}
Digits = tuple[list[bytes], list[int]]  # picture files and labels


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Digits:
    """Test digits as people send them: dark ink on white paper, five times as large."""
    images, labels = mnist.load(mnist_folder, train=False)
    files = []
    for image in images[:200, 0].numpy():
        file = io.BytesIO()
        large = Image.fromarray(255 - image).resize((140, 140), Image.Resampling.BICUBIC)
        large.save(file, "PNG")
        files.append(file.getvalue())
    return files, labels[:200].tolist()


@pytest.fixture
def picture(digits: Digits, tmp_path: Path) -> Path:
    """A seven."""
    path = tmp_path / "drawn.png"
    path.write_bytes(digits[0][0])
    return path


def post(server: Server, **request: object) -> requests.Response:
    return requests.post(f"{server.url}/predictions/mnist", timeout=30, **request)  # type: ignore[arg-type]


def test_all_forms_of_request_get_the_same_answer(server: Server, digits: Digits) -> None:
    content = digits[0][0]
    forms: list[dict[str, object]] = [
        {"data": content, "headers": RAW},
        {"data": content, "headers": {"Content-Type": "image/png"}},
        {"files": {"data": content}},
        {"files": {"data": content}, "data": {"comment": "a seven"}},
        {"json": {"image": base64.b64encode(content).decode()}},
        {"data": gzip.compress(content), "headers": {**RAW, "Content-Encoding": "gzip"}},
        {"data": zlib.compress(content), "headers": {"Content-Encoding": "deflate"}},
    ]
    answers = [post(server, **form) for form in forms]
    assert [answer.status_code for answer in answers] == [200] * len(forms)
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}
    for answer in answers:
        assert answer.json()["probabilities"] == pytest.approx(answers[0].json()["probabilities"], abs=2e-5)


@pytest.mark.parametrize("name", ["bar.heic", "bar.avif", "bar.ppm"])
def test_other_formats_of_phones_and_tools(server: Server, name: str) -> None:
    content = (PROJECT / "tests" / "corpus" / name).read_bytes()[1:]  # the first byte is the fuzzer's
    answer = post(server, data=content, headers=RAW)
    assert (answer.status_code, answer.json()["prediction"]) == (200, 1), answer.text


def test_a_turned_digit_is_read(server: Server) -> None:
    answer = ask((EXAMPLES / "9-turned.jpg").read_bytes(), server.url, explain=True)
    assert (answer["prediction"], answer["rotation"]) == (9, 30)
    upright = turn(normalize_with_count(decode((EXAMPLES / "9-turned.jpg").read_bytes())), 30)
    assert answer["seen"] == (255 * upright.image).round().astype(int).tolist()


@pytest.fixture(scope="module")
def number(mnist_folder: Path) -> bytes:
    """The number 721 above 04."""
    images = mnist.load(mnist_folder, train=False)[0][:5, 0].numpy()
    return encode_png(lines_of_digits([images[:3], images[3:]]))


def test_a_number_is_read_in_every_protocol(server: Server, number: bytes, digits: Digits) -> None:
    answer = ask(number, server.url)
    assert (answer["number"], answer["lines"], answer["note"]) == ("721\n04", ["721", "04"], "several digits: 721 / 04")
    height, width = decode(number).shape[:2]
    for digit in answer["digits"]:
        left, top, across, down = digit["box"]
        assert 0 <= left < left + across <= width
        assert 0 <= top < top + down <= height
    text, single = (base64.b64encode(content).decode() for content in (number, digits[0][0]))
    fields = post(server, files=[("a", number), ("b", digits[0][0]), ("c", number)]).json()
    v1 = requests.post(f"{server.url}/v1/models/mnist:predict", json={"instances": [single, text]}, timeout=30).json()
    assert fields[0] == fields[2] == v1["predictions"][1] == post(server, json={"image": text}).json() == answer
    assert fields[1]["number"] == v1["predictions"][0]["number"] == "7"
    tensor = {"name": "x", "shape": [3], "datatype": "BYTES", "data": [text, single, text]}
    v2 = requests.post(f"{server.url}/v2/models/mnist/infer", json={"inputs": [tensor]}, timeout=30).json()
    outputs = {output["name"]: (output["shape"], output["data"]) for output in v2["outputs"]}
    assert outputs["number"] == ([3], ["721\n04", "7", "721\n04"])
    assert outputs["digit_count"] == ([3], [5, 0, 5])
    assert outputs["digit_prediction"] == ([10], [7, 2, 1, 0, 4] * 2)
    boxes = [pixel for digit in answer["digits"] for pixel in digit["box"]]
    assert outputs["digit_box"] == ([10, 4], boxes * 2)
    assert outputs["digit_probabilities"][0] == [10, 10]


def test_a_number_is_explained_digit_by_digit(server: Server, number: bytes) -> None:
    answer = ask(number, server.url, explain=True)
    for part in (answer, *answer["digits"]):
        assert np.shape(part["seen"]) == np.shape(part["explanation"]) == (28, 28)
    read = [post(server, json={"image": digit["seen"]}).json()["number"] for digit in answer["digits"]]
    assert read == ["7", "2", "1", "0", "4"]


def test_boxes_are_in_pixels_of_the_picture_that_was_sent(server: Server, number: bytes) -> None:
    """A picture of thousands of pixels is decoded smaller."""
    with Image.open(io.BytesIO(number)) as picture:
        file = io.BytesIO()
        picture.resize((picture.width * 8, picture.height * 8), Image.Resampling.BICUBIC).save(file, "JPEG")
    small, large = ask(number, server.url), ask(file.getvalue(), server.url)
    assert large["number"] == small["number"]
    for one, other in zip(small["digits"], large["digits"], strict=True):
        assert np.divide(other["box"], 8) == pytest.approx(one["box"], abs=4)


def test_pixels_of_mnist_are_classified(server: Server, mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=False)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: post(server, json={"image": image.tolist()}).json(), images[:500, 0]))
    right = [answer["prediction"] == label for answer, label in zip(answers, labels[:500].tolist(), strict=True)]
    assert np.mean(right) > 0.97


def test_picture_files_are_classified(server: Server, digits: Digits) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda content: ask(content, server.url), digits[0]))
    right = [answer["prediction"] == label for answer, label in zip(answers, digits[1], strict=True)]
    assert np.mean(right) > 0.97


def test_an_invalid_request_does_not_affect_its_batch(server: Server, digits: Digits) -> None:
    bodies = [*digits[0][:3], digits[0][3][:100], *digits[0][4:8]]
    alone = [post(server, data=body, headers=RAW) for body in bodies]
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda body: post(server, data=body, headers=RAW), bodies))
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200, 200, 200, 200]
        assert [answer.json().get("prediction") for answer in answers] == [a.json().get("prediction") for a in alone]
    assert set(answers[3].json()) == {"code", "type", "message"}
    assert answers[3].headers["Content-Type"] == "application/json"


def test_the_client_prints_the_digit(server: Server, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert client(["--url", server.url, "--top", "3", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{picture}: ")
    assert len(lines) == 4
    shares = [float(line.split()[1]) for line in lines[1:]]
    assert shares == sorted(shares, reverse=True)
    assert lines[1].split()[0] == lines[0].split()[-1]


def test_the_client_reads_standard_input_and_prints_json(server: Server, picture: Path) -> None:
    with picture.open("rb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "mnist_lightning.client", "--json", "--url", server.url, "-", str(picture)],
            cwd=PROJECT,
            stdin=stream,
            capture_output=True,
            text=True,
            check=True,
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["picture"] for answer in answers] == ["-", str(picture)]
    assert answers[0]["probabilities"] == pytest.approx(answers[1]["probabilities"], abs=2e-5)


def test_the_client_prints_the_servers_error(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    assert client(["--url", server.url, str(tmp_path / "broken.png")]) == 1
    assert "400: not a picture" in capsys.readouterr().err


def test_the_client_continues_after_an_invalid_file(
    server: Server, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:200])
    assert client(["--json", "--url", server.url, str(tmp_path / "cut.png"), str(picture)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["picture"] for line in out.splitlines()] == [str(picture)]
    assert f"error: {tmp_path / 'cut.png'}: {server.url} answered 400: the picture is damaged or cut" in err


def test_the_client_draws_the_explanation(
    server: Server, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client(["--explain", str(tmp_path / "why.png"), "--json", "--url", server.url, str(picture)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"picture", "prediction", "confidence", "probabilities", "is_digit", "number"}
    with Image.open(tmp_path / "why.png") as figure:
        pixels = np.asarray(figure.convert("RGB")).astype(int)
    red, blue = (pixels[..., 0] - pixels[..., 2] > 60).sum(), (pixels[..., 2] - pixels[..., 0] > 60).sum()
    assert min(red, blue) > 100
    assert {path.name for path in tmp_path.iterdir()} == {"why.png", "drawn.png"}


def test_predictions_and_explanations_in_one_batch_are_kept_apart(server: Server, digits: Digits) -> None:
    alone = [ask(content, server.url) for content in digits[0][:8]]
    explained = [n % 3 == 0 for n in range(48)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ask(digits[0][n % 8], server.url, 60, explain=explained[n]), range(48)))
    assert ["explanation" in answer for answer in answers] == explained
    assert [answer["prediction"] for answer in answers] == [alone[n % 8]["prediction"] for n in range(48)]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's list of loaded libraries")
def test_a_worker_loads_torch_only_to_explain_an_answer(small_store: Path, digits: Digits) -> None:
    def has_torch(server: Server) -> bool:
        workers = psutil.Process(server.process.pid).children(recursive=True)
        return any("libtorch" in Path(f"/proc/{worker.pid}/maps").read_text() for worker in workers)

    with torchserve.running(small_store, free_port(), workers=1) as server:
        assert post(server, data=digits[0][0], headers=RAW).json()["prediction"] == 7
        assert not has_torch(server)
        explained = requests.post(f"{server.url}/explanations/mnist", data=digits[0][0], headers=RAW, timeout=60)
        assert len(explained.json()["explanation"]) == 28
        assert has_torch(server)


@pytest.mark.parametrize("header", ["explain", "Explain"])
def test_a_header_does_not_turn_a_prediction_into_an_explanation(header: str, server: Server, digits: Digits) -> None:
    assert "explanation" not in post(server, data=digits[0][0], headers={**RAW, header: "True"}).json()


def test_all_ports_listen_on_loopback(server: Server) -> None:
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    listening = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 5
    assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_sigterm_stops_all_processes_after_received_requests_are_answered(
    small_store: Path, picture: Path, tmp_path: Path
) -> None:
    several = {"instances": [base64.b64encode(picture.read_bytes()).decode()] * 16}

    def predict(url: str) -> set[int]:
        answer = requests.post(f"{url}/predictions/mnist", json=several, timeout=30).json()
        return {each["prediction"] for each in answer["predictions"]}

    with serve(small_store, tmp_path, "--workers", "2", environment=SECRET) as process, ThreadPoolExecutor(16) as pool:
        process.wait_until_ready()
        assert ask(picture.read_bytes(), process.url)["prediction"] == 7
        assert not any(SECRET.items() & child.environ().items() for child in process.children())
        metrics = f"http://127.0.0.1:{process.port + 2}/metrics"
        in_flight = re.compile(r"mnist_requests_in_flight (\d+)")
        answers: list[Future[set[int]]] = []

        def many_are_in_flight() -> bool:
            if all(answer.done() for answer in answers):  # also if they were answered before they were counted
                answers.extend(pool.submit(predict, process.url) for _ in range(16))
            return int(in_flight.findall(requests.get(metrics, timeout=10).text)[0]) > 4

        wait_until(many_are_in_flight, "no requests arrive")
        pending = [answer for answer in answers if not answer.done()]
        process.stop(signal.SIGTERM)
        assert pending
        assert all(answer.result() == {7} for answer in answers)


def test_sigkill_leaves_no_process(small_store: Path, tmp_path: Path) -> None:
    with serve(small_store, tmp_path) as process:
        process.wait_until_ready()
        family = process.children()
        process.process.kill()
        process.process.wait()
    assert psutil.wait_procs(family, timeout=15)[1] == []


def test_check_asks_for_a_prediction(server: Server) -> None:
    assert verb("serve", "--check", "--port", server.url.rpartition(":")[2]).returncode == 0


def test_torchserves_own_launcher_works(small_store: Path, picture: Path, tmp_path: Path) -> None:
    """As in docs/operations.md, but on free ports."""
    port = free_port()
    settings = config.write_config(tmp_path, small_store, port)
    environment = torchserve.environment(tmp_path, needs_torch=True) | {"JAVA_HOME": str(torchserve.java_home())}
    launcher = Path(sys.executable).with_name("torchserve")
    command: list[str | Path] = [launcher, "--start", "--foreground", "--ncs", "--ts-config", settings]
    command += ["--log-config", PROJECT / "config/log4j2.xml"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}", 1), "TorchServe does not predict")
        assert ask(picture.read_bytes(), f"http://127.0.0.1:{port}")["prediction"] == 7
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
