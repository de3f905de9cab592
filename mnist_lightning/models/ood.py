"""The out-of-distribution head: does a picture show a digit at all?"""

import torch
import torch.nn.functional as F
from torch import nn


class OODHead(nn.Module):
    """Features (B, F) and their logits (B, 10) -> log-odds (B,) that the picture shows a digit.

    The sum of a small network trained on outliers, and of the logits' energy, which is low for pictures unlike those
    that the classifier was trained on. After Hendrycks, Mazeika and Dietterich, "Deep Anomaly Detection with Outlier
    Exposure" (2019), and Liu et al., "Energy-based Out-of-distribution Detection" (2020).

    Args:
        features: length of a feature vector.
        hidden: units of the small network.
    """

    logit_scale: torch.Tensor  # the temperature that the logits were divided by after this head was fitted
    energy_weight: torch.Tensor
    threshold: torch.Tensor  # log-odds below which a picture is rejected

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(features, hidden), nn.Linear(hidden, 1)
        for name, value in {"logit_scale": 1.0, "energy_weight": 1.0, "threshold": 0.0}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Log-odds (B,)."""
        return self.mlp_score(features) + self.energy_weight * (logits * self.logit_scale).logsumexp(dim=1)

    def mlp_score(self, features: torch.Tensor) -> torch.Tensor:
        """The small network's part of the log-odds, (B,)."""
        odds: torch.Tensor = self.output(F.leaky_relu(self.hidden(features)))
        return odds[:, 0]
