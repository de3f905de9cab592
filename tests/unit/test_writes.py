"""Everything that the project writes: whole or not at all. No module writes a file that stays in any other way."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from mnist_lightning.client.figure import save_explanation
from mnist_lightning.common.constants import ARCHIVE, EXPORTED
from mnist_lightning.datasets import samples
from mnist_lightning.evaluation import plots
from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.packaging import archiver
from mnist_lightning.training.checkpoints import AtomicCheckpointIO
from tests.disks import file_size_limit
from tests.support import PROJECT

FULL = 300  # bytes; less than any of these files
ANSWER = {"explanation": [[0.0] * 28] * 28, "seen": [[0.0] * 28] * 28, "prediction": 7, "confidence": 0.9}
WRITERS: Mapping[str, Callable[[Path], object]] = {
    "weights.pt": lambda path: digitnet.save(DigitNet((4, 4)), path),
    "last.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(1000)}, path),
    "figure.png": lambda path: plots.save(Figure(), path),
    "explanation.png": lambda path: save_explanation(ANSWER, path),
    "example-7.png": lambda path: samples.write_example(PROJECT / "data" / "MNIST" / "raw", path.parent),
}

# What may be written without `common.files`: to memory, or in temporary folders that only the same process reads.
TEMPORARY: Mapping[str, set[str]] = {
    "mnist_lightning/common/files.py": {"open", "replace"},  # is that module
    "mnist_lightning/datasets/feedback.py": {"write_bytes", "write_text"},
    "mnist_lightning/models/digitnet.py": {"save"},
    "mnist_lightning/packaging/archiver.py": {"write_bytes", "copy", "copytree"},
    "mnist_lightning/packaging/promotion.py": {"write_text", "copytree"},  # copytree to --parts, with copy_atomic
    "mnist_lightning/loadtest/generators.py": {"write_bytes"},
    "mnist_lightning/serving/config.py": {"write_text", "ZipFile"},
    "benchmarks/bulk.py": {"write_bytes"},
    "benchmarks/endurance.py": {"copy", "open", "write_bytes"},
    "benchmarks/equivalence.py": {"write_bytes", "write_text"},
    "benchmarks/handler_answers.py": {"dump"},
    "benchmarks/peers/archives.py": {"write_text", "save"},
    "benchmarks/peers/process.py": {"open"},
}
WRITING = {"write_text", "write_bytes", "savefig", "rename", "copy2", "copyfile", "copytree"}
MODULES = ("shutil", "torch", "numpy", "np", "json", "pickle", "os")


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(name: str, tmp_path: Path, mnist_folder: Path) -> None:
    path = tmp_path / name
    path.write_text("old")
    with file_size_limit(FULL), pytest.raises(OSError, match=rf": '.*/{name}'$"):
        WRITERS[name](path)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {name: "old"}
    WRITERS[name](path)
    assert path.stat().st_size > FULL


def test_a_full_disk_leaves_the_old_exported_model(small_store: Path, tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).symlink_to(small_store / ARCHIVE)
    (tmp_path / EXPORTED).write_text("old")
    with file_size_limit(FULL), pytest.raises(OSError, match=rf": '.*/{EXPORTED}'$"):
        archiver.copy_model(tmp_path / ARCHIVE)
    assert (tmp_path / EXPORTED).read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE, EXPORTED}


def test_files_are_written_by_one_module() -> None:
    found = {
        str(path.relative_to(PROJECT)): names - TEMPORARY.get(str(path.relative_to(PROJECT)), set())
        for folder in ("mnist_lightning", "benchmarks", "handlers")
        for path in (PROJECT / folder).rglob("*.py")
        if (names := set(writes(path.read_text())))
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_every_way_of_writing_is_found() -> None:
    ways = """
open("f", "w"); path.open("ab"); open("f", mode="x+"); path.write_text(""); path.write_bytes(b""); figure.savefig("f")
torch.save(x, "f"); np.save("f", x); shutil.copy("f", "g"); shutil.move("f", "g"); os.replace("f", "g")
path.replace(other); path.rename(other); zipfile.ZipFile("f", "w"); json.dump(x, file)
"""
    assert len(list(writes(ways))) == 15
    harmless = (
        'open("f"); path.open("rb"); "f".replace("g", "h"); copy.copy(x); x.save(y); ZipFile("f"); mouse.move(1, 2)'
    )
    assert list(writes(harmless)) == []
    assert list(writes("save_atomic(path, lambda temporary: figure.savefig(temporary))")) == []


def writes(source: str) -> Iterator[str]:
    """The names of the functions in a module that write files, as far as names tell."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    atomic = {node for call in calls if _names(call.func)[0] == "save_atomic" for node in ast.walk(call)}
    for call in calls:
        name, owner = _names(call.func)
        values = [*call.args, *(word.value for word in call.keywords)]
        if call not in atomic and (
            name in WRITING
            or (name in ("open", "ZipFile") and any(map(_is_writing_mode, values)))
            or (name in ("copy", "move", "save", "dump", "replace") and owner in MODULES)
            or (name == "replace" and len(values) == 1)
        ):
            yield name


def _names(function: ast.expr) -> tuple[str, str]:
    """The name of a function, and that of the module or variable before it."""
    if isinstance(function, ast.Attribute):
        return function.attr, function.value.id if isinstance(function.value, ast.Name) else ""
    return (function.id, "") if isinstance(function, ast.Name) else ("", "")


def _is_writing_mode(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and re.fullmatch(r"[wax]b?[+]?", str(value.value)) is not None
