"""Unusual systems and folders, private, read-only or absent: the verbs work there, or say in a line what to do."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_lightning.__main__ import VERBS
from mnist_lightning.common.constants import ARCHIVE, DESCRIPTION, EXPORTED
from mnist_lightning.common.paths import PACKAGE
from tests.disks import read_only, small_disk
from tests.support import PROJECT, verb
from tests.training.conftest import ONE_THREAD, Finished, Workplace

TINY = (*("--config", "quick.yaml", "--only", "SGD", "--limit", "500"), *("--outliers", "5", "--widths", "[8, 8]"))
LOUD = ("warning", "error", "traceback", "retr", "[w:")
WITHOUT_PIP = "Failed to resolve installed pip version"  # MLflow's warning in an environment that uv has made
NO_HOME = {"HOME": "/dev/null/home"}
HELP = """
import contextlib
from mnist_lightning import __main__

for verb in __main__.VERBS:
    with contextlib.suppress(SystemExit):
        __main__.main([verb, "--help"])
"""

# Runs verbs one after the other, each given as its name and its flags; a line on both streams ends what each writes.
STEPS = """
import json, sys
from importlib import import_module

for name, *flags in json.loads(sys.argv[1]):
    code = import_module("mnist_lightning." + name).main(flags)
    for stream in (sys.stdout, sys.stderr):
        print("exit code", code, file=stream, flush=True)
"""

# Remove what Windows lacks, as far as this system's standard library works without it.
WITHOUT_POSIX = """
import os, signal, sys
import platformdirs, psutil  # first, because their parts for this system need it
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "termios", "tty", "pty", "syslog"), None))
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "setitimer", "pthread_sigmask"):
    vars(signal).pop(name, None)
for name in ("fork", "geteuid", "getuid", "killpg", "setsid", "sched_getaffinity", "sysconf"):
    vars(os).pop(name, None)
"""

CONNECT = """
from mnist_lightning.tracking import runs

try:
    runs.connect()
except runs.TrackingError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def _no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def run(name: str, *flags: str, cwd: Path, **environment: str) -> Finished:
    """A verb in a process of its own."""
    done = verb(name, *flags, cwd=cwd, **ONE_THREAD, **environment)
    return Finished(done.returncode, done.stdout, done.stderr)


def run_steps(*steps: list[str], cwd: Path, **environment: str) -> list[Finished]:
    """Verbs one after the other, in one process: importing what they need takes longer than some of them."""
    done = run_program(STEPS, json.dumps(steps), cwd=cwd, **environment)
    assert done.code == 0, done.errors
    streams = [re.split(r"^exit code (\d+)\n", text, flags=re.MULTILINE) for text in (done.output, done.errors)]
    return [
        Finished(int(code), output, errors)
        for output, errors, code in zip(*(parts[:-1:2] for parts in streams), streams[0][1::2], strict=True)
    ]


def run_program(program: str, *arguments: str, cwd: Path, **environment: str) -> Finished:
    """A Python program in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), **ONE_THREAD, **environment}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def check_quiet(done: Finished) -> None:
    assert done.code == 0, done.errors
    lines = [line for line in done.errors.splitlines() if WITHOUT_PIP not in line]
    assert not [line for line in lines if any(word in line.lower() for word in LOUD)], done.errors


def check_error(done: Finished, *words: str) -> None:
    assert done.code == 1, done.errors
    assert done.errors.startswith("error: "), done.errors
    assert done.errors.count("\n") == 1, done.errors
    for word in words:
        assert word in done.errors


@pytest.mark.usefixtures("private_umask")
def test_training_and_packaging_anywhere(tmp_path: Path, mnist_folder: Path) -> None:
    """All at once: a path with spaces, commas and non-ASCII letters, a umask of 077, no home, no temporary folder."""
    folder = tmp_path / "Ziffern, größer [1] & café 数字"
    folder.mkdir()
    environment = {**NO_HOME, "TMPDIR": str(tmp_path / "absent")}
    check_quiet(run("train", *TINY, "--data_dir", str(mnist_folder), cwd=folder, **environment))
    store = folder / "model_store"
    description = json.loads((store / DESCRIPTION).read_text())
    assert description["optimizer"] == "SGD"
    elsewhere = tmp_path / "ein Regal, größer"
    with read_only(folder):  # what was made there can still be read
        export = ["package", "--store", str(elsewhere), "--export", "onnx"]
        here, there = run_steps(["package"], export, cwd=folder, **environment)
        check_error(here, "'model_store")
        check_quiet(there)
    assert {path.name for path in elsewhere.iterdir()} == {ARCHIVE, DESCRIPTION, EXPORTED}
    for path in (store, elsewhere):
        assert path.stat().st_mode & 0o777 == 0o755
        assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}


def test_a_training_in_a_read_only_folder(workplace: Workplace) -> None:
    with read_only(workplace.folder):
        done = workplace.train(*TINY, "--data_dir", str(workplace.mnist_folder), "--model_store", "/tmp")
    check_error(done, "MLflow's store cannot be written", "start in a folder that can be written")


def test_a_disk_that_mlflow_fills(tmp_path: Path) -> None:
    """In another process, because MLflow keeps its file open, on a disk that is unmounted."""
    with small_disk(tmp_path, 400_000):  # too small for MLflow's empty store
        done = run_program(CONNECT, cwd=tmp_path)
    assert (done.code, done.errors) == (0, "")
    assert re.fullmatch(r"MLflow at sqlite:///mlflow.db cannot be used: .*disk is full.*\n", done.output)


def test_data_that_cannot_be_stored(workplace: Workplace) -> None:
    data = workplace.folder / "data"
    data.mkdir()
    with read_only(data):
        done = workplace.train(*TINY, "--data_dir", str(data / "MNIST"))
    check_error(done, str(data / "MNIST"))


def test_help_of_every_verb_needs_no_home_and_no_temporary_folder(tmp_path: Path) -> None:
    done = run_program(HELP, cwd=tmp_path, TMPDIR=str(tmp_path / "absent"), **NO_HOME)
    assert done.output.count("usage: ") == len(VERBS)
    assert (done.code, done.errors) == (0, "")


def test_a_read_only_home_is_no_reason_to_warn(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    program = "import mnist_lightning.evaluation.plots, matplotlib; print(matplotlib.get_cachedir())"
    with read_only(tmp_path / "home"):
        done = run_program(program, cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert (done.code, done.errors) == (0, "")
    assert not done.output.startswith(str(tmp_path))


def test_every_verb_can_be_imported_without_posix(tmp_path: Path) -> None:
    verbs = ["client.__main__", *(path.stem for path in PACKAGE.glob("[a-z]*.py"))]
    assert "train" in verbs
    done = run_program(WITHOUT_POSIX + "".join(f"import mnist_lightning.{verb}\n" for verb in verbs), cwd=tmp_path)
    assert done.code == 0, done.errors
