"""The repository's own rules: import contracts, locked dependencies, the wheel, the console script."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_lightning import __main__ as console
from tests.support import PROJECT

LOCKS = ("requirements.txt", "requirements-serve.txt", "requirements-dev.txt")
WITH_TORCH = ("requirements.txt", "requirements-dev.txt")
PYPROJECT: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
BLOCK = re.compile(r"^[a-z0-9].*(?:\n .*)*\n", re.MULTILINE)  # a requirement with its marker and hashes
CUDA = ("torch", "torchvision", "triton", "nvidia-", "cuda-")
VIOLATIONS = {  # one of each contract
    "common/constants.py": "import mnist_lightning.web.app, lightning",
    "inference/prediction.py": "import captum, torch",
    "datasets/raster.py": "import ts, mlflow",
    "serving/config.py": "import cv2",
    "train.py": "import mnist_lightning.package",
    "draw.py": "import mnist_lightning.client.__main__",
}


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def blocks(text: str) -> dict[str, str]:
    """The requirements of a lock: each one's first line without the backslash → its block."""
    return {block.split("\n")[0].removesuffix(" \\"): block for block in BLOCK.findall(text)}


def lock(name: str) -> dict[str, str]:
    return blocks((PROJECT / name).read_text())


def name_of(requirement: str) -> str:
    """A requirement's name, normalized as in a lock, without extras and version."""
    return re.split(r"[\[=<> ;]", requirement)[0].lower().replace("_", "-")


def versions(name: str) -> set[tuple[str, str]]:
    return {(name_of(line), line.split("==")[1].split()[0]) for line in lock(name)}


def make(recipe: str) -> str:
    """The output of a command line inside the Makefile, with its variables."""
    rule = f"--eval=recipe: ; @{recipe}"
    done = run("make", "--no-print-directory", rule, "recipe", cwd=PROJECT, MAKEFLAGS="")
    assert done.returncode == 0, done.stderr
    return done.stdout


# Import contracts


def contracts(folder: Path) -> tuple[int, dict[str, str]]:
    """The exit code of lint-imports in a folder, and every contract's state."""
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo", cwd=folder)
    states = re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert states, done.stdout + done.stderr
    return done.returncode, dict(states)


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / "mnist_lightning", tmp_path / "mnist_lightning", ignore=shutil.ignore_patterns("*.pyc"))
    return tmp_path


def test_every_import_contract_is_kept_and_a_violation_breaks_it(package_copy: Path) -> None:
    names = {contract["name"] for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
    assert contracts(package_copy) == (0, dict.fromkeys(names, "KEPT"))
    for path, line in VIOLATIONS.items():
        with (package_copy / "mnist_lightning" / path).open("a") as file:
            file.write(f"\n{line}\n")
    assert contracts(package_copy) == (1, dict.fromkeys(names, "BROKEN"))


def test_a_package_without_a_layer_breaks_the_contracts(package_copy: Path) -> None:
    (package_copy / "mnist_lightning" / "elsewhere.py").touch()
    assert contracts(package_copy)[0] == 1


def test_check_runs_every_linter() -> None:
    plan = run("make", "--dry-run", "check", cwd=PROJECT, MAKEFLAGS="").stdout
    for command in ("ruff format --check .", "ruff check .", "lint-imports", "mypy", "pytest"):
        assert command in plan, plan


def test_mypy_settings_name_modules_that_exist() -> None:
    settings = PYPROJECT["tool"]["mypy"]
    assert {"mnist_lightning", "handlers", "tests", "benchmarks"} <= set(settings["files"])
    own = [name for override in settings["overrides"] for name in override["module"] if name.startswith("mnist_")]
    assert own
    for name in own:
        assert importlib.util.find_spec(name.removesuffix(".*")), name


# Locked dependencies


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_requirement_has_a_version_and_hashes(name: str) -> None:
    for line, block in lock(name).items():
        assert re.match(r"[a-z0-9.-]+==\S+( ; .+)?$", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), line


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_its_command_and_neither_an_index_nor_a_path(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "make lock" in text.partition("\n\n")[0].split("==")[0]
    assert not re.search(r"://|--(extra-)?index-url|--find-links|file:|(^|\s)/", text)


def test_locks_have_what_pyproject_declares() -> None:
    direct, groups = PYPROJECT["project"]["dependencies"], PYPROJECT["dependency-groups"]
    for name, declared in (("requirements.txt", direct), ("requirements-dev.txt", [*direct, *groups["dev"]])):
        pins = {(name_of(requirement), requirement.split("==")[1]) for requirement in declared}
        assert pins <= versions(name), f"{name} is older than pyproject.toml; run: make lock"
    assert {name_of(requirement) for requirement in groups["serve"]} <= dict(versions("requirements-serve.txt")).keys()


@pytest.mark.parametrize("name", LOCKS)
def test_uv_takes_a_lock_for_an_empty_environment(name: str, tmp_path: Path) -> None:
    # Settings of pyproject.toml apply to every installation. uv rejects those that clash with hashes before it looks
    # for the first package, which it does not find here.
    command = f"uv pip install --dry-run --offline --require-hashes --target {tmp_path}/packages -r {name}".split()
    command[0] = str(Path(sys.executable).with_name("uv"))
    done = run(*command, "--python", sys.executable, cwd=PROJECT, UV_CACHE_DIR=str(tmp_path / "cache"))
    assert "was not found in the cache" in done.stderr, done.stderr


def test_locks_agree_with_each_other() -> None:
    assert versions("requirements-serve.txt") <= versions("requirements.txt") <= versions("requirements-dev.txt")


@pytest.mark.parametrize("name", WITH_TORCH)
def test_torch_of_another_index_leaves_out_what_belongs_to_the_default_build(name: str) -> None:
    kept = blocks(make(f"$(WITHOUT_TORCH) {name}"))
    removed = lock(name).keys() - kept.keys()
    assert {name_of(line) for line in removed} >= {"torch", "triton", "nvidia-cublas", "cuda-toolkit"}
    assert all(name_of(line) in CUDA or line.startswith(CUDA[3:]) for line in removed)
    assert kept == {line: block for line, block in lock(name).items() if line not in removed}


@pytest.mark.parametrize("name", WITH_TORCH)
def test_torch_of_another_index_has_the_locked_version(name: str) -> None:
    found = make(f"$(TORCH_PINS) {name}").split()
    assert found == [line.split()[0] for line in lock(name) if name_of(line) in ("torch", "torchvision")]
    assert found


# The wheel and the console script


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    install = [
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(target),
    ]
    done = run(sys.executable, "-m", "uv", *install, str(wheel), cwd=folder)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize(("words", "output"), [(["--help"], "VERB"), (["serve", "--help"], "--port")])
def test_an_installed_package_runs_in_any_folder(
    installed: Path, tmp_path: Path, words: list[str], output: str
) -> None:
    done = run(sys.executable, "-m", "mnist_lightning", *words, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert output in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_installed_package_finds_its_files(installed: Path, tmp_path: Path) -> None:
    files = ["config/train.yaml", "config/config.properties", "handlers/digit_handler.py", "frontend/frontend.jar"]
    program = (
        "import sys; from mnist_lightning.common.paths import resource; print(*map(resource, sys.argv[1:]), sep='\\n')"
    )
    done = run(sys.executable, "-c", program, *files, cwd=tmp_path, PYTHONPATH=str(installed))
    resources = installed / "mnist_lightning" / "resources"
    assert done.stdout.split() == [str(resources / file) for file in files], done.stderr
    for file in files:
        assert (resources / file).read_bytes() == (PROJECT / file).read_bytes()


def test_the_wheel_has_a_console_script_and_no_tests(installed: Path) -> None:
    assert (installed / "bin" / "mnist-lightning").exists()
    assert [path.parent.name for path in installed.glob("*/__init__.py")] == ["mnist_lightning"]
    assert not list(installed.glob("**/test*"))


def test_every_verb_has_an_entry() -> None:
    modules = {path.stem for path in (PROJECT / "mnist_lightning").glob("*.py") if not path.stem.startswith("__")}
    assert set(console.VERBS) == modules | {"client"}
    for module, _ in console.VERBS.values():
        assert importlib.util.find_spec(module)


@pytest.mark.parametrize("arguments", [[], ["sevre"], ["--sevre"]])
def test_an_unknown_verb_is_rejected_and_the_verbs_are_listed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    for word in [*console.VERBS, *arguments]:
        assert word in err


def test_a_verb_gets_its_flags_and_returns_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        received.append(arguments)
        return 7

    monkeypatch.setattr("mnist_lightning.serve.main", main)
    assert console.main(["serve", "--port", "1"]) == 7
    assert received == [["--port", "1"]]


def test_the_console_script_imports_nothing_of_others() -> None:
    program = (
        "import sys; before = set(sys.modules); import mnist_lightning.__main__; print(*set(sys.modules) - before)"
    )
    added = {name.partition(".")[0] for name in run(sys.executable, "-c", program, cwd=PROJECT).stdout.split()}
    assert added - sys.stdlib_module_names == {"mnist_lightning"}


# Files that a repository has


def test_the_changelog_starts_with_this_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == PYPROJECT["project"]["version"]


def test_ci_runs_check_test_and_audit_with_pinned_actions() -> None:
    jobs = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    assert commands["test"].index("make check") < commands["test"].index("make test")
    assert "make audit" in commands["audit"]
    for step in (step for job in jobs.values() for step in job["steps"]):
        assert re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40)), step


@pytest.mark.parametrize("hook", yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"])
def test_commit_hooks_run_tools_of_the_environment(hook: dict[str, Any]) -> None:
    assert hook["entry"].startswith(".venv/bin/")
    assert Path(sys.executable).with_name(Path(hook["entry"].split()[0]).name).exists()
