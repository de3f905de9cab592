"""The configuration that a server is started with."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_lightning.serving.config import DEFAULT_PROFILE, build_model_store, write_config
from tests.support import PROJECT

ORIGINAL = yaml.safe_load((PROJECT / "config/model-config.yaml").read_text())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "mnist.mar", "w") as made:
        made.writestr("model-config.yaml", yaml.safe_dump(ORIGINAL))
        made.writestr("mnist.pt", b"weights")
    return tmp_path / "mnist.mar"


def model_config(store: Path) -> Any:
    with zipfile.ZipFile(store / "mnist.mar") as copy:
        assert copy.read("mnist.pt") == b"weights"
        return yaml.safe_load(copy.read("model-config.yaml"))


@pytest.mark.parametrize(("profile", "expected"), [(DEFAULT_PROFILE, {}), ("latency", {"batchSize": 1})])
def test_workers_and_profile_go_into_the_archives_copy(
    profile: str, expected: dict[str, int], archive: Path, tmp_path: Path
) -> None:
    found = model_config(build_model_store(archive, tmp_path, 3, profile))
    assert found == {**ORIGINAL, "minWorkers": 3, "maxWorkers": 3, "continuousBatching": True, **expected}


def test_the_number_of_workers_follows_the_machine(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_lightning.serving.resources.default_workers", lambda: 5)
    assert model_config(build_model_store(archive, tmp_path, None, DEFAULT_PROFILE))["maxWorkers"] == 5


def test_only_inference_leaves_loopback(tmp_path: Path) -> None:
    lines = write_config(tmp_path, tmp_path, 9000, "192.0.2.1", job_queue_size=4).read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["inference_address"] == "http://192.0.2.1:9000"
    assert settings["management_address"] == "http://127.0.0.1:9001"
    assert settings["metrics_address"] == "http://127.0.0.1:9002"
    assert (settings["grpc_inference_port"], settings["grpc_management_port"]) == ("7990", "7991")
    assert {settings[f"grpc_{name}_address"] for name in ("inference", "management")} == {"127.0.0.1"}
    assert settings["model_store"] == str(tmp_path.resolve())
    assert settings["job_queue_size"] == "4"
    assert settings["load_models"] == "mnist.mar"
