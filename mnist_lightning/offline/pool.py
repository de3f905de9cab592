"""Answer pictures without a server, in a process for each lane."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

from mnist_lightning.client.api import ClientError, check_answer
from mnist_lightning.client.many import Answerer, Outcome
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.offline.frames import SIZE_BYTES, Response, to_frame
from mnist_lightning.serving.model_store import choose_store
from mnist_lightning.serving.resources import available_cores

WORKER = "mnist_lightning.offline.worker"
COMMAND = [sys.executable, "-P", "-m", WORKER]  # -P: it imports nothing from the current folder
END_SECONDS = 5.0  # that a process has to finish a picture


class OfflineError(ClientError):
    """The archive cannot be used, or its processes cannot start; the message includes the remedy."""


@contextlib.asynccontextmanager
async def open_archive(store: Path | None, processes: int | None = None) -> AsyncIterator[Sequence[Answerer]]:
    """Lanes for `answer_all` that answer with an archive, each in a process of its own.

    Args:
        store: the archive's folder; by default the one that `serve` chooses.
        processes: how many; by default one for each core.

    Raises OfflineError.
    """
    archive = choose_store(store) / ARCHIVE
    workers = [_Worker(archive) for _ in range(processes or available_cores())]
    try:
        await workers[0].start()  # alone, so that an error is reported once
        await asyncio.gather(*(worker.start() for worker in workers[1:]))
        yield [worker.answer for worker in workers]
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers))


class _Worker:
    """A process that answers pictures, and is started again if it ends."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.process: Process | None = None

    async def start(self) -> None:
        """Start the process, and wait until it is ready. Raises OfflineError."""
        command = [*COMMAND, str(self.archive)]
        places = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
            )  # Ctrl-C does not reach a session of its own: this process ends the others
            error = await self._read(self.process)
        except (OSError, asyncio.IncompleteReadError) as broken:
            raise OfflineError(f"the process {WORKER} does not start: {broken}") from broken
        if error:
            raise OfflineError(str(error))

    async def answer(self, pictures: Sequence[bytes]) -> list[Outcome]:
        """The Answerer. If the process ends, as a damaged library may, the picture that it ends at is an error."""
        if not pictures:
            return []
        try:
            return [_outcome(*response) for response in await self._exchange(pictures)]
        except (OSError, asyncio.IncompleteReadError):
            await self.stop()
            await self.start()
        if len(pictures) == 1:
            return [ClientError("the process that read the picture has ended before it answered", 500)]
        return [outcome for picture in pictures for outcome in await self.answer([picture])]

    async def stop(self) -> None:
        """End the process."""
        if self.process is None or self.process.stdin is None:
            return
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), END_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def _exchange(self, pictures: Sequence[bytes]) -> list[Response]:
        process = cast(Process, self.process)
        stdin = cast(asyncio.StreamWriter, process.stdin)
        for content in (str(len(pictures)).encode(), *pictures):
            stdin.write(to_frame(content))
        await stdin.drain()
        return cast(list[Response], await self._read(process))

    @staticmethod
    async def _read(process: Process) -> object:
        """The JSON of the next frame. Raises asyncio.IncompleteReadError if the process ends before it."""
        stdout = cast(asyncio.StreamReader, process.stdout)
        size = int.from_bytes(await stdout.readexactly(SIZE_BYTES), "big")
        return json.loads(await stdout.readexactly(size))


def _outcome(status: int, body: object) -> Outcome:
    try:
        return check_answer("the archive", status, body)
    except ClientError as error:
        return error
