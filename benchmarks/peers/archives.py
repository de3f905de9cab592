"""Build the archives of the other handlers.

python -m benchmarks.peers.archives classic FOLDER PORT    # and a configuration with ports only
python -m benchmarks.peers.archives empty FOLDER
"""

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.peers.predictor import default_archive
from mnist_lightning.common.constants import WEIGHTS
from mnist_lightning.common.paths import resource
from mnist_lightning.models import archive
from mnist_lightning.serving import config

HERE = Path(__file__).parent


def main() -> None:
    """Build one archive."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "mnist", "--version", "1.0"]
    command += ["--handler", str(HERE / f"{kind}_handler.py"), "--export-path", str(folder), "--force"]
    if kind == "classic":
        command += ["--model-file", str(HERE / "classic_model.py"), "--serialized-file", str(save_classifier(folder))]
        write_ports(folder, int(sys.argv[3]))
    else:
        command += ["--config-file", str(resource("config/model-config.yaml"))]
    subprocess.run(command, check=True)


def save_classifier(folder: Path) -> Path:
    """Save the state_dict of the archive's network without its out-of-distribution head."""
    network, path = archive.load_network(default_archive()), folder / WEIGHTS
    network.ood_head = None
    torch.save(network.state_dict(), path)
    return path


def write_ports(folder: Path, port: int) -> None:
    """Write a config.properties with the ports alone; all other settings stay TorchServe's defaults."""
    path = config.write_config(folder, folder, port)
    ports = [line for line in path.read_text().splitlines() if line.partition("=")[0].endswith(("_address", "_port"))]
    path.write_text("\n".join(ports) + "\n")


if __name__ == "__main__":
    main()
