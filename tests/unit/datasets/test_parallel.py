"""Processes that generate data give the same result as one, and end with their parent."""

import operator
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mnist_lightning.datasets.parallel import GenerationError, generate
from tests.support import PROJECT

SLOW = """
import time
from mnist_lightning.datasets.parallel import generate


def wait(shared, task):
    time.sleep(600 if task else 0)
    return task

if __name__ == "__main__":
    for made in generate(wait, None, [0, 1, 2]):
        print(made, flush=True)
"""


def test_the_results_come_in_order() -> None:
    assert list(generate(operator.mul, 3, range(10))) == [3 * task for task in range(10)]


def end_process(shared: None, task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_an_error() -> None:
    with pytest.raises(GenerationError, match="was killed; free memory"):
        list(generate(end_process, None, [0, 1]))


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert children
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
