"""The table: its cells, and how an interrupted run's is repaired."""

import csv
import io
import os
from pathlib import Path

import pytest

from mnist_lightning.client import ClientError
from mnist_lightning.client.many import Outcome
from mnist_lightning.client.table import COLUMNS, TableError, begin, format_rows, path_cell, resume, row_of
from mnist_lightning.common.files import GrowingFile
from tests.unit.client.fake_server import SEVEN

HEADER = format_rows([COLUMNS])
REFUSED = ClientError("http://server answered 400: …", 400, {"type": "NoDigitError", "message": "no ink; accepted: a"})
BUSY = ClientError("http://server answered 503: …", 503, {"type": "BusyError", "message": "the queue is full"})
PATHS = ["a.png", 'with "quotes", commas.png', "line\nfeed\r\n.png", "é/€.png", "=1+1.png"]


def cells(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_every_kind_of_row() -> None:
    number = {**SEVEN, "number": "12\n3", "note": "several digits: 12 / 3"}
    unread = ClientError("the file cannot be read: Permission denied")
    outcomes: dict[str, Outcome] = {"a": SEVEN, "b": number, "c": REFUSED, "d": BUSY, "e": unread}
    rows = cells(HEADER + format_rows([row_of(path, outcome) for path, outcome in outcomes.items()]))
    empty = dict.fromkeys(COLUMNS, "")
    seven = {**empty, "prediction": "7", "confidence": "0.9", "is_digit": "0.99"}
    assert rows == [
        {**seven, "path": "a", "number": "7"},
        {**seven, "path": "b", "number": "12\n3", "note": "several digits: 12 / 3"},
        {**empty, "path": "c", "error": "400 NoDigitError: no ink"},
        {**empty, "path": "d", "error": "503 BusyError: the queue is full"},
        {**empty, "path": "e", "error": "the file cannot be read: Permission denied"},
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_no_cell_is_a_formula(start: str, tmp_path: Path) -> None:
    """And the path in it names the file."""
    name = f"{start}cmd|'calc'!A1.png"
    (tmp_path / name).write_bytes(b"")
    answer = {**SEVEN, "number": f"{start}1", "note": f"{start}1"}
    (row,) = cells(HEADER + format_rows([row_of(name, answer)]))
    assert not any(cell.startswith(start) for cell in row.values())
    assert (tmp_path / row["path"]).samefile(tmp_path / name)


def test_names_that_are_not_utf_8() -> None:
    name = os.fsdecode(b"\xff.png")
    assert path_cell(name) == r"\xff.png"
    (row,) = cells(HEADER + format_rows([row_of(name, SEVEN)]))
    assert row["path"] == path_cell(name)


def test_a_table_that_is_cut_anywhere(tmp_path: Path) -> None:
    """Resuming keeps the whole rows and nothing else, so that every picture gets exactly one row."""
    rows = [format_rows([row_of(path, SEVEN)]) for path in PATHS]
    whole = b"".join([HEADER, *rows])
    path = tmp_path / "out.csv"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        done = resume(path)
        kept = len(done)
        assert list(done) == [path_cell(each) for each in PATHS[:kept]]
        assert path.read_bytes() == b"".join([HEADER, *rows[:kept]])
        assert len(HEADER) + sum(map(len, rows[: kept + 1])) > length or kept == len(rows)


def test_pictures_without_an_answer_are_asked_about_again(tmp_path: Path) -> None:
    outcomes: dict[str, Outcome] = {
        "a": SEVEN,
        "b": REFUSED,
        "c": BUSY,
        "d": ClientError("no answer within 10 s", 504),
        "e": SEVEN,
    }
    path = tmp_path / "out.csv"
    path.write_bytes(HEADER + format_rows([row_of(*pair) for pair in outcomes.items()]))
    assert resume(path) == {"a": "", "b": "400 NoDigitError: no ink", "e": ""}
    assert [row["path"] for row in cells(path.read_bytes())] == ["a", "b", "e"]


def test_a_table_that_a_spreadsheet_has_saved(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    saved = (HEADER + format_rows([row_of("a", SEVEN)])).replace(b'"', b"").replace(b"\n", b"\r\n")
    path.write_bytes(saved)
    assert resume(path) == {"a": ""}
    assert path.read_bytes() == saved


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my,own,table\n1,2,3\n", "is damaged"),
        (HEADER.replace(b"path", b"file"), "is not a table of this command, whose columns are path, "),
        (HEADER + b"1,2\n", r"the row b'1,2\\n' is damaged; remove it"),
        (b"a text without a line feed", "is not a table"),
    ],
)
def test_a_file_that_is_no_table_is_left_alone(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        resume(path)
    with pytest.raises(TableError, match="exists; add --resume"):
        begin(path)
    assert path.read_bytes() == content


def test_a_new_table(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    begin(path)
    assert path.read_bytes() == HEADER
    begin(path)  # one without rows may be begun again
    path.unlink()
    assert resume(path) == {}
    assert path.read_bytes() == HEADER


def test_two_runs_cannot_share_a_table(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    begin(path)
    with GrowingFile(path), pytest.raises(OSError, match=r"another process is writing it: '.*out.csv'"):
        resume(path)
