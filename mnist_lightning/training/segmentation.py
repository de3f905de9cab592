"""Trains the segmenter, which separates the digits' ink from everything else, on simulated photographs."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset
from torchmetrics.classification import BinaryJaccardIndex

from mnist_lightning.datasets import outliers, paper
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import names
from mnist_lightning.models.segmenter import WIDTHS, InkSegmenter
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.segment import PICTURE_SIDE
from mnist_lightning.tracking import runs
from mnist_lightning.training import shipped
from mnist_lightning.training.interrupt import ctrl_c_interrupts
from mnist_lightning.training.shipped import one_cycle

IOU = "validation_iou"
INK_WEIGHT = 2.0  # of a pixel of ink, which is one of thirty, in the cross-entropy
DICE_WEIGHT = 0.5
# What people write beside digits. It counts as ink: to reject it is the task of the out-of-distribution head.
WRITING = ("letter", "word", "sign", "other script", "scribble", "face", "drawing")
WRITING_SHARE, MAX_WRITING = 0.1, 150  # of the digits; from so many different ones of a kind


@dataclass(frozen=True)
class SegmentationConfig:
    """Hyperparameters."""

    photographs: int = 12_000
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    widths: Sequence[int] = WIDTHS

    @property
    def held_out(self) -> int:
        """Photographs of validation digits."""
        return max(1, self.photographs // 12)


@dataclass(frozen=True)
class SegmentationResult:
    """A segmenter in evaluation mode, and the photographs and masks that it was measured on."""

    network: InkSegmenter
    iou: float  # intersection over union of ink
    held_out: tuple[Bytes, Bytes]


class SegmentationModule(L.LightningModule):
    """Trains a segmenter by cross-entropy and the soft Dice coefficient (Milletari, Navab and Ahmadi, 2016)."""

    def __init__(self, network: InkSegmenter, config: SegmentationConfig) -> None:
        super().__init__()
        self.network, self.config, self.iou = network, config, BinaryJaccardIndex()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """The loss of one step, on pictures with their channels in a random order."""
        pictures, masks = _to_floats(batch)
        loss = segmentation_loss(self.network(pictures[:, torch.randperm(3)]).float(), masks)
        self.log(names.TRAIN_LOSS, loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Log the intersection over union of ink."""
        pictures, masks = _to_floats(batch)
        self.iou(self.network(pictures).sigmoid(), (masks > 0.5).int())
        self.log(IOU, self.iou, batch_size=len(pictures))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with one cycle of the learning rate."""
        return one_cycle(self, self.config.learning_rate, self.config.weight_decay)


def fit(splits: MnistSplits, seed: int, config: SegmentationConfig, run_id: str | None = None) -> SegmentationResult:
    """Train a segmenter, log its curves to the run `run_id`, and measure it on photographs of validation digits."""
    L.seed_everything(seed, verbose=False)
    network = InkSegmenter(config.widths)
    module = SegmentationModule(network, config)
    training = _dataset(splits.training[0], config.photographs, seed)
    held_out = _dataset(splits.validation[0], config.held_out, seed + 1)
    trainer = shipped.trainer("segmenter", IOU, config.epochs, runs.SEGMENTER_EXPERIMENT, run_id)
    shuffled = BatchSampler(RandomSampler(training), min(config.batch_size, len(training)), drop_last=True)
    in_order = BatchSampler(SequentialSampler(held_out), config.batch_size, drop_last=False)
    with ctrl_c_interrupts(trainer):
        trainer.fit(module, _loader(training, shuffled), _loader(held_out, in_order))
    images, masks = (part.numpy() for part in held_out.tensors)
    return SegmentationResult(network.cpu().eval(), float(trainer.callback_metrics[IOU]), (images, masks))


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """The loss of logits for masks in [0, 1], both (B, 1, S, S)."""
    weight = torch.tensor(INK_WEIGHT, device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, pos_weight=weight)
    ink, axes = logits.sigmoid(), (1, 2, 3)
    overlap, total = (ink * masks).sum(axes), ink.square().sum(axes) + masks.square().sum(axes)
    return entropy + DICE_WEIGHT * (1 - (2 * overlap + 1) / (total + 1)).mean()


def _to_floats(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    pictures, masks = batch
    return pictures.permute(0, 3, 1, 2).float(), masks[:, None].float() / 255


def _dataset(digits: torch.Tensor, count: int, seed: int) -> TensorDataset:
    rng, shapes = np.random.default_rng(seed), digits[:, 0].numpy()
    canvases = [outliers.OUTLIER_KINDS[name](rng) for name in WRITING for _ in range(min(MAX_WRITING, count))]
    writing = np.stack([cv2.resize(canvas, shapes.shape[1:], interpolation=cv2.INTER_AREA) for canvas in canvases])
    repeated = np.resize(writing, (round(WRITING_SHARE * len(shapes)), *shapes.shape[1:]))
    images, masks = paper.photographs(np.concatenate([shapes, repeated]), count, seed, PICTURE_SIDE)
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(masks))


def _loader(data: TensorDataset, batches: BatchSampler) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(data, sampler=batches, batch_size=None)
