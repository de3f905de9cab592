"""A network -> an ONNX model with the same outputs, for ONNX Runtime in this project's server, or any other runtime.

The model takes normalized images: preprocessing stays in `mnist_lightning.preprocessing`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import onnx
import torch
from torch import nn

from mnist_lightning.common.constants import (
    IMAGE_INPUT,
    IS_DIGIT_OUTPUT,
    PROBABILITIES_OUTPUT,
    THRESHOLD_PROPERTY,
    WEIGHTS_PROPERTY,
)
from mnist_lightning.common.digests import short_digest
from mnist_lightning.datasets.raster import SIDE, Images, draw_segments, uniform, uniform_per_image
from mnist_lightning.evaluation.exported import largest_difference
from mnist_lightning.models.digitnet import DigitNet

MAX_DIFFERENCE = 1e-4  # between the probabilities of the network and of the exported model, before weights are rounded
DESCRIPTION = """A classifier of handwritten digits.

Input `image`: (batch, 1, 28, 28) float32 in [0, 1], white ink on black, in the form of MNIST: the digit's box is scaled
to 20x20 pixels with its aspect ratio kept, and its center of mass is at pixel (14, 14), counted from 0.
Output `probabilities`: (batch, 10), of the digits 0 to 9. Output `is_digit`: (batch,), the probability that the image
shows a digit; below the metadata property `threshold`, reject the image.
"""


class ExportError(RuntimeError):
    """The exported model does not predict what the network predicts."""


class _Outputs(nn.Module):
    """What the server needs of a network: `predict_probabilities` as the method that is exported."""

    def __init__(self, network: DigitNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.predict_probabilities(images)


def to_onnx(network: DigitNet, weights: bytes) -> bytes:
    """Export a network with an out-of-distribution head, with weights of 16 bits.

    Before these are rounded, the model is compared with the network on 10,000 images.

    Args:
        network: the network, with calibrated logits.
        weights: the file that `digitnet.save` wrote of it; the model records its digest.

    Raises ExportError if any output differs by more than MAX_DIFFERENCE.
    """
    properties = {THRESHOLD_PROPERTY: repr(network.threshold), WEIGHTS_PROPERTY: short_digest(weights)}
    content = export(
        _Outputs(network).eval(),
        {IMAGE_INPUT: torch.zeros(2, 1, 28, 28)},
        [PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT],
        DESCRIPTION,
        {**properties, "labels": json.dumps(list(range(10)))},
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    if not (difference := largest_difference(content, network, check_images())) <= MAX_DIFFERENCE:
        raise ExportError(f"the exported model differs by {difference:.2g}; the limit is {MAX_DIFFERENCE}")
    return round_weights(content, 16)


def export(
    outputs: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    output_names: Sequence[str],
    description: str,
    properties: Mapping[str, str],
    dynamic_shapes: tuple[Mapping[int, object], ...] | None = None,
) -> bytes:
    """The ONNX file of a module in evaluation mode. Stack traces, with this machine's paths, are left out.

    Args:
        outputs: the module.
        inputs: examples of its inputs, by name.
        output_names: names of its outputs.
        description: the file's description.
        properties: the file's metadata.
        dynamic_shapes: for each input, the dimensions that may have other sizes than in the example.
    """
    program = torch.onnx.export(
        outputs,
        tuple(inputs.values()),
        dynamo=True,
        dynamic_shapes=dynamic_shapes,
        input_names=list(inputs),
        output_names=list(output_names),
        verbose=False,
    )
    assert program is not None  # noqa: S101 - as it always is with dynamo=True; for mypy
    model = program.model_proto
    model.doc_string = description
    for node in model.graph.node:
        node.ClearField("metadata_props")
    onnx.helper.set_model_props(model, dict(properties))
    content: bytes = model.SerializeToString()
    return content


def set_properties(content: bytes, properties: Mapping[str, str]) -> bytes:
    """An ONNX file with other metadata."""
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, dict(properties))
    changed: bytes = model.SerializeToString()
    return changed


def round_weights(content: bytes, bits: Literal[8, 16]) -> bytes:
    """A smaller ONNX file, whose convolutions have weights of 16 bits, or of eight and a scale for each output channel.

    The runtime computes weights of 32 bits once, when it loads the model, and is as fast with them as before.
    """
    model = onnx.load_from_string(content)
    names = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for tensor in [one for one in model.graph.initializer if one.name in names]:
        stored = _eight_bits(tensor) if bits == 8 else _sixteen_bits(tensor)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.extend(stored.tensors)
        for node in reversed(stored.nodes):
            model.graph.node.insert(0, node)
    changed: bytes = model.SerializeToString()
    return changed


class _Stored(NamedTuple):
    """How a tensor is stored, and what computes it."""

    tensors: Sequence[onnx.TensorProto]
    nodes: Sequence[onnx.NodeProto]


def _sixteen_bits(tensor: onnx.TensorProto) -> _Stored:
    halves = onnx.numpy_helper.to_array(tensor).astype(np.float16)
    name = f"{tensor.name}.halves"
    cast = onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
    return _Stored([onnx.numpy_helper.from_array(halves, name)], [cast])


def _eight_bits(tensor: onnx.TensorProto) -> _Stored:
    weights = onnx.numpy_helper.to_array(tensor)
    largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
    scales = (np.maximum(largest, np.finfo(np.float32).tiny) / 127).astype(np.float32)
    values = {"integers": np.round(weights / scales).astype(np.int8), "scales": scales}
    integers, scale, floats = (f"{tensor.name}.{part}" for part in (*values, "floats"))
    cast = onnx.helper.make_node("Cast", [integers], [floats], to=onnx.TensorProto.FLOAT)
    multiply = onnx.helper.make_node("Mul", [floats, scale], [tensor.name])
    tensors = [onnx.numpy_helper.from_array(value, f"{tensor.name}.{part}") for part, value in values.items()]
    return _Stored(tensors, [cast, multiply])


def check_images(count: int = 10_000) -> Images:
    """Images (count, 1, 28, 28) in [0, 1] of three strokes each, with noise between none and full; always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        like = torch.empty(0)
        ends = uniform(3 * count * 4, 0, SIDE, like).view(3, 2, count, 2)
        strokes = [draw_segments(start, end, uniform(count, 1, 5, like)) for start, end in ends]
        noise = torch.rand(count, 1, SIDE, SIDE) * uniform_per_image(count, 0, 1, like)
        return torch.stack([*strokes, noise]).amax(0)
