"""The worker reads in large pieces what it read in small ones."""

import socket
import struct
import threading

import pytest
from ts.protocol import otf_message_handler

from mnist_lightning.inference.torchserve_patches import AT_ONCE, Inbox


def text(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


def request(number: int, body: bytes) -> bytes:
    """One request as TorchServe's front end sends it."""
    headers = b"".join(text(name) + text(value) for name, value in ((b"accept", b"*/*"), (b"n", b"%d" % number)))
    end = struct.pack("!i", -1)
    return text(b"id-%d" % number) + headers + end + text(b"body") + text(b"image/png") + text(body) + end


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_batch_is_the_same_however_it_arrives(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    bodies = [b"x" * size for size in (0, 3, 500)] + [b"y" * (2 * AT_ONCE + 5)] * (piece > 7)
    sent = b"I" + b"".join(request(n, body) for n, body in enumerate(bodies)) + struct.pack("!i", -1)
    monkeypatch.setattr(otf_message_handler, "_retrieve_buffer", Inbox().take)
    ours, theirs = socket.socketpair()

    def send() -> None:
        for _ in range(2):  # two batches: what follows one belongs to the next
            for start in range(0, len(sent), piece):
                theirs.sendall(sent[start : start + piece])

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(2):
        command, batch = otf_message_handler.retrieve_msg(ours)
        assert command == b"I"
        assert [told["parameters"][0]["value"] for told in batch] == bodies
        assert [told["requestId"] for told in batch] == [b"id-%d" % n for n in range(len(bodies))]
        assert batch[1]["headers"][1] == {"name": b"n", "value": b"1"}
    sender.join()
    theirs.close()
    with pytest.raises(SystemExit):
        otf_message_handler.retrieve_msg(ours)
    ours.close()


def test_it_asks_the_system_once_for_all_that_is_there() -> None:
    asked = []

    class Counted:
        def recv(self, size: int) -> bytes:
            asked.append(size)
            return request(0, b"x" * 300)

    inbox = Inbox()
    for _ in range(50):
        inbox.take(Counted(), 4)
    assert len(asked) == 1
