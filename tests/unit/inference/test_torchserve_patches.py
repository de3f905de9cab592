"""The patched worker reads the same requests in fewer pieces, and only where the patches fit."""

import base64
import json
import socket
import struct
import sys
import threading
from importlib import metadata

import numpy as np
import pytest
from ts.protocol import otf_message_handler
from ts.service import Service

from mnist_lightning.inference import torchserve_patches
from mnist_lightning.inference.protocols import parse_request
from mnist_lightning.inference.torchserve_patches import READ_SIZE, BufferedReader, apply_patches, read_buffered
from mnist_lightning.preprocessing.normalize import from_bytes
from tests.support import SEVEN


def field(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


def request(number: int, body: bytes, content_type: bytes = b"image/png") -> bytes:
    """One request as TorchServe's front end sends it."""
    headers = b"".join(field(name) + field(value) for name, value in ((b"accept", b"*/*"), (b"n", b"%d" % number)))
    end = struct.pack("!i", -1)
    return field(b"id-%d" % number) + headers + end + field(b"body") + field(content_type) + field(body) + end


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_batch_is_the_same_however_it_arrives(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    bodies = [b"x" * size for size in (0, 3, 500)] + [b"y" * (2 * READ_SIZE + 5)] * (piece > 7)
    sent = b"I" + b"".join(request(n, body) for n, body in enumerate(bodies)) + struct.pack("!i", -1)
    monkeypatch.setattr(otf_message_handler, "_retrieve_buffer", read_buffered)
    worker, front_end = socket.socketpair()

    def send() -> None:
        for _ in range(2):  # two batches: bytes that follow one belong to the next
            for start in range(0, len(sent), piece):
                front_end.sendall(sent[start : start + piece])

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(2):
        command, batch = otf_message_handler.retrieve_msg(worker)
        assert command == b"I"
        assert [received["parameters"][0]["value"] for received in batch] == bodies
        assert [received["requestId"] for received in batch] == [b"id-%d" % n for n in range(len(bodies))]
        assert batch[1]["headers"][1] == {"name": b"n", "value": b"1"}
    sender.join()
    front_end.close()
    with pytest.raises(SystemExit):
        otf_message_handler.retrieve_msg(worker)
    worker.close()


def test_one_system_call_reads_everything_that_has_arrived() -> None:
    calls = []

    class Counted:
        def recv(self, size: int) -> bytes:
            calls.append(size)
            return request(0, b"x" * 300)

    reader = BufferedReader(Counted())
    for _ in range(50):
        reader.read(4)
    assert len(calls) == 1


def test_each_connection_has_a_buffer_of_its_own() -> None:
    """Bytes left over from one connection are not the start of the next one's request."""
    first, second = socket.socketpair(), socket.socketpair()
    first[1].sendall(b"abcd")
    second[1].sendall(b"wxyz")
    assert read_buffered(first[0], 2) == b"ab"
    assert read_buffered(second[0], 3) == b"wxy"
    assert read_buffered(first[0], 2) == b"cd"
    for end in (first[1], second[1]):
        end.close()
    for end in (first[0], second[0]):
        assert end in torchserve_patches._readers
        with pytest.raises(SystemExit):
            read_buffered(end, 2)
        assert end not in torchserve_patches._readers
        end.close()


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the environment and TorchServe's functions after the test."""
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "true")
    monkeypatch.setattr(otf_message_handler, "_retrieve_buffer", otf_message_handler._retrieve_buffer)
    monkeypatch.setattr(Service, "retrieve_data_for_inference", staticmethod(Service.retrieve_data_for_inference))


@pytest.mark.usefixtures("unpatched")
def test_the_installed_torchserve_is_patched() -> None:
    assert apply_patches()
    assert otf_message_handler._retrieve_buffer is read_buffered


@pytest.mark.usefixtures("unpatched")
def test_another_version_runs_unpatched(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    before = otf_message_handler._retrieve_buffer, Service.retrieve_data_for_inference
    monkeypatch.setattr(metadata, "version", lambda _: "0.13.0")
    assert not apply_patches()
    assert (otf_message_handler._retrieve_buffer, Service.retrieve_data_for_inference) == before
    assert "runs unpatched, which is slower: its version is 0.13.0" in caplog.text


@pytest.mark.usefixtures("unpatched")
def test_a_torchserve_without_the_functions_runs_unpatched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(otf_message_handler, "_retrieve_buffer")
    monkeypatch.delattr(Service, "retrieve_data_for_inference")
    assert not apply_patches()
    assert not hasattr(otf_message_handler, "_retrieve_buffer")
    assert not hasattr(Service, "retrieve_data_for_inference")
    assert "it has no _retrieve_buffer and no retrieve_data_for_inference" in caplog.text


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize("missing", ["ts.protocol", "ts.service"])
def test_a_torchserve_without_the_modules_runs_unpatched(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert not apply_patches()
    assert f"import of {missing} halted" in caplog.text


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize("patched", [True, False])
def test_requests_are_parsed_the_same_patched_and_unpatched(patched: bool) -> None:
    """Unpatched, TorchServe passes JSON and text as decoded objects."""
    assert not patched or apply_patches()
    picture = SEVEN.read_bytes()
    base64_picture = base64.b64encode(picture).decode()
    bodies = {
        b"image/png": picture,
        b"application/json": json.dumps({"image": base64_picture}).encode(),
        b"text/plain": json.dumps({"instances": [base64_picture]}).encode(),
        b"application/octet-stream": json.dumps({"image": {"b64": base64_picture}}).encode(),
    }
    sent = b"".join(request(0, body, content_type) for content_type, body in bodies.items())
    worker, front_end = socket.socketpair()
    front_end.sendall(b"I" + sent + struct.pack("!i", -1))
    _, batch = otf_message_handler.retrieve_msg(worker)
    front_end.close()
    worker.close()
    _, items, _ = Service.retrieve_data_for_inference(batch)
    assert isinstance(items[1]["body"], bytes if patched else dict)
    assert isinstance(items[2]["body"], bytes if patched else str)
    expected = from_bytes(picture)
    for item in items:
        (parsed,) = parse_request(item, {}).images
        assert np.array_equal(parsed.image, expected)


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize("names", [["data", "data"], ["a", "b"]])
def test_every_field_of_a_multipart_body_is_kept(names: list[str]) -> None:
    assert apply_patches()
    parameters = [{"name": name, "contentType": "image/png", "value": name.encode()} for name in names]
    _, (item,), _ = Service.retrieve_data_for_inference([{"requestId": b"1", "headers": [], "parameters": parameters}])
    assert list(item.values()) == [name.encode() for name in names]
