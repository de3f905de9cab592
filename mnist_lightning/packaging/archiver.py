"""A network -> a model archive (.mar) that TorchServe loads.

The archive contains whole sub-packages of this project, and needs neither lightning nor mlflow nor torchvision.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from itertools import takewhile
from pathlib import Path

from mnist_lightning.common.constants import ARCHIVE, EXPORTED, MODEL_NAME, MODEL_VERSION, REFERENCE, WEIGHTS
from mnist_lightning.common.files import write_atomic
from mnist_lightning.common.paths import PACKAGE, resource
from mnist_lightning.models.digitnet import DigitNet, load, save
from mnist_lightning.packaging.export import ExportError, to_onnx
from mnist_lightning.packaging.reference import measure_reference
from mnist_lightning.preprocessing.normalize import NormalizedImage

ARCHIVED_PACKAGES = ("common", "preprocessing", "models", "inference")


class PackagingError(RuntimeError):
    """The archive cannot be built; an existing one is unchanged."""


def build(network: DigitNet, folder: Path, validation: list[NormalizedImage] | None = None) -> Path:
    """Build the archive of a network in an empty folder; the path of the .mar. The network has calibrated logits and an
    out-of-distribution head. With `validation` images, the archive contains the reference distributions for drift.

    Its content stays in ``folder / "parts"``. Raises PackagingError.
    """
    parts = folder / "parts"
    code = parts / "code" / "mnist_lightning"
    code.mkdir(parents=True)
    save(network, parts / WEIGHTS)
    weights = (parts / WEIGHTS).read_bytes()
    try:
        (parts / EXPORTED).write_bytes(to_onnx(load(weights), weights))
    except ExportError as error:
        raise PackagingError(str(error)) from error
    if validation is not None:
        (parts / "code" / REFERENCE).write_bytes(measure_reference(parts, validation))
    shutil.copy(PACKAGE / "__init__.py", code)
    for name in ARCHIVED_PACKAGES:
        shutil.copytree(PACKAGE / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(resource("handlers/digit_handler.py"), parts)
    shutil.copy(resource("config/model-config.yaml"), parts)
    return _run_archiver(parts, folder)


def copy_model(archive: Path) -> Path:
    """Copy the exported model out of an archive, to a file beside it; the path of that file."""
    target = archive.with_name(EXPORTED)
    with zipfile.ZipFile(archive) as content:
        write_atomic(target, content.read(EXPORTED))
    return target


def _run_archiver(parts: Path, folder: Path) -> Path:
    # It runs in the folder of the parts, because it takes commas and colons in a path for separators.
    command = [
        *(sys.executable, "-P", "-m", "model_archiver.model_packaging"),  # -P: it does not import what lies here
        *("--model-name", MODEL_NAME, "--version", MODEL_VERSION),
        *("--serialized-file", EXPORTED, "--handler", "digit_handler.py", "--extra-files", f"code,{WEIGHTS}"),
        *("--config-file", "model-config.yaml", "--export-path", os.pardir, "--force"),
    ]
    # The archiver deletes a folder named after the model in the temporary folder, so it gets its own.
    scratch = folder / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch.resolve())}
    done = subprocess.run(command, cwd=parts, env=environment, capture_output=True, text=True, check=False)
    archive = folder / ARCHIVE
    if done.returncode or not archive.is_file():
        raise PackagingError(f"torch-model-archiver failed: {_in_one_line(done.stderr or done.stdout)[-500:]}")
    return archive


def _in_one_line(output: str) -> str:
    """The lines after the last indented one: the error at the end of a traceback, or all of another output."""
    lines = takewhile(lambda line: not line.startswith(" "), reversed(output.strip().splitlines()))
    return " ".join(reversed([*lines]))
