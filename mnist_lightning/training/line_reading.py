"""Trains the line reader, which reads lines of digits, on lines composed of MNIST's images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.random import Generator
from torch.utils.data import DataLoader, Dataset

from mnist_lightning.datasets import strips
from mnist_lightning.datasets.numbers import Glyphs
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.datasets.strips import Distorted, LineSample
from mnist_lightning.evaluation import names
from mnist_lightning.models.line_reader import WIDTHS, LineReader
from mnist_lightning.preprocessing.line_reader import pad
from mnist_lightning.tracking import runs
from mnist_lightning.training import shipped
from mnist_lightning.training.interrupt import ctrl_c_interrupts
from mnist_lightning.training.shipped import one_cycle

EXACT_MATCHES = "validation_exact_matches"
MIXED_WIDTHS = 24  # pixels: lines whose widths differ by less come in a random order
MOST_HELD_OUT = 8_000  # lines
MAX_GRADIENT = 5.0  # norm
# A batch: strips (B, 1, 32, W) uint8, the classes of all lines one after another, and how many each line has.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LineReaderConfig:
    """Hyperparameters."""

    lines: int = 200_000
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    widths: Sequence[int] = WIDTHS

    @property
    def held_out(self) -> int:
        """Lines of validation digits."""
        return min(max(40, self.lines // 10), MOST_HELD_OUT)


@dataclass(frozen=True)
class LineReaderResult:
    """A line reader in evaluation mode, and the lines that it was not trained on."""

    network: LineReader
    held_out: Sequence[LineSample]


class LineReadingModule(L.LightningModule):
    """Trains a line reader by connectionist temporal classification (Graves et al., 2006)."""

    def __init__(self, network: LineReader, config: LineReaderConfig) -> None:
        super().__init__()
        self.network, self.config = network, config

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """The loss of one step."""
        strips, classes, lengths = batch
        logits = self.network(strips.float() / 255).float()
        positions = torch.full_like(lengths, logits.shape[1])
        scores = logits.log_softmax(2).transpose(0, 1)
        loss = F.ctc_loss(scores, classes, positions, lengths, zero_infinity=True)
        self.log(names.TRAIN_LOSS, loss, on_step=False, on_epoch=True, batch_size=len(lengths))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the fraction of lines that are read without a mistake."""
        strips, classes, lengths = batch
        paths = self.network(strips.float() / 255).argmax(2)
        expected = torch.split(classes, lengths.tolist())
        right = [torch.equal(_collapse(path), one) for path, one in zip(paths, expected, strict=True)]
        self.log(EXACT_MATCHES, float(np.mean(right)), on_epoch=True, batch_size=len(right))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with one cycle of the learning rate."""
        return one_cycle(self, self.config.learning_rate, self.config.weight_decay)


class WidthBatches:
    """A batch sampler: indices of lines of nearly the same width; in a new random order each time with `rng`."""

    def __init__(self, lines: Sequence[LineSample], size: int, rng: Generator | None) -> None:
        self.widths, self.size, self.rng = np.array([line.strip.shape[1] for line in lines]), size, rng

    def __len__(self) -> int:
        return -(-len(self.widths) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        jitter = self.rng.uniform(0, MIXED_WIDTHS, len(self.widths)) if self.rng is not None else 0
        order = np.argsort(self.widths + jitter, kind="stable")
        batches = [order[first : first + self.size].tolist() for first in range(0, len(order), self.size)]
        if self.rng is not None:
            self.rng.shuffle(batches)
        return iter(batches)


def fit(splits: MnistSplits, seed: int, config: LineReaderConfig, run_id: str | None = None) -> LineReaderResult:
    """Train a line reader; log its curves, with how it reads lines of validation digits, to the run `run_id`."""
    L.seed_everything(seed, verbose=False)
    network = LineReader(config.widths)
    module = LineReadingModule(network, config)
    training = strips.samples(Glyphs.build(*splits.training, seed), config.lines, seed)
    held_out = strips.samples(Glyphs.build(*splits.validation, seed + 1), config.held_out, seed + 1)
    trainer = shipped.trainer(
        "line reader", EXACT_MATCHES, config.epochs, runs.LINE_READER_EXPERIMENT, run_id, MAX_GRADIENT
    )
    shuffled = WidthBatches(training, config.batch_size, np.random.default_rng(seed))
    in_order = WidthBatches(held_out, config.batch_size, None)
    with ctrl_c_interrupts(trainer):
        changing = Distorted(training, np.random.default_rng([seed, 1]))
        trainer.fit(module, _loader(changing, shuffled), _loader(held_out, in_order))
    return LineReaderResult(network.cpu().eval(), held_out)


def collate(lines: Sequence[LineSample]) -> Batch:
    """A batch of lines, with paper at their right ends where others are longer."""
    padded = pad([line.strip for line in lines])
    classes = [one + 1 for line in lines for one in line.classes]
    lengths = [len(line.classes) for line in lines]
    return torch.from_numpy(padded), torch.tensor(classes), torch.tensor(lengths)


def _collapse(path: torch.Tensor) -> torch.Tensor:
    """The classes of a path (T,) without repetitions and blanks."""
    unique: torch.Tensor = torch.unique_consecutive(path)
    return unique[unique > 0]


def _loader(lines: Sequence[LineSample] | Distorted, batches: WidthBatches) -> DataLoader[Batch]:
    return DataLoader(cast(Dataset[Batch], lines), batch_sampler=batches, collate_fn=collate)
