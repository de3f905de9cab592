"""Where a request's time goes in the worker: reading the socket, the picture, the network, the answer.

    .venv/bin/python -m benchmarks.request

Without a server, on one core: batches as TorchServe's front end sends them, through the functions that the worker
calls. Prints microseconds a request for each step, as TorchServe does it where it is done otherwise here, and, last,
one line of JSON.
"""

import argparse
import json
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from ts.context import Context
from ts.protocol import otf_message_handler

from mnist_lightning.datasets import samples
from mnist_lightning.inference import prediction
from mnist_lightning.inference.protocols import read
from mnist_lightning.inference.torchserve_patches import Inbox
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import look

HEADERS = {"Host": "127.0.0.1:8080", "Content-Length": "310", "User-Agent": "wrk", "explain": "False", "Accept": "*/*"}


def batch_message(bodies: list[bytes]) -> bytes:
    """A batch as it comes over the socket."""

    def text(content: str | bytes) -> bytes:
        content = content.encode() if isinstance(content, str) else content
        return struct.pack("!i", len(content)) + content

    end = struct.pack("!i", -1)
    headers = b"".join(text(name) + text(value) for name, value in HEADERS.items()) + end
    requests = [text("0" * 36) + headers + text("body") + text("") + text(body) + end for body in bodies]
    return b"I" + b"".join(requests) + end


def received(message: bytes, take: Callable[..., object]) -> Callable[[], object]:
    """Reading a batch that lies in the socket already."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 2 * len(message))

    def once() -> object:
        theirs.sendall(message)
        otf_message_handler._retrieve_buffer = take
        return otf_message_handler.retrieve_msg(ours)

    return once


def written(bodies: list[bytes]) -> Callable[[], object]:
    """TorchServe's framing of the answers."""
    context = Context("mnist", "", {}, len(bodies), 0, None, False)
    context.request_ids = dict.fromkeys(range(len(bodies)), "0" * 36)

    def once() -> object:
        context._response_header = {}
        return otf_message_handler.create_predict_response(bodies, context.request_ids, "ok", 200)

    return once


def microseconds(call: Callable[[], object], count: int, repeats: int) -> float:
    """Median time of a call, by `count` requests in it."""
    seconds = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1e6 * statistics.median(seconds[2:]) / count


@torch.inference_mode()
def budget(kind: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Microseconds a request of one kind of picture, in batches of `size`, by step."""
    bodies = [sample.content for sample in samples.as_sent(options.data, [kind], size)]
    pixels = [decode(body) for body in bodies]
    network = archive.load_network(options.store / "mnist.mar")
    fast = network.optimized_for_inference()
    seen = [look(array) for array in pixels]
    pictures = np.stack([one.picture for one in seen])
    images = torch.from_numpy(pictures).unsqueeze(1)
    found = prediction.predict_with_ood(fast, pictures, size)

    def told() -> list[bytes]:
        return [json.dumps(answer).encode() for answer in prediction.answers(*found, network.threshold, seen)]

    answers = told()
    message, plain = batch_message(bodies), otf_message_handler._retrieve_buffer
    steps: dict[str, Callable[[], object]] = {
        "socket, as TorchServe reads it": received(message, plain),
        "socket": received(message, Inbox().take),
        "decode": lambda: [decode(body) for body in bodies],
        "normalise": lambda: [look(array) for array in pixels],
        "protocol, decode and normalise": lambda: [read({"body": body}, HEADERS) for body in bodies],
        "network, as it was trained": lambda: network(images),
        "network": lambda: fast(images),
        "network, and whether it is a digit": lambda: fast.predict_with_ood(images),
        "answer as JSON": told,
        "framing": written(answers),
    }
    spent = {name: microseconds(call, size, options.repeats) for name, call in steps.items()}
    otf_message_handler._retrieve_buffer = plain
    return spent


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=51, help="of each step (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    columns = [(kind, size) for kind in ("mnist", "drawing") for size in (1, 32)]
    found = {f"{kind}, batch of {size}": budget(kind, size, options) for kind, size in columns}
    print(f"{'microseconds a request':34}" + "".join(f"{name:>22}" for name in found))
    for step in next(iter(found.values())):
        print(f"{step:34}" + "".join(f"{column[step]:22.1f}" for column in found.values()))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
