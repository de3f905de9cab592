"""One optimizer's training: from the initial weights to a finished run in MLflow."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.files import write_atomic
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.datasets.feedback import FeedbackSet
from mnist_lightning.datasets.ood import OODDataset
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import names
from mnist_lightning.evaluation import ood as ood_evaluation
from mnist_lightning.evaluation.metrics import ClassificationMetrics, evaluate_network
from mnist_lightning.evaluation.model_card import render_model_card
from mnist_lightning.evaluation.ood import OODMetrics
from mnist_lightning.models.digitnet import DigitNet, checkpoint_of, to_bytes
from mnist_lightning.preprocessing import line_reader, segment
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.training import distributed, ood
from mnist_lightning.training.checkpoints import AtomicCheckpointIO
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.data import TrainingData
from mnist_lightning.training.ema import WarmupEMA
from mnist_lightning.training.interrupt import ctrl_c_interrupts
from mnist_lightning.training.module import DigitClassifier, precision
from mnist_lightning.training.progress import TrainingProgress
from mnist_lightning.training.resume import ResumeCheckpoint
from mnist_lightning.training.run_logger import RunLogger

# Warnings that do not apply: the data is in memory, and folders of checkpoints are reused on purpose.
IRRELEVANT_WARNINGS = (
    ".*does not have many workers",
    ".*isinstance.treespec",
    ".*No complete tensor found",
    ".*is not empty",
)
RECIPE_PARAMETERS = (
    *("widths", "pooled", "epochs", "finetune_fraction", "batch_size", "label_smoothing", "ema_window"),
    *("outliers", "limit"),
)


@dataclass(frozen=True)
class FitResult:
    """The best network of a training, on the CPU; its checkpoint, which only process 0 has; the training time."""

    network: DigitNet
    checkpoint: Path
    seconds: float


def train_and_log(
    optimizer: str, seed: int, recipe: Recipe, data: TrainingData, ood_data: OODDataset, run_id: str, folder: Path
) -> None:
    """Train one optimizer with one seed, fit the out-of-distribution head, and log all to the open run `run_id`.

    An interrupted training continues from the checkpoint in `folder`.
    """
    runs.log(parameters=_parameters(optimizer, seed, recipe, data))
    images, labels = data.mnist.training
    example = (images[:2].float() / 255).numpy()
    runs.log_dataset(images.numpy(), labels.numpy(), "mnist-train", "training")
    if data.feedback_batch is not None:
        images, labels = data.feedback_batch
        runs.log_dataset(images.numpy(), labels.numpy(), "feedback", "training")
    result = fit(optimizer, seed, recipe, data.splits, folder, RunLogger(runs.EXPERIMENT, run_id), data.initial)
    network = result.network
    classification = evaluate_network(network, data.splits)
    network.ood_head = ood.fit(network, ood_data, seed)
    runs.log(files={runs.CHECKPOINT: _save_with_head(network, result.checkpoint)})
    runs.log_model(network, example)
    ood_metrics = ood_evaluation.measure(network, data.splits.test[0], ood_data.held_out_outliers)
    _log_results(classification, ood_metrics, result, optimizer, seed, recipe, data)


def fit(
    optimizer: str,
    seed: int,
    recipe: Recipe,
    splits: MnistSplits,
    folder: Path,
    logger: Logger | None = None,
    initial: DigitNet | None = None,
) -> FitResult:
    """Train one optimizer with one seed; with several processes, each of them calls this function.

    The weights are those of `initial`, or else random ones. At the end, the network's are interpolated with the
    initial ones, so that it forgets less of what it does not see again: WiSE-FT, after Wortsman et al., "Robust
    fine-tuning of zero-shot models" (2022). The checkpoint is that of the training.
    """
    L.seed_everything(seed, verbose=False)  # all optimizers start from the same weights
    network = DigitNet(recipe.widths, pooled=recipe.pooled)
    if initial is not None:
        network.load_state_dict(_weights(initial))
    classifier = make_classifier(network, recipe, optimizer)
    data = make_data_module(recipe, splits, seed)
    best = ModelCheckpoint(folder, "best", monitor=names.VALIDATION_LOSS, mode="min", enable_version_counter=False)
    last = ResumeCheckpoint(folder)
    callbacks = [best, make_ema(recipe, data), distributed.PerRankSeed(), last]
    if distributed.rank() == 0:
        callbacks.append(TrainingProgress(optimizer))
    trainer = L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        **distributed.trainer_kwargs(),
        precision=precision(),
        logger=logger or False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # only epochs are logged; a larger value would warn about short ones
    )
    with ctrl_c_interrupts(trainer):
        checkpoint = last.path if last.path.is_file() else None
        trainer.fit(classifier, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    seconds = last.seconds
    if distributed.rank() == 0:
        weights = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
        classifier.load_state_dict(weights["state_dict"])
    if initial is not None:
        network.load_state_dict(_interpolate(_weights(network.cpu()), _weights(initial), recipe.initial_share))
    return FitResult(network.cpu().eval(), Path(best.best_model_path), seconds)


def _weights(network: DigitNet) -> dict[str, torch.Tensor]:
    """The weights without those of an out-of-distribution head, which is fitted to every network anew."""
    return {name: value for name, value in network.state_dict().items() if not name.startswith("ood_head.")}


def _interpolate(
    trained: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """The trained weights with a share of the initial ones; counters stay the trained ones."""
    return {
        name: torch.lerp(value, initial[name], share) if value.is_floating_point() else value
        for name, value in trained.items()
    }


def make_data_module(recipe: Recipe, splits: MnistSplits, seed: int) -> MnistDataModule:
    """The batches of one training, of which this process takes its share."""
    return MnistDataModule(
        splits,
        batch_size=recipe.batch_size,
        seed=seed,
        augment=recipe.augmentation,
        finetune_fraction=recipe.finetune_fraction,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
    )


def make_classifier(network: DigitNet, recipe: Recipe, optimizer: str) -> DigitClassifier:
    """A network, to be trained with one of the recipe's optimizers."""
    return DigitClassifier(network, recipe.optimizers[optimizer], recipe.schedules[optimizer], recipe.label_smoothing)


def make_ema(recipe: Recipe, data: MnistDataModule) -> WarmupEMA:
    """The moving average of the weights over the recipe's window."""
    return WarmupEMA(recipe.ema_window * recipe.epochs * len(data.train_dataloader()))


def silence_warnings() -> None:
    """Silence Lightning's tips, and warnings that do not apply to this training."""
    for package in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):  # MLflow imports the last one
        logging.getLogger(f"{package}.utilities.rank_zero").setLevel(logging.WARNING)
    for message in IRRELEVANT_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _save_with_head(network: DigitNet, best: Path) -> Path:
    """A copy of the best checkpoint with the head; the checkpoint itself stays as it is, for resuming."""
    path = best.parent / "with_head" / best.name
    path.parent.mkdir(exist_ok=True)
    checkpoint = torch.load(best, weights_only=True, map_location="cpu")
    write_atomic(path, to_bytes({**checkpoint, **checkpoint_of(network, "network.")}))
    return path


def _log_results(
    classification: ClassificationMetrics,
    ood_metrics: OODMetrics,
    result: FitResult,
    optimizer: str,
    seed: int,
    recipe: Recipe,
    data: TrainingData,
) -> None:
    """Log metrics, figures and the model card of the best checkpoint to the open run."""
    model_card = render_model_card(
        classification,
        ood_metrics,
        optimizer=optimizer,
        seed=seed,
        widths=recipe.widths,
        parameters=sum(weights.numel() for weights in result.network.parameters()),
        seconds=result.seconds,
        feedback=_describe_feedback(data),
        git_commit=provenance.git_commit(),
    )
    metrics = {
        runs.TRAINING_SECONDS: result.seconds,
        runs.BEST_VALIDATION_ACCURACY: classification.validation_accuracy,
        runs.BEST_VALIDATION_LOSS: classification.validation_loss,
        runs.TEMPERATURE: classification.temperature,
        runs.FINAL_TEST_ACCURACY: classification.test_accuracy,
        runs.CALIBRATION_ERROR: classification.calibration_error,
        runs.THRESHOLD: ood_metrics.threshold,
        "test_digits_refused": ood_metrics.rejected_digits,
        "held_back_others_refused": ood_metrics.rejected_outliers,
        "held_back_others_auroc": ood_metrics.auroc,
    }
    runs.log(
        metrics=metrics, figures=classification.figures, texts={runs.MODEL_CARD: model_card}, description=model_card
    )


def _describe_feedback(data: TrainingData) -> str:
    """What the model card says of other images than MNIST's."""
    if data.feedback is None:
        return "nothing else"
    version, count = data.feedback.version, len(data.feedback.training)
    return f"{count} corrected pictures of users (version {version}, {data.feedback_repeats} times in an epoch)"


def _parameters(optimizer: str, seed: int, recipe: Recipe, data: TrainingData) -> dict[str, object]:
    """What is logged as the run's parameters, with the defaults of the optimizer."""
    made = recipe.optimizers[optimizer]([torch.nn.Parameter(torch.zeros(1))])
    return {
        "optimizer": optimizer,
        **{f"optimizer.{key}": value for key, value in made.defaults.items()},
        **{f"schedule.{key}": value for key, value in vars(recipe.schedules[optimizer]).items()},
        **{f"augmentation.{key}": value for key, value in vars(recipe.augmentation).items()},
        **{key: getattr(recipe, key) for key in RECIPE_PARAMETERS},
        "seed": seed,
        "precision": precision(),
        "dataset_sha256": mnist.digest(),
        "segmenter": short_digest(segment.SHIPPED.read_bytes()),
        "line_reader": short_digest(line_reader.SHIPPED.read_bytes()),
        **(
            {}
            if recipe.start_from is None
            else {name: getattr(recipe, name) for name in ("start_from", "initial_share")}
        ),
        **({} if data.feedback is None else _feedback_parameters(data, data.feedback)),
    }


def _feedback_parameters(data: TrainingData, feedback: FeedbackSet) -> dict[str, object]:
    return {
        "feedback": feedback.version,
        "feedback_pictures": len(feedback.training),
        "feedback_repeats": data.feedback_repeats,
    }
