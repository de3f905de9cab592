"""ONNX Runtime, as the server runs it."""

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
