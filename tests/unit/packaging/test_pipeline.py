"""Exit codes and messages of the verbs that train."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from mnist_lightning import lifecycle, train
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.packaging import pipeline, promotion
from mnist_lightning.packaging.archiver import PackagingError
from mnist_lightning.packaging.pipeline import next_steps, train_and_promote
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training.arguments import TrainingRequest, parse_request
from mnist_lightning.training.distributed import DistributedError
from mnist_lightning.training.recipe_yaml import RecipeError
from mnist_lightning.training.resume import ResumeError

Promoted = list[tuple[str, Path] | tuple[str, Path, bool]]  # comparison, store and, if known, whether as challenger


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> Promoted:
    """Trainings finish at once; the names and stores of the comparisons that are promoted."""
    found: Promoted = []

    def train_comparison(request: TrainingRequest, promote: Callable[[str], None]) -> None:
        if request.recipe.comparison is None:
            promote("some-run")

    monkeypatch.setattr(pipeline, "train_comparison", train_comparison)
    monkeypatch.setattr(
        promotion,
        "promote",
        lambda comparison_id, store, *, as_challenger: found.append((comparison_id, store, as_challenger)),
    )
    monkeypatch.setattr(promotion, "promote_shared", lambda name, store: found.append((name, store)))
    monkeypatch.setattr(promotion, "missing", lambda name: f"{name} lacks SGD")
    return found


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_comparison(request: TrainingRequest, promote: Callable[[str], None]) -> None:
        raise error

    monkeypatch.setattr(pipeline, "train_comparison", train_comparison)


def test_a_finished_comparison_is_promoted(promoted: Promoted, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--model_store", "elsewhere"]) == 0
    assert promoted == [("some-run", Path("elsewhere"), False)]
    assert "mnist_lightning.client my_digit.png" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--challenger"], ["--challenger", "true"], ["--feedback", "corrected"]])
def test_a_challenger_is_compared_next(
    flags: list[str], promoted: Promoted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(flags) == 0
    assert promoted == [("some-run", Path("model_store"), True)]
    output = capsys.readouterr().out
    assert "serve --challenger model_store/challenger.mar" in output
    assert output.endswith("python -m mnist_lightning.promote\n")


def test_a_shared_comparison_is_promoted_by_a_machine_that_trains_all_of_it(promoted: Promoted) -> None:
    assert train_and_promote(parse_request(["--comparison", "shared"])) == 0
    assert promoted == [("shared", Path("model_store"))]


def test_a_machine_with_a_part_of_a_shared_comparison_reports_what_is_missing(
    promoted: Promoted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--comparison", "it is shared", "--only", "Adam"]) == 0
    assert promoted == []
    output = capsys.readouterr().out
    assert output.startswith("it is shared lacks SGD\n")
    assert "mnist_lightning.package --comparison 'it is shared'" in output


def test_a_complete_shared_comparison_is_reported(
    promoted: Promoted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promotion, "missing", lambda name: "")
    assert train_and_promote(parse_request(["--comparison", "shared", "--only", "Adam"])) == 0
    assert capsys.readouterr().out == "comparison 'shared' is complete\n"


@pytest.mark.parametrize(
    "error",
    [MnistUnavailableError, TrackingError, PackagingError, DistributedError, RecipeError, ResumeError, OSError],
)
@pytest.mark.parametrize("verb", [train.main, lifecycle.main])
def test_an_error_is_one_line_and_exit_code_1(
    error: type[Exception],
    verb: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(error("the reason"), monkeypatch)
    assert verb([]) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: the reason\n"
    assert captured.out == ""


@pytest.mark.parametrize("verb", [train.main, lifecycle.main])
def test_ctrl_c_ends_with_exit_code_130(
    verb: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert verb([]) == 130
    assert "--resume continues it" in capsys.readouterr().err


def test_an_error_of_mlflow_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(MlflowException("database or disk is full\n[SQL: INSERT …]"), monkeypatch)
    assert train.main([]) == 1
    assert capsys.readouterr().err == "error: MLflow at sqlite:///mlflow.db failed: database or disk is full\n"


def test_a_store_that_cannot_be_written_is_reported_before_the_training(
    promoted: Promoted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert train.main(["--model_store", str(tmp_path / "file" / "store")]) == 1
    assert promoted == []
    assert capsys.readouterr().err == f"error: [Errno 20] Not a directory: '{tmp_path / 'file'}'\n"


def test_other_exceptions_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        train_and_promote(parse_request([]))


def test_the_next_steps_name_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert "mlflow ui --backend-store-uri http://somewhere:5000" in next_steps("7.png", parse_request([]).recipe)
