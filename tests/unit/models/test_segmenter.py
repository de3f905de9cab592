"""The segmenter's shapes, and what it does not depend on."""

import pytest
import torch

from mnist_lightning.models.segmenter import InkSegmenter


@pytest.fixture(scope="module")
def network() -> InkSegmenter:
    torch.manual_seed(0)
    return InkSegmenter((4, 6, 8)).eval()


@torch.inference_mode()
def test_every_pixel_has_a_logit(network: InkSegmenter) -> None:
    assert network(torch.rand(2, 3, 64, 96) * 255).shape == (2, 1, 64, 96)


@torch.inference_mode()
def test_brightness_changes_nothing(network: InkSegmenter) -> None:
    picture = torch.rand(1, 3, 64, 64) * 100
    assert torch.allclose(network(picture), network(picture + 80), atol=1e-3)


@torch.inference_mode()
def test_an_empty_picture_has_finite_logits(network: InkSegmenter) -> None:
    assert network(torch.full((1, 3, 64, 64), 255.0)).isfinite().all()
