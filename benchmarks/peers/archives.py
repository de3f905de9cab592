"""Archives of the other handlers.

python -m benchmarks.peers.archives classic FOLDER PORT    # and a configuration of nothing but the ports
python -m benchmarks.peers.archives empty FOLDER
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import torch

from benchmarks.peers.reader import ARCHIVE
from mnist_lightning.common.constants import WEIGHTS
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.serving import config

HERE = Path(__file__).parent


def main() -> None:
    """Make one."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    with zipfile.ZipFile(os.environ[ARCHIVE]) as champion:
        weights = champion.extract(WEIGHTS, folder)
    ten = {name: value for name, value in torch.load(weights, weights_only=True).items() if "judge." not in name}
    torch.save(ten, weights)
    parts = {
        "classic": ["--model-file", HERE / "classic_model.py", "--serialized-file", weights],
        "empty": ["--config-file", PACKAGE.parent / "config/model-config.yaml"],
    }
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "mnist", "--version", "1.0"]
    command += ["--handler", HERE / f"{kind}_handler.py", *parts[kind], "--export-path", folder, "--force"]
    subprocess.run(command, check=True)
    if kind == "classic":
        ports_only(folder, int(sys.argv[3]))


def ports_only(folder: Path, port: int) -> None:
    """Ours without anything that makes it faster or slower: where it listens."""
    path = config.write_config(folder, folder, port)
    kept = [line for line in path.read_text().splitlines() if line.partition("=")[0].endswith(("_address", "_port"))]
    path.write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
