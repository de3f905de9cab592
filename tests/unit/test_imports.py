"""Imports of the verbs: which need no torch, and that the collector of garbage runs after them."""

import gc
import importlib
import subprocess
import sys

import pytest

from mnist_lightning.common.imports import quick_imports
from tests.support import PROJECT


def test_page_server_imports_no_torch() -> None:
    program = "import sys, mnist_lightning.draw; print('torch' in sys.modules)"
    assert output_of(program) == "False\n"


@pytest.mark.parametrize("verb", ["train", "lifecycle"])
def test_a_process_that_draws_images_for_a_training_starts_without_torch(verb: str) -> None:
    """It imports the verb's module, as every process does that is spawned."""
    program = f"import sys, mnist_lightning.{verb}, mnist_lightning.datasets.outliers; print('torch' in sys.modules)"
    assert output_of(program) == "False\n"


def test_no_garbage_is_collected_during_imports() -> None:
    gc.enable()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_failed_import_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ImportError), quick_imports():
        importlib.import_module("mnist_lightning.nothing")
    assert gc.isenabled()
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()
    gc.enable()


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
