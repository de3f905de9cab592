"""A digit recogniser's whole life: train, compare, archive, serve, ask."""

import logging
import os

# If the home folder cannot be written, matplotlib works in a temporary folder, but warns when it is imported.
CACHE_WARNINGS = ("Matplotlib created a temporary cache", "mkdir -p failed for path", "%s is not a writable directory")
logging.getLogger("matplotlib").addFilter(lambda record: not str(record.msg).startswith(CACHE_WARNINGS))

# ONNX Runtime reads this when it is imported. It would report its use to its maker, under an id in the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
