"""Short names for contents."""

import hashlib


def short_digest(content: bytes) -> str:
    """The first twelve hexadecimal digits of a content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]
