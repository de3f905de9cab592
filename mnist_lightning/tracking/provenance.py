"""What a run was made from: the commit that is checked out, and the versions it ran on."""

import subprocess
import sys

import lightning
import mlflow
import torch


def versions() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "mlflow": mlflow.__version__,
    }


def git_commit() -> str:
    """The commit that is checked out, with `-dirty` where tracked files were changed; `unknown` outside git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def tags() -> dict[str, str]:
    """All of it, as a run's tags."""
    return {"git_commit": git_commit(), **{f"version.{name}": text for name, text in versions().items()}}
