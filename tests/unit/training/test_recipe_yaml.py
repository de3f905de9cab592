"""Recipes as YAML: former keys, changed values, differences."""

import pytest
import yaml

from mnist_lightning.training.recipe_yaml import (
    FORMER_KEYS,
    RecipeError,
    differences,
    flatten,
    parse,
    replace_former_keys,
    unflatten,
    with_values,
)

# As MLflow recorded it before keys were renamed.
FORMER = """
optimizers:
  SGD:
    class_path: torch.optim.SGD
    init_args: {lr: 0.05, momentum: 0.9, dampening: 0.0, weight_decay: 0.0005, nesterov: true, maximize: false}
schedules:
  SGD: {warmup: 0.2, decay: linear}
augmentation: {habits: 0.5, pens: 0.2, moves: 1.4, damage: 0.1}
calm: 0.25
widths: [8, 16]
epochs: 3
batch_size: 128
label_smoothing: 0.0
averaging: 0.3
outliers: 100
seed: 4
seeds: 1
only: SGD
data_dir: data/MNIST/raw
model_store: model_store
"""
CURRENT = (
    FORMER.replace("habits", "regional_variants")
    .replace("pens", "stroke_width")
    .replace("moves", "affine")
    .replace("damage", "corruption")
    .replace("calm", "finetune_fraction")
    .replace("averaging", "ema_window")
)


def test_former_keys_are_read_as_the_current_ones() -> None:
    assert parse(FORMER) == yaml.safe_load(CURRENT)
    _, replaced = replace_former_keys(yaml.safe_load(FORMER))
    assert replaced == {".".join(old): ".".join(new) for old, new in FORMER_KEYS.items()}


def test_current_keys_are_not_replaced() -> None:
    values = yaml.safe_load(CURRENT)
    assert replace_former_keys(values) == (values, {})


def test_a_recipe_with_former_keys_equals_the_same_with_current_ones() -> None:
    assert differences(FORMER, CURRENT) == differences(CURRENT, FORMER) == []
    assert differences(FORMER, CURRENT.replace("finetune_fraction: 0.25", "finetune_fraction: 0.5")) == [
        "finetune_fraction is 0.25, there 0.5"
    ]


def test_keys_that_leave_trainings_comparable_do_not_differ() -> None:
    other = with_values(CURRENT, only=None, comparison="x", data_dir="elsewhere", model_store="elsewhere")
    assert differences(CURRENT, other) == []


def test_some_values_are_replaced() -> None:
    assert parse(with_values(FORMER, only=None, seed=7)) == {**parse(CURRENT), "only": None, "seed": 7}


def test_nested_values_are_flattened_and_restored() -> None:
    values = {"a": {"b": {"c": 1, "d": [2]}, "e": {}}, "f": None}
    leaves = dict(flatten(values))
    assert leaves == {("a", "b", "c"): 1, ("a", "b", "d"): [2], ("a", "e"): {}, ("f",): None}
    assert unflatten(leaves) == values
    assert unflatten({("a", "b"): 1, ("a",): 2}) == {"a": 2}
    assert unflatten({("a",): 2, ("a", "b"): 1}) == {"a": {"b": 1}}


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- 1", "list"), ("", "NoneType"), ("3", "int")])
def test_a_text_that_is_not_a_recipe_is_rejected(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(text)
