"""Compressed bodies: HTTP's Content-Encoding, RFC 9110."""

import zlib

from mnist_lightning.common.constants import MAX_REQUEST_BYTES
from mnist_lightning.inference.errors import BadEncodingError, TooManyBytesError, UnknownEncodingError, shorten

# zlib's window bits: gzip's header, zlib's header, or neither, which some clients send as deflate.
GZIP, ZLIB, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
ENCODINGS = {"gzip": (GZIP,), "x-gzip": (GZIP,), "deflate": (ZLIB, RAW)}


def decompress(body: bytes | bytearray, encoding: str) -> bytes | bytearray:
    """The body as it was before the encoding that its header names; "" and "identity" change nothing.

    Raises UnknownEncodingError, BadEncodingError, or TooManyBytesError if it would be larger than MAX_REQUEST_BYTES.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ENCODINGS:
        raise UnknownEncodingError(f"Content-Encoding {shorten(encoding)!r}; {', '.join(ENCODINGS)} are supported")
    for window_bits in ENCODINGS[name]:
        decompressor = zlib.decompressobj(window_bits)
        try:
            content = decompressor.decompress(body, MAX_REQUEST_BYTES + 1)
        except zlib.error:
            continue
        if len(content) > MAX_REQUEST_BYTES:
            message = f"the decompressed body is too large; at most {MAX_REQUEST_BYTES:,} bytes are accepted"
            raise TooManyBytesError(message)
        if decompressor.eof and not decompressor.unused_data:
            return content
    raise BadEncodingError(f"the body is declared as {name}, but it is damaged or cut")
