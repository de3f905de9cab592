"""Measure where an epoch of the default recipe goes, Lightning's overhead, and the cost of other settings.

    .venv/bin/python -m benchmarks.epoch_time

All figures are medians over steps or epochs in one process, in which the alternatives take turns. Prints tables and,
last, one line of JSON.
"""

import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from benchmarks.common import conditions, make_parser
from benchmarks.learning_curve import TrainingClock, load_recipe, make_trainer
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.models.digitnet import DigitNet, bfloat16_is_faster
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.fit import make_classifier, make_data_module, silence_warnings
from mnist_lightning.training.module import precision


@dataclass(frozen=True)
class Settings:
    """Settings of a training loop."""

    bfloat16: bool = True  # if it is faster on this processor
    channels_last: bool = True
    threads: int | None = None  # None: one for each core
    batch_size: int | None = None  # None: the recipe's
    augmented: bool = True


DEFAULTS = "default"
VARIANTS: Mapping[str, Settings] = {  # each changes one setting
    DEFAULTS: Settings(),
    "float32": Settings(bfloat16=False),
    "channels first": Settings(channels_last=False),
    "one thread": Settings(threads=1),
    "batches of 128": Settings(batch_size=128),
    "batches of 512": Settings(batch_size=512),
    "no augmentation": Settings(augmented=False),
}


class TrainingLoop:
    """A plain training loop for the recipe's network, without Trainer, callbacks and logging.

    Args:
        recipe: the recipe, of which the first optimizer is used.
        splits: the images.
        settings: settings of the loop.
    """

    def __init__(self, recipe: Recipe, splits: MnistSplits, settings: Settings) -> None:
        torch.manual_seed(recipe.seed)
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.network = DigitNet(recipe.widths, pooled=recipe.pooled).to(memory_format=self.layout)
        self.optimizer = next(iter(recipe.optimizers.values()))(self.network.parameters())
        self.augment = recipe.augmentation if settings.augmented else None
        self.bfloat16 = settings.bfloat16 and bfloat16_is_faster("cpu")
        self.threads = settings.threads or os.cpu_count() or 1
        batch_size = settings.batch_size or recipe.batch_size
        self.loader = make_data_module(replace(recipe, batch_size=batch_size), splits, recipe.seed).train_dataloader()
        self.stage_seconds: dict[str, list[float]] = {}

    def epoch_seconds(self, max_steps: int | None = None) -> float:
        """Train for an epoch and measure it; with `max_steps`, extrapolate from the first steps."""
        torch.set_num_threads(self.threads)
        batches = iter(self.loader)
        started, steps = time.perf_counter(), 0
        while max_steps is None or steps < max_steps:
            with self.stage("data"):
                batch = next(batches, None)
            if batch is None:
                break
            self.step(*batch)
            steps += 1
        return (time.perf_counter() - started) * len(self.loader) / steps

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """One step of the training."""
        with self.stage("augmentation"):
            inputs = images.float() / 255
            inputs = self.augment(inputs, labels) if self.augment else inputs
            inputs = inputs.contiguous(memory_format=self.layout)
        with self.stage("forward"):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                logits = self.network(inputs)
            loss = F.cross_entropy(logits.float(), labels)
        with self.stage("backward"):
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        with self.stage("optimizer"):
            self.optimizer.step()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block as one of the stages of a step."""
        started = time.perf_counter()
        yield
        self.stage_seconds.setdefault(name, []).append(time.perf_counter() - started)


def trainer_epoch(recipe: Recipe, data: MnistDataModule) -> Callable[[], float]:
    """A function that trains for one epoch under Lightning's Trainer and returns the seconds, without validation."""
    optimizer = next(iter(recipe.optimizers))

    def epoch_seconds() -> float:
        clock = TrainingClock()
        classifier = make_classifier(DigitNet(recipe.widths, pooled=recipe.pooled), recipe, optimizer)
        make_trainer(1, [clock], precision=precision()).fit(classifier, datamodule=data)
        return clock.seconds

    return epoch_seconds


def main() -> int:
    """Measure, and print."""
    parser = make_parser(__doc__, "config")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of the loop and of the Trainer (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each variant in each round (%(default)s)")
    options = parser.parse_args()
    print(conditions() + "\n")
    silence_warnings()
    recipe = load_recipe(options.config)
    splits = MnistSplits.load(recipe.data_dir, recipe.limit)
    loop = TrainingLoop(recipe, splits, VARIANTS[DEFAULTS])
    with_trainer = trainer_epoch(recipe, make_data_module(recipe, splits, recipe.seed))
    epochs = [(loop.epoch_seconds(), with_trainer()) for _ in range(options.rounds + 1)][1:]  # the first one warms up
    report: dict[str, dict[str, float]] = {
        "stages_ms": {name: 1000 * statistics.median(seconds) for name, seconds in loop.stage_seconds.items()},
        "epoch_s": dict(zip(("loop", "Trainer"), map(statistics.median, zip(*epochs, strict=True)), strict=True)),
        "ratio": {"Trainer": statistics.median(trainer / plain for plain, trainer in epochs)},
    }
    loops = {name: TrainingLoop(recipe, splits, settings) for name, settings in VARIANTS.items()}
    rounds = [
        {name: variant.epoch_seconds(options.steps) for name, variant in loops.items()}
        for _ in range(options.rounds + 1)
    ][1:]
    report["variants_epoch_s"] = {name: statistics.median(seconds[name] for seconds in rounds) for name in loops}
    for title, figures in report.items():
        print(title)
        for name, value in figures.items():
            print(f"  {name:20}{value:9.2f}")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
