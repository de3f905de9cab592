"""MNIST for Lightning: whole batches are indexed from tensors in memory and augmented at once."""

from collections.abc import Iterable, Iterator

import lightning as L
import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.datasets.splits import Batch, MnistSplits

VALIDATION_BATCH = 1_000


class MnistDataModule(L.LightningDataModule):
    """Batches of one training.

    Args:
        splits: the images; data modules share them.
        batch_size: training images in a step, of all processes together.
        seed: determines the order of the training images.
        augment: augmentation of the training batches.
        finetune_fraction: fraction of the epochs, the last ones, with milder augmentation, in [0, 1).
        rank: number of this process, from 0.
        world_size: number of the processes that train together; each takes its share of every batch.
    """

    def __init__(
        self,
        splits: MnistSplits,
        *,
        batch_size: int = 256,
        seed: int = 0,
        augment: Augmentation | None = None,
        finetune_fraction: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.splits, self.rank, self.world_size = splits, rank, world_size
        self.sampler = ShuffledBatchSampler(len(splits.training[1]), batch_size, seed, rank, world_size)
        self.augment, self.finetune_fraction = augment or Augmentation(), finetune_fraction
        self.finetune_augment = self.augment.for_finetuning()

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """This process's share of the shuffled training batches; the last batch is dropped unless it is full."""
        return _batch_loader(self.splits.training, self.sampler)

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """This process's share of the validation images, in large batches."""
        indices = range(self.rank, len(self.splits.validation[1]), self.world_size)
        return _batch_loader(self.splits.validation, BatchSampler(indices, VALIDATION_BATCH, drop_last=False))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert uint8 images to floats in [0, 1] on the batch's device; in training, augment them."""
        images, labels = batch
        images = images.float() / 255
        if self.trainer is not None and self.trainer.training:
            images = self._augmentation(self.trainer)(images, labels)
        return images.contiguous(memory_format=torch.channels_last), labels

    def _augmentation(self, trainer: L.Trainer) -> Augmentation:
        first_finetuning_epoch = round((trainer.max_epochs or 0) * (1 - self.finetune_fraction))
        return self.finetune_augment if trainer.current_epoch >= first_finetuning_epoch else self.augment


class ShuffledBatchSampler:
    """Indices of `count` images in shuffled batches; the order depends only on the seed and the epoch.

    The last batch is dropped unless it is full. Each of the `world_size` processes gets every `world_size`-th index
    of a batch, starting from its rank.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.batch_size, self.seed, self.epoch = count, min(batch_size, count), seed, 0
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also when a training is resumed."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch + 1):  # epoch n takes the generator's n-th permutation
            order = torch.randperm(self.count, generator=generator)
        for batch in order.split(self.batch_size)[: len(self)]:
            yield batch[self.rank :: self.world_size].tolist()


def _batch_loader(data: Batch, batches: Iterable[list[int]]) -> DataLoader[tuple[torch.Tensor, ...]]:
    """A loader that indexes the tensors once per batch: no work per image, no collation, no worker processes."""
    return DataLoader(TensorDataset(*data), sampler=batches, batch_size=None)
