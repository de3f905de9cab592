"""What importing a verb needs: no POSIX-only module or function, and no torch where it is not used."""

import subprocess
import sys

import pytest

from tests.support import PROJECT

# As on Windows, as far as the standard library still works on this system without it.
WITHOUT_POSIX = """
import os, signal, sys
import platformdirs, psutil  # before: their parts for this system need them
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "termios", "tty", "pty", "syslog"), None))
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "geteuid", "getuid", "killpg", "setsid", "sched_getaffinity", "sysconf"):
    delattr(os, name)
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("verb", ["client.__main__", "draw", "benchmark"])
def test_import_works_without_posix(verb: str) -> None:
    run(f"{WITHOUT_POSIX}\nimport mnist_lightning.{verb}")


def test_page_server_imports_no_torch() -> None:
    assert run("import sys, mnist_lightning.draw; print('torch' in sys.modules)") == "False\n"
