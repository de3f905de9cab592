"""What the README says is there, is there."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support import PROJECT, verb

README = (PROJECT / "README.md").read_text()
VERBS = sorted(set(re.findall(r"python -m mnist_lightning\.([a-z]+)", README)))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_of_the_readme_explains_itself(name: str) -> None:
    done = verb(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout or "options:" in done.stdout


def test_every_module_has_its_place_in_the_readme() -> None:
    for path in (PROJECT / "mnist_lightning").glob("*.py"):
        if path.stem != "__init__":
            assert path.name in README, path.name


def test_every_link_leads_somewhere() -> None:
    pages = [*PROJECT.glob("README*.md"), *(PROJECT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_every_flag_of_the_readme_exists() -> None:
    text = README.replace("\\\n", " ")
    for line in re.findall(r"python -m mnist_lightning\.(.*)", text):
        name, *words = shlex.split(line.split("`")[0], comments=True)
        flags = {word.split("=")[0] for word in words if word.startswith("--")}
        if flags and name not in ("VERB",):
            told = verb(name, "--help").stdout
            told += verb(name, words[0], "--help").stdout if not words[0].startswith("--") else ""
            for flag in flags:
                assert flag.split(".")[0] in told, f"{name} {flag}"


def test_nothing_is_left_to_fill_in() -> None:
    for page in [Path("README.md"), *Path("docs").glob("*.md")]:
        assert "@@" not in (PROJECT / page).read_text()
