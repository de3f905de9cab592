"""Train the small network that the tests serve; store its weights and its export in tests/weights/small.{pt,onnx}.

    python -m tests.make_weights                      # 40 epochs of config/small.yaml, about 6 minutes on two cores
    python -m tests.make_weights --epochs 1 --limit 2000 --outliers 20 --out /tmp/small.pt

Other flags are those of `mnist_lightning.train`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.files import write_atomic
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import save
from mnist_lightning.packaging.export import to_onnx

PROJECT = Path(__file__).resolve().parent.parent
WEIGHTS_FILE = Path(__file__).with_name("weights") / "small.pt"


def main(arguments: list[str] | None = None) -> int:
    """Train with the project's own command, and copy the network out of the archive that it makes."""
    parser = argparse.ArgumentParser(prog="python -m tests.make_weights", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE, help="file to write (%(default)s)")
    options, flags = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "model_store")
        command = [sys.executable, "-m", "mnist_lightning.train", "--config", str(PROJECT / "config" / "small.yaml")]
        command += ["--data_dir", str(PROJECT / "data" / "MNIST" / "raw"), *flags, "--model_store", str(store)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        subprocess.run(command, cwd=folder, env=environment, check=True)
        network = load_network(store / ARCHIVE)
        save(network, options.out)
        write_atomic(options.out.with_suffix(".onnx"), to_onnx(network, options.out.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
