"""Compare inference engines on the network of an archive: time by batch size, time to load, memory, and accuracy.

    .venv/bin/pip install openvino          # optional
    .venv/bin/python -m benchmarks.engines

PyTorch, ONNX Runtime and OpenVINO, in float32, bfloat16 and int8. Each runs in a process of its own with one thread.
int8 is calibrated on 500 of MNIST's training digits. Prints a Markdown table and, last, one line of JSON.
"""

import functools
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.common import conditions, make_parser, median_seconds
from mnist_lightning.common.constants import ARCHIVE, EXPORTED, IMAGE_INPUT, WEIGHTS

Floats = NDArray[np.float32]
Predict = Callable[[Floats], Floats]  # (B, 1, 28, 28) in [0, 1] -> (B, 10)
Load = Callable[[Path], Predict]  # from an unpacked archive

BATCH_SIZES = (1, 8, 32)
CALIBRATION_IMAGES = 500


def _pytorch(folder: Path, *, bfloat16: bool = False, traced: bool = False) -> Predict:
    import torch

    from mnist_lightning.models import digitnet

    torch.set_num_threads(1)
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    network = digitnet.load((folder / WEIGHTS).read_bytes()).to(dtype).to(memory_format=torch.channels_last)
    call: Callable[[torch.Tensor], torch.Tensor] = network
    if traced:
        with torch.inference_mode():
            call = torch.jit.freeze(torch.jit.trace(network, torch.zeros(2, 1, 28, 28)))  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def predict(images: Floats) -> Floats:
        result: Floats = call(torch.from_numpy(images).to(dtype)).float().softmax(1).numpy()
        return result

    return predict


def _onnxruntime(folder: Path, *, int8: bool = False) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()  # as inference.loader, whose own imports would count
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = folder / ("int8.onnx" if int8 else EXPORTED)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {IMAGE_INPUT: images})[0]


def _openvino(folder: Path, *, precision: str = "f32", int8: bool = False) -> Predict:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(folder / ("int8.onnx" if int8 else EXPORTED), "CPU", settings)
    return lambda images: compiled([images])[0]


ENGINES: dict[str, Load] = {
    "PyTorch, float32": _pytorch,
    "PyTorch, float32, traced": functools.partial(_pytorch, traced=True),
    "PyTorch, bfloat16": functools.partial(_pytorch, bfloat16=True),
    "ONNX Runtime, float32": _onnxruntime,
    "ONNX Runtime, int8": functools.partial(_onnxruntime, int8=True),
    "OpenVINO, float32": _openvino,
    "OpenVINO, bfloat16": functools.partial(_openvino, precision="bf16"),
    "OpenVINO, int8": functools.partial(_openvino, int8=True),
}


def main() -> int:
    """Measure every engine in a process of its own, and print."""
    parser = make_parser(__doc__, "store", "data", "repeats")
    parser.add_argument("--engine", choices=list(ENGINES), help="measure this engine alone, in this process")
    parser.add_argument("--folder", type=Path, help="an unpacked archive (for --engine)")
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measure(ENGINES[options.engine], options.folder, options.repeats)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(options.store / ARCHIVE, options.data, folder)
        results = {engine: _in_own_process(engine, folder, options.repeats) for engine in _available()}
    print(conditions() + "\n")
    print("| engine | " + " | ".join(f"µs a picture, batch of {size}" for size in BATCH_SIZES), end=" | ")
    print("to load, ms | memory, MB | test errors |\n|---|" + "---:|" * (len(BATCH_SIZES) + 3))
    for engine, (*times, seconds, memory, errors) in results.items():
        cells = [*(f"{time:.0f}" for time in times), f"{1000 * seconds:.0f}", f"{memory:.0f}", str(errors)]
        print(f"| {engine} | " + " | ".join(cells) + " |")
    print(json.dumps(results))
    return 0


def prepare(archive: Path, data: Path, folder: Path) -> None:
    """Put an archive's model, its weights, an int8 model and MNIST's test set into a folder."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from mnist_lightning.datasets import mnist

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, images: Floats) -> None:
            self.batches: Iterator[dict[str, Floats]] = iter({IMAGE_INPUT: batch} for batch in np.split(images, 10))

        def get_next(self) -> dict[str, Floats] | None:
            return next(self.batches, None)

    with zipfile.ZipFile(archive) as file:
        file.extractall(folder, [EXPORTED, WEIGHTS])
    training, _ = mnist.load(data, train=True)
    images, labels = mnist.load(data, train=False)
    np.savez(folder / "test.npz", images=images.float().numpy() / np.float32(255), labels=labels.numpy())
    quant_pre_process(folder / EXPORTED, folder / "pre.onnx", skip_symbolic_shape=True)
    calibration = Calibration((training[:CALIBRATION_IMAGES].float() / 255).numpy())
    quantize_static(folder / "pre.onnx", folder / "int8.onnx", calibration, QuantFormat.QDQ, per_channel=True)


def measure(load: Load, folder: Path, repeats: int) -> list[float]:
    """µs a picture at every batch size, seconds to import and load, MB of memory, errors on MNIST's test set."""
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    predict = load(folder)
    predict(np.zeros((1, 1, 28, 28), np.float32))
    seconds = time.perf_counter() - started
    predict(np.zeros((max(BATCH_SIZES), 1, 28, 28), np.float32))
    memory = (process.memory_info().rss - before) / 1e6
    test = np.load(io.BytesIO((folder / "test.npz").read_bytes()))
    images, labels = test["images"], test["labels"]
    times = [
        1e6 * median_seconds(functools.partial(predict, images[:size]), 10 * repeats, 20) / size for size in BATCH_SIZES
    ]
    found = np.concatenate([predict(batch) for batch in np.split(images, len(images) // 100)])
    return [*times, seconds, memory, int((found.argmax(1) != labels).sum())]


def _in_own_process(engine: str, folder: Path, repeats: int) -> list[float]:
    flags = ["--engine", engine, "--folder", str(folder), "--repeats", str(repeats)]
    command = [sys.executable, "-m", "benchmarks.engines", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: list[float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _available() -> list[str]:
    has_openvino = importlib.util.find_spec("openvino") is not None
    return [engine for engine in ENGINES if has_openvino or "OpenVINO" not in engine]


if __name__ == "__main__":
    sys.exit(main())
