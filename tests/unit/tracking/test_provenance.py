"""The commit and the versions that a run was made from."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from mnist_lightning.tracking import provenance
from tests.support import PROJECT


def test_the_commit_is_that_of_the_code_whatever_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("the project is not a git checkout")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    monkeypatch.chdir(tmp_path)
    assert provenance.git_commit().removesuffix("-dirty") == head.stdout.strip()


def test_a_package_outside_of_a_checkout_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package may lie in a folder of a repository that is not this project's."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "site-packages" / "mnist_lightning")
    assert provenance.git_commit() == "unknown"


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "mnist_lightning")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_commit() == "unknown"


def test_the_versions_are_recorded_as_tags() -> None:
    tags = provenance.tags()
    assert tags["version.lightning"] == version("lightning")
    assert tags["version.mlflow"] == version("mlflow")
    versions = {f"version.{name}" for name in ("python", "torch", "lightning", "mlflow")}
    assert set(tags) == {"git_commit", "processor", *versions}
