"""Archives with other models in them, made of one that is known."""

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import save
from tests.small_archive import with_weights_digest


def write_archive(original: Path, archive: Path, **replaced: bytes) -> None:
    """Write a copy of the original archive with other files in it, in one step."""
    temporary = archive.with_suffix(".new")
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(temporary, "w") as new:
        for name in old.namelist():
            new.writestr(name, replaced.get(name.replace(".", "_"), old.read(name)))
    temporary.replace(archive)


def always(original: Path, digit: int) -> dict[str, bytes]:
    """The archive's weights and model, changed so that every prediction is this digit; for `write_archive`."""
    network = load_network(original)
    with torch.no_grad():
        network.head.bias[digit] += 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist.pt"
        save(network, path)
        weights = path.read_bytes()
    model = _model_of(original)  # changed as well: another export takes seconds
    (bias,) = (value for value in model.graph.initializer if value.name == "network.head.bias")
    bias.CopyFrom(numpy_helper.from_array(network.head.bias.detach().numpy(), bias.name))
    return {"mnist_pt": weights, "mnist_onnx": with_weights_digest(model, weights)}


def failing(original: Path) -> dict[str, bytes]:
    """The archive's model, changed so that it raises an error for every image but a blank one."""
    index = [
        helper.make_node("Mul", ["brightest", "thousand"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["zero", "index"], ["nothing"]),
    ]
    return {"mnist_onnx": _with_nodes(original, index)}


def slow(original: Path) -> dict[str, bytes]:
    """The archive's model, changed so that a call takes tens of milliseconds."""
    work = [
        helper.make_node("Expand", ["brightest", "shape"], ["matrix"]),
        helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
    ]
    return {"mnist_onnx": _with_nodes(original, work)}


def _model_of(original: Path) -> ModelProto:
    """The archive's model."""
    with zipfile.ZipFile(original) as archive:
        return onnx.load_from_string(archive.read("mnist.onnx"))


def _with_nodes(original: Path, nodes: Sequence[NodeProto]) -> bytes:
    """The archive's model with nodes that make `nothing`, which is added to its output, of `brightest`, a pixel."""
    model = _model_of(original)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["unchanged" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["unchanged" if name == "probabilities" else name for name in node.input]
    constants = {
        "zero": helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        "thousand": helper.make_tensor("thousand", TensorProto.FLOAT, [1], [1000.0]),
        "shape": helper.make_tensor("shape", TensorProto.INT64, [2], [1024, 1024]),
    }
    graph.initializer.extend(constants.values())
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
            *nodes,
            helper.make_node("Add", ["unchanged", "nothing"], ["probabilities"]),
        ]
    )
    content: bytes = model.SerializeToString()
    return content
