"""Corrections to TorchServe 0.12's Python worker, applied in the worker's own process."""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

Item = dict[str, Any]
PATCHED_VERSION = "0.12."
READ_SIZE = 1 << 18  # bytes requested from the socket at a time


class Connection(Protocol):
    """The part of a socket that a reader uses."""

    def recv(self, size: int, /) -> bytes: ...


class BufferedReader:
    """Reads a connection in large pieces.

    TorchServe's worker asks the socket for every length and header separately, about sixty system calls for one
    picture. This class reads whatever has arrived, and returns it in the same pieces.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data, self.start = b"", 0

    def read(self, length: int) -> bytes:
        """The next `length` bytes. Ends the process, as TorchServe does, if the front end is gone."""
        if (end := self.start + length) > len(self.data):
            self._receive(length)
            end = length
        piece = self.data[self.start : end]
        self.start = end
        return piece

    def _receive(self, length: int) -> None:
        parts, size = [self.data[self.start :]], len(self.data) - self.start
        while size < length:
            part = self.connection.recv(max(READ_SIZE, length - size))
            if not part:
                sys.exit(0)
            parts.append(part)
            size += len(part)
        self.data, self.start = b"".join(parts), 0


def use_torch() -> None:
    """Make `import torch` import torch itself, where `serve` has put a stub in its place."""
    if getattr(sys.modules.get("torch"), "IS_STUB", False):
        stub = sys.modules.pop("torch")
        sys.path.remove(str(Path(str(stub.__file__)).parent))


_readers: dict[Connection, BufferedReader] = {}


def read_buffered(connection: Connection, length: int) -> bytes:
    """The next `length` bytes of a connection. Each connection has a buffer of its own, until it is closed."""
    try:
        reader = _readers[connection]
    except KeyError:
        reader = _readers[connection] = BufferedReader(connection)
    try:
        return reader.read(length)
    except BaseException:
        del _readers[connection]
        raise


def apply_patches() -> bool:
    """Read requests in large pieces, leave bodies undecoded, and keep every field of a multipart body.

    Unpatched, the worker decodes JSON and text before the handler, with a traceback in the log for invalid ones; and
    of multipart fields with one name, as `curl -F data=@a.png -F data=@b.png` sends them, it keeps only the last.

    Only TorchServe 0.12 is patched; with another version the handler works unpatched, and the log says so. Returns
    whether the patches are applied.
    """
    os.environ["TS_DECODE_INPUT_REQUEST"] = "false"
    if reason := _find_mismatch():
        logging.getLogger(__name__).warning("TorchServe's worker runs unpatched, which is slower: %s", reason)
        return False
    from ts.protocol import otf_message_handler
    from ts.service import Service

    otf_message_handler._retrieve_buffer = read_buffered
    original = Service.retrieve_data_for_inference
    Service.retrieve_data_for_inference = staticmethod(partial(retrieve_every_field, original))
    return True


def retrieve_every_field(original: Callable[[list[Item]], Any], batch: list[Item]) -> Any:
    """Convert a batch as TorchServe's `original` does, its multipart fields numbered so that none replaces another."""
    for request in batch:
        if len(request["parameters"]) > 1:
            for index, parameter in enumerate(request["parameters"]):
                parameter["name"] = f"{index}:{parameter['name']}"
    return original(batch)


def _find_mismatch() -> str | None:
    """Why the installed TorchServe cannot be patched; None if it can."""
    try:
        version = metadata.version("torchserve")
        from ts.protocol import otf_message_handler
        from ts.service import Service
    except ImportError as error:
        return str(error)
    if not version.startswith(PATCHED_VERSION):
        return f"its version is {version}, and the patches are for {PATCHED_VERSION}*"
    functions = (otf_message_handler, "_retrieve_buffer"), (Service, "retrieve_data_for_inference")
    missing = [name for owner, name in functions if not callable(getattr(owner, name, None))]
    return f"it has no {' and no '.join(missing)}" if missing else None
