"""Read whole folders of pictures into a table."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from mnist_lightning.client import table
from mnist_lightning.client.many import Answerer, Outcome, answer_all
from mnist_lightning.common.files import GrowingFile
from mnist_lightning.common.pictures import SUFFIXES, walk_images

Lanes = AbstractAsyncContextManager[Sequence[Answerer]]
OnError = Callable[[OSError], object]


@dataclass(frozen=True)
class Summary:
    """What a table has after a run."""

    table: str
    pictures: int  # that the folders hold
    read: int
    refused: int  # the picture has an error of its own
    failed: int  # there was no answer; --resume asks again
    asked: int  # in this run
    seconds: float  # of this run

    def __str__(self) -> str:
        counts = f"{self.read:,} read, {self.refused:,} refused, {self.failed:,} failed"
        return f"{self.table}: {self.pictures:,} pictures: {counts}; {self.asked:,} of them in {self.seconds:,.1f} s"


class FolderError(RuntimeError):
    """There is no picture to read, or there are two of one name; the message includes the remedy."""


def find_pictures(names: Sequence[str], on_error: OnError) -> dict[str, Path]:
    """The pictures of folders and their sub-folders, and files, by their path in the table.

    That is relative to the folder if `names` has only one, else it begins with the folder as given. `on_error` is
    called for each folder that cannot be listed. Raises FolderError if there is no picture.
    """
    found: dict[str, Path] = {}
    for name in names:
        path = Path(name)
        if not path.is_dir():
            found[str(path)] = path
        for image in walk_images(path, on_error) if path.is_dir() else ():
            found[str(image.relative_to(path) if len(names) == 1 else image)] = image
    if not found:
        raise FolderError(f"{', '.join(names)}: no picture ({', '.join(sorted(SUFFIXES))})")
    cells: dict[str, Path] = {}
    for key, path in found.items():
        if cells.setdefault(cell := table.path_cell(key), path) != path:  # one has a byte that is written like a text
            raise FolderError(f"two pictures have the path {cell} in the table; rename one of them")
    return cells


def read_into_table(pictures: Mapping[str, Path], path: Path, lanes: Lanes, *, resume: bool) -> Summary:
    """Answer the pictures, and append a row for each to the table; with `resume`, for those that it does not have yet.

    Shows the progress on stderr. Raises TableError, OSError, and what the lanes raise; the rows so far stay.
    """
    done = table.resume(path) if resume else {}
    if not resume:
        table.begin(path)
    started = time.perf_counter()
    missing = {key: image for key, image in pictures.items() if key not in done}
    asked = asyncio.run(_fill(missing, path, lanes, len(pictures))) if missing else Counter[str]()
    counts = asked + Counter(_state(done[key]) for key in pictures if key in done)
    numbers = (counts["read"], counts["refused"], counts["failed"])
    return Summary(str(path), len(pictures), *numbers, asked.total(), round(time.perf_counter() - started, 3))


async def _fill(missing: Mapping[str, Path], path: Path, lanes: Lanes, total: int) -> Counter[str]:
    """Append the rows of the missing pictures; how many there are in each state."""
    counts: Counter[str] = Counter()
    async with lanes as answerers:
        with GrowingFile(path) as file, _progress() as progress:
            task = progress.add_task("", total=total, completed=total - len(missing))

            def report(outcomes: Mapping[str, Outcome]) -> None:
                rows = [table.row_of(key, outcome) for key, outcome in outcomes.items()]
                file.append(table.format_rows(rows))
                counts.update(_state(str(row[table.ERROR])) for row in rows)
                progress.advance(task, len(rows))

            await answer_all(missing.items(), answerers, report)
    return counts


def _state(error: str) -> str:
    """The field of Summary that counts a picture with this error in the table."""
    if not error:
        return "read"
    return "failed" if table.is_failed(error) else "refused"


def _progress() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn(), TextColumn("left"))
    return Progress(*columns, console=Console(stderr=True))


class _RateColumn(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")
