"""The table of a folder's pictures: a CSV file that grows with each answer, also over several runs."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from mnist_lightning.client.api import MAX_MESSAGE, ClientError, number_of
from mnist_lightning.client.many import Outcome
from mnist_lightning.common.files import GrowingFile, write_atomic

COLUMNS = ("path", "number", "prediction", "confidence", "is_digit", "note", "error")
PATH, ERROR = COLUMNS.index("path"), COLUMNS.index("error")
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet reads a cell as a formula for, if it begins so
REFUSED = ("400", "413", "415")  # statuses of an error that is the picture's own
HELP = "; accepted: "  # what the server's messages go on with, the same for every picture
Row = Sequence[object]


class TableError(RuntimeError):
    """The table cannot be used; the message includes the remedy."""


def path_cell(path: str) -> str:
    """A picture's path as it is in the table.

    A path that a spreadsheet would take for a formula begins with `./`, which names the same file. Bytes that are no
    UTF-8 are escaped by backslashes.
    """
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"./{path}" if path.startswith(FORMULA) else path


def row_of(path: str, outcome: Outcome) -> Row:
    """The cells of a picture."""
    if isinstance(outcome, ClientError):
        return (path_cell(path), "", "", "", "", "", _text(_error(outcome)))
    numbers = (outcome["prediction"], outcome["confidence"], outcome["is_digit"])
    return (path_cell(path), _text(number_of(outcome)), *numbers, _text(outcome.get("note", "")), "")


def format_rows(rows: Iterable[Row]) -> bytes:
    """Rows as CSV: UTF-8, texts in quotes, line feeds between rows."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def begin(path: Path) -> None:
    """Write an empty table. Raises TableError if the file exists and has rows, OSError if it cannot be written."""
    _check_file(path)
    header = format_rows([COLUMNS])
    if path.exists() and not header.startswith(path.read_bytes()):
        raise TableError(f"{path} exists; add --resume to go on with it, or name another file")
    write_atomic(path, header)


def resume(path: Path) -> dict[str, str]:
    """The error of each picture in a table, "" if there is none; writes an empty table if the file does not exist.

    A row that is cut is removed, and so are the rows of pictures that got no answer: the run will ask about them again.
    Raises TableError if the file is another one or damaged, OSError if it cannot be read or written.
    """
    _check_file(path)
    with GrowingFile(path):  # no other run appends meanwhile
        return _repair(path)


def is_failed(error: str) -> bool:
    """Whether a picture's error is not its own, so that it may get an answer if the server is asked again."""
    return error != "" and not error.startswith(REFUSED)


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise TableError(f"{path} is no regular file; name one for the table")


def _repair(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header = format_rows([COLUMNS])
    if header.startswith(content):
        write_atomic(path, header)
        return {}
    (head, names), *rows = _whole_rows(path, content) or [(b"", [])]
    if tuple(names) != COLUMNS:
        raise TableError(f"{path} is not a table of this command, whose columns are {', '.join(COLUMNS)}")
    kept = [(raw, row) for raw, row in rows if not is_failed(row[ERROR])]
    if (repaired := b"".join([head, *(raw for raw, _ in kept)])) != content:
        write_atomic(path, repaired)
    return {row[PATH]: row[ERROR] for _, row in kept}


def _whole_rows(path: Path, content: bytes) -> list[tuple[bytes, list[str]]]:
    """Each row of a table as its bytes and as its cells, without the last one if it is cut. Raises TableError."""
    rows: list[tuple[bytes, list[str]]] = []
    begin = end = 0
    for line in content.splitlines(keepends=True):
        end += len(line)
        raw = content[begin:end]
        if line.endswith(b"\n") and raw.count(b'"') % 2 == 0:  # otherwise in the middle of a quoted text
            rows.append((raw, _cells(path, raw)))
            begin = end
    return rows


def _cells(path: Path, raw: bytes) -> list[str]:
    try:
        (row,) = csv.reader(io.StringIO(raw.decode("utf-8", "replace"), newline=""), strict=True)
    except (csv.Error, ValueError):
        row = []
    if len(row) != len(COLUMNS):
        raise TableError(f"{path}: the row {raw[:80]!r} is damaged; remove it, then --resume goes on")
    return row


def _error(error: ClientError) -> str:
    """An error with its HTTP status, if it is about the picture or has a type."""
    if kind := error.body.get("type"):
        return f"{error.status} {kind}: {str(error.body.get('message', '')).partition(HELP)[0]}"
    return f"{error.status}: {error}" if str(error.status).startswith("4") else str(error)


def _text(value: object) -> str:
    """A server's text as a cell: not longer than its messages are, and no formula."""
    text = str(value)[:MAX_MESSAGE]
    return f"'{text}" if text.startswith(FORMULA) else text
