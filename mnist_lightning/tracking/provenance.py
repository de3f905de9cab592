"""What a run was made from: the commit of the code, and the versions that its results depend on."""

import subprocess
import sys
from importlib.metadata import version

import torch

from mnist_lightning.common import machine
from mnist_lightning.common.paths import PACKAGE


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the results depend on."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,  # with its build, such as +cpu, which the metadata may lack
        "lightning": version("lightning"),
        "mlflow": version("mlflow"),
    }


def git_commit() -> str:
    """The commit of the checkout that contains this package, with `-dirty` if tracked files have changed.

    `unknown` if the package is not in a git checkout, such as an installed one.
    """
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():  # an installed package may lie in a folder of another repository
        return "unknown"
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        described = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # git is not installed
        return "unknown"
    return described or "unknown"


def tags() -> dict[str, str]:
    """Commit, processor and versions, as tags of a run."""
    own = {"git_commit": git_commit(), "processor": machine.processor()}
    return {**own, **{f"version.{name}": text for name, text in versions().items()}}
