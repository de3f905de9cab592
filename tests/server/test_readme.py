"""The documentation is true: what it names exists, and the commands of docs/api.md work against a server."""

import contextlib
import functools
import importlib
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from mnist_lightning.inference import errors
from mnist_lightning.preprocessing import errors as picture_errors
from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT, SEVEN

README, README_FR, API = PROJECT / "README.md", PROJECT / "README.fr.md", PROJECT / "docs/api.md"
USERS_PAGES = sorted([README, README_FR, *(PROJECT / "docs").rglob("*.md")])
PAGES = [*USERS_PAGES, PROJECT / "CONTRIBUTING.md"]  # not CHANGELOG.md, which names what no longer exists
PACKAGE = PROJECT / "mnist_lightning"
SUBPACKAGES = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
VERBS = {path.stem for path in PACKAGE.glob("[a-z]*.py")} | {"client"}
TRACKED = ("config", "docs", "tests", "benchmarks", "handlers", "frontend", "mnist_lightning", ".ci", ".github")
# Flags in running text that belong to docker or torchrun, and one that only the old releases had.
FOREIGN_FLAGS = {"--memory", "--cpus", "--nproc-per-node", "--like"}

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, TRACKED))})/(?:[\w./*-]*[\w*])?")
DOTTED = re.compile(r"[a-z_]+(?:\.\w+)+")

per_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
per_users_page = pytest.mark.parametrize("page", USERS_PAGES, ids=lambda path: str(path.relative_to(PROJECT)))


def code_blocks(page: Path) -> list[str]:
    return [body for language, body in FENCED.findall(page.read_text()) if language != "mermaid"]


def inline_code(page: Path) -> list[str]:
    return INLINE.findall(FENCED.sub("", page.read_text()))


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every command of a page as words, from its name on: `mnist_lightning.train`, `benchmarks.peers`, `make`."""
    lines = "\n".join(code_blocks(page)).replace("\\\n", " ").splitlines()
    for text in [*lines, *inline_code(page)]:
        text = text.removeprefix("$ ").replace("…", "")
        if re.match(rf"(?:{'|'.join(VERBS)}) ", text):  # `train --seeds 3` in running text
            text = f"-m mnist_lightning.{text}"
        text = text.replace("mnist-lightning ", "-m mnist_lightning.")
        text = re.sub(r"^benchmarks\.", "-m benchmarks.", text)
        for command in re.findall(r"-m ((?:mnist_lightning|benchmarks|tests)\..*)|(make .*)", text):
            yield shlex.split(re.split(r" [|&>]| #", "".join(command))[0].replace("'", ""), comments=True)


@functools.cache
def help_of(module: str, *subcommand: str) -> str:
    """What a module's --help prints, in this process."""
    name = module if (PROJECT / f"{module.replace('.', '/')}.py").is_file() else f"{module}.__main__"
    output = io.StringIO()
    with (
        patch.object(sys, "argv", [module, *subcommand, "--help"]),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit) as ended,
    ):
        importlib.import_module(name).main()
    assert ended.value.code == 0
    return output.getvalue()


def flags_of(module: str, *subcommand: str) -> set[str]:
    """The flags of a command; nested ones such as --optimizers.SGD without their dots."""
    return set(re.findall(r"--[a-z][\w-]*", help_of(module, *subcommand)))


def heading_anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@per_page
def test_every_command_and_flag_exists(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for name, *words in command_lines(page):
        if name == "make":
            for target in (word for word in words if re.fullmatch(r"[a-z-]+", word)):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
        elif name not in ("mnist_lightning.VERB", "mnist_lightning.X"):
            subcommand = words[:1] if name == "mnist_lightning.evaluate" else []
            used = {re.split(r"[.=]", word)[0] for word in words if word.startswith("--")}
            assert used <= flags_of(name, *subcommand) | {"--help"}, shlex.join([name, *words])


@per_users_page
def test_every_flag_in_running_text_exists(page: Path) -> None:
    known = set().union(*(flags_of(f"mnist_lightning.{verb}") for verb in VERBS))
    known |= flags_of("mnist_lightning.evaluate", "pictures") | flags_of("benchmarks.ood") | {"--help"}
    for text in inline_code(page):
        if text.startswith("--"):
            assert text.split()[0].split(".")[0] in known | FOREIGN_FLAGS, text


@per_page
def test_every_file_exists(page: Path) -> None:
    for name in NAMED_FILE.findall(page.read_text()):
        assert any(PROJECT.glob(name)), name
    for name in inline_code(page):
        if re.fullmatch(r"[\w*-]+\.(?:toml|txt|md)", name) and not name.startswith("token"):
            assert any(PROJECT.glob(name)), name


@per_users_page
def test_every_module_and_name_exists(page: Path) -> None:
    for name in inline_code(page):
        if not DOTTED.fullmatch(name) or name.split(".")[0] not in {*SUBPACKAGES, "mnist_lightning", "benchmarks"}:
            continue
        parts = ([] if name.startswith(("mnist_lightning", "benchmarks")) else ["mnist_lightning"]) + name.split(".")
        path = PROJECT.joinpath(*parts)
        if not (path.is_dir() or path.with_suffix(".py").is_file()):
            module = importlib.import_module(".".join(parts[:-1]))
            assert hasattr(module, parts[-1]), name


@per_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not anchor or anchor in heading_anchors(linked), target


def test_every_page_is_in_the_index_and_every_picture_in_a_page() -> None:
    index = (PROJECT / "docs/README.md").read_text()
    linked = {(page.parent / target).resolve() for page in USERS_PAGES for target in LINK.findall(page.read_text())}
    for path in (PROJECT / "docs").rglob("*.*"):
        if path.suffix == ".md":
            assert path.name in index, path.name
        else:
            assert path.resolve() in linked, path.name


def test_the_layout_names_every_package_and_verb() -> None:
    layout = sections(README)["Layout"]
    for package in SUBPACKAGES:
        assert f"`mnist_lightning/{package}/`" in layout, package
    for verb in VERBS - {"client"}:
        assert f"`{verb}`" in layout, verb


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200
    for page, title in ((README, "Quick start"), (README_FR, "Démarrage rapide")):
        starts = {name: body for name, body in sections(page).items() if name.startswith(title)}
        assert len(starts) == 4
        for name, body in starts.items():
            assert len(body.strip().splitlines()) < 15, name


def test_the_french_readme_has_the_same_commands() -> None:
    def commands(page: Path) -> list[list[str]]:
        return [shlex.split(line, comments=True) for body in code_blocks(page) for line in body.splitlines()]

    assert commands(README_FR) == commands(README)


def test_the_recipe_keys_of_the_training_page_exist() -> None:
    table = [
        line.split("|")[1] for line in sections(PROJECT / "docs/training.md")["Recipes"].splitlines() if "|" in line
    ]
    keys = [key for cell in table for key in INLINE.findall(cell) if not key.endswith(".yaml")]
    assert len(keys) > 10
    for key in keys:
        assert f"--{key} " in help_of("mnist_lightning.train"), key


def test_the_error_types_of_the_api_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", API.read_text(), re.MULTILINE)
    documented = {name: int(status) for status, name in rows}
    java = "".join(path.read_text() for path in (PROJECT / "frontend").glob("*.java"))
    for name, status in documented.items():
        kind = getattr(errors, name, None) or getattr(picture_errors, name, None)
        if kind is None:
            assert f'"{name}"' in java, name
        else:
            assert errors.HTTP_STATUS.get(kind, 400) == status, name
    kinds = {**vars(picture_errors), **vars(errors)}
    classes = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes - {"BadPictureError"} <= documented.keys()


def bash_blocks() -> list[tuple[str, str]]:
    """Every command of docs/api.md that is to be run, and the JSON that follows it as its answer, or ""."""
    blocks = FENCED.findall(API.read_text())
    following = [*blocks[1:], ("", "")]
    return [
        (body, after if kind == "json" else "")
        for (language, body), (kind, after) in zip(blocks, following, strict=True)
        if language == "bash"
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the picture that `make run` leaves."""
    (tmp_path / "data").mkdir()
    shutil.copy(SEVEN, tmp_path / "data/example-7.png")
    return tmp_path


def same_form(documented: object, answered: object) -> bool:
    """Whether an answer has the documented one's keys and types; digits, names and statuses have to be equal."""
    if isinstance(documented, dict) and isinstance(answered, dict):
        exact = ("prediction", "code", "type", "name", "shape", "datatype", "model_name", "id")
        return documented.keys() == answered.keys() and all(
            value == answered[key] if key in exact else same_form(value, answered[key])
            for key, value in documented.items()
        )
    if isinstance(documented, list) and isinstance(answered, list):  # [] stands for rows that the page leaves out
        pairs = zip(documented, answered, strict=False)
        return (not documented or len(documented) == len(answered)) and all(same_form(*pair) for pair in pairs)
    if isinstance(documented, str) and isinstance(answered, str):
        return answered.startswith(documented.removesuffix("…").rstrip())
    return type(documented) is type(answered)


@pytest.mark.parametrize(("command", "documented"), bash_blocks(), ids=itertools.count(1))
def test_every_curl_line_of_the_api_page_works(command: str, documented: str, server: Server, folder: Path) -> None:
    assert "http://127.0.0.1:8080" in command
    script = command.replace("http://127.0.0.1:8080", server.url)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    if documented:
        assert same_form(json.loads(documented), answer), answer
    else:
        assert answer["prediction"] == 7


def test_the_python_lines_of_the_api_page_work(server: Server, folder: Path) -> None:
    [script] = [body for language, body in FENCED.findall(API.read_text()) if language == "python"]
    command = [sys.executable, "-c", script.replace("http://127.0.0.1:8080", server.url)]
    environment = {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("7 ")
