"""What tests share: the project's folder, a picture, and ways to run its commands as a user does; no large imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
WEIGHTS_FILE = PROJECT / "tests" / "weights" / "small.pt"  # made by tests/make_weights.py
SEVEN = PROJECT / "tests" / "seven.png"  # MNIST's first test digit, dark on white, 280×280 pixels
# The start of a script: an import of the packages that `blocked` names fails, as if they were not installed.
BLOCK_IMPORTS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not installed")

sys.meta_path.insert(0, Blocked())
"""
TIMEOUT = 300  # seconds for one command


def verb(name: str, *flags: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mnist_lightning.NAME` as a user does, with no environment activated."""
    return subprocess.run(
        [sys.executable, "-m", f"mnist_lightning.{name}", *flags],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that the test processes of one run share."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
