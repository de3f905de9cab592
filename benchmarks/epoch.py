"""Where an epoch of the default recipe goes, what Lightning's Trainer adds to it, and what other settings would cost.

    .venv/bin/python -m benchmarks.epoch

All figures are medians of steps or of epochs in one process, the alternatives taken in turns. Prints tables and, last,
one line of JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from benchmarks.standard_example import Clock, trainer
from mnist_lightning.datasets.datamodule import Batch, MnistDataModule
from mnist_lightning.models.digitnet import DigitNet, bfloat16_is_faster
from mnist_lightning.training.config import Recipe, read
from mnist_lightning.training.fit import classifier_of, data_of, hush
from mnist_lightning.training.module import precision

VARIANTS: dict[str, dict[str, object]] = {  # what is changed, one thing at a time
    "as it is": {},
    "float32": {"bfloat16": False},
    "channels first": {"channels_last": False},
    "one thread": {"threads": 1},
    "batches of 128": {"batch_size": 128},
    "batches of 512": {"batch_size": 512},
    "no augmentation": {"augmented": False},
}


class Loop:
    """A bare training loop around the recipe's network: no Trainer, no callbacks, no logging."""

    def __init__(
        self,
        recipe: Recipe,
        data: MnistDataModule,
        *,
        bfloat16: bool = True,
        channels_last: bool = True,
        threads: int | None = None,
        batch_size: int | None = None,
        augmented: bool = True,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = DigitNet(recipe.widths).to(memory_format=self.layout)
        self.optimizer = next(iter(recipe.optimizers.values()))(self.network.parameters())
        self.augment = recipe.augmentation if augmented else None
        self.bfloat16 = bfloat16 and bfloat16_is_faster("cpu")
        self.threads = threads or os.cpu_count() or 1
        self.data, self.batch_size = data, batch_size or recipe.batch_size
        self.stages: dict[str, list[float]] = {}

    def batches(self) -> Iterator[Batch]:
        """The training images, shuffled, for one epoch."""
        self.data.batch_size = self.batch_size
        return iter(self.data.train_dataloader())

    def epoch(self, most: int | None = None) -> float:
        """Seconds of an epoch, or of its first steps, scaled to a whole one; the stages' seconds are kept."""
        torch.set_num_threads(self.threads)
        started, steps = time.perf_counter(), 0
        batches = self.batches()
        while most is None or steps < most:
            with self.stage("data"):
                batch = next(batches, None)
            if batch is None:
                break
            self.step(*batch)
            steps += 1
        whole = len(self.data.training[1]) // self.batch_size
        return (time.perf_counter() - started) * whole / steps

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        with self.stage("augmentation"):
            pictures = images.float() / 255
            pictures = self.augment(pictures, labels) if self.augment else pictures
            pictures = pictures.contiguous(memory_format=self.layout)
        with self.stage("forward"):
            with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext():
                logits = self.network(pictures)
            loss = F.cross_entropy(logits.float(), labels)
        with self.stage("backward"):
            self.optimizer.zero_grad()
            loss.backward()
        with self.stage("optimizer"):
            self.optimizer.step()

    def stage(self, name: str) -> "Stage":
        return Stage(self.stages.setdefault(name, []))


class Stage:
    """Adds the seconds of a block to a list."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def with_trainer(recipe: Recipe, data: MnistDataModule) -> Callable[[], float]:
    """Seconds of one epoch under the Trainer, training alone."""
    data.batch_size = recipe.batch_size
    name = next(iter(recipe.optimizers))

    def once() -> float:
        clock = Clock()
        module = classifier_of(DigitNet(recipe.widths), recipe, name)
        trainer(1, [clock], precision=precision()).fit(module, datamodule=data)
        return clock.spent

    return once


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", default="config/train.yaml", help="the recipe (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of loop and Trainer, in turns (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each variant, in turns (%(default)s)")
    options = parser.parse_args()
    hush()
    recipe, _ = read(["--config", options.config])
    data = data_of(recipe)
    data.setup()
    bare, managed = Loop(recipe, data), with_trainer(recipe, data)
    pairs = [(bare.epoch(), managed()) for _ in range(options.rounds + 1)][1:]
    report: dict[str, dict[str, float]] = {
        "stages_ms": {name: 1000 * statistics.median(seconds) for name, seconds in bare.stages.items()},
        "epoch_s": dict(zip(("loop", "Trainer"), map(statistics.median, zip(*pairs, strict=True)), strict=True)),
        "ratio": {"Trainer": statistics.median(trained / looped for looped, trained in pairs)},
    }
    loops = {name: Loop(recipe, data, **change) for name, change in VARIANTS.items()}
    turns = [{name: loop.epoch(options.steps) for name, loop in loops.items()} for _ in range(options.rounds + 1)][1:]
    report["variants_epoch_s"] = {name: statistics.median(turn[name] for turn in turns) for name in loops}
    for title, figures in report.items():
        print(title)
        for name, value in figures.items():
            print(f"  {name:20}{value:9.2f}")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
