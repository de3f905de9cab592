"""Runs end as what they were, and the best is the best on validation."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import comparisons, runs


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    runs.connect()
    yield runs.address()
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("happens", "status"), [(None, "FINISHED"), (KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_a_run_ends_as_what_it_was(store: str, happens: type[BaseException] | None, status: str) -> None:
    def work() -> None:
        with runs.run("comparison") as parent, runs.run("Adam") as child:
            ids.extend([parent, child])
            if happens is not None:
                raise happens

    ids: list[str] = []
    if happens is None:
        work()
    else:
        with pytest.raises(happens):
            work()
    assert [mlflow.get_run(run_id).info.status for run_id in ids] == [status, status]
    assert comparisons.of_run(ids[1]) == ids[0]


def test_candidates_are_ranked_by_validation_then_loss(store: str) -> None:
    figures = {"Adam": (0.99, 0.05, 0.999), "SGD": (0.995, 0.04, 0.9), "RMSprop": (0.995, 0.03, 0.8)}
    with runs.run("comparison") as parent:
        for name, (validation, loss, test) in figures.items():
            with runs.run(name):
                runs.record(
                    parameters={"optimizer": name, "seed": 0},
                    metrics={
                        runs.BEST_VALIDATION_ACCURACY: validation,
                        runs.BEST_VALIDATION_LOSS: loss,
                        runs.FINAL_TEST_ACCURACY: test,
                        runs.TRAINING_SECONDS: 1,
                        runs.TEMPERATURE: 1.1,
                        runs.THRESHOLD: 0.3,
                    },
                )
        with pytest.raises(KeyboardInterrupt), runs.run("Adagrad"):
            raise KeyboardInterrupt
        assert [found.optimizer for found in comparisons.finished(parent)] == ["RMSprop", "SGD", "Adam"]


def test_where_there_is_no_champion_the_way_out_is_named(store: str) -> None:
    with pytest.raises(runs.TrackingError, match=r"no champion yet.*mnist_lightning\.train"):
        runs.champion()
    with pytest.raises(runs.TrackingError, match="knows no run 'nobody'"):
        comparisons.of_run("nobody")


def test_a_server_that_is_not_there_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(runs.TrackingError, match=r"127\.0\.0\.1:9"):
        runs.connect()
    mlflow.set_tracking_uri(None)
