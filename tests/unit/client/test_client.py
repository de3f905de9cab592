"""The client without TorchServe: its parser, output, errors and figure."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_lightning.client import ClientError, ask, number_of
from mnist_lightning.client.__main__ import main
from mnist_lightning.client.api import is_loopback
from mnist_lightning.serving.torchserve import free_port
from tests.pages import stub_model_server
from tests.support import PROJECT, verb

SEVEN = {"prediction": 7, "confidence": 0.9, "probabilities": [0.0] * 7 + [0.9, 0.0, 0.1], "is_digit": 0.99}


def piece(digit: int, confidence: float, other: int, left: int = 5) -> dict[str, Any]:
    """A digit of a number, with the second most probable one."""
    probabilities = [0.0] * 10
    probabilities[digit], probabilities[other] = confidence, round(1 - confidence, 6)
    fields = {"prediction": digit, "confidence": confidence, "probabilities": probabilities, "is_digit": 0.99}
    return {**fields, "box": [left, 30, 40, 80]}


NUMBER = {
    **SEVEN,
    "number": "12\n?",
    "lines": ["12", "?"],
    "confidence": 0.6,
    "digits": [piece(1, 0.99, 7), piece(2, 0.8, 3, left=105), piece(6, 0.95, 8)],
    "note": "several digits: 12 / ?",
}


@pytest.fixture
def picture(tmp_path: Path) -> str:
    (tmp_path / "picture.png").write_bytes(b"any bytes")
    return str(tmp_path / "picture.png")


@pytest.fixture(scope="module")
def model_server() -> Iterator[str]:
    with stub_model_server(lambda: (200, SEVEN)) as url:
        yield url


def test_answer_is_printed_with_bars(model_server: str, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", model_server, "--top", "2", picture]) == 0
    output = capsys.readouterr()
    assert output.out == f"{picture}: 7\n  7   90.00 %  {'█' * 27}\n  9   10.00 %  ███\n"
    assert output.err == f"asking {model_server} about {picture}\n"


def test_note_is_printed_below_the_digit(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (200, {**SEVEN, "note": "I see 2 digits"})) as url:
        assert main(["--url", url, "--top", "1", picture]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [f"{picture}: 7", "  note: I see 2 digits"]


def test_a_server_that_sends_a_number_for_one_digit(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {**SEVEN, "number": "?", "note": "this does not look like a digit"}
    with stub_model_server(lambda: (200, answer)) as url:
        assert main(["--url", url, "--top", "1", picture]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [f"{picture}: 7", "  note: this does not look like a digit"]


def test_lines_of_digits_are_printed_below_each_other(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (200, NUMBER)) as url:
        assert main(["--url", url, picture]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{picture}: 12",
        " " * len(f"{picture}: ") + "?",
        "  confidence 60.00 %",
        "  1   99.00 %  40×80 at 5,30",
        "  2   80.00 %  40×80 at 105,30  or 3 20.00 %",
        "  ?   95.00 %  40×80 at 5,30    or 6 95.00 %, 8 5.00 %",
    ]


@pytest.mark.parametrize(
    ("top", "endings"),
    [("1", ["5,30", "105,30", "or 6 95.00 %"]), ("2", ["or 7 1.00 %", "or 3 20.00 %", "or 6 95.00 %, 8 5.00 %"])],
)
def test_top_applies_to_each_digit_of_a_number(
    top: str, endings: list[str], picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stub_model_server(lambda: (200, NUMBER)) as url:
        assert main(["--url", url, "--top", top, picture]) == 0
    for line, ending in zip(capsys.readouterr().out.splitlines()[3:], endings, strict=True):
        assert line.endswith(ending)


def test_json_has_the_number_as_it_is(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (200, NUMBER)) as url:
        assert main(["--url", url, "--json", picture]) == 0
    assert json.loads(capsys.readouterr().out) == {"picture": picture, **NUMBER}


def test_number_of_any_answer() -> None:
    assert [number_of(answer) for answer in (SEVEN, {**SEVEN, "number": "?"}, NUMBER)] == ["7", "?", "12\n?"]


def test_json_is_one_line_per_picture(
    model_server: str, picture: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"any bytes")))
    assert main(["--url", model_server, "--json", "-", picture]) == 0
    output = capsys.readouterr()
    assert [json.loads(line) for line in output.out.splitlines()] == [{"picture": p, **SEVEN} for p in ("-", picture)]
    assert output.err == ""


def test_pictures_after_an_error_are_classified(
    model_server: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", model_server, "--json", "absent.png", picture]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["picture"] == picture
    assert output.err.startswith("error: absent.png: the file cannot be read: No such file")


def test_explanation_is_drawn(tmp_path: Path, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    grid = np.zeros((28, 28))
    grid[5:10], grid[15:20] = 1, -1
    answer = {**SEVEN, "seen": (255 * abs(grid)).tolist(), "explanation": grid.tolist()}
    with stub_model_server(lambda: (200, answer)) as url:
        assert main(["--url", url, "--json", "--explain", str(tmp_path / "new.png"), picture]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert main(["--url", url, "--explain", str(tmp_path / "absent" / "new.png"), picture]) == 1
    assert "seen" not in printed
    assert "explanation" not in printed
    with Image.open(tmp_path / "new.png") as figure:
        red, _, blue = np.moveaxis(np.asarray(figure.convert("RGB")).astype(int), 2, 0)
    assert (red > blue + 60).sum() > 1000
    assert (blue > red + 60).sum() > 1000
    assert "absent/new.png cannot be written: No such file" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"picture.png", "new.png"}


@pytest.mark.parametrize(
    ("count", "explained", "ratio"),
    [(6, 6, 5), (7, 7, 2.5), (3, 2, 1)],
    ids=["one row", "two rows", "a digit without explanation"],
)
def test_every_digit_of_a_number_is_explained(
    count: int, explained: int, ratio: float, tmp_path: Path, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figure is as wide as its panels, and the JSON has no explanation."""
    grid = np.eye(28)
    explanation = {"seen": (255 * grid).tolist(), "explanation": grid.tolist()}
    digits = [piece(1, 0.99, 7) | (explanation if index < explained else {}) for index in range(count)]
    answer = {**SEVEN, **explanation, "number": "1" * count, "digits": digits}
    with stub_model_server(lambda: (200, answer)) as url:
        assert main(["--url", url, "--json", "--explain", str(tmp_path / "new.png"), picture]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"picture": picture, **SEVEN, "number": "1" * count, "digits": [piece(1, 0.99, 7)] * count}
    with Image.open(tmp_path / "new.png") as figure:
        assert ratio <= figure.width / figure.height < 1.5 * ratio


def error(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The only error line of a client that fails."""
    assert main(list(flags)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    return line


def test_absent_server(picture: str) -> None:
    """In a process of its own, as a user runs it."""
    done = verb("client", "--url", f"http://127.0.0.1:{free_port()}", picture)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no server at" in line
    assert "mnist_lightning.serve" in line
    assert "Traceback" not in done.stderr


def test_silent_server_times_out(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = error(capsys, "--timeout", "0.3", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}", picture)
    assert "within 0.3 s" in line
    assert "--timeout" in line


def test_server_that_is_no_model_server(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (404, b"<html>not here</html>")) as url:
        assert "404" in error(capsys, "--url", url, picture)


@pytest.mark.parametrize(
    "answer",
    [b"5", b"null", b"[]", b'"prediction"', b'{"prediction": 7}', json.dumps(SEVEN | {"prediction": "7"}).encode()]
    + [json.dumps(SEVEN | {"probabilities": values}).encode() for values in ([], ["a"] * 10, 7)]
    + [json.dumps(NUMBER | fields).encode() for fields in ({"number": 12}, {"number": "12"}, {"digits": [SEVEN] * 3})]
    + [json.dumps(NUMBER | {"digits": digits}).encode() for digits in ("123", [1, 2, 3], {"1": 2})],
)
@pytest.mark.parametrize("flags", [[], ["--explain", "new.png"]])
def test_answer_that_is_none(answer: bytes, flags: list[str], picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (200, answer)) as url:
        assert "answered 200: " in error(capsys, *flags, "--url", url, picture)


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1", "1e10", "1e400", "soon"])
def test_timeout_is_a_time(seconds: str, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--timeout", seconds, picture])
    assert f"'{seconds}' is not a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        (">/dev/full", 1, "error: the answers cannot be written: No space left on device\n"),
        ("| true", 0, ""),
        ("<&- >/dev/null", 1, "error: -: standard input is closed\n"),
    ],
)
def test_streams_that_are_closed_or_full(
    redirection: str, code: int, message: str, model_server: str, picture: str
) -> None:
    name = "-" if redirection.startswith("<") else picture
    line = f'sleep 0.1; exec "$0" -m mnist_lightning.client --json --url "$1" "$2" {redirection}'
    command = ["bash", "-c", line, sys.executable, model_server, name]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, message)


def test_terminal_that_knows_only_ascii(model_server: str, picture: str) -> None:
    done = verb("client", "--url", model_server, picture, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "7" in done.stdout


def test_error_answer_is_repeated(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stub_model_server(lambda: (400, {"code": 400, "type": "NoDigitError", "message": "no ink"})) as url:
        assert error(capsys, "--url", url, picture) == f"error: {picture}: {url} answered 400: no ink"
        with pytest.raises(ClientError) as caught:
            ask(b"picture", url)
    assert (caught.value.status, caught.value.body["type"]) == (400, "NoDigitError")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1", "http://["])
def test_invalid_url(url: str, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--url" in error(capsys, "--url", url, picture)


def test_unreadable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in error(capsys, str(tmp_path / "absent.png"))
    assert "no picture (.avif, " in error(capsys, str(tmp_path))


def usage_error(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(flags))
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("top", ["0", "11", "three"])
def test_top_is_from_1_to_10(top: str, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"'{top}' is not an integer from 1 to 10" in usage_error(capsys, "--top", top, picture)


def test_only_one_picture_is_explained(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = usage_error(capsys, "--explain", "new.png", picture, picture)
    assert "--explain accepts only one picture" in message


def test_ask_raises_client_error() -> None:
    with pytest.raises(ClientError, match="no server at"):
        ask(b"picture", f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_is_not_asked_through_a_proxy(
    variable: str, model_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    assert ask(b"picture", model_server)["prediction"] == 7


def test_loopback_urls() -> None:
    assert all(map(is_loopback, ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/path"]))
    assert not any(map(is_loopback, ["http://192.168.0.7", "http://localhost.example", "nonsense"]))


def test_client_imports_nothing_heavy(tmp_path: Path) -> None:
    program = """
import sys, mnist_lightning.client.__main__ as client
assert not {'torch', 'cv2', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)
from pathlib import Path
grid = [[1.0] * 28] * 28
client.save_explanation({'prediction': 7, 'confidence': 1, 'seen': grid, 'explanation': grid}, Path(sys.argv[1]))
assert not {'torch', 'cv2'} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "new.png")], cwd=PROJECT, check=True)
