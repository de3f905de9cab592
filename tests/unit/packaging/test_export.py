"""Exported networks lose three quarters of their size, and nothing of what they say."""

import numpy as np
import onnx
import torch
from torch import nn

from mnist_lightning.common.engine import load_session
from mnist_lightning.packaging.export import export, quantize_weights, set_properties


def exported() -> tuple[nn.Module, bytes]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.LeakyReLU(), nn.Conv2d(64, 32, 3)).eval()
    example = {"image": torch.zeros(1, 3, 12, 12)}
    return network, export(network, example, ["scores"], "A test.", {"key": "value"})


def test_quantized_weights_have_almost_the_same_outputs() -> None:
    network, content = exported()
    quantized = quantize_weights(content)
    assert len(quantized) < 0.4 * len(content)
    images = torch.rand(1, 3, 12, 12)
    (scores,) = load_session(quantized, "it").run(["scores"], {"image": images.numpy()})
    with torch.inference_mode():
        expected = network(images).numpy()
    assert 0 < np.abs(scores - expected).max() < 0.02 * np.abs(expected).max()


def test_a_channel_of_zeros_stays_one() -> None:
    network = nn.Conv2d(3, 8, 3, bias=False).eval()
    with torch.no_grad():
        network.weight[0] = 0
    content = quantize_weights(export(network, {"image": torch.zeros(1, 3, 12, 12)}, ["scores"], "A test.", {}))
    (scores,) = load_session(content, "it").run(["scores"], {"image": np.ones((1, 3, 12, 12), np.float32)})
    assert not scores[0, 0].any()
    assert scores[0, 1:].any()


def test_properties_are_replaced() -> None:
    changed = set_properties(exported()[1], {"other": "1"})
    assert {entry.key: entry.value for entry in onnx.load_from_string(changed).metadata_props} == {"other": "1"}
