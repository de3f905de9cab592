"""Fits the out-of-distribution head beside a trained classifier, which stays as it is.

The classifier's features of all images are computed once, so the fit takes seconds. The threshold, and the scale on
which the log-odds are calibrated, come from images that the head was not trained on.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mnist_lightning.datasets.ood import OODDataset
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.models.ood import OODHead

FALSE_REJECTION_RATE = 0.01  # of the held-out digits
ENERGY_STD = 3.5  # standard deviation over digits, in log-odds before calibration, to which the energy is scaled
FEATURE_BATCH = 512
Features = tuple[torch.Tensor, torch.Tensor]  # (B, F) and their logits (B, 10)


@dataclass(frozen=True)
class OODConfig:
    """Hyperparameters of the head."""

    hidden_units: int = 32
    epochs: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    batch_size: int = 512
    dropout: float = 0.2
    energy_std: float = ENERGY_STD
    false_rejection_rate: float = FALSE_REJECTION_RATE


DEFAULT_CONFIG = OODConfig()


def fit(network: DigitNet, data: OODDataset, seed: int, config: OODConfig = DEFAULT_CONFIG) -> OODHead:
    """Fit a head to a trained network; the network itself does not change.

    Args:
        network: the classifier.
        data: digits and outliers, for training and held out.
        seed: determines the head's initial weights, the order of the images, and dropout.
        config: hyperparameters.
    """
    generator = torch.Generator().manual_seed(seed)
    network.eval()
    digits, outliers = _features(network, data.train_digits), _features(network, data.train_outliers)
    held_out_digits = _features(network, data.held_out_digits)
    held_out_outliers = _features(network, data.held_out_outliers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = OODHead(network.head.in_features, config.hidden_units)
        _train(head, digits[0], outliers[0], generator, config)
    with torch.no_grad():
        head.energy_weight.copy_(config.energy_std / held_out_digits[1].logsumexp(dim=1).std().clamp(min=1e-3))
        _calibrate(head, head(*held_out_digits), head(*held_out_outliers))
        head.threshold.copy_(head(*held_out_digits).quantile(config.false_rejection_rate))
    return head.eval()


@torch.inference_mode()
def _features(network: DigitNet, images: torch.Tensor) -> Features:
    parts = [network.embed(part.float() / 255) for part in torch.split(images, FEATURE_BATCH)]
    return torch.cat(parts), torch.cat([network.head(part) for part in parts])


def _train(
    head: OODHead, digits: torch.Tensor, outliers: torch.Tensor, generator: torch.Generator, config: OODConfig
) -> None:
    """Train the head's network on features (N, F) of both classes, which have the same weight in total."""
    features = torch.cat([digits, outliers]).clone()
    labels = torch.cat([torch.ones(len(digits)), torch.zeros(len(outliers))])
    weights = torch.where(labels > 0, len(labels) / 2 / len(digits), len(labels) / 2 / len(outliers))
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    deviation += 1e-3 * deviation.mean() + 1e-6
    features = (features - mean) / deviation
    batch_size = min(config.batch_size, len(labels))
    steps = config.epochs * (len(labels) // batch_size)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps, pct_start=0.1)
    for _ in range(config.epochs):
        order = torch.randperm(len(labels), generator=generator)
        for batch in torch.split(order[: len(labels) // batch_size * batch_size], batch_size):
            log_odds = head.mlp_score(F.dropout(features[batch], config.dropout))
            loss = F.binary_cross_entropy_with_logits(log_odds, labels[batch], weights[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():  # fold the standardization in: the head takes features as they are
        head.hidden.weight.div_(deviation)
        head.hidden.bias.sub_(head.hidden.weight @ mean)


def _calibrate(head: OODHead, digits: torch.Tensor, outliers: torch.Tensor) -> None:
    """Scale and shift the log-odds (N,) to calibrated ones, assuming equal priors; after Platt (1999)."""
    log_odds = torch.cat([digits, outliers])[:, None].double().numpy()
    truth = np.repeat([1, 0], [len(digits), len(outliers)])
    fitted = LogisticRegression(C=1e4, class_weight="balanced").fit(log_odds, truth)
    slope, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    head.output.weight.mul_(slope)
    head.output.bias.copy_(head.output.bias * slope + shift)
    head.energy_weight *= slope
