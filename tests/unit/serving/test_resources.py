"""Cores, memory and workers within a container's limits."""

import os
from pathlib import Path

import pytest

from mnist_lightning.serving import resources


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resources, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory").mkdir()
    return tmp_path


def test_without_limits_the_whole_machine_counts(groups: Path) -> None:
    assert resources.available_cores() == 8
    (groups / "cpu.max").write_text("max 100000\n")
    (groups / "memory.max").write_text("max\n")
    assert resources.available_cores() == 8
    assert resources.available_memory() > 1 << 28


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_containers_limit_on_cores_counts(files: dict[str, str], cores: int, groups: Path) -> None:
    for name, content in files.items():
        (groups / name).write_text(content + "\n")
    assert resources.available_cores() == cores


@pytest.mark.parametrize(
    ("limit", "cores", "workers"),
    [
        ("268435456", 8, 1),
        ("1073741824", 8, 3),
        ("2147483648", 8, 6),
        ("max", 1, 1),
        ("max", 2, 2),
        ("max", 4, 3),
        ("max", 64, 48),
    ],
)
def test_workers_follow_cores_and_memory(
    limit: str, cores: int, workers: int, groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1 << 17)  # 16 GiB
    monkeypatch.setattr(resources, "available_cores", lambda: cores)
    (groups / "memory.max").write_text(limit + "\n")
    assert resources.default_workers() == workers
