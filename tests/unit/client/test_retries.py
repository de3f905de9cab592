"""When requests are sent again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mnist_lightning.client.retries import MAX_DELAY, MAX_RETRY_AFTER, MIN_DELAY, RETRIES, delay


def test_delays_grow_to_a_limit_and_differ() -> None:
    for attempt in range(RETRIES):
        longest = min(MIN_DELAY * 2**attempt, MAX_DELAY)
        delays = {delay(attempt, "") for _ in range(50)}
        assert longest / 2 <= min(delays) < max(delays) <= longest


@pytest.mark.parametrize(("header", "seconds"), [("3", 3), ("0", 0), ("99999", MAX_RETRY_AFTER)])
def test_the_server_is_given_the_time_that_it_asks_for(header: str, seconds: float) -> None:
    assert seconds + MIN_DELAY / 2 <= delay(0, header) <= seconds + MIN_DELAY


@pytest.mark.parametrize("header", ["", "soon", "-5", "1e3", "²", "Fri, 99 Nov 2026 01:00:00 GMT"])
def test_a_header_that_does_not_parse_asks_for_nothing(header: str) -> None:
    assert delay(0, header) <= MIN_DELAY


def test_retry_after_may_be_a_date() -> None:
    late, early = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    assert delay(0, format_datetime(late, usegmt=True)) >= MAX_RETRY_AFTER
    assert delay(0, format_datetime(early, usegmt=True)) <= MIN_DELAY
