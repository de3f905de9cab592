"""Runs in MLflow: their status, their content, and the errors of a store that cannot be used."""

from pathlib import Path

import mlflow
import pytest

from mnist_lightning.tracking import comparisons, runs


@pytest.mark.parametrize(
    ("exception", "status"), [(None, "FINISHED"), (KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_a_run_and_its_parent_end_with_the_status_of_the_block(
    mlflow_store: Path, exception: type[BaseException] | None, status: str
) -> None:
    def work() -> None:
        with runs.run("comparison") as parent, runs.run("Adam") as child:
            ids.extend([parent, child])
            if exception is not None:
                raise exception

    ids: list[str] = []
    if exception is None:
        work()
    else:
        with pytest.raises(exception):
            work()
    assert [mlflow.get_run(run_id).info.status for run_id in ids] == [status, status]
    assert comparisons.parent_of(ids[1]) == ids[0]


def test_what_is_logged_can_be_read(mlflow_store: Path) -> None:
    (mlflow_store / "best.ckpt").write_bytes(b"weights")
    with runs.run("comparison", tags={"colour": "blue"}) as run_id:
        runs.log(
            parameters={"optimizer": "SGD"},
            metrics={"accuracy": 0.5},
            texts={runs.RECIPE: "epochs: 1\n"},
            files={runs.CHECKPOINT: mlflow_store / "best.ckpt"},
            description="**bold**",
        )
    run = mlflow.get_run(run_id)
    assert run.data.params == {"optimizer": "SGD"}
    assert run.data.metrics == {"accuracy": 0.5}
    assert runs.load_text(run_id, runs.RECIPE) == "epochs: 1\n"
    assert {"git_commit", "version.torch", "version.lightning", "version.mlflow"} <= set(runs.tags(run_id))
    assert runs.tags(run_id)["colour"] == "blue"
    assert runs.tags(run_id)["mlflow.note.content"] == "**bold**"
    copy = runs.download_checkpoint(run_id, mlflow_store / "copy")
    assert copy.read_bytes() == b"weights"


def test_an_existing_run_is_opened_again(mlflow_store: Path) -> None:
    with runs.run("comparison") as run_id:
        pass
    with runs.run(run_id=run_id) as same:
        assert mlflow.get_run(run_id).info.status == "RUNNING"
    assert same == run_id
    assert mlflow.get_run(run_id).info.status == "FINISHED"


def test_a_step_that_was_logged_twice_counts_once(mlflow_store: Path) -> None:
    with runs.run("SGD") as run_id:
        for step, value in ((0, 3.0), (1, 2.0), (1, 1.5), (2, 1.0)):
            mlflow.log_metric("loss", value, step)
    assert runs.metric_history(run_id, "loss") == [3.0, 1.5, 1.0]


def test_a_run_exists_until_it_is_deleted(mlflow_store: Path) -> None:
    with runs.run("comparison") as run_id:
        pass
    assert runs.exists(run_id)
    mlflow.delete_run(run_id)
    assert not runs.exists(run_id)
    assert not runs.exists("unknown")


def test_an_artifact_that_does_not_exist(mlflow_store: Path) -> None:
    with runs.run("comparison") as run_id:
        pass
    with pytest.raises(runs.TrackingError, match=rf"run '{run_id}' has no recipe\.yaml in MLflow at sqlite:"):
        runs.load_text(run_id, runs.RECIPE)
    with pytest.raises(runs.TrackingError, match=r"run 'unknown' has no checkpoints/best\.ckpt"):
        runs.download_checkpoint("unknown", mlflow_store)


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "sqlite:///{folder}/runs.db", "mlruns", "file:{folder}/x"])
def test_a_reader_does_not_create_a_store(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=tmp_path))
    with pytest.raises(
        runs.TrackingError, match=r"no MLflow store at .*; train first: python -m mnist_lightning\.train"
    ):
        runs.connect(create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_change_an_existing_store(mlflow_store: Path) -> None:
    with runs.run("comparison") as run_id:
        runs.log(texts={runs.RECIPE: "epochs: 1\n"})
    before = (mlflow_store / "mlflow.db").read_bytes()
    runs.connect(create=False)
    assert runs.load_text(run_id, runs.RECIPE) == "epochs: 1\n"
    assert (mlflow_store / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
def test_a_server_that_does_not_answer(create: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        runs.TrackingError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used.*MLFLOW_TRACKING_URI"
    ):
        runs.connect(create=create)
    mlflow.set_tracking_uri("")
