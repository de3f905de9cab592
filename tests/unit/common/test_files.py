"""Files are replaced whole or not at all, and shipped files are found."""

from pathlib import Path

import pytest

from mnist_lightning.common import paths
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.files import save_atomic, write_atomic


def test_a_file_is_replaced_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".json")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_absent_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "absent" / "file", b"")


def test_shipped_files_are_found_in_a_checkout_and_in_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.resource("config/train.yaml").is_file()
    installed = tmp_path / "resources" / "config"
    installed.mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    assert paths.resource("config") == installed


def test_a_digest_is_the_start_of_a_sha256() -> None:
    assert short_digest(b"") == "e3b0c44298fc"
