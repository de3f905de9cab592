"""Who gets the challenger's answers, and when that ends."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from mnist_lightning.inference.canary import MIN_TIMED, Canary, Outcome, client_key, judge

GOOD = Outcome(0.001, 0.001)
FAILED = Outcome(0.001, None)
SLOW = Outcome(0.001, 0.004)
CLIENTS = [f"client {n}".encode() for n in range(10_000)]


def canary(folder: Path, share: float = 0.5, challenger: str = "7297c03b985c") -> Canary:
    return Canary(share, challenger, folder / "canary-ended", on_end=lambda: None)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_shares_are_within_a_tenth_over_ten_thousand_clients(share: float, tmp_path: Path) -> None:
    taken = sum(map(canary(tmp_path, share).takes, CLIENTS))
    assert taken == pytest.approx(10_000 * share, rel=0.1)


def test_everybody_and_nobody(tmp_path: Path) -> None:
    assert all(map(canary(tmp_path, 1.0).takes, CLIENTS))
    assert not any(map(canary(tmp_path, 0.0).takes, CLIENTS))


def test_a_client_stays_on_its_side_and_a_larger_share_keeps_it(tmp_path: Path) -> None:
    small, same, large = canary(tmp_path, 0.1), canary(tmp_path, 0.1), canary(tmp_path, 0.3)
    taken = [client for client in CLIENTS if small.takes(client)]
    assert taken == [client for client in CLIENTS if same.takes(client)]
    assert all(map(large.takes, taken))


def test_another_challenger_gets_other_clients(tmp_path: Path) -> None:
    first, second = canary(tmp_path, 0.1), canary(tmp_path, 0.1, "6596a2ae0112")
    both = [client for client in CLIENTS if first.takes(client) and second.takes(client)]
    assert 50 < len(both) < 150  # 100 by chance


def test_a_client_is_its_id_or_its_address_or_its_picture() -> None:
    picture = {"body": bytearray(b"a picture")}
    headers: dict[str, object] = {
        "X-Client-ID": "me",
        "X-Forwarded-For": "203.0.113.7, 10.0.0.1",
        "body": {"content-type": "image/png"},
    }
    by_id, by_address, by_picture = (client_key(own, picture) for own in (headers, without(headers, "X-Client-ID"), {}))
    assert len({by_id, by_address, by_picture}) == 3
    assert by_id == client_key({"x-client-id": "me"}, {})
    assert by_address == client_key({"x-forwarded-for": "203.0.113.7"}, {"body": b"another"})
    assert by_picture == client_key({"User-Agent": "curl"}, {"data": b"a picture"})
    assert by_picture != client_key({}, {"body": bytearray(b"another picture")})


def without(headers: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], None),
        ([GOOD] * 500, None),
        ([FAILED] * 2, None),
        ([FAILED] * 3, "failed on 3 of 3 requests"),
        ([GOOD] * 400 + [FAILED] * 4, None),
        ([GOOD] * 400 + [FAILED] * 5, "failed on 5 of 405 requests"),
        ([SLOW] * (MIN_TIMED - 1), None),
        ([SLOW] * MIN_TIMED, "needs 4.0 ms where the champion needs 1.0 ms"),
        ([Outcome(0.001, 0.0029)] * 500, None),
        ([GOOD] * 460 + [Outcome(0.001, 1.0)] * 40, None),
        ([GOOD] * 440 + [Outcome(0.001, 1.0)] * 60, "needs 1000.0 ms"),
        ([Outcome(0.1, 0.19)] * 500, None),
    ],
)
def test_bounds(outcomes: Sequence[Outcome], expected: str | None) -> None:
    reason = judge(outcomes)
    assert (reason is None) if expected is None else (reason is not None and expected in reason)


def test_one_workers_finding_ends_the_canary_of_all(tmp_path: Path) -> None:
    ended = list[str]()
    first, second = (
        Canary(1.0, "a", tmp_path / "ended", on_end=partial(ended.append, name)) for name in ("first", "second")
    )
    first.check()
    assert (first.is_running, second.is_running) == (True, True)
    first.outcomes.extend([FAILED] * 3)
    first.check()
    assert (first.takes(b"client"), second.takes(b"client"), ended) == (False, True, ["first"])
    second.check()
    assert (second.takes(b"client"), ended) == (False, ["first", "second"])
    assert "failed on 3 of 3" in (tmp_path / "ended").read_text()
    assert not Canary(1.0, "a", tmp_path / "ended", on_end=lambda: None).is_running  # of a worker that starts later


def test_the_latest_requests_count(tmp_path: Path) -> None:
    made = canary(tmp_path)
    made.outcomes.extend([GOOD] * 100_000 + [FAILED] * 6)
    made.check()
    assert not made.is_running


def test_a_canary_ends_also_where_its_file_cannot_be_written(tmp_path: Path) -> None:
    made = canary(tmp_path / "missing")
    made.outcomes.extend([FAILED] * 3)
    with pytest.raises(OSError, match="canary-ended"):
        made.check()
    assert not made.is_running
