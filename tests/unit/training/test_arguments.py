"""The command line of a training."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning.common.paths import resource
from mnist_lightning.tracking import runs
from mnist_lightning.training import arguments, recipe_yaml, resume
from mnist_lightning.training.arguments import find_recipe, parse_request
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.recipe_yaml import RecipeError, differences
from tests.unit.training.test_recipe_yaml import CURRENT, FORMER


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without any recipe."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the recipe that MLflow has of every run."""

    def set_recipe(text: str) -> None:
        monkeypatch.setattr(runs, "connect", lambda create: None)
        monkeypatch.setattr(runs, "exists", lambda run_id: True)
        monkeypatch.setattr(runs, "load_text", lambda run_id, name: text)
        monkeypatch.setattr(runs, "tags", lambda run_id: {"git_commit": "older"})

    return set_recipe


def fails(flags: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and stderr of flags that are not valid."""
    with pytest.raises(SystemExit) as exit_code:
        parse_request(flags)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return int(str(exit_code.value.code)), captured.err


def test_without_flags_the_shipped_recipe_is_taken() -> None:
    request = parse_request([])
    assert list(request.recipe.optimizers) == ["Adam", "SGD", "RMSprop"]
    assert request.workspace is None
    assert "class_path: torch.optim.RMSprop" in request.recipe_yaml


@pytest.mark.parametrize("name", ["config/quick.yaml", "quick.yaml"])
def test_shipped_recipes_are_found_from_any_folder(name: str) -> None:
    assert find_recipe(name) == resource("config/quick.yaml")
    assert parse_request(["--config", name]).recipe.epochs == 1


def test_a_file_of_the_current_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text(resource("config/quick.yaml").read_text().replace("epochs: 1", "epochs: 5"))
    assert parse_request(["--config", "quick.yaml"]).recipe.epochs == 5
    assert parse_request(["--config", "config/quick.yaml"]).recipe.epochs == 1


def test_an_absent_file_is_an_error() -> None:
    for name in ("nowhere.yaml", "elsewhere/quick.yaml"):
        with pytest.raises(RecipeError, match=rf"{name}: no such file, nor one of the recipes train\.yaml, quick"):
            find_recipe(name)


def test_flags_override_the_file() -> None:
    flags = ["--epochs", "2", "--optimizers.Adam.init_args.lr", "0.002", "--only=SGD", "--widths", "[8, 16]"]
    request = parse_request([*flags, "--augmentation", "{affine: 0.5}", "--comparison", "2024", "--limit", "null"])
    recipe = request.recipe
    assert (recipe.epochs, recipe.only, recipe.widths, recipe.comparison, recipe.limit) == (
        *(2, "SGD", [8, 16], "2024", None),
    )
    assert (recipe.augmentation.affine, recipe.augmentation.corruption) == (0.5, 0.3)
    assert recipe.optimizers["Adam"].keywords["lr"] == 0.002  # type: ignore[attr-defined]
    assert recipe.optimizers["SGD"].keywords["nesterov"] is True  # type: ignore[attr-defined]
    assert "lr: 0.002" in request.recipe_yaml


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochz", "3"], "epochz is not a key of recipes; allowed are .* epochs"),
        (["--epochs", "0"], "epochs is '0'"),
        (["--label_smoothing", "1.5"], "label_smoothing is 1.5"),
        (["--optimizers.Adam.init_args.momentum", "0.9"], "momentum is not a key"),
        (["--optimizers.Adam.init_args.lr=-1"], "Adam.init_args.lr is '-1'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--epochs"], "--epochs has no value"),
        (["epochs"], "'epochs' is not a flag"),
        (["--resume", "--epochs", "3"], "omit --epochs 3"),
        (["--resume", "some-run", "--config", "x"], "omit --config x"),
    ],
)
def test_invalid_flags_end_with_code_2(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, errors = fails(flags, capsys)
    assert code == 2
    assert errors.startswith("error: ")
    assert re.search(message, errors)


def test_an_invalid_file_ends_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.yaml").write_text(resource("config/train.yaml").read_text() + "momentum: 0.9\n")
    code, errors = fails(["--config", "odd.yaml"], capsys)
    assert (code, "momentum is not a key of recipes" in errors) == (2, True)


def test_former_names_in_a_file_are_accepted_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "former.yaml").write_text(FORMER)
    request = parse_request(["--config", "former.yaml"])
    assert differences(request.recipe_yaml, parse_with(CURRENT, tmp_path)) == []
    errors = capsys.readouterr().err
    assert "warning: former.yaml: calm is now finetune_fraction" in errors
    assert "warning: former.yaml: augmentation.pens is now augmentation.stroke_width" in errors
    assert len(errors.splitlines()) == 6


def parse_with(text: str, folder: Path) -> str:
    (folder / "current.yaml").write_text(text)
    return parse_request(["--config", "current.yaml"]).recipe_yaml


@pytest.mark.parametrize(
    ("flags", "key", "warning"),
    [
        (["--calm", "0.3"], "finetune_fraction", "--calm is now --finetune_fraction"),
        (["--averaging=0.3"], "ema_window", "--averaging is now --ema_window"),
        (["--augmentation.pens", "0.3"], "stroke_width", "--augmentation.pens is now --augmentation.stroke_width"),
        (["--augmentation.habits", "0.3"], "regional_variants", "now --augmentation.regional_variants"),
        (["--augmentation.moves", "0.3"], "affine", "now --augmentation.affine"),
        (["--augmentation={damage: 0.3}"], "corruption", "now --augmentation.corruption"),
    ],
)
def test_former_flags_are_accepted_with_a_warning(
    flags: list[str], key: str, warning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = parse_request(flags).recipe
    assert {**vars(recipe), **vars(recipe.augmentation)}[key] == 0.3
    assert warning in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--from-run", "some-run"], ["--like", "some-run"], ["--like=some-run"]])
def test_a_recorded_recipe_is_the_start_of_another_training(
    flags: list[str], recorded: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(recipe_yaml.with_values(CURRENT, comparison="shared"))
    recipe = parse_request([*flags, "--epochs", "1"]).recipe
    assert (recipe.only, recipe.seed, recipe.widths, recipe.epochs) == ("SGD", 4, [8, 16], 1)
    assert recipe.comparison is None  # a new comparison, unless a flag names one
    errors = capsys.readouterr().err
    assert "it was older for run some-run" in errors
    assert ("warning: --like is now --from-run" in errors) == ("--like" in flags[0])


def test_a_recorded_recipe_with_former_keys_is_used_without_a_warning(
    recorded: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(FORMER)
    assert parse_request(["--from-run", "some-run"]).recipe.finetune_fraction == 0.25
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "epochs: none", CURRENT + "momentum: 0.9\n"])
def test_a_recorded_recipe_that_cannot_be_used_ends_with_code_1(
    text: str, recorded: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(text)
    code, errors = fails(["--from-run", "some-run"], capsys)
    assert (code, errors.startswith("error: the recipe of run some-run cannot be used: ")) == (1, True)
    (tmp_path / "checkpoints/some-run-1").mkdir(parents=True)
    (tmp_path / "checkpoints/some-run-1/recipe.yaml").write_text(text)
    code, errors = fails(["--resume"], capsys)
    assert (code, "checkpoints/some-run-1/recipe.yaml cannot be used: " in errors) == (1, True)


def test_the_newest_interrupted_training_is_resumed(recorded: Callable[[str], None]) -> None:
    recorded("")
    for comparison_id, text in (("older", FORMER), ("newer", CURRENT)):
        folder = resume.FOLDER / f"{comparison_id}-1"
        folder.mkdir(parents=True)
        (folder / resume.RECIPE).write_text(text)
    newest = parse_request(["--resume"])
    assert newest.workspace is not None
    assert newest.workspace.comparison_id == "newer"
    older = parse_request(["--resume", "older"])  # of the release before keys were renamed
    assert older.workspace is not None
    assert older.workspace.comparison_id == "older"
    assert older.recipe_yaml == newest.recipe_yaml


def test_without_an_interrupted_training_there_is_nothing_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, errors = fails(["--resume", "some-run"], capsys)
    assert (code, "nothing to resume" in errors, "of comparison some-run" in errors) == (1, True, True)
    assert list(tmp_path.iterdir()) == []  # no store, no folder


def test_help_explains_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        parse_request(["--epochs", "3", "--help"])
    assert exit_code.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in (*Recipe.__dataclass_fields__, "config", "from-run", "resume"):
        assert f"--{name}" in text
    assert "Passes over the training images." in text
    assert arguments.FROM_RUN_HELP in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (None, None, False)),
        (["--challenger"], (None, None, True)),
        (["--challenger", "--epochs", "1"], (None, None, True)),
        (["--challenger", "false"], (None, None, False)),
        (["--feedback", "corrected"], (Path("corrected"), None, True)),
        (["--from", "best.ckpt"], (None, "best.ckpt", False)),
        (["--from=best.ckpt", "--feedback=corrected"], (Path("corrected"), "best.ckpt", True)),
    ],
)
def test_feedback_weights_and_challenger(flags: list[str], expected: tuple[Path | None, str | None, bool]) -> None:
    recipe = parse_request(flags).recipe
    assert (recipe.feedback, recipe.start_from, recipe.makes_challenger) == expected


def test_a_training_that_starts_from_weights_has_a_recipe_of_its_own() -> None:
    assert parse_request(["--from", "best.ckpt"]).recipe.epochs == 1
    assert parse_request(["--from", "best.ckpt", "--config", "train.yaml"]).recipe.epochs == 7
    assert parse_request([]).recipe.epochs == 7


def test_the_champion_s_weights_are_recorded_as_those_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "resolve_champion", lambda: "run-of-the-champion")
    request = parse_request(["--from", "champion"])
    assert request.recipe.start_from == "run-of-the-champion"
    assert "start_from: run-of-the-champion" in request.recipe_yaml


def test_feedback_that_is_named_again_may_have_changed(recorded: Callable[[str], None]) -> None:
    recorded(recipe_yaml.with_values(CURRENT, feedback="corrected", feedback_version="abc"))
    assert parse_request(["--from-run", "some-run"]).recipe.feedback_version == "abc"
    assert parse_request(["--from-run", "some-run", "--feedback", "corrected"]).recipe.feedback_version is None


@pytest.mark.parametrize(("share", "value"), [("1", "1.0"), ("-0.1", "-0.1"), ("much", "'much'")])
def test_the_share_of_feedback_is_a_fraction(share: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_request(["--feedback_share", share])
    assert ended.value.code == 2
    assert f"feedback_share is {value}; it must be " in capsys.readouterr().err
