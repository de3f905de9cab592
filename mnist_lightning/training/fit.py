"""One optimizer's training: from the first weights to a run in MLflow that tells all about it."""

import logging
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerStatus

from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.evaluation.metrics import Assessment, assess
from mnist_lightning.evaluation.model_card import card
from mnist_lightning.models.digitnet import DigitNet, checkpoint_of
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.training import distributed, ood
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.ema import RunningMean
from mnist_lightning.training.module import VALIDATION_LOSS, DigitClassifier, precision
from mnist_lightning.training.ood import Lessons, Rejection
from mnist_lightning.training.progress import TrainingProgress
from mnist_lightning.training.resume import Continuity


def data_of(recipe: Recipe) -> MnistDataModule:
    """The data as a recipe wants them, not read yet."""
    augment = recipe.augmentation
    part = (distributed.rank(), distributed.size())
    return MnistDataModule(recipe.data_dir, recipe.batch_size, recipe.limit, recipe.seed, augment, recipe.calm, part)


def classifier_of(network: DigitNet, recipe: Recipe, name: str) -> DigitClassifier:
    """A network, to be trained with one of the recipe's optimizers."""
    return DigitClassifier(network, recipe.optimizers[name], recipe.schedules[name], recipe.label_smoothing)


def train_one(name: str, recipe: Recipe, data: MnistDataModule, lessons: Lessons, run_id: str, folder: Path) -> None:
    """One optimizer's training with the seed of `data`, into the open run; then what is no digit, from `lessons`.

    It goes on from where `folder` left off, if it did.
    """
    runs.record(parameters=_parameters(name, recipe, data.seed))
    images, labels = data.training
    runs.record_dataset(images.numpy(), labels.numpy(), "mnist-train", "training")
    network, best, seconds = fit(name, recipe, data, folder, runs.logger(run_id))
    found = assess(network, data)
    network.ood_head = ood.fit(network, lessons, data.seed)
    runs.record(files={runs.CHECKPOINT: _judged(network, best)})
    runs.record_model(network, (images[:2].float() / 255).numpy())
    refusing = ood.measure(network, lessons, data.test)
    _record(found, refusing, network, seconds, name, data.seed, recipe)  # last: a run with these figures is whole


def fit(
    name: str, recipe: Recipe, data: MnistDataModule, folder: Path, logger: Logger | None = None
) -> tuple[DigitNet, Path, float]:
    """The best network of one optimizer's training, on the CPU; its checkpoint in `folder`, and the seconds it took.

    Where several processes train together, each calls this, and process 0 alone has a checkpoint to read afterwards.
    """
    L.seed_everything(data.seed, verbose=False)  # the same first weights for every optimizer
    network = DigitNet(recipe.widths)
    classifier = classifier_of(network, recipe, name)
    best = ModelCheckpoint(folder, "best", monitor=VALIDATION_LOSS, mode="min", enable_version_counter=False)
    continuity = Continuity(folder)
    callbacks = [best, averaging(recipe, data), distributed.Apart(), continuity]
    _run(classifier, data, recipe.epochs, logger, callbacks + [TrainingProgress(name)] * (distributed.rank() == 0))
    seconds = continuity.seconds
    if distributed.rank() == 0:
        weights = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
        classifier.load_state_dict(weights["state_dict"])
    return network.cpu().eval(), Path(best.best_model_path), seconds


def _judged(network: DigitNet, best: Path) -> Path:
    """The best checkpoint with the network's judge in it; in a file of its own, as a training may be resumed."""
    path = best.parent / "judged" / best.name
    path.parent.mkdir(exist_ok=True)
    checkpoint = torch.load(best, weights_only=True, map_location="cpu")
    torch.save({**checkpoint, **checkpoint_of(network, "network.")}, path)
    return path


def _record(
    found: Assessment,
    refusing: Rejection,
    network: DigitNet,
    seconds: float,
    optimizer: str,
    seed: int,
    recipe: Recipe,
) -> None:
    """What the best checkpoint is worth, into the open run, and its model card."""
    parameters = sum(weights.numel() for weights in network.parameters())
    told = card(
        found,
        refusing,
        optimizer=optimizer,
        seed=seed,
        widths=recipe.widths,
        parameters=parameters,
        seconds=seconds,
        git_commit=provenance.git_commit(),
    )
    metrics = {
        runs.TRAINING_SECONDS: seconds,
        runs.BEST_VALIDATION_ACCURACY: found.validation_accuracy,
        runs.BEST_VALIDATION_LOSS: found.validation_loss,
        runs.TEMPERATURE: found.temperature,
        runs.FINAL_TEST_ACCURACY: found.test_accuracy,
        runs.CALIBRATION_ERROR: found.calibration_error,
        runs.THRESHOLD: refusing.threshold,
        "test_digits_refused": refusing.refused_digits,
        "held_back_others_refused": refusing.refused_others,
        "held_back_others_auroc": refusing.separation,
    }
    runs.record(metrics=metrics, figures=found.figures, texts={runs.MODEL_CARD: told}, description=told)


def _run(
    classifier: DigitClassifier,
    data: MnistDataModule,
    epochs: int,
    logger: Logger | None,
    callbacks: list[L.Callback],
) -> None:
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        **distributed.placement(),
        precision=precision(),
        logger=logger or False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # only epochs are logged; a larger value would warn about short ones
    )
    last = next(callback.path for callback in callbacks if isinstance(callback, Continuity))
    try:
        trainer.fit(classifier, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from stop
        raise


def averaging(recipe: Recipe, data: MnistDataModule) -> RunningMean:
    """The mean of the weights over the recipe's part of the training."""
    return RunningMean(recipe.averaging * recipe.epochs * len(data.train_dataloader()))


def _parameters(name: str, recipe: Recipe, seed: int) -> dict[str, object]:
    made = recipe.optimizers[name]([torch.nn.Parameter(torch.zeros(1))])
    chosen = {f"optimizer.{key}": value for key, value in made.defaults.items()}
    schedule = {f"schedule.{key}": value for key, value in vars(recipe.schedules[name]).items()}
    names = ("widths", "epochs", "calm", "batch_size", "label_smoothing", "averaging", "outliers", "limit")
    common = {key: getattr(recipe, key) for key in names}
    augmentation = {f"augmentation.{key}": value for key, value in vars(recipe.augmentation).items()}
    return {
        "optimizer": name,
        **chosen,
        **schedule,
        **augmentation,
        **common,
        "seed": seed,
        "precision": precision(),
        "dataset_sha256": mnist.digest(),
    }


def hush() -> None:
    """Silence what is not about this training: tips, and advice for data that is not in memory."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):  # the last one by way of mlflow
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers",
        ".*isinstance.treespec",
        ".*No complete tensor found",
        ".*is not empty",
    ):
        warnings.filterwarnings("ignore", message=text)
