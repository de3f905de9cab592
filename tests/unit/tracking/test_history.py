"""The decisions on models, as runs of MLflow."""

from pathlib import Path

import mlflow
import pytest
from matplotlib.figure import Figure

from mnist_lightning.tracking import history, registry, runs
from mnist_lightning.tracking.history import Kind
from tests.mlflow_stores import log_served_model, log_training


def test_decisions_are_read_as_they_were_recorded(mlflow_store: Path) -> None:
    with runs.run("comparison") as parent:
        run_id = log_training(parent, "SGD")
    log_served_model(run_id)
    version = registry.register(run_id)
    recorded = [
        history.record(Kind.PROMOTION, version, weights="aaa", champion="", reason="the first"),
        history.record(Kind.ROLLBACK, None, weights="bbb", champion="aaa", reason="misreads = sevens, 'often'"),
    ]
    assert history.events() == recorded
    assert [(event.kind, event.version, event.run_id) for event in recorded] == [
        ("promotion", "1", run_id),
        ("rollback", "", ""),
    ]
    assert all(event.user and event.time for event in recorded)


def test_a_decision_has_its_evidence(mlflow_store: Path) -> None:
    history.record(
        Kind.REJECTION,
        None,
        weights="bbb",
        champion="aaa",
        reason="too large",
        metrics={"champion.size": 3.0},
        texts={"report.md": "# Report"},
        figures={"comparison.png": Figure()},
        description="# Report",
    )
    (run,) = mlflow.search_runs(experiment_names=[history.EXPERIMENT], output_format="list")
    assert run.data.metrics == {"champion.size": 3.0}
    assert run.data.tags["mlflow.note.content"] == "# Report"
    assert runs.load_text(run.info.run_id, "report.md") == "# Report"
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"report.md", "comparison.png"}


def test_a_store_without_decisions(mlflow_store: Path) -> None:
    assert history.events() == []


def test_the_table_is_not_cut_in_a_pipe(
    mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    history.record(Kind.FORCED_PROMOTION, None, weights="bbb", champion="aaa", reason="the style matters more")
    history.print_events()
    table = capsys.readouterr().out
    assert "forced promotion" in table
    assert "the style matters more" in table
