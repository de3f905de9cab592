"""A network -> a model archive (.mar) that TorchServe loads.

The archive contains whole sub-packages of this project, and needs neither lightning nor mlflow nor torchvision.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mnist_lightning.common.constants import ARCHIVE, WEIGHTS
from mnist_lightning.common.paths import PACKAGE, resource
from mnist_lightning.models.digitnet import DigitNet, save

MODEL_NAME = "mnist"
ARCHIVED_PACKAGES = ("common", "preprocessing", "models", "inference")


class PackagingError(RuntimeError):
    """The archive cannot be built; an existing one is unchanged."""


def build(network: DigitNet, folder: Path) -> Path:
    """Build the archive of a network with calibrated logits in an empty folder; the path of the .mar.

    Its content stays in ``folder / "parts"``. Raises PackagingError.
    """
    parts = folder / "parts"
    code = parts / "code" / "mnist_lightning"
    code.mkdir(parents=True)
    save(network, parts / WEIGHTS)
    shutil.copy(PACKAGE / "__init__.py", code)
    for name in ARCHIVED_PACKAGES:
        shutil.copytree(PACKAGE / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(resource("handlers/digit_handler.py"), parts)
    shutil.copy(resource("config/model-config.yaml"), parts)
    return _run_archiver(parts, folder)


def _run_archiver(parts: Path, folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "model_archiver.model_packaging"),
        *("--model-name", MODEL_NAME, "--version", "1.0"),
        *("--serialized-file", str(parts / WEIGHTS)),
        *("--handler", str(parts / "digit_handler.py")),
        *("--extra-files", str(parts / "code")),
        *("--config-file", str(parts / "model-config.yaml")),
        *("--export-path", str(folder), "--force"),
    ]
    # The archiver deletes a folder named after the model in the temporary folder, so it gets its own.
    scratch = folder / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    archive = folder / ARCHIVE
    if done.returncode or not archive.is_file():
        raise PackagingError(f"torch-model-archiver failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return archive
