"""Imports of the verbs: they work without POSIX-only modules and functions, and the page's server needs no torch."""

import subprocess
import sys

from mnist_lightning.common.paths import PACKAGE
from tests.support import PROJECT

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


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_verb_can_be_imported_without_posix() -> None:
    verbs = ["client.__main__", *(path.stem for path in PACKAGE.glob("[a-z]*.py"))]
    assert "train" in verbs
    run(WITHOUT_POSIX + "".join(f"import mnist_lightning.{verb}\n" for verb in verbs))


def test_page_server_imports_no_torch() -> None:
    assert run("import sys, mnist_lightning.draw; print('torch' in sys.modules)") == "False\n"
