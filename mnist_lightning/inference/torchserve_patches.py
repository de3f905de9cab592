"""What TorchServe 0.12's Python worker does with a loss or slowly, done better in the worker's own process."""

import os
import sys
from typing import Any, Protocol

from ts.protocol import otf_message_handler
from ts.service import Service

Item = dict[str, Any]
AT_ONCE = 1 << 18  # bytes asked of the socket at a time
RETRIEVE = Service.retrieve_data_for_inference


class Connection(Protocol):
    """What is needed of a socket."""

    def recv(self, size: int, /) -> bytes: ...


class Inbox:
    """What the front end sent and nobody read yet.

    The worker asks the socket for every length and every header of a request by itself, some sixty calls of the
    system for one picture; this reads whatever is there, and hands it out in the same pieces.
    """

    def __init__(self) -> None:
        self.data, self.start = b"", 0

    def take(self, connection: Connection, length: int) -> bytes:
        """The next `length` bytes; ends the process where the front end is gone, as TorchServe's own does."""
        if (end := self.start + length) > len(self.data):
            self._wait_for(connection, length)
            end = length
        piece = self.data[self.start : end]
        self.start = end
        return piece

    def _wait_for(self, connection: Connection, length: int) -> None:
        parts, size = [self.data[self.start :]], len(self.data) - self.start
        while size < length:
            part = connection.recv(max(AT_ONCE, length - size))
            if not part:
                sys.exit(0)
            parts.append(part)
            size += len(part)
        self.data, self.start = b"".join(parts), 0


def mend() -> None:
    """Have the worker read requests in large pieces, and hand over every one's own bytes and all of its fields.

    It decodes JSON and text before the handler otherwise, with a traceback in the log for what does not parse; and of
    multipart fields with one name, as `curl -F data=@a.png -F data=@b.png` sends them, it keeps only the last.
    """
    os.environ["TS_DECODE_INPUT_REQUEST"] = "false"
    otf_message_handler._retrieve_buffer = Inbox().take
    Service.retrieve_data_for_inference = staticmethod(with_every_field)


def with_every_field(batch: list[Item]) -> Any:
    """What the worker makes of a batch, the fields of a multipart body numbered so that none replaces another."""
    for request in batch:
        if len(request["parameters"]) > 1:
            for place, parameter in enumerate(request["parameters"]):
                parameter["name"] = f"{place}:{parameter['name']}"
    return RETRIEVE(batch)
