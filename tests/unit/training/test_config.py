"""Recipes: valid values, and errors that name the key, its value and what is allowed."""

import functools
from pathlib import Path

import pytest
import yaml

from mnist_lightning.common.paths import resource
from mnist_lightning.models.digitnet import WIDTHS
from mnist_lightning.training import recipe_yaml
from mnist_lightning.training.arguments import SHIPPED_RECIPES
from mnist_lightning.training.config import Recipe, to_yaml
from mnist_lightning.training.recipe_yaml import RecipeError, Values
from tests.unit.training.test_recipe_yaml import CURRENT, FORMER


def values_of(recipe: str = "train.yaml", **changes: object) -> Values:
    """A shipped recipe, with values replaced: `a__b=1` replaces a.b."""
    values = recipe_yaml.parse(resource(f"config/{recipe}").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        functools.reduce(lambda inner, parent: inner.setdefault(parent, {}), parents, values)[last] = value
    return values


@pytest.mark.parametrize("name", SHIPPED_RECIPES)
def test_every_shipped_recipe_is_valid(name: str) -> None:
    text = resource(f"config/{name}").read_text()
    recipe = Recipe.from_yaml(text)
    assert recipe.optimizers
    assert recipe_yaml.replace_former_keys(recipe_yaml.parse_as_written(text))[1] == {}


def test_every_recipe_in_the_folder_is_listed() -> None:
    files = [path for path in resource("config").glob("*.yaml") if "optimizers:" in path.read_text()]
    assert sorted(path.name for path in files) == sorted(SHIPPED_RECIPES)


def test_values_left_out_have_their_defaults() -> None:
    recipe = Recipe.from_yaml(resource("config/train.yaml").read_text())
    assert recipe.widths == list(WIDTHS)
    assert recipe.data_dir == Path("data/MNIST/raw")
    assert recipe.limit is None


def test_a_recorded_recipe_with_former_keys_is_read() -> None:
    recipe = Recipe.from_yaml(FORMER)
    assert (recipe.finetune_fraction, recipe.ema_window, recipe.seed, recipe.only) == (0.25, 0.3, 4, "SGD")
    augmentation = recipe.augmentation
    strengths = (augmentation.regional_variants, augmentation.stroke_width, augmentation.affine)
    assert (*strengths, augmentation.corruption) == (0.5, 0.2, 1.4, 0.1)
    assert vars(recipe) | {"optimizers": None} == vars(Recipe.from_yaml(CURRENT)) | {"optimizers": None}


def test_the_recorded_text_gives_the_same_recipe() -> None:
    text = to_yaml(values_of(seed=3, augmentation__affine=0.5))
    assert Recipe.from_yaml(text).seed == 3
    assert to_yaml(recipe_yaml.parse(text)) == text
    assert recipe_yaml.parse(text)["augmentation"] == {
        **{"regional_variants": 1.0, "stroke_width": 0.3, "affine": 0.5, "corruption": 0.3}
    }


def test_widths_are_plain_numbers() -> None:
    """Checkpoints contain them, and `torch.load` with weights_only=True reads no other types."""
    assert {type(width) for width in Recipe.from_values(values_of(widths=["8", 16])).widths} == {int}


def test_a_recipe_lists_its_trainings() -> None:
    recipe = Recipe.from_values(values_of(seed=4, seeds=2, only="SGD"))
    assert recipe.trainings() == {"SGD seed 4": ("SGD", 4), "SGD seed 5": ("SGD", 5)}
    assert list(Recipe.from_values(values_of()).trainings()) == ["Adam", "SGD", "RMSprop"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochz": 3}, "epochz is not a key of recipes; allowed are optimizers, schedules, augmentation"),
        ({"epochs": "many"}, "epochs is 'many'; it must be of type PositiveInt"),
        ({"finetune_fraction": 1.0}, "finetune_fraction is 1.0; it must be at least 0 and less than 1"),
        ({"epochs": 0}, "epochs is 0; it must be of type PositiveInt"),
        ({"batch_size": -5}, "batch_size is -5; it must be of type PositiveInt"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seed": -1}, "seed is -1; it must be of type NonNegativeInt"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5; it must be at least 0 and less than 1"),
        ({"ema_window": float("nan")}, "ema_window is nan; it must be at least 0 and less than 1"),
        ({"widths": [32]}, r"widths is \[32\]; it must be two layers or more"),
        ({"widths": [8, "x"]}, r"widths is \[8, 'x'\]; it must be of type list\[PositiveInt\]"),
        ({"augmentation__corruption": 2}, "augmentation.corruption is 2.0; it must be from 0 to 1"),
        ({"augmentation__noise": 2}, "augmentation.noise is not a key of recipes; allowed are regional_variants"),
        ({"only": "Adagrad"}, "only is 'Adagrad'; it must be one of the recipe's optimizers: Adam, SGD, RMSprop"),
        ({"optimizers__Adam__init_args__momentum": 0.9}, "init_args.momentum is not a key .* allowed are lr, betas"),
        ({"optimizers__Adam__init_args__lr": "fast"}, "Adam.init_args.lr is 'fast'; it must be of type float"),
        ({"optimizers__Adam__init_args__lr": -1}, "Adam.init_args.lr is -1: .*Invalid learning rate"),
        ({"optimizers__Foo__class_path": "torch.optim.Nope"}, "optimizers.Foo is .*torch.optim.Nope"),
        ({"optimizers": {}}, "optimizers is {}; it must be a mapping with at least one optimizer"),
        ({"optimizers": 3}, "Expected a <class 'dict'>. Got value: 3"),
        (
            {"schedules": {"Adam": {}, "SGD": {}}},
            r"schedules is \['Adam', 'SGD'\]; it must be one for each of Adam, SGD",
        ),
        ({"comparison": "it's"}, 'comparison is "it\'s"; it must be up to 100 letters'),
        ({"schedules__SGD__warmup": 3}, "schedules.SGD.warmup is 3.0; it must be at least 0 and less than 1"),
        ({"schedules__SGD__decay": "steps"}, "schedules.SGD.decay is 'steps'; .*'linear', 'cosine'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_error_names_the_key_and_what_is_allowed(changes: Values, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_yaml(yaml.safe_dump(values_of(**changes), sort_keys=False))
