"""The server's side of a reload, on folders and archives without a server."""

import contextlib
import sys
import zipfile
from pathlib import Path

import pytest

from mnist_lightning.common.constants import EXPORTED, WEIGHTS
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.reload import ReloadError, reload_or_report, replace_weights, request_reload
from tests.disks import file_size_limit

CODE = {"digit_handler.py": b"code", "mnist_lightning/__init__.py": b""}


def make_archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            **CODE,
            EXPORTED: b"new model",
            WEIGHTS: b"new",
            "model-config.yaml": b"a: 1",
            **files,
        }.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def server_folder(tmp_path: Path) -> Path:
    """The temporary folder of a server that has unpacked its archive."""
    unpacked = tmp_path / "server" / "models" / "0f3c"
    for name, content in {**CODE, EXPORTED: b"old model", WEIGHTS: b"old", "model-config.yaml": b"a: 2"}.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    return tmp_path / "server"


@pytest.fixture
def weights(server_folder: Path) -> Path:
    """The file of weights beside the model."""
    return server_folder / "models" / "0f3c" / WEIGHTS


def test_model_and_weights_are_replaced_and_nothing_else(weights: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in weights.parent.rglob("*") if path.is_file()}
    replace_weights(make_archive(tmp_path / "mnist.mar"), weights.parent)
    after = {path: path.read_bytes() for path in weights.parent.rglob("*") if path.is_file()}
    assert after == {**before, weights: b"new", weights.with_name(EXPORTED): b"new model"}


def test_an_archive_with_other_code_is_rejected(weights: Path, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "mnist.mar", **{"digit_handler.py": b"other"})
    with pytest.raises(ReloadError, match=r"has a different digit_handler\.py than the server runs"):
        replace_weights(archive, weights.parent)
    assert weights.read_bytes() == b"old"


@pytest.mark.parametrize("content", [None, b"", b"not a zip file"])
def test_a_missing_or_damaged_archive_is_rejected(content: bytes | None, weights: Path, tmp_path: Path) -> None:
    archive = tmp_path / "mnist.mar"
    if content is not None:
        archive.write_bytes(content)
    with pytest.raises(ReloadError, match="is missing or damaged"):
        replace_weights(archive, weights.parent)
    with pytest.raises(ReloadError, match="is missing or damaged"):
        request_reload(archive, 8080)
    assert weights.read_bytes() == b"old"


def test_a_failed_reload_is_reported_and_the_server_continues(
    server_folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reload_or_report(tmp_path / "mnist.mar", server_folder)
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'mnist.mar'} is missing or damaged")
    assert weights.read_bytes() == b"old"


def test_a_full_disk_does_not_end_the_server(
    server_folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archive(tmp_path / "mnist.mar", **{WEIGHTS: bytes(100_000)})
    with file_size_limit(50_000):
        reload_or_report(archive, server_folder)
    assert "cannot be loaded: OSError" in capsys.readouterr().err
    assert weights.read_bytes() == b"old"
    assert {path.name for path in weights.parent.glob("*mnist*")} == {WEIGHTS, EXPORTED, "mnist_lightning"}


def test_an_error_that_cannot_be_printed_does_not_end_the_server(
    server_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        reload_or_report(tmp_path / "mnist.mar", server_folder)
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_a_server_whose_folder_is_gone_reports_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reload_or_report(make_archive(tmp_path / "mnist.mar"), tmp_path / "nowhere")
    assert "cannot be loaded" in capsys.readouterr().err


def test_a_reload_without_a_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pid_file, "find", lambda _: None)
    with pytest.raises(ReloadError, match=r"no mnist_lightning\.serve of this user runs on port 8080"):
        request_reload(make_archive(tmp_path / "mnist.mar"), 8080)
