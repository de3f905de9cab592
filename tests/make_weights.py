"""Train the small network that the tests serve; store its weights and its export in tests/weights/small.{pt,onnx}.

    python -m tests.make_weights                      # 40 epochs of config/small.yaml, about 6 minutes on two cores
    python -m tests.make_weights --epochs 1 --limit 2000 --outliers 20 --out /tmp/small.pt

Other flags are those of `mnist_lightning.train`. Its runs are logged to MLFLOW_TRACKING_URI, if that is set.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from mnist_lightning import train
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.files import write_atomic
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import save
from mnist_lightning.packaging.export import to_onnx
from tests.support import PROJECT, WEIGHTS_FILE


def main(arguments: list[str] | None = None) -> int:
    """Train with the project's own command, and copy the network out of the archive that it makes."""
    parser = argparse.ArgumentParser(prog="python -m tests.make_weights", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE, help="file to write (%(default)s)")
    options, flags = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "model_store")
        places = ["--data_dir", str(PROJECT / "data" / "MNIST" / "raw"), *flags, "--model_store", str(store)]
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with contextlib.chdir(folder):
            if code := train.main(["--config", str(PROJECT / "config" / "small.yaml"), *places]):
                return code
        network = load_network(store / ARCHIVE)
        save(network, options.out)
        write_atomic(options.out.with_suffix(".onnx"), to_onnx(network, options.out.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
