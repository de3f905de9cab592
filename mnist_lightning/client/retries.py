"""Which requests to a busy server are sent again, and when."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

RETRIES, MIN_DELAY, MAX_DELAY = 7, 0.25, 8.0  # seconds; half a minute in all, or less by up to a half
SLOW_RETRIES = 2  # of a picture that exceeds its limit of time, which the server divides among neighbours
MAX_RETRY_AFTER = 60.0  # seconds, whatever the server asks for
TEMPORARY = {429, 502, 503, 504}  # statuses of a server that is busy or restarts, or of a gateway before it


def allowed_retries(response: httpx.Response, *, is_alone: bool) -> int:
    """How often a request that gets this response is sent again; `is_alone` if it has one picture."""
    if response.status_code in TEMPORARY:
        return RETRIES
    body = json_body(response) if is_alone and response.status_code == 413 else None
    return SLOW_RETRIES if isinstance(body, dict) and body.get("type") == "TooSlowError" else 0


def delay(attempt: int, retry_after: str) -> float:
    """Seconds before the next attempt: as long as the server's Retry-After header asks for, if it is not "", and more.

    What comes on top grows with each attempt, and is random, so that lanes do not all come back at once.
    """
    longest = min(MIN_DELAY * 2.0**attempt, MAX_DELAY)
    return _seconds(retry_after) + random.uniform(longest / 2, longest)  # noqa: S311 - it protects nothing


def _seconds(retry_after: str) -> float:
    """What a Retry-After header asks for, in seconds or as a date; 0 without one, at most MAX_RETRY_AFTER."""
    try:
        seconds = float(retry_after) if retry_after.isdecimal() else _until(parsedate_to_datetime(retry_after))
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _until(moment: datetime) -> float:
    return (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()


def json_body(response: httpx.Response) -> object:
    """The body as JSON; None if it is none."""
    try:
        return response.json()
    except ValueError:
        return None
