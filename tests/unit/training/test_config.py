"""The recipes that ship, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from mnist_lightning.training.config import Recipe, changed, differences, read, resumed

PROJECT = Path(__file__).resolve().parent.parent
FILES = sorted((PROJECT / "config").glob("*.yaml"))
RECIPES = [path for path in FILES if "optimizers:" in path.read_text()]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_ships_is_valid(path: Path) -> None:
    recipe, text = read(["--config", str(path)])
    assert recipe.optimizers
    assert "class_path: torch.optim." in text


def test_no_flags_mean_the_default_recipe() -> None:
    assert list(read([])[0].optimizers) == ["Adam", "SGD", "RMSprop"]


def test_flags_override_the_file() -> None:
    recipe, text = read(["--epochs", "2", "--optimizers.Adam.init_args.lr", "0.002", "--only", "SGD"])
    assert (recipe.epochs, recipe.only) == (2, "SGD")
    assert recipe.optimizers["Adam"].keywords["lr"] == 0.002  # type: ignore[attr-defined]
    assert recipe.optimizers["SGD"].keywords["nesterov"] is True  # type: ignore[attr-defined]
    assert "lr: 0.002" in text


def test_the_record_reads_back_as_the_same_recipe(tmp_path: Path) -> None:
    _, text = read(["--seed", "3"])
    (tmp_path / "again.yaml").write_text(text)
    again, same = read(["--config", str(tmp_path / "again.yaml")])
    assert again.seed == 3
    assert sorted(same.splitlines()) == sorted(text.splitlines())


def test_a_run_gives_its_own_recipe_back() -> None:
    _, text = read(["--widths", "[8, 16]", "--seeds", "3"])
    recipe, _ = read(
        ["--like", "some-run", "--epochs", "1"], {"some-run": changed(text, only="SGD", seed=2, seeds=1)}.__getitem__
    )
    assert (recipe.only, recipe.seed, recipe.seeds, recipe.widths, recipe.epochs) == ("SGD", 2, 1, [8, 16], 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--epochz", "3"], ["--epochz", "--epochs"]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--epochs", "0"], ["epochs", "0"]),
        (["--batch_size", "-5"], ["batch_size", "-5"]),
        (["--label_smoothing", "1.5"], ["label_smoothing is 1.5"]),
        (["--widths", "[32]"], ["widths is [32]"]),
        (["--augmentation.damage", "2"], ["augmentation.damage is 2"]),
        (["--seeds", "0"], ["seeds", "0"]),
        (["--only", "Adagrad"], ["'Adagrad'", "Adam, SGD, RMSprop"]),
        (["--optimizers.Adam.init_args.momentum", "0.9"], ["momentum", "betas"]),
        (["--optimizers.Adam.init_args.lr", "fast"], ["fast"]),
        (["--optimizers.Adam.init_args.lr=-1"], ["optimizers.Adam", "-1"]),
        (["--comparison", "it's"], ["comparison is", "it's"]),
        (["--schedules.SGD.warmup", "3"], ["warmup is 3"]),
        (["--schedules.SGD.decay", "steps"], ["steps", "cosine"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    flags: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        read(flags)
    assert exit_code.value.code == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in said), errors
    assert "Traceback" not in errors


def test_recipes_differ_by_what_makes_trainings_incomparable() -> None:
    _, text = read(["--epochs", "3"])
    _, other = read(
        ["--epochs", "4", "--only", "SGD", "--data_dir", "elsewhere", "--optimizers.SGD.init_args.lr", "0.5"]
    )
    assert differences(text, text) == []
    assert differences(text, other) == ["optimizers.SGD.init_args.lr is 0.23, there 0.5", "epochs is 3, there 4"]


def test_a_recipe_names_its_trainings() -> None:
    recipe, _ = read(["--seed", "4", "--seeds", "2", "--only", "SGD"])
    assert recipe.trainings() == {"SGD seed 4": ("SGD", 4), "SGD seed 5": ("SGD", 5)}
    assert list(read([])[0].trainings()) == ["Adam", "SGD", "RMSprop"]


def test_a_resumed_training_takes_no_other_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert (resumed(["--epochs", "3"]), resumed(["--resume"]), resumed(["--resume", "some-run"])) == (
        None,
        "",
        "some-run",
    )
    with pytest.raises(SystemExit) as exit_code:
        resumed(["--resume", "--epochs", "3"])
    assert exit_code.value.code == 2
    assert "leave out --epochs 3" in capsys.readouterr().err


def test_an_unknown_key_in_a_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.yaml").write_text((PROJECT / "config/train.yaml").read_text() + "momentum: 0.9\n")
    with pytest.raises(SystemExit) as exit_code:
        read(["--config", str(tmp_path / "odd.yaml")])
    assert exit_code.value.code == 2
    assert "momentum" in capsys.readouterr().err


def test_help_explains_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        read(["--help"])
    assert exit_code.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in Recipe.__dataclass_fields__:
        assert f"--{name}" in text
    assert "Passes over the training images." in text
