"""HEIC and AVIF are decoded in a process of their own, whose limits end it."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pytest
from PIL import Image

from mnist_lightning.preprocessing import heif
from mnist_lightning.preprocessing.decode import WORKING_SIDE, decode
from mnist_lightning.preprocessing.errors import (
    BadPictureError,
    BusyDecoderError,
    NotAPictureError,
    TooManyPixelsError,
)
from tests.support import PROJECT

CORPUS = PROJECT / "tests" / "corpus"  # made by pillow-heif, which has an encoder; the first byte is the fuzzer's


@pytest.fixture
def bar() -> bytes:
    """A dark bar, upright and left of the middle, on white."""
    return (CORPUS / "bar.heic").read_bytes()[1:]


@pytest.fixture(autouse=True)
def own_decoder() -> Iterator[None]:
    """Each test starts its own process, with its own limits."""
    heif.close()
    yield
    heif.close()


def avif(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "AVIF", speed=10)
    return file.getvalue()


def test_heic_is_decoded(bar: bytes) -> None:
    pixels = decode(bar)
    assert pixels.shape == (60, 80, 3)
    assert pixels[10:50, 20:26].mean() < 40
    assert pixels[:, 40:].mean() > 240


def test_heic_is_turned_upright_once() -> None:
    """Its camera was held upright: the container says so, and so do its EXIF data."""
    pixels = decode((CORPUS / "turned.heic").read_bytes()[1:])
    assert pixels.shape == (80, 60, 3)
    assert pixels[20:26, 10:50].mean() < 40
    assert pixels[40:].mean() > 240


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_avif_keeps_its_channels(mode: str) -> None:
    picture = Image.new(mode, (40, 30))
    file = io.BytesIO()
    picture.save(file, "AVIF")
    assert decode(file.getvalue()).shape == (30, 40, *{"L": [], "RGB": [3], "RGBA": [4]}[mode])


def test_large_pictures_are_reduced() -> None:
    assert max(decode(avif(3000, 1000)).shape) <= WORKING_SIDE


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with pytest.raises(TooManyPixelsError, match=r"5001 × 5000 pixels; the limit is 25,000,000"):
        decode(avif(5001, 5000))


def test_a_decoder_without_end_is_ended(bar: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "endless.py"
    program.write_text(
        heif.DECODER.read_text().replace("    picture = open_picture(content)", "    while True:\n        pass")
    )
    monkeypatch.setattr(heif, "DECODER", program)
    monkeypatch.setattr(heif, "MAX_SECONDS", 0.1)
    with pytest.raises(TooManyPixelsError, match="too much time"):
        heif.decode_heif(bar)
    monkeypatch.undo()
    assert decode(bar).shape == (60, 80, 3)


def test_one_process_decodes_many_pictures_and_ends_with_its_parent(bar: bytes) -> None:
    program = f"""
from mnist_lightning.preprocessing import heif
content = open({str(CORPUS / "bar.heic")!r}, "rb").read()[1:]
pids = {{heif.decode_heif(content) is not None and heif._process.pid for _ in range(5)}}
print(*pids)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    )
    (pid,) = map(int, done.stdout.split())
    assert not psutil.pid_exists(pid)
    assert done.stderr == ""


def test_a_picture_that_is_interrupted_leaves_no_answer_for_the_next_one(bar: bytes) -> None:
    class TooLateError(Exception):
        pass

    assert decode(bar).shape == (60, 80, 3)
    process = heif._process
    assert process is not None
    with patch.object(json, "loads", side_effect=TooLateError), pytest.raises(TooLateError):
        decode(avif(40, 30))
    assert decode(bar).shape == (60, 80, 3)
    assert heif._process is not process


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit the address space")
def test_a_decoder_gets_no_more_memory_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "MAX_BYTES", 160_000_000)
    with pytest.raises(TooManyPixelsError, match="memory"):
        decode(avif(4800, 4800))
    assert decode(avif(40, 30)).shape == (30, 40, 3)


def test_a_batch_begins_no_other_one_after_its_time(bar: bytes) -> None:
    with heif.limit_batch(0.001):
        decode(bar)
        with pytest.raises(TooManyPixelsError, match="a request of its own"):
            decode(bar)
        heif.begin_request()
        with pytest.raises(BusyDecoderError, match="send this one again"):
            decode(bar)
    decode(bar)


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("import os; os.abort()", NotAPictureError, "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGPROF)", TooManyPixelsError, "too much time"),
        ("import time; time.sleep(60)", TooManyPixelsError, "too much time"),
        ("raise ValueError", RuntimeError, "exit code 1"),
    ],
)
def test_how_a_decoder_ends_decides_the_error(
    program: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(program)
    monkeypatch.setattr(heif, "DECODER", tmp_path / "other.py")
    monkeypatch.setattr(heif, "MAX_WAIT", 0.5)
    with pytest.raises(error, match=message):
        heif.decode_heif(b"anything")


def test_the_known_brand_may_be_any_of_the_list(bar: bytes) -> None:
    assert bar[8:12] == b"heix"
    assert decode(bar[:8] + b"miaf" + bar[12:]).shape == (60, 80, 3)
    with pytest.raises(NotAPictureError, match="not a picture"):
        decode(b"\0\0\0\x10ftypisom\0\0\0\0" + bar[28:])


def test_a_container_that_lies_about_its_size_is_refused(bar: bytes) -> None:
    place = bar.index(b"ispe") + 8
    assert struct.unpack_from(">II", bar, place) == (80, 64)  # clipped to 60
    with pytest.raises(NotAPictureError):
        decode(bar[:place] + struct.pack(">II", 8000, 6400) + bar[place + 8 :])


def test_a_damaged_file_is_decoded_or_rejected(bar: bytes) -> None:
    rng = np.random.default_rng(0)
    for whole in (bar, (CORPUS / "bar.avif").read_bytes()[1:]):
        for _ in range(10):
            content = bytearray(whole[: int(rng.integers(16, len(whole) + 1))])
            for place in rng.integers(12, len(content), 5):
                content[place] = int(rng.integers(256))
            try:
                assert decode(bytes(content)).dtype == np.uint8
            except BadPictureError as error:
                assert str(error)
                assert "\n" not in str(error)


def test_without_the_library_the_error_says_so(bar: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "without.py"
    program.write_text(f"import sys; sys.modules['pi_heif'] = None\n{heif.DECODER.read_text()}")
    monkeypatch.setattr(heif, "DECODER", program)
    with pytest.raises(NotAPictureError, match="install pi-heif"):
        decode(bar)
