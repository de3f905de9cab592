"""TorchServe's configuration for one server on this machine: its ports, archive, workers and batches."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import yaml

from mnist_lightning.common.constants import EXPORTED, LOOPBACK
from mnist_lightning.common.paths import resource
from mnist_lightning.serving import resources

# Each port's distance from the inference port, by the name of its setting.
OFFSETS = {"inference": 0, "management": 1, "metrics": 2}
GRPC_OFFSETS = {"grpc_inference": -1010, "grpc_management": -1009}
ANY_HOST = "0.0.0.0"  # noqa: S104 - every address of the machine
MODEL_CONFIG = "model-config.yaml"  # inside the archive
# The keys of model-config.yaml that a profile replaces: batches as the archive says, or each request by itself.
PROFILES: dict[str, dict[str, int]] = {"throughput": {}, "latency": {"batchSize": 1}}
BATCHING = {"continuousBatching": True}  # selects frontend/ContinuousBatching.java
DEFAULT_PROFILE = "throughput"
# What reading an archive that is damaged, or none of this project's, raises.
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, yaml.YAMLError),
    *(EOFError, KeyError, NotImplementedError, RuntimeError, UnicodeDecodeError),
)


def probe_url(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on `host`."""
    return f"http://{LOOPBACK if host == ANY_HOST else host}:{port}"


def build_model_store(
    archive: Path, folder: Path, workers: int | None, profile: str, extra: Mapping[str, bytes] | None = None
) -> Path:
    """Create a model store in `folder` with a copy of the archive, its model-config.yaml adapted; return its path.

    The archive's numbers of workers and batches take precedence over TorchServe's settings, so they are set there.
    `extra` files, by name, are added to the copy.

    Raises one of ARCHIVE_ERRORS if the archive is damaged.
    """
    store = folder / "model_store"
    store.mkdir()
    count = workers or resources.default_workers()
    with zipfile.ZipFile(archive) as original, zipfile.ZipFile(store / archive.name, "w") as copy:
        for item in original.infolist():
            content = original.read(item)
            if item.filename == MODEL_CONFIG:
                overrides = {"minWorkers": count, "maxWorkers": count, **BATCHING, **PROFILES[profile]}
                content = yaml.safe_dump({**_mapping(content), **overrides}).encode()
            copy.writestr(item, content)
        for name, content in (extra or {}).items():
            copy.writestr(name, content)
    return store


def _mapping(content: bytes) -> dict[str, object]:
    values = yaml.safe_load(content)
    if not isinstance(values, dict):
        raise zipfile.BadZipFile(f"{MODEL_CONFIG} is not a mapping")
    return values


def has_exported_model(archive: Path) -> bool:
    """Whether an archive holds a model for ONNX Runtime; those of releases up to 0.1 hold weights for torch only."""
    with zipfile.ZipFile(archive) as file:
        return EXPORTED in file.namelist()


def write_config(folder: Path, store: Path, port: int, host: str = LOOPBACK, **settings: object) -> Path:
    """Write the project's config.properties with this server's ports and folders into `folder`; return its path.

    `settings` replace those of the project's file.
    """
    lines = resource("config/config.properties").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    values |= {f"{name}_address": f"http://{LOOPBACK}:{port + offset}" for name, offset in OFFSETS.items()}
    values["inference_address"] = f"http://{host}:{port}"
    values |= {f"{name}_port": str(port + offset) for name, offset in GRPC_OFFSETS.items()}
    values["model_store"] = str(store.resolve())
    values["metrics_config"] = str(resource("config/metrics.yaml"))
    path = folder / "config.properties"
    path.write_text("".join(f"{key}={_escape(str(value))}\n" for key, value in {**values, **settings}.items()))
    return path


def _escape(value: str) -> str:
    """A value for a Java properties file, whose encoding is ISO-8859-1 with UTF-16 escapes."""
    units = value.replace("\\", r"\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)
