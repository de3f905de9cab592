"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part.

    The temporary file lies in the same folder and is deleted if writing fails. Raises OSError.
    """
    save_atomic(path, lambda temporary: temporary.write_bytes(content))


def save_atomic(path: Path, save: Callable[[Path], object]) -> None:
    """As `write_atomic`, for content that `save` writes into the temporary file whose path it is given."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        save(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
