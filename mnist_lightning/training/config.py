"""The recipe of a training, as a dataclass with validated values."""

import contextlib
import copy
import functools
import inspect
import operator
import pydoc
import re
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path

import torch
from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse.typing import NonNegativeInt, PositiveInt

from mnist_lightning.common.validation import InvalidValueError, check_fraction
from mnist_lightning.datasets.augment import Augmentation
from mnist_lightning.models.digitnet import WIDTHS
from mnist_lightning.training import recipe_yaml
from mnist_lightning.training.recipe_yaml import KeyPath, Leaves, RecipeError, Values
from mnist_lightning.training.schedule import OptimizerFactory, Schedule


@dataclass
class Recipe:
    """A comparison of optimizers: each trains the same network on the same data from the same initial weights."""

    optimizers: dict[str, OptimizerFactory]
    """The optimizers to compare, by name: a class_path and its init_args."""
    schedules: dict[str, Schedule]
    """The learning-rate schedule of each optimizer, by the same names."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Augmentation of the training images."""
    finetune_fraction: float = 0.0
    """Fraction of the epochs, the last ones, with milder augmentation, in [0, 1)."""
    widths: list[PositiveInt] = field(default_factory=lambda: list(WIDTHS))
    """Channels after each of the network's convolutions, two or more."""
    pooled: bool = False
    """Train the network of releases up to 0.1, with pools and padding; three times the work at the same widths."""
    epochs: PositiveInt = 10
    """Passes over the training images."""
    batch_size: PositiveInt = 256
    """Images in a step."""
    label_smoothing: float = 0.0
    """Fraction of each label that is spread over the ten digits, in [0, 1)."""
    ema_window: float = 0.15
    """Window of the moving average of the weights, as a fraction of the training, in [0, 1)."""
    outliers: PositiveInt = 800
    """Outliers of each kind to fit the out-of-distribution head to; the number of its digits is proportional."""
    seed: NonNegativeInt = 0
    """Seed of the initial weights, the order of the images and their augmentation."""
    seeds: PositiveInt = 1
    """Number of seeds, from `seed` on, with which each optimizer is trained for mean and standard error."""
    limit: PositiveInt | None = None
    """Use only this many training images, for a quick try."""
    only: str | None = None
    """Train only this one of the optimizers."""
    comparison: str | None = None
    """Join the comparison of this name, which several machines can share; without it, start a new one."""
    feedback: Path | None = None
    """Also train on the corrected pictures of this folder, except those that are held out; makes a challenger."""
    feedback_share: float = 0.2
    """Fraction of an epoch's images that are corrected pictures, in [0, 1); each is shown once to 100 times."""
    feedback_version: str | None = None
    """Version of the corrected pictures, which every training records; another one is an error."""
    start_from: str | None = None
    """Start from the weights of this run of MLflow, archive or checkpoint instead of random ones; --from sets it."""
    initial_share: float = 0.0
    """Fraction of those weights that is mixed into the trained ones at the end, in [0, 1)."""
    challenger: bool = False
    """Make the best the challenger, which `promote` compares with the champion, instead of the champion."""
    data_dir: Path = Path("data/MNIST/raw")
    """Folder of MNIST's four files, which are downloaded if they are missing."""
    model_store: Path = Path("model_store")
    """Folder for the archive of the best model."""

    def __post_init__(self) -> None:
        self.widths = [int(width) for width in self.widths]  # checkpoints hold no PositiveInt
        for name in ("label_smoothing", "ema_window", "finetune_fraction", "feedback_share", "initial_share"):
            check_fraction(name, getattr(self, name))
        if self.comparison is not None and not re.fullmatch(r"[\w .:-]{1,100}", self.comparison):
            raise InvalidValueError("comparison", self.comparison, "up to 100 letters, digits, or any of _ .:-")
        if len(self.widths) < 2:
            raise InvalidValueError("widths", self.widths, "two layers or more")
        if not self.optimizers:
            raise InvalidValueError("optimizers", self.optimizers, "a mapping with at least one optimizer")
        names = ", ".join(self.optimizers)
        if self.only is not None and self.only not in self.optimizers:
            raise InvalidValueError("only", self.only, f"one of the recipe's optimizers: {names}")
        for name, optimizer in self.optimizers.items():
            _try_out(name, optimizer)
        if absent := [name for name in self.optimizers if name not in self.schedules]:
            raise InvalidValueError(
                "schedules", list(self.schedules), f"one for each of {names}; {', '.join(absent)} has none"
            )

    @classmethod
    def from_yaml(cls, text: str) -> "Recipe":
        """The recipe of a YAML text, in which keys may have their former names. Raises RecipeError."""
        return cls.from_values(recipe_yaml.parse(text))

    @classmethod
    def from_values(cls, values: Values) -> "Recipe":
        """The recipe of nested mappings, as read from YAML. Raises RecipeError."""
        try:
            return _build(values)
        except (ArgumentError, ValueError, TypeError) as error:
            raise _explain(values, error) from error

    @property
    def makes_challenger(self) -> bool:
        """Whether the best training becomes the challenger: with feedback, it has to prove itself."""
        return self.challenger or self.feedback is not None

    def trainings(self) -> dict[str, tuple[str, int]]:
        """Optimizer and seed of every training, by the name of its run in MLflow."""
        names = [self.only] if self.only else list(self.optimizers)
        trainings = product(range(self.seed, self.seed + self.seeds), names)
        return {name if self.seeds == 1 else f"{name} seed {seed}": (name, seed) for seed, name in trainings}


def recipe_parser() -> ArgumentParser:
    """A parser of recipes: it converts values, fills in defaults and prints help; it raises ArgumentError."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="python -m mnist_lightning.train", description=Recipe.__doc__, exit_on_error=False)
    parser.add_class_arguments(Recipe, as_group=False)
    return parser


def to_yaml(values: Values) -> str:
    """The YAML text of a valid recipe, with all defaults filled in."""
    parser = _cached_parser()
    return str(parser.dump(parser.parse_object(copy.deepcopy(values))))


@functools.cache
def _cached_parser() -> ArgumentParser:
    return recipe_parser()


def _build(values: Values) -> Recipe:
    parser = _cached_parser()
    made = parser.instantiate(parser.parse_object(copy.deepcopy(values)))  # which may change its argument
    return Recipe(**{field.name: made[field.name] for field in fields(Recipe)})


def _try_out(name: str, optimizer: OptimizerFactory) -> None:
    """Make the optimizer for a single weight, to find arguments that torch rejects before anything is trained."""
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise ValueError(f"optimizers.{name}: {error}") from error


def _explain(values: Values, error: Exception) -> RecipeError:
    """An error that names the key at fault: the one without which the recipe is valid, if there is such a key."""
    if isinstance(error, InvalidValueError) and error.name.partition(".")[0] in _types(Recipe):
        return RecipeError(str(error))
    path = _culprit(values)
    if path is None:
        return RecipeError(str(error).strip().splitlines()[-1].strip())
    key, expected = ".".join(path), _expected(values, path[:-1])
    if path[-1] not in expected:
        return RecipeError(f"{key} is not a key of recipes; allowed are {', '.join(expected)}")
    value = functools.reduce(operator.getitem, path, values)
    if isinstance(error, InvalidValueError):
        return RecipeError(f"{key} is {error.value!r}; it must be {error.expected}")
    if isinstance(error, ArgumentError):
        return RecipeError(f"{key} is {value!r}; it must be {expected[path[-1]]}")
    return RecipeError(f"{key} is {value!r}: {error}")


def _culprit(values: Values) -> KeyPath | None:
    """The longest key path without whose value the recipe is valid."""
    leaves = dict(recipe_yaml.flatten(values))
    prefixes = dict.fromkeys(path[:length] for path in leaves for length in range(1, len(path) + 1))
    for prefix in sorted(prefixes, key=len, reverse=True):
        rest = {path: value for path, value in leaves.items() if path[: len(prefix)] != prefix}
        parent: Leaves = {prefix[:-1]: {}} if prefix[:-1] else {}  # stays, if only as an empty mapping
        with contextlib.suppress(ArgumentError, ValueError, TypeError):
            _build(recipe_yaml.unflatten({**parent, **rest}))
            return prefix
    return None


def _expected(values: Values, parent: KeyPath) -> Mapping[str, str]:
    """What each key below a key path must be, completing "it must be …"."""
    match parent:
        case ():
            return _types(Recipe)
        case ("augmentation",):
            return _types(Augmentation)
        case ("schedules", _):
            return _types(Schedule)
        case ("optimizers", name, "init_args"):
            _, *arguments = _types(pydoc.locate(values["optimizers"][name]["class_path"])).items()  # params comes first
            return dict(arguments)
        case ("optimizers", _):
            return {"class_path": "the path of an optimizer's class, such as torch.optim.SGD", "init_args": "a mapping"}
    return dict.fromkeys(values[parent[0]], "a mapping as in config/train.yaml, with valid keys and values")


def _types(made: object) -> Mapping[str, str]:
    """What the arguments of a class must be, by its annotations."""
    parameters = inspect.signature(made).parameters.values() if callable(made) else ()
    annotations = {parameter.name: inspect.formatannotation(parameter.annotation) for parameter in parameters}
    return {name: f"of type {re.sub(r'[a-z_.]+[.]', '', text)}" for name, text in annotations.items()}
