"""TorchServe's configuration for one server on this machine: its ports, its archive, its workers and batches."""

import zipfile
from pathlib import Path

import yaml

from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.common.paths import resource
from mnist_lightning.serving import resources

# Ports beside the inference port, by the name of their address in TorchServe's configuration.
OFFSETS = {"inference": 0, "management": 1, "metrics": 2}
GRPC_OFFSETS = {"grpc_inference": -1010, "grpc_management": -1009}
# A crowd is answered in batches, for which a lone request waits a millisecond; or each request at once, by itself.
PROFILES: dict[str, dict[str, int]] = {"crowd": {}, "latency": {"batchSize": 1}}  # as the archive says, but for this


def tailored(archive: Path, folder: Path, workers: int | None, profile: str) -> Path:
    """A store with a copy of the archive whose model-config.yaml suits this machine and the profile.

    What an archive says of workers and batches wins over any setting of TorchServe's, so it is said there.
    """
    store = folder / "model_store"
    store.mkdir()
    count = workers or resources.workers()
    with zipfile.ZipFile(archive) as made, zipfile.ZipFile(store / archive.name, "w") as copy:
        for item in made.infolist():
            content = made.read(item)
            if item.filename == "model-config.yaml":
                chosen = {"minWorkers": count, "maxWorkers": count, **PROFILES[profile]}
                content = yaml.safe_dump({**yaml.safe_load(content), **chosen}).encode()
            copy.writestr(item, content)
    return store


def write_config(folder: Path, store: Path, port: int, host: str = LOOPBACK, **others: object) -> Path:
    """The project's configuration with this server's ports and folders, and any other settings."""
    lines = resource("config/config.properties").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    settings |= {f"{name}_address": f"http://{LOOPBACK}:{port + offset}" for name, offset in OFFSETS.items()}
    settings["inference_address"] = f"http://{host}:{port}"
    settings |= {f"{name}_port": str(port + offset) for name, offset in GRPC_OFFSETS.items()}
    settings["model_store"] = str(store.resolve())
    settings["metrics_config"] = str(resource("config/metrics.yaml"))
    settings |= {name: str(value) for name, value in others.items()}
    path = folder / "config.properties"
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return path
