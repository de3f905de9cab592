"""Imports of the verbs: the page's server needs no torch."""

import subprocess
import sys

from tests.support import PROJECT


def test_page_server_imports_no_torch() -> None:
    program = "import sys, mnist_lightning.draw; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
