"""ONNX Runtime, as the server runs it."""

import functools
from pathlib import Path

import onnxruntime


def load_session(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """Load an exported model with one thread, because the workers share the cores.

    Raises RuntimeError, which has the file's `name`, if it is damaged.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged file raises errors of many types, none of which is exported
        raise RuntimeError(f"{name} is damaged: {error}") from error


@functools.cache
def load_shipped(path: Path) -> onnxruntime.InferenceSession:
    """A network that ships with the package. Raises RuntimeError if its file is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RuntimeError(f"{path} cannot be read: {error}; install the package again") from error
    return load_session(content, path.name)
