"""What a training is made of: dataclasses, read from a YAML file and the command line together."""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import NoReturn, cast

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import NonNegativeInt, PositiveInt

from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.models.digitnet import WIDTHS
from mnist_lightning.training.module import OptimizerFactory, Schedule

DEFAULT_FILE = Path("config/train.yaml")
RESUME_HELP = (
    "Go on with the last training that was interrupted in this folder, or with that of the comparison named; takes no "
    "other flags."
)


@dataclass
class Recipe:
    """A comparison of optimizers: the same network, data, seed and first weights for each."""

    optimizers: dict[str, OptimizerFactory]
    """The optimizers to compare, by name: a class_path and its init_args."""
    schedules: dict[str, Schedule]
    """The learning-rate schedule of each optimizer, by the same names."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How far the training pictures are taken from MNIST's own."""
    calm: float = 0.0
    """Part of the epochs, the last ones, in which pictures are only moved, and half as far, in [0, 1)."""
    widths: list[PositiveInt] = field(default_factory=lambda: list(WIDTHS))
    """Channels after each of the network's convolutions, two or more."""
    epochs: PositiveInt = 10
    """Passes over the training images."""
    batch_size: PositiveInt = 256
    """Images in a step."""
    label_smoothing: float = 0.0
    """Part of each label spread over the ten digits, in [0, 1)."""
    averaging: float = 0.15
    """Part of the training over which the weights are averaged (a running mean takes their place), in [0, 1)."""
    outliers: PositiveInt = 800
    """Pictures of each kind of things that are no digits, to learn from what to refuse."""
    seed: NonNegativeInt = 0
    """Seed of the first weights, the order of the images and their augmentation."""
    seeds: PositiveInt = 1
    """Train each optimizer with so many seeds, from `seed` on, for mean and standard error."""
    limit: PositiveInt | None = None
    """Use only so many training images, for a first look."""
    only: str | None = None
    """Train just this one of the optimizers."""
    comparison: str | None = None
    """Take part in the comparison that everybody shares who gives this name, on any machine; else one of its own."""
    data_dir: Path = Path("data/MNIST/raw")
    """Where MNIST's four files are, or will be fetched to."""
    model_store: Path = Path("model_store")
    """Where the archive of the best model goes."""

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "averaging", "calm"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and less than 1")
        if self.comparison is not None and not re.fullmatch(r"[\w .:-]{1,100}", self.comparison):
            raise ValueError(
                f"comparison is {self.comparison!r}; it must be up to 100 letters, digits, or any of _ .:-"
            )
        if len(self.widths) < 2:
            raise ValueError(f"widths is {self.widths}; it must name two layers or more")
        names = ", ".join(self.optimizers) or "none"
        if not self.optimizers:
            raise ValueError("optimizers is empty: name at least one")
        if self.only is not None and self.only not in self.optimizers:
            raise ValueError(f"only is {self.only!r}; the recipe's optimizers are {names}")
        for name, optimizer in self.optimizers.items():
            _probe(name, optimizer)
        if absent := [name for name in self.optimizers if name not in self.schedules]:
            raise ValueError(f"schedules lacks {', '.join(absent)}; the recipe's optimizers are {names}")

    def trainings(self) -> dict[str, tuple[str, int]]:
        """Optimizer and seed of every training, by its name in MLflow."""
        names = [self.only] if self.only else list(self.optimizers)
        every = product(range(self.seed, self.seed + self.seeds), names)
        return {name if self.seeds == 1 else f"{name} seed {seed}": (name, seed) for seed, name in every}


def _probe(name: str, optimizer: OptimizerFactory) -> None:
    """Make the optimizer once for a single weight: what torch will not accept is known before any data is."""
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise ValueError(f"optimizers.{name}: {error}") from error


def read(arguments: list[str] | None = None, of_run: Callable[[str], str] | None = None) -> tuple[Recipe, str]:
    """The recipe of a command line, and the same as YAML text for the record.

    The file named by --config (config/train.yaml unless named), or what `of_run` gives as the YAML text of the run
    named by --like, comes first; flags override it. A value that is not allowed, or a key that does not exist, ends
    the program with exit code 2 and what is allowed.
    """
    before = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    before.add_argument("--config", default=str(DEFAULT_FILE))
    before.add_argument("--like")
    named, rest = before.parse_known_args(arguments)
    parser = recipe_parser()
    start = of_run(named.like) if named.like and of_run else named.config
    values = parser.parse_args([f"--config={start}", *rest])
    try:
        recipe = parser.instantiate(values)
        return Recipe(**{name: recipe[name] for name in Recipe.__dataclass_fields__}), _as_text(parser, values)
    except (ValueError, TypeError) as error:
        parser.error(str(error))


def resumed(arguments: Sequence[str]) -> str | None:
    """What --resume names: "" for nothing, None where it is not there. Other flags beside it end with code 2."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", nargs="?", const="")
    named, rest = parser.parse_known_args(arguments)
    if named.resume is not None and rest and not {"-h", "--help"} & {*rest}:
        print(
            f"error: --resume goes on with the recipe that the training was started with; leave out {' '.join(rest)}",
            file=sys.stderr,
        )
        sys.exit(2)
    return cast(str | None, named.resume)


def recipe_parser() -> ArgumentParser:
    """The parser behind `read`: one flag for each value of a Recipe, nested ones with dots."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = _Parser(prog="python -m mnist_lightning.train", description=Recipe.__doc__)
    parser.add_argument("--config", action="config", help="YAML file of a recipe. (default: config/train.yaml)")
    parser.add_argument("--like", metavar="RUN_ID", help="Start from the recipe of a run in MLflow instead of a file.")
    parser.add_argument("--resume", nargs="?", metavar="COMPARISON_RUN_ID", help=RESUME_HELP)
    parser.add_class_arguments(Recipe, as_group=False)
    return parser


class _Parser(ArgumentParser):
    """Says what is allowed beside what is wrong."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and what would be right; exit code 2."""
        print(f"error: {message}\n{self._allowed(message)}", file=sys.stderr)
        sys.exit(2)

    def _allowed(self, message: str) -> str:
        if "is not accepted" in message:  # a key of some class: the parser does not say of which
            shown = [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, Schedule]
            keys = [f"  {kind.__name__}: {', '.join(inspect.signature(kind).parameters)}" for kind in shown]
            return "\n".join(["allowed keys:", f"  recipe: {', '.join(Recipe.__dataclass_fields__)}", *keys])
        return f"allowed: {', '.join(f'--{name}' for name in Recipe.__dataclass_fields__)}; --help explains each"


def changed(text: str, **values: object) -> str:
    """A recipe's YAML text with other values."""
    return yaml.safe_dump({**yaml.safe_load(text), **values}, sort_keys=False)


def differences(text: str, other: str) -> list[str]:
    """What makes two recipes' trainings incomparable; which optimizer is trained, and where files lie, does not."""
    mine, theirs = (dict(_flat(yaml.safe_load(one))) for one in (text, other))
    names = [
        name for name in mine | theirs if name.split(".")[0] not in ("only", "comparison", "data_dir", "model_store")
    ]
    return [
        f"{name} is {mine.get(name)}, there {theirs.get(name)}" for name in names if mine.get(name) != theirs.get(name)
    ]


def _flat(values: dict[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _as_text(parser: ArgumentParser, values: Namespace) -> str:
    return cast(str, parser.dump(values))
