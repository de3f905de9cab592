"""The champion, the one before, and the challenger."""

from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import registry, runs
from mnist_lightning.tracking.registry import Version
from tests.mlflow_stores import log_served_model, log_training


def registered(optimizer: str) -> Version:
    with runs.run("comparison") as parent:
        run_id = log_training(parent, optimizer)
    log_served_model(run_id)
    return registry.register(run_id)


def aliases() -> dict[str, str]:
    found = mlflow.MlflowClient().get_registered_model(registry.REGISTERED_MODEL).aliases
    return {name: str(version) for name, version in found.items()}


def test_a_champion_replaces_another_and_changes_places_with_it(mlflow_store: Path) -> None:
    first, second = registered("SGD"), registered("Adam")
    registry.make_champion(first)
    assert aliases() == {"champion": "1"}
    registry.make_champion(second)
    assert aliases() == {"champion": "2", "previous": "1"}
    registry.exchange()
    assert aliases() == {"champion": "1", "previous": "2"}
    assert registry.champion() == first.run_id
    registry.exchange()
    assert aliases() == {"champion": "2", "previous": "1"}


def test_the_champion_that_is_promoted_again_does_not_precede_itself(mlflow_store: Path) -> None:
    first, second = registered("SGD"), registered("Adam")
    for version in (first, second, second):
        registry.make_champion(version)
    assert aliases() == {"champion": "2", "previous": "1"}


def test_a_champion_that_mlflow_does_not_know_comes_back(mlflow_store: Path) -> None:
    """Such as the pretrained one: it has no version, so no version is the champion then."""
    registry.make_champion(registered("SGD"))
    registry.exchange()
    assert aliases() == {"previous": "1"}
    registry.exchange()
    assert aliases() == {"champion": "1"}


def test_a_challenger_that_becomes_the_champion_challenges_nobody(mlflow_store: Path) -> None:
    first, second, third = (registered(optimizer) for optimizer in ("SGD", "Adam", "RMSprop"))
    registry.make_champion(first)
    registry.make_challenger(second)
    registry.make_challenger(third)
    assert aliases() == {"champion": "1", "challenger": "3"}
    registry.make_champion(second)
    assert aliases() == {"champion": "2", "previous": "1", "challenger": "3"}
    registry.make_champion(third)
    assert aliases() == {"champion": "3", "previous": "2"}


def test_a_store_without_versions(mlflow_store: Path) -> None:
    assert registry.find(registry.CHAMPION) is None
    with pytest.raises(runs.TrackingError, match=r"no champion yet; train one: python -m mnist_lightning\.train"):
        registry.champion()
    registry.exchange()


def test_a_version_is_described_by_its_model_card(mlflow_store: Path) -> None:
    assert registered("SGD").description == "card of SGD"


def test_a_run_without_a_served_model_is_not_registered(mlflow_store: Path) -> None:
    """Runs of older releases: MLflow's server would take tensors of their models, and no pictures."""
    with runs.run("comparison") as parent:
        run_id = log_training(parent, "SGD")
    with pytest.raises(runs.TrackingError, match=f"run {run_id} has no served model"):
        registry.register(run_id)
    assert mlflow.MlflowClient().search_registered_models() == []
