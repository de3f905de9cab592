"""The leaderboard and its report."""

from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import comparisons, runs, selection
from mnist_lightning.tracking.comparisons import Candidate
from tests.mlflow_stores import log_training


def candidate(optimizer: str, seed: int, accuracy: float, loss: float = 0.1, seconds: float = 10) -> Candidate:
    return Candidate(
        optimizer=optimizer,
        seed=seed,
        run_id=f"{optimizer}-{seed}",
        validation_accuracy=accuracy,
        validation_loss=loss,
        final_test_accuracy=accuracy - 0.01,
        seconds=seconds,
        temperature=1.0,
        is_digit_threshold=0.3,
        started=seed,
    )


CANDIDATES = [  # best first, as `comparisons.finished` returns them
    candidate("Adam", 0, 0.999),
    candidate("SGD", 0, 0.991, loss=0.1, seconds=20),
    candidate("RMSprop", 0, 0.991, loss=0.2),
    candidate("SGD", 1, 0.989, loss=0.1, seconds=30),
    candidate("RMSprop", 1, 0.989, loss=0.2),
    candidate("Adam", 1, 0.951),
]


@pytest.fixture
def ranking(monkeypatch: pytest.MonkeyPatch) -> selection.Leaderboard:
    monkeypatch.setattr(comparisons, "finished", lambda comparison_id: CANDIDATES)
    return selection.leaderboard("comparison")


def test_optimizers_are_ranked_by_their_mean_accuracy_then_their_mean_loss(ranking: selection.Leaderboard) -> None:
    assert list(ranking) == ["SGD", "RMSprop", "Adam"]
    assert [run.run_id for run in ranking["Adam"]] == ["Adam-0", "Adam-1"]
    assert selection.winner(ranking).run_id == "SGD-0"


def test_the_summary_is_a_markdown_table_with_the_margin(ranking: selection.Leaderboard) -> None:
    lines = selection.summary(ranking).splitlines()
    assert lines[2] == "| 1 | SGD | 99.00 ± 0.10 % | 98.00 ± 0.10 % | 25 | SGD-0 |"
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["SGD", "RMSprop", "Adam"]
    assert lines[6].startswith("SGD leads RMSprop by 0.000 points, which is noise (Welch's t-test over 2 seeds")


def test_the_report_prints_run_ids_whole(
    ranking: selection.Leaderboard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    selection.report(ranking)
    output = capsys.readouterr().out
    assert [name for name in ("SGD-0", "RMSprop-0", "Adam-0") if name in output] == ["SGD-0", "RMSprop-0", "Adam-0"]
    assert output.index("SGD-0") < output.index("RMSprop-0") < output.index("Adam-0")
    assert "SGD leads RMSprop" in output


def test_a_single_optimizer_has_no_margin(capsys: pytest.CaptureFixture[str]) -> None:
    selection.report({"SGD": [candidate("SGD", 0, 0.99)]})
    assert "leads" not in capsys.readouterr().out


def test_the_comparison_has_the_leaderboard_and_the_curves(mlflow_store: Path) -> None:
    with runs.run("comparison") as parent:
        log_training(parent, "SGD", 0.99)
        log_training(parent, "Adam", 0.98)
        client = mlflow.MlflowClient()
        ranking = selection.leaderboard(parent)
        for run in (run for candidates in ranking.values() for run in candidates):
            for curve in selection.CURVES:
                client.log_metric(run.run_id, curve, 0.5, step=0)
        selection.log(ranking)
    assert selection.reason(ranking) == "the best of 2 on validation, 99.00 %"
    assert "| 1 | SGD |" in runs.tags(parent)["mlflow.note.content"]
    assert [entry.path for entry in client.list_artifacts(parent)] == ["comparison.png"]
