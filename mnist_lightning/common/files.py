"""Files that are written whole or not at all: also if the process is killed, the disk is full or the power fails."""

import contextlib
import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path

STALE_SECONDS = 3600  # no write takes so long: a temporary file of that age belongs to a process that was killed


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part.

    The content is on the disk when this returns. The temporary file lies in the same folder; it is deleted if writing
    fails, and by a later write of the same file if the process was killed. Raises OSError, which names `path`.
    """
    save_atomic(path, lambda temporary: temporary.write_bytes(content))


def save_atomic(path: Path, save: Callable[[Path], object]) -> None:
    """As `write_atomic`, for content that `save` writes into the temporary file whose path it is given."""
    prefix = f".{path.name}.tmp-"
    with _errors_about(path):
        remove_stale(path.parent, prefix)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        os.close(descriptor)
        temporary = Path(name)
        try:
            save(temporary)
            replace_all({temporary: path})
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def copy_atomic(source: str | Path, target: str | Path) -> None:
    """As `write_atomic`, with the content of another file; a `copy_function` for `shutil.copytree`."""
    save_atomic(Path(target), lambda temporary: shutil.copyfile(source, temporary))


def replace_all(moves: Mapping[Path, Path]) -> None:
    """Move files over their targets in the same file system, in this order, once all of them are on the disk.

    The targets become readable for all users, because a container that mounts them has a user of its own, and
    temporary files are the owner's alone. Raises OSError.
    """
    for source, target in moves.items():
        if target.is_dir():  # before the others are moved
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        source.chmod(0o644)
        _flush(source, os.O_RDWR)
    for source, target in moves.items():
        source.replace(target)
    for folder in {target.parent for target in moves.values()}:
        _flush_folder(folder)


def move_folder(source: Path, target: Path) -> None:
    """Move a complete folder, readable for all users, to a path in the same file system that does not exist.

    Its files are on the disk before. Raises OSError.
    """
    for path in (source, *source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _flush_folder(path) if path.is_dir() else _flush(path, os.O_RDWR)
    source.replace(target)
    _flush_folder(target.parent)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, which is created if need be; it is on the disk when this returns.

    If the last line was cut off, by a power failure, the new one starts after it. If writing fails, the file is as
    before. Raises OSError, which names `path`.
    """
    with _errors_about(path), path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        content = (b"" if file.read(1) in (b"", b"\n") else b"\n") + f"{line}\n".encode()
        with _nothing_or_all(file, size):
            _write_all(file, content)
            os.fsync(file.fileno())


class GrowingFile:
    """A file that whole pieces are appended to, as a context manager; it is created if need be.

    A piece is visible when `append` returns, and on the disk when the block ends. If the process is killed, all pieces
    stay, and of the one that is being written maybe a part. Methods raise OSError, which names `path`, also if another
    process has the file open in this way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "GrowingFile":
        with _errors_about(self.path):
            self.file = self.path.open("ab", buffering=0)
            try:
                _lock(self.file)
            except BaseException:
                self.file.close()
                raise
        return self

    def append(self, content: bytes) -> None:
        """Append a piece. If writing fails, the file is as before."""
        with _errors_about(self.path), _nothing_or_all(self.file, self.file.seek(0, os.SEEK_END)):
            _write_all(self.file, content)

    def __exit__(self, *_: object) -> None:
        with _errors_about(self.path), self.file:
            os.fsync(self.file.fileno())


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be written into a folder, which need not exist; to find out before long work."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with _errors_about(existing), tempfile.TemporaryFile(dir=existing):
        pass


def remove_stale(folder: Path, prefix: str) -> None:
    """Delete temporary files and folders, named by their prefix, that processes left when they were killed."""
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):  # another process deletes it at the same moment
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lock(file: FileIO) -> None:
    """Keep other processes from appending until the file is closed, where the system can. Raises OSError."""
    try:
        import fcntl  # Windows has none
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EBUSY, "another process is writing it") from error


def _write_all(file: FileIO, content: bytes) -> None:
    """Write to an unbuffered file. Raises OSError, also if only a part fits on the disk."""
    if file.write(content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _nothing_or_all(file: FileIO, size: int) -> Iterator[None]:
    """If writing at the end of a file of that size fails, cut off what is written of it."""
    try:
        yield
    except OSError:
        file.truncate(size)
        raise


@contextlib.contextmanager
def _errors_about(path: Path) -> Iterator[None]:
    """OSErrors that name this path instead of a temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def _flush(path: Path, flags: int) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make moves into a folder permanent, where the system can: the files are whole in any case."""
    with contextlib.suppress(OSError):
        _flush(folder, os.O_RDONLY)


def check_output(path: Path) -> None:
    """Raise OSError, before hours of work, if the file `--output` cannot be written; make its folder."""
    if path.is_dir():
        raise IsADirectoryError(f"--output {path} is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    check_writable(path.parent)
