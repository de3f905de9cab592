"""MNIST as tensors in memory, handed out and augmented by batch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import lightning as L
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.augment import Augmentation

VALIDATION_IMAGES = 5_000
SPLIT_SEED = 20_261_124  # one split for every run: runs are compared on the same 5,000 validation images
EVALUATION_BATCH = 1_000

Batch = tuple[torch.Tensor, torch.Tensor]  # images (B, 1, 28, 28), labels (B,)


class MnistDataModule(L.LightningDataModule):
    """55,000 training images and 5,000 for validation, stratified by digit; the official test set apart.

    Args:
        folder: where the four IDX files are or will be.
        batch_size: training images in a step.
        limit: use only so many training images, for a first look; None means all.
        seed: the order in which training images come.
        augment: what is done to each training batch; None stands for the usual.
        calm: part of the epochs, the last ones, in which pictures are only moved, and half as far.
        part: this process's number among those that train together, and how many they are.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int = 256,
        limit: int | None = None,
        seed: int = 0,
        augment: Augmentation | None = None,
        calm: float = 0.0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.folder, self.batch_size, self.limit, self.seed, self.part = folder, batch_size, limit, seed, part
        self.augment = augment or Augmentation()
        self.calmly, self.calm = Augmentation(habits=0, pens=0, moves=self.augment.moves / 2, damage=0), calm

    def prepare_data(self) -> None:
        """Fetch what is missing. Raises mnist.MnistUnavailableError."""
        mnist.fetch(self.folder)

    def setup(self, stage: str | None = None) -> None:
        """Read the files once, whatever the stage."""
        if hasattr(self, "training"):
            return
        images, labels = mnist.load(self.folder, train=True)
        chosen, held_out = train_test_split(
            range(len(labels)), test_size=VALIDATION_IMAGES, stratify=labels, random_state=SPLIT_SEED
        )
        self.training: Batch = (images[chosen][: self.limit], labels[chosen][: self.limit])
        self.validation: Batch = (images[held_out], labels[held_out])
        self.test: Batch = mnist.load(self.folder, train=False)

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """Shuffled batches, this process's part of each; a last batch that is not full is left out."""
        return _by_batch(self.training, ShuffledBatches(len(self.training[1]), self.batch_size, self.seed, self.part))

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """This process's part of the validation images in large batches, as they are."""
        first, step = self.part
        order = range(first, len(self.validation[1]), step)
        return _by_batch(self.validation, BatchSampler(order, EVALUATION_BATCH, drop_last=False))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Bytes to floats in [0, 1] on whatever device the batch is by now; augmented in training."""
        images, labels = batch
        pictures = images.float() / 255
        if self.trainer is not None and self.trainer.training:
            ending = self.trainer.current_epoch >= round((self.trainer.max_epochs or 0) * (1 - self.calm))
            pictures = (self.calmly if ending else self.augment)(pictures, labels)
        return pictures.contiguous(memory_format=torch.channels_last), labels


class ShuffledBatches:
    """The places of `count` images in batches of `size`, in an order that follows from the seed and the epoch alone.

    A last batch that is not full is left out. Of each batch it gives the part that `part` says: (which, of how many).
    """

    def __init__(self, count: int, size: int, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        self.count, self.size, self.seed, self.part, self.epoch = count, min(size, count), seed, part, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes next, also of a training that goes on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch + 1):  # each epoch has the next permutation of the seed's
            order = torch.randperm(self.count, generator=generator)
        for batch in order.split(self.size)[: len(self)]:
            yield batch[self.part[0] :: self.part[1]].tolist()


def _by_batch(data: Batch, batches: Iterable[list[int]]) -> DataLoader[tuple[torch.Tensor, ...]]:
    """A loader that indexes the tensors once a batch: no per-sample work, no collate, no worker processes."""
    return DataLoader(TensorDataset(*data), sampler=batches, batch_size=None)
