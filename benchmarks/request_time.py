"""Measure where a request's time goes in the worker: reading the socket, preprocessing, the network, the answer.

    .venv/bin/python -m benchmarks.request_time

Runs without a server, on one core: batches in the format of TorchServe's front end go through the functions that the
worker calls. Prints microseconds per request for each step (for two steps also as TorchServe or the trained network
would take them) and, last, one line of JSON.
"""

import argparse
import json
import socket
import struct
import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from ts.context import Context
from ts.protocol import otf_message_handler

from benchmarks.common import conditions, make_parser, median_seconds
from benchmarks.peers.predictor import Predictor
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import samples
from mnist_lightning.inference import prediction
from mnist_lightning.inference.protocols import parse_request
from mnist_lightning.inference.torchserve_patches import read_buffered
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import normalize_with_count

HEADERS = {"Host": "127.0.0.1:8080", "Content-Length": "310", "User-Agent": "wrk", "explain": "False", "Accept": "*/*"}
COLUMNS = [(kind, size) for kind in ("mnist", "drawing") for size in (1, 32)]  # presentation and batch size
WARM_UP = 2


def main() -> int:
    """Measure, and print."""
    options = make_parser(__doc__, "store", "data", "repeats").parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(conditions() + "\n")
    report = {f"{kind}, batch of {size}": measure_steps(kind, size, options) for kind, size in COLUMNS}
    print(f"{'microseconds per request':34}" + "".join(f"{name:>22}" for name in report))
    for step in next(iter(report.values())):
        print(f"{step:34}" + "".join(f"{column[step]:22.1f}" for column in report.values()))
    print(json.dumps(report))
    return 0


@torch.inference_mode()
def measure_steps(kind: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Microseconds per request by step, for one presentation of MNIST's digits in batches of `size`."""
    bodies = [sample.content for sample in samples.presented_digits(options.data, [kind], size)]
    pixels = [decode(body) for body in bodies]
    normalized = [normalize_with_count(array) for array in pixels]
    batch = np.stack([one.image for one in normalized])
    images = torch.from_numpy(batch).unsqueeze(1)
    network = archive.load_network(options.store / ARCHIVE)
    session = Predictor(options.store / ARCHIVE).session
    predicted = prediction.predict(session, batch, size)

    def format_answers() -> list[bytes]:
        answers = prediction.format_answers(predicted, network.threshold, normalized)
        return [json.dumps(answer).encode() for answer in answers]

    message, torchserve_reader = batch_message(bodies), otf_message_handler._retrieve_buffer
    steps: dict[str, Callable[[], object]] = {
        "socket, TorchServe's reader": message_reader(message, torchserve_reader),
        "socket": message_reader(message, read_buffered),
        "decode": lambda: [decode(body) for body in bodies],
        "normalize": lambda: [normalize_with_count(array) for array in pixels],
        "protocol, decode and normalize": lambda: [parse_request({"body": body}, HEADERS) for body in bodies],
        "network, PyTorch": lambda: network.predict_with_ood(images),
        "network": lambda: prediction.predict(session, batch, size),
        "answer as JSON": format_answers,
        "framing": response_writer(format_answers()),
    }
    seconds = {name: median_seconds(step, options.repeats, WARM_UP) for name, step in steps.items()}
    otf_message_handler._retrieve_buffer = torchserve_reader
    return {name: 1e6 * value / size for name, value in seconds.items()}


def batch_message(bodies: Sequence[bytes]) -> bytes:
    """A batch of requests as TorchServe's front end sends it to a worker."""

    def field(content: str | bytes) -> bytes:
        content = content.encode() if isinstance(content, str) else content
        return struct.pack("!i", len(content)) + content

    end = struct.pack("!i", -1)
    headers = b"".join(field(name) + field(value) for name, value in HEADERS.items()) + end
    requests = [field("0" * 36) + headers + field("body") + field("") + field(body) + end for body in bodies]
    return b"I" + b"".join(requests) + end


def message_reader(message: bytes, retrieve: Callable[..., object]) -> Callable[[], object]:
    """A function that sends the message through a socket and reads it by means of `retrieve`."""
    receiver, sender = socket.socketpair()
    for end in (receiver, sender):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 2 * len(message))

    def read() -> object:
        sender.sendall(message)
        otf_message_handler._retrieve_buffer = retrieve
        return otf_message_handler.retrieve_msg(receiver)

    return read


def response_writer(bodies: Sequence[bytes]) -> Callable[[], object]:
    """A function that frames the answers as TorchServe does."""
    context = Context("mnist", "", {}, len(bodies), 0, None, False)
    context.request_ids = dict.fromkeys(range(len(bodies)), "0" * 36)

    def write() -> object:
        context._response_header = {}
        return otf_message_handler.create_predict_response(bodies, context.request_ids, "ok", 200)

    return write


if __name__ == "__main__":
    sys.exit(main())
