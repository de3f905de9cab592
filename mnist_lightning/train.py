"""Compare the optimizers, choose the best on validation, archive it.

python -m mnist_lightning.train                             # config/train.yaml
python -m mnist_lightning.train --epochs 2 --only SGD
python -m mnist_lightning.train --optimizers.Adam.init_args.lr 0.002
"""

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerStatus
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mnist_lightning import figures, mnist, package, tracking
from mnist_lightning.calibration import calibration_error, fit_temperature
from mnist_lightning.datamodule import MnistDataModule
from mnist_lightning.module import VALIDATION_ACCURACY, DigitClassifier, bfloat16_pays, predict
from mnist_lightning.network import DigitNet
from mnist_lightning.progress import TrainingProgress
from mnist_lightning.recipe import Recipe, read

CURVES = ["train_loss", "validation_loss", VALIDATION_ACCURACY, "learning_rate"]


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    code = run(*read(arguments))
    if code == 0:
        print(next_steps("my_digit.png"))
    return code


def run(recipe: Recipe, text: str) -> int:
    """The verb without its flags: compare, and turn what can go wrong into a line on stderr and an exit code."""
    _hush()
    try:
        compare(recipe, text)
    except KeyboardInterrupt:
        print("\nstopped: the run is marked KILLED in MLflow, nothing was archived", file=sys.stderr)
        return 130
    except (mnist.MnistUnavailableError, tracking.TrackingError, package.PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(recipe: Recipe, text: str) -> None:
    """Train every optimizer of the recipe in one comparison, then archive and print the best."""
    tracking.connect()
    data = MnistDataModule(recipe.data_dir, recipe.batch_size, recipe.limit, recipe.seed)
    data.prepare_data()
    data.setup()
    names = [recipe.only] if recipe.only else list(recipe.optimizers)
    with tracking.run(recipe.comparison) as comparison_id:
        tracking.record(texts={"recipe.yaml": text})
        for name in names:
            with tracking.run(name) as run_id:
                _train_one(name, recipe, data, run_id)
        ranked = tracking.candidates(comparison_id)
        curves = {c.optimizer: {name: tracking.history(c.run_id, name) for name in CURVES} for c in ranked}
        tracking.record(figures={"comparison.png": figures.comparison_curves(curves)})
        version = tracking.crown(ranked[0])
    archive = package.archive(ranked[0].run_id, recipe.model_store)
    _report(ranked, version, archive)


def _train_one(name: str, recipe: Recipe, data: MnistDataModule, run_id: str) -> None:
    """One optimizer's training, into the open run."""
    L.seed_everything(recipe.seed, verbose=False)  # the same first weights for every optimizer
    classifier = DigitClassifier(DigitNet(), recipe.optimizers[name], recipe.schedules[name], recipe.label_smoothing)
    tracking.record(parameters=_parameters(name, recipe))
    images, labels = data.training
    tracking.record_dataset(images.numpy(), labels.numpy(), "mnist-train", "training")
    with tempfile.TemporaryDirectory() as scratch:
        best = ModelCheckpoint(
            scratch,
            "best",
            monitor=VALIDATION_ACCURACY,
            mode="max",
            enable_version_counter=False,
        )
        seconds = _fit(
            classifier, data, recipe.epochs, run_id, [best, _averaging(recipe, data), TrainingProgress(name)]
        )
        weights = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
        classifier.load_state_dict(weights["state_dict"])
        tracking.record(files={tracking.CHECKPOINT: Path(best.best_model_path)})
    tracking.record(metrics={tracking.TRAINING_SECONDS: seconds})
    _evaluate(classifier.network.cpu(), data)


def _fit(
    classifier: DigitClassifier, data: MnistDataModule, epochs: int, run_id: str, callbacks: list[L.Callback]
) -> float:
    """Seconds that the training took, validation included."""
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if bfloat16_pays() else "32-true",
        logger=tracking.logger(run_id),
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # only epochs are logged; a larger value would warn about short ones
    )
    started = time.perf_counter()
    try:
        trainer.fit(classifier, datamodule=data)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from stop
        raise
    return time.perf_counter() - started


def _averaging(recipe: Recipe, data: MnistDataModule) -> EMAWeightAveraging:
    """The running mean of the weights: updated every few steps, which is as good as every step and cheaper."""
    every, steps = 5, recipe.epochs * len(data.train_dataloader())
    decay = max(0.0, 1 - every / max(recipe.averaging * steps, every))
    return EMAWeightAveraging(decay=decay, update_every_n_steps=every)


def _evaluate(network: torch.nn.Module, data: MnistDataModule) -> None:
    """What the best checkpoint is worth, into the open run; the test set is reported, never chosen by."""
    images, labels = data.validation
    logits = predict(network, images)
    temperature = fit_temperature(logits, labels)
    validation = {
        tracking.BEST_VALIDATION_ACCURACY: _accuracy(logits, labels),
        tracking.BEST_VALIDATION_LOSS: F.cross_entropy(logits, labels).item(),
        tracking.TEMPERATURE: temperature,
    }
    images, labels = data.test
    logits = predict(network, images)
    probabilities = (logits / temperature).softmax(dim=1)
    error = calibration_error(probabilities, labels)
    test = {tracking.FINAL_TEST_ACCURACY: _accuracy(logits, labels), tracking.CALIBRATION_ERROR: error}
    tracking.record(metrics=validation | test, figures=_pictures(images, labels, probabilities, error))
    tracking.record_model(network, (images[:2].float() / 255).numpy())


def _pictures(
    images: torch.Tensor, labels: torch.Tensor, probabilities: torch.Tensor, error: float
) -> dict[str, Figure]:
    truth, shares = labels.numpy(), probabilities.numpy()
    return {
        "confusion_matrix.png": figures.confusion_matrix(truth, shares.argmax(axis=1)),
        "misread.png": figures.misread_gallery(images[:, 0].numpy(), truth, shares),
        "reliability.png": figures.reliability_diagram(shares, truth, error),
    }


def _accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()


def _parameters(name: str, recipe: Recipe) -> dict[str, object]:
    made = recipe.optimizers[name]([torch.nn.Parameter(torch.zeros(1))])
    chosen = {f"optimizer.{key}": value for key, value in made.defaults.items()}
    schedule = {f"schedule.{key}": value for key, value in vars(recipe.schedules[name]).items()}
    names = ("epochs", "batch_size", "label_smoothing", "averaging", "seed", "limit")
    common = {key: getattr(recipe, key) for key in names}
    precision = "bf16-mixed" if bfloat16_pays() else "32-true"
    return {
        "optimizer": name,
        **chosen,
        **schedule,
        **common,
        "precision": precision,
        "dataset_sha256": mnist.digest(),
    }


def _report(ranked: list[tracking.Candidate], version: str, archive: Path) -> None:
    table = Table("", "optimizer", "validation", "test", "seconds", "run", title="best on validation first")
    for place, found in enumerate(ranked, start=1):
        accuracies = [f"{100 * found.validation_accuracy:.2f} %", f"{100 * found.final_test_accuracy:.2f} %"]
        table.add_row(str(place), found.optimizer, *accuracies, f"{found.seconds:.0f}", found.run_id)
    console = Console()
    console.width = max(console.width, 100)  # run ids whole, in a pipe too
    console.print(table)
    print(f"champion: {ranked[0].optimizer}, version {version} of the registered model mnist, archived to {archive}")


def next_steps(picture: str) -> str:
    """The commands that come after a training."""
    return f"""next:
  .venv/bin/mlflow ui --backend-store-uri {tracking.address()}
  .venv/bin/python -m mnist_lightning.serve
  .venv/bin/python -m mnist_lightning.client {picture}"""


def _hush() -> None:
    """Silence what is not about this training: tips, and advice for data that is not in memory."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):  # the last one by way of mlflow
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.WARNING)
    for text in (".*does not have many workers", ".*isinstance.treespec", ".*No complete tensor found"):
        warnings.filterwarnings("ignore", message=text)


if __name__ == "__main__":
    sys.exit(main())
