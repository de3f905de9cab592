"""Short identifiers of file contents."""

import hashlib


def short_digest(content: bytes) -> str:
    """The first twelve hexadecimal digits of the content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]
