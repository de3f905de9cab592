"""What the gate lets through: equal challengers, damaged ones, and good ones, each with several seeds.

    python -m benchmarks.gate
    python -m benchmarks.gate --kinds damaged good --rounds 3 --store model_store

- equal: trained as the champion, with another seed. It is no better, so it should not be promoted.
- good: retrained from the champion on feedback in a looped script, which the champion reads badly.
- damaged: as good, with the labels of two digits, others each time, exchanged in 2 % of the training images. It reads
  the feedback, too, so the other checks have to stop it.

Prints each decision, a table of how many were promoted, and, last, one line of JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import looped_script
from benchmarks.common import OPTIONS, conditions
from mnist_lightning.common.arguments import positive_int
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.paths import resource
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.ood import HELD_OUT, OODDataset
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import gate
from mnist_lightning.evaluation.gate import GateConfig, Measurement, Verdict
from mnist_lightning.evaluation.gate_data import FEEDBACK, GateData
from mnist_lightning.evaluation.metrics import evaluate_network
from mnist_lightning.models.archive import ArchiveError
from mnist_lightning.packaging import archiver
from mnist_lightning.training import ood, recipe_yaml
from mnist_lightning.training.arguments import find_recipe
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.data import TrainingData
from mnist_lightning.training.fit import fit, silence_warnings

SWAPPED = 0.02  # of the training images
PEOPLE, PEOPLE_SEED = 200, 1
FIRST_SEED = 100  # none of them is a champion's
Change = Callable[[MnistSplits, int], MnistSplits]


@dataclass(frozen=True)
class Kind:
    """How challengers of a kind are made."""

    recipe: str
    optimizer: str
    has_feedback: bool
    change: Change


def swap_labels(splits: MnistSplits, seed: int) -> MnistSplits:
    """Exchange the labels of two digits in a share of the training images."""
    rng = np.random.default_rng(seed)
    images, labels = splits.training
    one, other = rng.choice(10, 2, replace=False)
    candidates = np.flatnonzero(np.isin(labels.numpy(), (one, other)))
    chosen = torch.from_numpy(rng.choice(candidates, round(SWAPPED * len(labels)), replace=False))
    swapped = labels.clone()
    swapped[chosen] = int(one) + int(other) - labels[chosen]
    return replace(splits, training=(images, swapped))


KINDS: Mapping[str, Kind] = {
    "equal": Kind("train.yaml", "SGD", has_feedback=False, change=lambda splits, _: splits),
    "good": Kind("retrain.yaml", "Adam", has_feedback=True, change=lambda splits, _: splits),
    "damaged": Kind("retrain.yaml", "Adam", has_feedback=True, change=swap_labels),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help="of challengers")
    parser.add_argument("--rounds", type=positive_int, default=10, metavar="N", help="of each kind (%(default)s)")
    parser.add_argument("--store", **{**OPTIONS["store"], "default": resource("pretrained"), "help": "the champion's"})
    parser.add_argument("--data", **OPTIONS["data"])
    options = parser.parse_args(arguments)
    silence_warnings()
    print(conditions() + "\n")
    try:
        report = run(options)
    except (ArchiveError, MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return 0


def run(options: argparse.Namespace) -> dict[str, object]:
    """Make the challengers and ask the gate about each."""
    champion, config, report = options.store / ARCHIVE, GateConfig.load(), {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        looped_script.save_feedback(folder / "feedback", PEOPLE, PEOPLE_SEED)
        for name in options.kinds:
            kind = KINDS[name]
            recipe = _recipe(kind, folder / "feedback", options.data, champion)
            data = TrainingData.load(recipe)
            held_out = [] if data.feedback is None else list(data.feedback.held_out)
            gate_data = GateData.build(data.mnist, held_out, config.sizes)
            ood_data = OODDataset.build(data.ood_splits, recipe.outliers, n_held_out=HELD_OUT * recipe.outliers)
            (before,) = gate.measure([champion], gate_data)
            verdicts = []
            for seed in range(FIRST_SEED, FIRST_SEED + options.rounds):
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    archive = _make(kind, recipe, data, ood_data, seed, Path(own))
                    (after,) = gate.measure([archive], gate_data)
                verdicts.append(gate.compare(before, after, config))
                print(f"{name}, seed {seed}: {verdicts[-1].summary}", flush=True)
            report[name] = _summary(before, verdicts)
    _print_table(report)
    return {"rounds": options.rounds, "kinds": report}


def _recipe(kind: Kind, feedback: Path, data: Path, champion: Path) -> Recipe:
    values = recipe_yaml.parse(find_recipe(kind.recipe).read_text()) | {"data_dir": str(data)}
    if kind.has_feedback:
        values |= {"feedback": str(feedback), "start_from": str(champion)}
    return Recipe.from_values(values)


def _make(kind: Kind, recipe: Recipe, data: TrainingData, ood_data: OODDataset, seed: int, folder: Path) -> Path:
    """Train a challenger and archive it; the archive."""
    result = fit(kind.optimizer, seed, recipe, kind.change(data.splits, seed), folder / "fit", None, data.initial)
    network = result.network
    temperature = evaluate_network(network, data.mnist).temperature
    network.ood_head = ood.fit(network, ood_data, seed)
    (folder / "archive").mkdir()
    return archiver.build(network.with_temperature(temperature), folder / "archive")


def _summary(champion: Measurement, verdicts: list[Verdict]) -> dict[str, object]:
    """How many were promoted, and the change of each figure: the least, the median and the greatest."""
    changes = {
        name: np.array([verdict.challenger.metrics()[name] - value for verdict in verdicts])
        for name, value in champion.metrics().items()
    }
    return {
        "promoted": sum(verdict.passed for verdict in verdicts),
        "changes": {
            name: [float(f"{value:.4g}") for value in np.quantile(values, (0, 0.5, 1))]
            for name, values in changes.items()
        },
        "feedback": [verdict.challenger.accuracy(FEEDBACK) for verdict in verdicts if FEEDBACK in champion.correct],
    }


def _print_table(report: Mapping[str, Mapping[str, object]]) -> None:
    table = Table("challengers", "promoted")
    for name, summary in report.items():
        table.add_row(name, str(summary["promoted"]))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
