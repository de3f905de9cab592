"""How `pool` and `worker` talk. A frame is the size of its content in 8 bytes, highest first, and the content.

The worker first writes an empty JSON list, or an error's message as a JSON string. Then each request is a frame with
the number of pictures, in decimal, and a frame for each picture; it is answered by a frame with a JSON list of
Responses.
"""

from typing import IO, Any

SIZE_BYTES = 8
Response = tuple[int, Any]  # HTTP status and JSON body, for one picture


def to_frame(content: bytes) -> bytes:
    """The content with its size before it."""
    return len(content).to_bytes(SIZE_BYTES, "big") + content


def read_frame(file: IO[bytes]) -> bytes:
    """The content of the next frame; empty at the end of the file."""
    return file.read(int.from_bytes(file.read(SIZE_BYTES), "big"))
