"""The archive: its content, and that it needs nothing but its content and the serving libraries."""

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.models import digitnet
from mnist_lightning.packaging import archiver
from mnist_lightning.packaging.archiver import ARCHIVED_PACKAGES, PackagingError, build
from tests.small_archive import assert_rounded, build_small
from tests.support import BLOCK_IMPORTS, PROJECT, WEIGHTS_FILE

PACKAGE = PROJECT / "mnist_lightning"

# Loads the model, where neither torch nor training and evaluation libraries can be imported.
ANSWER = (
    BLOCK_IMPORTS
    + """
from types import SimpleNamespace
import digit_handler, mnist_lightning
handler = digit_handler.DigitHandler()
manifest = {{"model": {{"serializedFile": "mnist.onnx"}}}}
handler.initialize(SimpleNamespace(system_properties={{"model_dir": "."}}, manifest=manifest))
print(mnist_lightning.__file__)
"""
)
BLOCKED = {
    *("lightning", "pytorch_lightning", "mlflow", "torchvision", "torchmetrics", "sklearn", "scipy", "matplotlib"),
    *("jsonargparse", "fastapi", "rich", "pandas", "torch", "onnx", "onnxscript"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive and its parts."""
    folder = tmp_path_factory.mktemp("built")
    build_small(folder)
    return folder


@pytest.fixture(scope="module")
def extracted(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's content in a folder, as TorchServe extracts it."""
    folder = tmp_path_factory.mktemp("extracted")
    with zipfile.ZipFile(built / ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def test_the_archive_contains_whole_packages(extracted: Path) -> None:
    files = {str(path.relative_to(extracted)) for path in extracted.rglob("*") if path.is_file()}
    sources = [
        PACKAGE / "__init__.py",
        *(path for name in ARCHIVED_PACKAGES for path in (PACKAGE / name).rglob("*.*") if path.suffix != ".pyc"),
    ]
    assert PACKAGE / "preprocessing" / "segmenter.onnx" in sources
    assert ARCHIVED_PACKAGES == ("common", "preprocessing", "models", "inference")
    assert files == {
        *(str(path.relative_to(PROJECT)) for path in sources),
        *("mnist.onnx", "mnist.pt", "digit_handler.py", "model-config.yaml", "MAR-INF/MANIFEST.json"),
    }
    assert all((extracted / path.relative_to(PROJECT)).read_bytes() == path.read_bytes() for path in sources)


def test_the_pretrained_archive_has_the_present_code() -> None:
    """pretrained/README.md says how it is packaged again. A server only loads archives of its own code."""
    packages = [PACKAGE / name for name in ARCHIVED_PACKAGES]
    present = {path.relative_to(PROJECT).as_posix() for folder in packages for path in folder.rglob("*")}
    present = {name for name in present if (PROJECT / name).is_file() and "__pycache__" not in name}
    with zipfile.ZipFile(PROJECT / "pretrained/mnist.mar") as archive:
        archived = {name for name in archive.namelist() if name.startswith("mnist_lightning/") and name[-1] != "/"}
        assert archived == {*present, "mnist_lightning/__init__.py"}
        for name in archived:
            assert archive.read(name) == (PROJECT / name).read_bytes(), f"{name} has changed"


def test_compiled_modules_are_left_out(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "source" / "mnist_lightning"
    for name in ARCHIVED_PACKAGES:
        (package / name / "__pycache__").mkdir(parents=True)
        (package / name / "__init__.py").touch()
        (package / name / "__pycache__" / "module.cpython-311.pyc").touch()
    (package / "__init__.py").touch()
    monkeypatch.setattr(archiver, "PACKAGE", package)
    monkeypatch.setattr(archiver, "to_onnx", lambda *_: b"model")
    with zipfile.ZipFile(build(digitnet.DigitNet((8, 16)), tmp_path / "out")) as archive:
        names = archive.namelist()
    assert "mnist_lightning/models/__init__.py" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_weights_carry_their_architecture(extracted: Path) -> None:
    content = torch.load(extracted / "mnist.pt", weights_only=True)
    assert set(content) == {"architecture", "state_dict"}
    network, packaged = (digitnet.load(path.read_bytes()) for path in (extracted / "mnist.pt", WEIGHTS_FILE))
    assert network.architecture == packaged.architecture
    assert_rounded(network, packaged)


def test_the_archive_needs_neither_this_project_nor_training_libraries(extracted: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", ANSWER.format(blocked=BLOCKED)],
        cwd=extracted,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(extracted / "mnist_lightning/__init__.py")


def test_the_documented_archiver_command_builds_the_same_archive(built: Path, tmp_path: Path) -> None:
    """The command of docs/training.md, on the parts that `package --parts build` copies."""
    (command,) = [
        line
        for line in (PROJECT / "docs/training.md").read_text().replace("\\\n", " ").splitlines()
        if line.startswith(".venv/bin/torch-model-archiver")
    ]
    program, *flags = shlex.split(command)
    (tmp_path / "build").symlink_to(built / "parts")
    (tmp_path / "model_store").mkdir()
    archiver_program = Path(sys.executable).with_name(Path(program).name)
    subprocess.run([archiver_program, *flags], cwd=tmp_path, env={"TMPDIR": str(tmp_path)}, check=True)
    assert contents(tmp_path / "model_store" / ARCHIVE) == contents(built / ARCHIVE)


def contents(path: Path) -> dict[str, bytes]:
    """An archive's files without the manifest, which has the time."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("MANIFEST.json")}


def test_a_failing_archiver_is_an_error_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "MODEL_NAME", "no/name")
    monkeypatch.setattr(archiver, "to_onnx", lambda *_: b"model")
    with pytest.raises(PackagingError, match=r"(?s)torch-model-archiver failed: .*Model name contains special"):
        build(digitnet.DigitNet((8, 16)), tmp_path)


def test_building_leaves_no_temporary_files_elsewhere(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == ["mnist.mar", "parts", "tmp"]
    assert list((built / "tmp").iterdir()) == []


def test_the_path_of_the_store_may_have_any_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archiver splits paths at commas and colons and takes brackets for patterns."""
    monkeypatch.setattr(archiver, "to_onnx", lambda *_: b"model")
    monkeypatch.chdir(tmp_path)
    folder = Path("größer, [a]* with: spaces.py")
    folder.mkdir()
    archive = build(digitnet.DigitNet((8, 16)), folder)
    assert archive == folder / ARCHIVE
    assert "mnist_lightning/models/digitnet.py" in contents(archive)
