"""Learning what is no digit, once the ten are learnt: the network stays as it is, and a judge is fitted beside it.

What a picture's features are is computed once; then a training takes seconds. The threshold and the scale on which
its odds can be believed come from the validation images, and from other pictures of things than those learnt from.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.datasets.datamodule import Batch, MnistDataModule
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.models.ood import OODHead

HIDDEN, PASSES, RATE, DECAY, BATCH, DROPPED = 32, 3, 2e-3, 1e-3, 512, 0.2
REFUSED = 0.01  # of the validation digits, as they are and as others would draw them
SPREAD = 3.5  # of the energy over digits, beside what is learnt: a deviation's worth of log-odds before they are scaled
HANDS = Augmentation(damage=0)
# Pictures for each one of a kind of outliers, of which there are sixteen.
PLAIN, MOVED, REDRAWN, TYPED = 8, 12, 8, 1
Features = tuple[torch.Tensor, torch.Tensor]  # (B, F) and their logits (B, 10)


@dataclass(frozen=True)
class Lessons:
    """Pictures (N, 1, 28, 28) uint8 that are digits, and such that are none: to learn from, and held back."""

    digits: torch.Tensor
    others: torch.Tensor
    held_digits: torch.Tensor
    held_others: torch.Tensor


@dataclass(frozen=True)
class Rejection:
    """What a judge does to pictures that it did not learn from."""

    threshold: float  # is_digit below which a picture is refused
    refused_digits: float  # part of MNIST's test digits
    refused_others: float  # part of the held-back pictures of other things
    separation: float  # area under the curve of the two


def lessons(data: MnistDataModule, each: int) -> Lessons:
    """`each` pictures of every kind of outliers, and as many digits as all of them, twice; the same every time."""
    taught, held = data.training, data.validation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        digits = [_first(taught, PLAIN * each)[0], *_other_hands(_first(taught, MOVED * each), each * REDRAWN, 0)]
        held_digits = [held[0], *_other_hands(held, len(held[0]), 1)]
    typed = _tensor(outliers.made({"typed": outliers.typed(outliers.DIGITS)}, TYPED * each, 0)[0])
    return Lessons(
        torch.cat([*digits, typed]), _others(taught, each, 0), torch.cat(held_digits), _others(held, each // 8 + 1, 1)
    )


def fit(network: DigitNet, known: Lessons, seed: int) -> OODHead:
    """A judge for a network that has learnt its digits; the network is not changed."""
    generator = torch.Generator().manual_seed(seed)
    served = network.optimized_for_inference()
    digits, others = _features(served, known.digits), _features(served, known.others)
    held_digits, held_others = _features(served, known.held_digits), _features(served, known.held_others)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = OODHead(network.head.in_features, HIDDEN)
        _learn(judge, digits[0], others[0], generator)
    with torch.no_grad():
        judge.energy_weight.copy_(SPREAD / held_digits[1].logsumexp(dim=1).std().clamp(min=1e-3))
        _scale(judge, judge(*held_digits), judge(*held_others))
        judge.threshold.copy_(judge(*held_digits).quantile(REFUSED))
    return judge.eval()


@torch.inference_mode()
def measure(network: DigitNet, known: Lessons, test: Batch) -> Rejection:
    """A network's judge on MNIST's test digits and on the pictures of other things that were held back."""
    digits, others = (
        network.predict_with_ood(images.float() / 255)[1].sigmoid() for images in (test[0], known.held_others)
    )
    truth = np.repeat([1, 0], [len(digits), len(others)])
    return Rejection(
        threshold=network.threshold,
        refused_digits=(digits < network.threshold).double().mean().item(),
        refused_others=(others < network.threshold).double().mean().item(),
        separation=float(roc_auc_score(truth, torch.cat([digits, others]).numpy())),
    )


def _first(data: Batch, count: int) -> Batch:
    """So many pictures, over again where there are fewer."""
    places = torch.arange(count) % len(data[1])
    return data[0][places], data[1][places]


def _other_hands(data: Batch, redrawn: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as other people would write them; and drawn on a canvas, those and, where held back, the plain ones."""
    parts = zip(torch.split(data[0], BATCH), torch.split(data[1], BATCH), strict=True)
    moved = torch.cat([HANDS(images.float() / 255, labels) for images, labels in parts])
    moved = (moved * 255).round().to(torch.uint8)
    source = data[0] if seed else moved
    return moved, _tensor(outliers.made({"redrawn": outliers.redrawn(source[:, 0].numpy())}, redrawn, seed)[0])


def _others(data: Batch, each: int, seed: int) -> torch.Tensor:
    kinds = {**outliers.DRAWN, **outliers.of_digits(data[0][:, 0].numpy(), data[1].numpy())}
    return _tensor(outliers.made(kinds, each, seed)[0])


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((pictures * 255).round().astype(np.uint8))[:, None]


@torch.inference_mode()
def _features(network: DigitNet, images: torch.Tensor) -> Features:
    parts = [network.embed(part.float() / 255) for part in torch.split(images, BATCH)]
    return torch.cat(parts), torch.cat([network.head(part) for part in parts])


def _learn(judge: OODHead, digits: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> None:
    """Digits against others, each side with the same weight in all; on features of mean 0 and deviation 1."""
    features = torch.cat([digits, others]).clone()
    labels = torch.cat([torch.ones(len(digits)), torch.zeros(len(others))])
    weights = torch.where(labels > 0, len(labels) / 2 / len(digits), len(labels) / 2 / len(others))
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    deviation += 1e-3 * deviation.mean() + 1e-6
    features = (features - mean) / deviation
    batch = min(BATCH, len(labels))
    optimizer = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, PASSES * (len(labels) // batch), pct_start=0.1)
    for _ in range(PASSES):
        order = torch.randperm(len(labels), generator=generator)
        for chosen in torch.split(order[: len(labels) // batch * batch], batch):
            odds = judge.mlp_score(F.dropout(features[chosen], DROPPED))
            loss = F.binary_cross_entropy_with_logits(odds, labels[chosen], weights[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():  # from now on it takes features as they are
        judge.hidden.weight.div_(deviation)
        judge.hidden.bias.sub_(judge.hidden.weight @ mean)


def _scale(judge: OODHead, digits: torch.Tensor, others: torch.Tensor) -> None:
    """Odds that can be believed where digits and other things are as many; after Platt (1999)."""
    odds = torch.cat([digits, others])[:, None].double().numpy()
    truth = np.repeat([1, 0], [len(digits), len(others)])
    found = LogisticRegression(C=1e4, class_weight="balanced").fit(odds, truth)
    slope, shift = float(found.coef_[0, 0]), float(found.intercept_[0])
    judge.output.weight.mul_(slope)
    judge.output.bias.copy_(judge.output.bias * slope + shift)
    judge.energy_weight *= slope
