"""Exported networks are smaller than their weights, and say the same."""

import functools
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mnist_lightning.common.engine import load_session
from mnist_lightning.packaging.export import export, round_weights, set_properties


@functools.cache
def exported() -> tuple[nn.Module, bytes]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.LeakyReLU(), nn.Conv2d(64, 32, 3)).eval()
    example = {"image": torch.zeros(1, 3, 12, 12)}
    return network, export(network, example, ["scores"], "A test.", {"key": "value"})


@pytest.mark.parametrize(("bits", "share", "error"), [(8, 0.4, 0.02), (16, 0.6, 0.001)])
def test_rounded_weights_have_almost_the_same_outputs(bits: Literal[8, 16], share: float, error: float) -> None:
    network, content = exported()
    rounded = round_weights(content, bits)
    assert len(rounded) < share * len(content)
    images = torch.rand(1, 3, 12, 12)
    (scores,) = load_session(rounded, "it").run(["scores"], {"image": images.numpy()})
    with torch.inference_mode():
        expected = network(images).numpy()
    assert 0 < np.abs(scores - expected).max() < error * np.abs(expected).max()


def test_a_channel_of_zeros_stays_one() -> None:
    network = nn.Conv2d(3, 8, 3, bias=False).eval()
    with torch.no_grad():
        network.weight[0] = 0
    content = round_weights(export(network, {"image": torch.zeros(1, 3, 12, 12)}, ["scores"], "A test.", {}), 8)
    (scores,) = load_session(content, "it").run(["scores"], {"image": np.ones((1, 3, 12, 12), np.float32)})
    assert not scores[0, 0].any()
    assert scores[0, 1:].any()


def test_properties_are_replaced() -> None:
    changed = set_properties(exported()[1], {"other": "1"})
    assert {entry.key: entry.value for entry in onnx.load_from_string(changed).metadata_props} == {"other": "1"}
