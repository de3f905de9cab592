"""Other ways to tell digits from outliers: baselines of the literature, and heads with other hyperparameters."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.common import map_batches
from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.datasets.ood import OODDataset
from mnist_lightning.datasets.outliers import OUTLIER_KINDS
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.training import ood
from mnist_lightning.training.ood import OODConfig

DEFAULT = "MLP and energy (default)"
N_PER_KIND = 800  # outliers of each kind, as in a training
Score = Callable[[torch.Tensor], torch.Tensor]  # (B, 1, 28, 28) images -> (B,), high for digits
CONFIGS: Mapping[str, OODConfig] = {  # heads that are fitted to the default images
    "MLP alone, no energy": OODConfig(energy_std=0.0),
    "half the energy": OODConfig(energy_std=1.75),
    "twice the energy": OODConfig(energy_std=7.0),
    "64 units, 6 epochs": OODConfig(hidden_units=64, epochs=6),
}
IMAGES: Mapping[str, Mapping[str, Any]] = {  # arguments of OODDataset.build for heads of the default configuration
    "corrupted digits count as digits": {"augment": Augmentation()},
    "no augmented digits": {"augment": Augmentation(0, 0, 0, 0)},
    "letters and signs only": {
        "kinds": {name: OUTLIER_KINDS[name] for name in ("letter", "word", "sign", "other script")}
    },
}


def head_score(network: DigitNet) -> Score:
    """The log-odds of a network's out-of-distribution head."""
    return lambda images: network.predict_with_ood(images)[1]


def baseline_scores(network: DigitNet, splits: MnistSplits) -> dict[str, Score]:
    """All scores by name, for the same classifier; fitting the heads takes minutes."""
    fixed: dict[str, Score] = {
        "largest softmax": lambda images: network(images).softmax(dim=1).amax(dim=1),
        "energy": lambda images: network(images).logsumexp(dim=1),
        "Mahalanobis distance to the digits' means": mahalanobis_score(network, splits),
        DEFAULT: head_score(network),
    }
    fit = functools.partial(_fit_head, network)
    images = OODDataset.build(splits, N_PER_KIND)
    fitted = {name: fit(images, config) for name, config in CONFIGS.items()}
    fitted |= {name: fit(OODDataset.build(splits, N_PER_KIND, **changes)) for name, changes in IMAGES.items()}
    return fixed | fitted


def _fit_head(network: DigitNet, images: OODDataset, config: OODConfig = ood.DEFAULT_CONFIG) -> Score:
    copy = DigitNet.from_state_dict(network.state_dict())
    copy.ood_head = ood.fit(copy, images, seed=0, config=config)
    return head_score(copy)


@torch.inference_mode()
def mahalanobis_score(network: DigitNet, splits: MnistSplits, count: int = 20_000) -> Score:
    """The negative Mahalanobis distance of the embedding to the nearest class mean, with one shared covariance.

    After Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"
    (2018); means and covariance are those of `count` training images.
    """
    images, labels = splits.training[0][:count].float() / 255, splits.training[1][:count]
    features = map_batches(network.embed, images)
    means = torch.stack([features[labels == digit].mean(dim=0) for digit in range(10)])
    residuals = features - means[labels]
    covariance = residuals.T @ residuals / len(residuals)
    precision = torch.linalg.inv(covariance + 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance)))

    def score(images: torch.Tensor) -> torch.Tensor:
        offsets = network.embed(images)[:, None] - means  # (B, 10, F)
        return -torch.einsum("bdf,fg,bdg->bd", offsets, precision, offsets).amin(dim=1)

    return score
