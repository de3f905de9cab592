"""The corpus of the fuzzer, and what becomes of it by small changes: an answer or a refusal."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.coverage_fuzz import HEADERS, check_request
from tests.support import PROJECT

CORPUS = sorted((PROJECT / "tests" / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_every_file_of_the_corpus_is_answered(path: Path) -> None:
    check_request(path.read_bytes())


def test_the_corpus_reaches_every_kind_of_request() -> None:
    assert {path.read_bytes()[0] for path in CORPUS} == set(range(len(HEADERS)))


@given(st.sampled_from(CORPUS), st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=6)), max_size=4))
def test_changed_files_are_answered(path: Path, changes: list[tuple[int, bytes]]) -> None:
    content = path.read_bytes()
    for at, replacement in changes:
        at = 1 + at % (len(content) - 1)
        content = content[:at] + replacement + content[at + len(replacement) // 2 :]
    check_request(content)


def test_a_fault_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.coverage_fuzz.MAX_ANSWER", 10)
    with pytest.raises(AssertionError, match="an answer of"):
        check_request(CORPUS[0].read_bytes())
