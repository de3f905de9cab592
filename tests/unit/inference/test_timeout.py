"""The processor time of a request: counted over all of its stages, and of its own thread."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from mnist_lightning.inference.errors import TooSlowError
from mnist_lightning.inference.timeout import BATCH_SECONDS, REQUEST_SECONDS, CpuBudget, install_handler


@pytest.fixture(autouse=True)
def profiling_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPROF)
    install_handler()
    yield
    signal.signal(signal.SIGPROF, before)


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_block_ends_when_its_budget_is_used_up() -> None:
    started = time.thread_time()
    with pytest.raises(TooSlowError), CpuBudget(0.1).spend(CpuBudget(10)):
        work(30)
    assert 0.1 <= time.thread_time() - started < 5


def test_stages_share_a_budget() -> None:
    budget, batch = CpuBudget(0.3), CpuBudget(10)
    with budget.spend(batch):
        work(0.2)
    with pytest.raises(TooSlowError), budget.spend(batch):
        work(30)


def test_requests_share_the_budget_of_their_batch_but_for_a_minimum() -> None:
    batch = CpuBudget(0.1)
    with pytest.raises(TooSlowError), CpuBudget(10).spend(batch):
        work(30)
    with CpuBudget(10).spend(batch, minimum=0.2):
        work(0.05)
    with pytest.raises(TooSlowError), CpuBudget(10).spend(batch):
        work(30)


def test_a_request_that_uses_up_its_budget_leaves_as_much_to_its_neighbors() -> None:
    for _ in range(5):  # on a busy machine, a signal may be late
        batch = CpuBudget(BATCH_SECONDS)
        with pytest.raises(TooSlowError), CpuBudget(REQUEST_SECONDS).spend(batch):
            work(30)
        if batch.left > REQUEST_SECONDS / 2:
            break
    with CpuBudget(REQUEST_SECONDS).spend(batch):
        work(0.05)


def test_waiting_and_other_threads_cost_nothing() -> None:
    other = threading.Thread(target=work, args=(0.5,))
    with CpuBudget(0.2).spend(CpuBudget(10)):
        other.start()
        other.join()
        time.sleep(0.3)


def test_after_the_block_nothing_is_raised() -> None:
    with CpuBudget(0.05).spend(CpuBudget(10)):
        pass
    work(0.2)
