"""Many pictures: outcomes in order, requests that are sent again, and errors that end a run."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from mnist_lightning.client import ClientError, ServerUnreachableError, ask_many, ask_many_async, many
from mnist_lightning.client.many import PICTURES_PER_REQUEST, Outcome
from mnist_lightning.client.retries import RETRIES, SLOW_RETRIES
from mnist_lightning.common.constants import MAX_REQUEST_BYTES
from mnist_lightning.serving.torchserve import free_port
from tests.unit.client.fake_server import BUSY, CLOSED, SEVEN, Reply, fake_server

NO_DIGIT = Reply(400, {"code": 400, "type": "NoDigitError", "message": "no ink"})
TOO_SLOW = Reply(413, {"code": 413, "type": "TooSlowError", "message": "too slow"})


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """The delays that are asked for, none of which is waited for."""
    asked: list[tuple[int, str]] = []

    def delay(attempt: int, retry_after: str) -> float:
        asked.append((attempt, retry_after))
        return 0.0

    monkeypatch.setattr(many, "delay", delay)
    return asked


def types(outcomes: Sequence[Outcome]) -> list[str]:
    """The type of each outcome that is an error, "" for an answer."""
    return [str(one.body.get("type", one)) if isinstance(one, ClientError) else "" for one in outcomes]


def test_small_pictures_share_requests() -> None:
    sizes: list[int] = []

    def script(pictures: int, _: bytes) -> Reply:
        sizes.append(pictures)
        return Reply()

    with fake_server(script) as url:
        assert ask_many([b"picture"] * 20, url, concurrency=1) == [SEVEN] * 20
        assert ask_many([bytes(100_000)] * 3, url, concurrency=1) == [SEVEN] * 3
    assert sizes == [PICTURES_PER_REQUEST, PICTURES_PER_REQUEST, 4, 1, 1, 1]


def test_outcomes_are_in_the_order_of_the_pictures(tmp_path: Path) -> None:
    """Of pictures that are bytes, files, absent or too large, some of which are refused, on several connections."""
    (tmp_path / "bad").write_bytes(b"bad")
    large = bytes(MAX_REQUEST_BYTES + 1)
    pictures: list[bytes | Path] = [*[b"good"] * 9, tmp_path / "bad", tmp_path / "absent", large, *[b"good"] * 9]

    def script(_: int, body: bytes) -> Reply:
        return NO_DIGIT if b"bad" in body else Reply()

    with fake_server(script) as url:
        outcomes = asyncio.run(ask_many_async(pictures, url, concurrency=3))
    absent = "the file cannot be read: No such file or directory"
    assert types(outcomes) == [*[""] * 9, "NoDigitError", absent, "TooManyBytesError", *[""] * 9]


def test_no_pictures() -> None:
    with fake_server(lambda *_: Reply()) as url:
        assert ask_many([], url) == []


@pytest.mark.parametrize("trouble", [BUSY, CLOSED, Reply(502, b"<html>bad gateway</html>"), Reply(429, {})])
def test_requests_are_sent_again(trouble: Reply, delays: list[tuple[int, str]]) -> None:
    left = [trouble] * 3

    with fake_server(lambda *_: left.pop() if left else Reply()) as url:
        assert ask_many([b"picture"] * 2, url, concurrency=1) == [SEVEN] * 2
    assert delays == [(0, ""), (1, ""), (2, "")]


def test_retry_after_is_passed_on(delays: list[tuple[int, str]]) -> None:
    left = [Reply(503, BUSY.body, {"Retry-After": "7"})]
    with fake_server(lambda *_: left.pop() if left else Reply()) as url:
        ask_many([b"picture"], url)
    assert delays == [(0, "7")]


def test_a_server_that_stays_busy(delays: list[tuple[int, str]]) -> None:
    with fake_server(lambda *_: BUSY) as url:
        error, other = ask_many([b"picture"] * 2, url)
    assert isinstance(error, ClientError)
    assert other is error
    assert (error.status, error.body["type"]) == (503, "BusyError")
    assert len(delays) == RETRIES


def test_a_picture_that_stays_too_slow(delays: list[tuple[int, str]]) -> None:
    """It is taken out of a request that it shares, which is not repeated."""
    with fake_server(lambda _, body: TOO_SLOW if b"slow" in body else Reply()) as url:
        assert types(ask_many([b"fast", b"slow"], url)) == ["", "TooSlowError"]
    assert len(delays) == SLOW_RETRIES


@pytest.mark.parametrize("body", [{"predictions": []}, [SEVEN], SEVEN, 5])
def test_answers_that_are_too_few_are_asked_for_one_by_one(body: object) -> None:
    with fake_server(lambda pictures, _: Reply(body=body) if pictures > 1 else Reply()) as url:
        assert ask_many([b"picture"] * 3, url) == [SEVEN] * 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(401, {"code": 401, "type": "UnauthorizedError", "message": "no token"}), "answered 401: no token"),
        (Reply(404, {"code": 404, "message": "no such model"}), "answered 404: no such model"),
        (Reply(200, b"<html>"), "answered 200 without JSON"),
        (Reply(503, b"<html>"), "answered 503 without JSON"),
    ],
)
def test_errors_that_other_pictures_would_get_too_end_the_run(reply: Reply, message: str) -> None:
    asked = []

    def script(pictures: int, _: bytes) -> Reply:
        asked.append(pictures)
        return reply

    with fake_server(script) as url, pytest.raises(ClientError, match=message):
        ask_many([b"picture"] * 100, url, concurrency=1)
    assert set(asked) == {PICTURES_PER_REQUEST}


def test_a_server_that_goes_away() -> None:
    with fake_server(lambda *_: CLOSED) as url, pytest.raises(ServerUnreachableError, match="no server at"):
        ask_many([b"picture"], url)


def test_an_absent_server_is_not_waited_for(delays: list[tuple[int, str]]) -> None:
    with pytest.raises(ServerUnreachableError, match="no server at"):
        ask_many([b"picture"], f"http://127.0.0.1:{free_port()}")
    assert delays == []


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:99999"])
def test_a_malformed_url(url: str) -> None:
    with pytest.raises(ClientError, match=r"cannot be requested: .*; see --url"):
        ask_many([b"picture"], url)


@pytest.mark.parametrize("concurrency", [0, 257])
def test_concurrency_is_bounded(concurrency: int) -> None:
    with pytest.raises(ValueError, match=f"concurrency is {concurrency}; it must be from 1 to 256"):
        ask_many([b"picture"], concurrency=concurrency)
