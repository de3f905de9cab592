"""Ways of telling digits from what is none, beside the one that the archive has."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from unittest.mock import patch

import torch

from mnist_lightning.datasets import outliers
from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.training import ood

OWN = "the archive's own judge"
EACH = 800  # outliers of a kind, as a training has it
Score = Callable[[torch.Tensor], torch.Tensor]  # (B, 1, 28, 28) pictures -> (B,), high for digits
# Other judges of the same network: ood.py with these in place of its own.
TRIED: Mapping[str, Mapping[str, object]] = {
    "learnt alone, no energy": {"rejection.SPREAD": 0.0},
    "half the energy": {"rejection.SPREAD": 1.75},
    "twice the energy": {"rejection.SPREAD": 7.0},
    "64 units, 6 passes": {"rejection.HIDDEN": 64, "rejection.PASSES": 6},
    "damaged digits count as digits": {"rejection.HANDS": Augmentation()},
    "no digits of other hands": {"rejection.HANDS": Augmentation(0, 0, 0, 0)},
    "letters and signs only": {
        "outliers.DRAWN": {name: outliers.DRAWN[name] for name in ("letter", "word", "sign", "other script")},
        "outliers.of_digits": lambda *_: {},
    },
}


def judged(network: DigitNet) -> Score:
    return lambda images: network.predict_with_ood(images)[1]


def all_ways(network: DigitNet, data: MnistDataModule) -> dict[str, Score]:
    ways: dict[str, Score] = {
        OWN: judged(network),
        "largest softmax": lambda images: network(images).softmax(dim=1).amax(dim=1),
        "energy": lambda images: network(images).logsumexp(dim=1),
        "distance to the digits' means": _distance(network, data),
    }
    for name, instead in TRIED.items():
        with ExitStack() as stack:
            for target, value in instead.items():
                stack.enter_context(patch(f"mnist_lightning.{target}", value))
            made = DigitNet.from_state_dict(network.state_dict())
            made.ood_head = ood.fit(made, ood.lessons(data, EACH), 0)
        ways[name] = judged(made)
    return ways


@torch.inference_mode()
def _distance(network: DigitNet, data: MnistDataModule, count: int = 20_000) -> Score:
    """Mahalanobis' distance to the nearest of the ten means of the last features, all with one covariance."""
    images, labels = data.training[0][:count].float() / 255, data.training[1][:count]
    features = torch.cat([network.embed(part) for part in torch.split(images, 500)])
    means = torch.stack([features[labels == digit].mean(dim=0) for digit in range(10)])
    rest = features - means[labels]
    spread = rest.T @ rest / len(rest)
    inverse = torch.linalg.inv(spread + 1e-3 * spread.diagonal().mean() * torch.eye(len(spread)))

    def score(images: torch.Tensor) -> torch.Tensor:
        away = network.embed(images)[:, None] - means
        return -torch.einsum("bdf,fg,bdg->bd", away, inverse, away).amin(dim=1)

    return score
