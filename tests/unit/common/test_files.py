"""Files are replaced whole or not at all, and shipped files are found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lightning.common import paths
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.files import (
    GrowingFile,
    append_line,
    check_writable,
    replace_all,
    save_atomic,
    write_atomic,
)
from tests.disks import file_size_limit, read_only, small_disk
from tests.support import PROJECT

KILLS = 200
# Kills a process again and again while it replaces a file, and checks the file; argument: the file.
KILL_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
from mnist_lightning.common.files import write_atomic

path, kills = Path(sys.argv[1]), int(sys.argv[2])
write_atomic(path, bytes(100_000))
for _ in range(kills):
    child = os.fork()
    while not child:
        write_atomic(path, os.urandom(1) * 100_000)
    time.sleep(random.uniform(0.001, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    content = path.read_bytes()
    assert len(content) == 100_000 and len(set(content)) == 1, "a part of a file"
"""


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


def test_a_killed_process_leaves_the_file_whole_and_at_most_one_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    done = subprocess.run(
        [sys.executable, "-c", KILL_WRITERS, str(path), str(KILLS)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = [one for one in tmp_path.iterdir() if one != path]
    assert 0 < len(left) <= KILLS
    for one in left[1:]:
        os.utime(one, (0, 0))
    write_atomic(path, b"new")
    assert set(tmp_path.iterdir()) == {path, left[0]}  # another process may still write the recent one


def test_temporary_files_of_other_files_are_not_deleted(tmp_path: Path) -> None:
    others = [
        tmp_path / name for name in (".file.json.swp", ".file.json.tmp", ".other.json.tmp-1.json", "file.json.tmp-1")
    ]
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    write_atomic(tmp_path / "file.json", b"")
    assert all(other.exists() for other in others)


def test_what_a_killed_process_left_is_found_by_its_exact_name(tmp_path: Path) -> None:
    strays = [tmp_path / ".f[1]*.tmp-a", tmp_path / ".f1x.tmp-b"]
    for stray in strays:
        stray.touch()
        os.utime(stray, (0, 0))
    write_atomic(tmp_path / "f[1]*", b"")
    assert [stray.exists() for stray in strays] == [False, True]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")
    with file_size_limit(1000), pytest.raises(OSError, match=r"File too large: '.*/file\.json'$") as failure:
        write_atomic(path, bytes(1_000_000))
    assert (failure.value.filename, "\n" in str(failure.value)) == (str(path), False)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"file.json": b"old"}


def test_a_disk_without_space_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with small_disk(tmp_path, 100_000):
        write_atomic(path, b"old")
        with pytest.raises(OSError, match=r"No space left on device: '.*/file\.json'$"):
            write_atomic(path, bytes(1_000_000))
        assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"file.json": b"old"}


def test_content_is_on_the_disk_before_the_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a test can see: the order of the system calls."""
    calls: list[object] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(file: int) -> None:
        calls.append(os.fstat(file).st_ino)
        fsync(file)

    def recorded_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    write_atomic(tmp_path / "file", b"content")
    assert calls == [(tmp_path / "file").stat().st_ino, "replace", tmp_path.stat().st_ino]


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_files_are_readable_for_a_container_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "written", b"")
        (tmp_path / "moved").touch()
        replace_all({tmp_path / "moved": tmp_path / "target"})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "één")
    append_line(path, "two")
    assert path.read_text(encoding="utf-8") == "één\ntwo\n"


def test_a_line_that_was_cut_off_does_not_damage_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    append_line(path, "three")
    assert path.read_bytes() == b"one\ntw\nthree\n"


def test_a_line_that_does_not_fit_is_not_appended_in_part(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "one")
    with file_size_limit(10), pytest.raises(OSError, match=r": '.*/lines'$"):
        append_line(path, "too long for this disk")
    assert path.read_bytes() == b"one\n"


def test_whether_a_folder_can_be_written_is_known_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "to" / "be" / "created")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"/file'$"):
        check_writable(tmp_path / "file" / "folder")
    with (
        read_only(tmp_path),
        pytest.raises(OSError, match=rf"(Read-only file system|Permission denied): '{tmp_path}'$"),
    ):
        check_writable(tmp_path / "folder")


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


def test_a_growing_file_has_whole_pieces(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"first\n")
    with GrowingFile(path) as file:
        file.append(b"second\n")
        assert path.read_bytes() == b"first\nsecond\n"
        with file_size_limit(20), pytest.raises(OSError, match=rf": '{path}'$"):
            file.append(b"much too long a piece\n")
        assert path.read_bytes() == b"first\nsecond\n"
        file.append(b"third\n")
    assert path.read_bytes() == b"first\nsecond\nthird\n"


def test_a_growing_file_belongs_to_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with GrowingFile(path), pytest.raises(OSError, match="another process is writing it"), GrowingFile(path):
        pass
    with GrowingFile(path) as file:
        file.append(b"row\n")
    assert path.read_bytes() == b"row\n"
