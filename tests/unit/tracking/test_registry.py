"""The champion, the one before, and the way back."""

from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import registry, runs
from tests.mlflow_stores import log_served_model, log_training


def finished_run(optimizer: str) -> str:
    with runs.run("comparison") as parent:
        run_id = log_training(parent, optimizer)
    log_served_model(run_id)
    return run_id


def aliases() -> dict[str, str]:
    found = mlflow.MlflowClient().get_registered_model(registry.REGISTERED_MODEL).aliases
    return {name: str(version) for name, version in found.items()}


def test_the_way_back_and_forth(mlflow_store: Path) -> None:
    first, second = finished_run("SGD"), finished_run("Adam")
    registry.promote(first, "aaa", "the first")
    assert aliases() == {"champion": "1"}
    registry.promote(second, "bbb", "better")
    assert aliases() == {"champion": "2", "previous": "1"}
    assert registry.previous().run_id == first
    assert registry.roll_back("aaa", "misreads sevens") == "1"
    assert (registry.champion(), registry.previous().run_id) == (first, second)
    assert registry.roll_back("bbb", "") == "2"
    assert aliases() == {"champion": "2", "previous": "1"}
    events = registry.history()
    assert [(event.kind, event.version, event.run_id, event.weights) for event in events] == [
        ("promotion", "1", first, "aaa"),
        ("promotion", "2", second, "bbb"),
        ("rollback", "1", first, "aaa"),
        ("rollback", "2", second, "bbb"),
    ]
    assert [event.reason for event in events] == ["the first", "better", "misreads sevens", ""]
    assert all(event.user for event in events)


def test_there_is_no_way_back_from_the_first(mlflow_store: Path) -> None:
    with pytest.raises(runs.TrackingError, match="no previous champion; a second promotion makes one"):
        registry.previous()
    registry.promote(finished_run("SGD"), "aaa", "the first")
    with pytest.raises(runs.TrackingError, match="no previous champion"):
        registry.roll_back("aaa", "")
    assert aliases() == {"champion": "1"}
    assert [event.kind for event in registry.history()] == ["promotion"]


def test_a_store_without_models_has_no_history(mlflow_store: Path) -> None:
    assert registry.history() == []
