"""Imports of large packages."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import in about half the time: no garbage is collected meanwhile, or searched for later in what was imported.

    Lightning and MLflow create a million objects that are in use as long as the process runs. The collector would go
    through all of them again and again, and once more at the end of the process.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
