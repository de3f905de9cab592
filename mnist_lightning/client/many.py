"""Ask a server about many pictures: over connections that stay open, and again if it is busy.

`ask_many` and `ask_many_async` return a list. `answer_all` is the loop below them, which any Answerer can serve.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from mnist_lightning.client.api import (
    DEFAULT_URL,
    ClientError,
    bad_url,
    check_answer,
    is_loopback,
    no_json,
    no_server,
    read_picture,
    timed_out,
)
from mnist_lightning.client.retries import RETRIES, TEMPORARY, allowed_retries, delay, json_body
from mnist_lightning.common import tokens
from mnist_lightning.common.constants import MAX_REQUEST_BYTES

# The server turns, and reads by over-segmentation, a limited number of a request's pictures, the lower limit being 8:
# with more, a picture could get another answer than alone.
PICTURES_PER_REQUEST = 8
BYTES_PER_REQUEST = 1 << 17  # of several pictures; a larger picture takes so long that sharing a request saves nothing
CONCURRENCY = 8  # requests at a time
MAX_CONCURRENCY = 256
REFUSED = {400, 408, 413, 415, 500, *TEMPORARY}  # statuses that are about the pictures of one request
BUSY = TEMPORARY - {502}  # of a server that would be as busy for each picture; 502 is also that of a malformed answer
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)  # no connection, or one that the server resets or closes

Outcome = dict[str, Any] | ClientError
Answerer = Callable[[Sequence[bytes]], Awaitable[list[Outcome]]]  # contents of picture files -> one outcome for each
Key = TypeVar("Key")


def ask_many(
    pictures: Iterable[bytes | Path],
    url: str = DEFAULT_URL,
    timeout: float = 10.0,
    token: str | None = None,
    *,
    concurrency: int = CONCURRENCY,
) -> list[Outcome]:
    """As `ask_many_async`, for code without an event loop."""
    return asyncio.run(ask_many_async(pictures, url, timeout, token, concurrency=concurrency))


async def ask_many_async(
    pictures: Iterable[bytes | Path],
    url: str = DEFAULT_URL,
    timeout: float = 10.0,
    token: str | None = None,
    *,
    concurrency: int = CONCURRENCY,
) -> list[Outcome]:
    """Return an outcome for each picture, in order: what `ask` returns, or the ClientError that it raises.

    A request that the server is too busy for is sent again after a while, up to RETRIES times.

    Args:
        pictures: contents of picture files, or paths, which are read when their turn comes.
        url: the server's URL.
        timeout: seconds to wait for each response.
        token: the server's token, if it requires one.
        concurrency: how many requests are made at a time, 1 to MAX_CONCURRENCY. A request has several pictures if
            they are small.

    Raises ClientError if other pictures would get no answer either: the server does not run, requires a token, or is
    no model server.
    """
    outcomes: dict[int, Outcome] = {}
    async with open_server(url, timeout, token, concurrency) as lanes:
        await answer_all(enumerate(pictures), lanes, outcomes.update)
    return [outcomes[index] for index in range(len(outcomes))]


async def answer_all(
    pictures: Iterable[tuple[Key, bytes | Path]],
    lanes: Sequence[Answerer],
    report: Callable[[dict[Key, Outcome]], object],
) -> None:
    """Answer pictures on all lanes at the same time, and call `report` with the outcomes of a few at a time.

    Raises what a lane or `report` raises.
    """
    chunks = _chunks(pictures)

    async def work(answer: Answerer) -> None:
        for chunk in chunks:  # shared by all lanes
            report(await _answer_chunk(chunk, answer))

    try:
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes:
                tasks.create_task(work(lane))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


@asynccontextmanager
async def open_server(
    url: str, timeout: float, token: str | None, concurrency: int
) -> AsyncIterator[Sequence[Answerer]]:
    """Lanes for `answer_all` that ask a server. Raises ClientError if there is none."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ValueError(f"concurrency is {concurrency}; it must be from 1 to {MAX_CONCURRENCY}")
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    headers = tokens.auth_headers(token)
    try:
        _ = urlsplit(url).port  # raises ValueError if it is none; httpx would find out on connecting
        trust_env = not is_loopback(url)
        http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, limits=limits, trust_env=trust_env)
    except (httpx.InvalidURL, ValueError) as error:
        raise bad_url(url, error) from error
    async with http:
        server = _Server(http, url, timeout)
        await server.check()
        yield [server.answer] * concurrency


class _Server:
    """A server, over the connections of `http`."""

    def __init__(self, http: httpx.AsyncClient, url: str, timeout: float) -> None:
        self.http, self.url, self.timeout = http, url, timeout

    async def check(self) -> None:
        """Raise ClientError if no server accepts connections, without the patience for one that breaks them."""
        with self._errors():
            await self.http.get("/ping")

    async def answer(self, pictures: Sequence[bytes]) -> list[Outcome]:
        """The Answerer. Pictures that are refused together are sent one by one."""
        outcomes: list[Outcome] = []
        for group in _groups(pictures):
            answers = await self._post(group)
            if not isinstance(answers, ClientError):
                outcomes += answers
            elif len(group) == 1 or answers.status in BUSY:
                outcomes += [answers] * len(group)
            else:
                outcomes += [outcome for picture in group for outcome in await self.answer([picture])]
        return outcomes

    async def _post(self, pictures: Sequence[bytes]) -> list[Outcome] | ClientError:
        """The pictures' answers, or why the server refuses them. Raises ClientError if it would refuse others too."""
        request = self._request(pictures)
        try:
            with self._errors():
                response = await self._send(request, len(pictures) == 1)
        except ClientError as error:
            if error.status == 504:
                return error
            raise
        return self._parse(response, len(pictures))

    def _request(self, pictures: Sequence[bytes]) -> httpx.Request:
        if len(pictures) == 1:
            content_type = {"Content-Type": "application/octet-stream"}
            return self.http.build_request("POST", "/predictions/mnist", content=pictures[0], headers=content_type)
        files = [("picture", (str(index), content)) for index, content in enumerate(pictures)]
        request = self.http.build_request("POST", "/predictions/mnist", files=files)
        request.read()  # as one piece, which takes less time to send and can be sent again
        return request

    async def _send(self, request: httpx.Request, is_alone: bool) -> httpx.Response:
        """The response; the last one if the server stays busy. Raises httpx.HTTPError."""
        attempt = 0
        while True:
            retry_after = ""
            try:
                response = await self.http.send(request)
                if attempt >= allowed_retries(response, is_alone=is_alone):
                    return response
                retry_after = response.headers.get("Retry-After", "")
            except BROKEN:
                if attempt == RETRIES:
                    raise
            await asyncio.sleep(delay(attempt, retry_after))
            attempt += 1

    def _parse(self, response: httpx.Response, pictures: int) -> list[Outcome] | ClientError:
        body = json_body(response)
        if body is None:
            raise no_json(self.url, response.status_code)
        answers = body if pictures > 1 and isinstance(body, list) and len(body) == pictures else [body]
        try:
            outcomes: list[Outcome] = [check_answer(self.url, response.status_code, answer) for answer in answers]
        except ClientError as error:
            if error.status in REFUSED:
                return error
            raise
        few = ClientError(f"{self.url} answered {len(outcomes)} of {pictures} pictures; it is another server's form")
        return outcomes if len(outcomes) == pictures else few

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The errors of httpx as those of `ask`."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise timed_out(self.url, self.timeout) from error
        except BROKEN as error:
            raise no_server(self.url) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise bad_url(self.url, error) from error


def _groups(pictures: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The pictures in groups that share a request."""
    group: list[bytes] = []
    for picture in pictures:
        if group and (len(group) == PICTURES_PER_REQUEST or len(picture) + sum(map(len, group)) > BYTES_PER_REQUEST):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _chunks(pictures: Iterable[tuple[Key, bytes | Path]]) -> Iterator[list[tuple[Key, bytes | Path]]]:
    iterator = iter(pictures)
    while chunk := list(islice(iterator, PICTURES_PER_REQUEST)):
        yield chunk


async def _answer_chunk(chunk: Sequence[tuple[Key, bytes | Path]], answer: Answerer) -> dict[Key, Outcome]:
    contents = await asyncio.to_thread(lambda: [_content(picture) for _, picture in chunk])
    answers = iter(await answer([content for content in contents if isinstance(content, bytes)]))
    return {
        key: next(answers) if isinstance(content, bytes) else content
        for (key, _), content in zip(chunk, contents, strict=True)
    }


def _content(picture: bytes | Path) -> bytes | ClientError:
    """A picture file's content, or why it cannot be sent."""
    try:
        content = read_picture(picture) if isinstance(picture, Path) else picture
    except ClientError as error:
        return error
    if len(content) <= MAX_REQUEST_BYTES:
        return content
    message = f"the request is too large; at most {MAX_REQUEST_BYTES:,} bytes are accepted"  # as the server answers
    return ClientError(message, 413, {"code": 413, "type": "TooManyBytesError", "message": message})
