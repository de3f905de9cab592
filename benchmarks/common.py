"""Options, conditions, timing and batched inference that several benchmarks share."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lightning.common import machine

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 500
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "store": {"type": Path, "default": Path("model_store"), "help": "folder of mnist.mar (%(default)s)"},
    "data": {"type": Path, "default": Path("data/MNIST/raw"), "help": "MNIST's folder (%(default)s)"},
    "docs": {"type": Path, "default": Path("docs"), "help": "output folder of the figures (%(default)s)"},
    "config": {"default": "config/train.yaml", "help": "the recipe (%(default)s)"},
    "repeats": {"type": int, "default": 51, "help": "measurements of each time (%(default)s)"},
}
PACKAGES = ("torch", "lightning", "onnxruntime", "opencv-python-headless", "pillow", "torchserve")


def conditions() -> str:
    """One line of what a figure depends on: processor, instruction sets, cores, versions."""
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return ", ".join([machine.processor(), f"Python {platform.python_version()}", *versions])


def make_parser(doc: str | None, *options: str) -> argparse.ArgumentParser:
    """A parser that is described by the first line of a docstring and has the named OPTIONS."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name in options:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    return parser


def median_seconds(call: Callable[[], object], repeats: int, warm_up: int = 1) -> float:
    """The median time of a call, after `warm_up` calls that are not counted."""
    seconds = []
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[warm_up:])


def map_batches(function: "Callable[[torch.Tensor], torch.Tensor]", images: "torch.Tensor") -> "torch.Tensor":
    """Apply a function to (N, 1, 28, 28) images in batches, and concatenate its results."""
    import torch  # here, because benchmarks.engines measures this import

    with torch.inference_mode():
        return torch.cat([function(batch) for batch in torch.split(images, BATCH_SIZE)])
