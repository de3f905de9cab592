"""The command line of `train` and `lifecycle`: a recipe file or a recorded recipe, overridden by flags."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import yaml

from mnist_lightning.common.paths import resource
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.training import recipe_yaml, resume
from mnist_lightning.training.config import Recipe, recipe_parser, to_yaml
from mnist_lightning.training.data import CHAMPION, resolve_champion
from mnist_lightning.training.recipe_yaml import RecipeError, Values
from mnist_lightning.training.resume import ResumeError, Workspace

SHIPPED_RECIPES = ("train.yaml", "quick.yaml", "small.yaml", "record.yaml", "retrain.yaml")
CHALLENGER, FEEDBACK, FEEDBACK_VERSION = ("challenger",), ("feedback",), ("feedback_version",)
FORMER_FLAGS = {"--like": "--from-run"}
RETRAIN = "retrain.yaml"  # the default recipe of trainings that start from a network
CONFIG_HELP = (
    f"Recipe file: a path, or one of {', '.join(SHIPPED_RECIPES)}. (default: train.yaml; with --from, {RETRAIN})"
)
FROM_HELP = (
    "Start from the weights of the champion (--from champion), of a run in MLflow, or of an archive or checkpoint."
)
FROM_RUN_HELP = "Start from the recipe of a run in MLflow instead of a file."
RESUME_HELP = (
    "Resume the training that was interrupted last in this folder, or that of the comparison named. Allows no other "
    "flags."
)


@dataclass(frozen=True)
class TrainingRequest:
    """A recipe, the same as YAML text, and the workspace of the interrupted training to resume, if any."""

    recipe: Recipe
    recipe_yaml: str
    workspace: Workspace | None = None


def parse_request(arguments: Sequence[str] | None = None) -> TrainingRequest:
    """The training that a command line requests; each value of a Recipe has a flag, nested ones with dots.

    As with argparse, an error ends the process after a message: with code 2 for flags or a recipe file that are not
    valid, with code 1 for a recorded recipe or an interrupted training that is missing or cannot be used.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    arguments = [_current_flag(argument) for argument in given]
    _warn_of_former_names({old: new for old, new in FORMER_FLAGS.items() if arguments != given})
    _print_help(arguments)
    interrupted, arguments = _parse(_add_resume, arguments)
    if interrupted.resume is not None and arguments:
        _fail(f"--resume takes the recipe that the training was started with; omit {' '.join(arguments)}", 2)
    sources, flags = _parse(_add_config, arguments)
    try:
        if interrupted.resume is not None:
            return _interrupted(interrupted.resume)
        recorded = _recorded(sources.from_run) if sources.from_run else None
    except (runs.TrackingError, RecipeError, ResumeError) as error:
        _fail(str(error), 1)
    try:
        base = recorded or _read_file(find_recipe(sources.config or (RETRAIN if sources.start_from else None)))
        return _request(_merge(base, _start(sources.start_from) | _parse_flags(flags)))
    except RecipeError as error:
        _fail(f"{error}\nsee: python -m mnist_lightning.train --help", 2)


def find_recipe(name: str | None = None) -> Path:
    """The file of a recipe: `name` from the current folder, or else a recipe that ships with the project.

    Raises RecipeError if there is neither.
    """
    path = Path(name or SHIPPED_RECIPES[0])
    if name and path.is_file():
        return path
    if path.name in SHIPPED_RECIPES and path.parent in (Path(), Path("config")):
        return resource(f"config/{path.name}")
    raise RecipeError(f"--config is {name}: no such file, nor one of the recipes {', '.join(SHIPPED_RECIPES)}")


def _print_help(arguments: Sequence[str]) -> None:
    """End the process after printing help, if that is requested: of the verb, or of an optimizer's arguments."""
    for place, argument in enumerate(arguments):
        if argument in ("-h", "--help") or argument.partition("=")[0].endswith(".help"):
            parser = recipe_parser()
            parser.usage = (
                f"{parser.prog} [--config FILE | --from-run RUN_ID | --resume [COMPARISON_RUN_ID]] "
                "[--from champion | --from RUN_ID | --from FILE] [--KEY VALUE ...]"
            )
            _add_config(parser)
            _add_resume(parser)
            parser.parse_args(arguments[place : place + 2])


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    parser.add_argument("--from", dest="start_from", metavar="WEIGHTS", help=FROM_HELP)
    parser.add_argument("--from-run", metavar="RUN_ID", help=FROM_RUN_HELP)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", nargs="?", const="", metavar="COMPARISON_RUN_ID", help=RESUME_HELP)


def _parse(
    add: Callable[[argparse.ArgumentParser], None], arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """The flags that `add` adds to a parser, and the arguments that remain."""
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.train", add_help=False, allow_abbrev=False)
    add(parser)
    return parser.parse_known_args(arguments)


def _current_flag(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"{FORMER_FLAGS.get(name, name)}{equals}{value}"


def _read_file(path: Path) -> Values:
    try:
        values, former = recipe_yaml.replace_former_keys(recipe_yaml.parse_as_written(path.read_text()))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    _warn_of_former_names(former, f"{path}: ")
    return values


def _parse_flags(flags: Sequence[str]) -> Values:
    """The values of `--key.path VALUE` and `--key.path=VALUE`; scalars stay strings, which the recipe converts."""
    leaves: dict[recipe_yaml.KeyPath, object] = {}
    remaining = list(flags)
    while remaining:
        flag = remaining.pop(0)
        name, equals, value = flag.partition("=")
        if not name.startswith("--"):
            raise RecipeError(f"{flag!r} is not a flag")
        path = tuple(name.removeprefix("--").split("."))
        if equals:
            leaves[path] = _parse_collection(value)
        elif path == CHALLENGER and remaining[:1] not in (["true"], ["false"]):
            leaves[path] = "true"
        elif remaining:
            leaves[path] = _parse_collection(remaining.pop(0))
        else:
            raise RecipeError(f"{flag} has no value")
    if FEEDBACK in leaves:
        leaves.setdefault(FEEDBACK_VERSION, None)  # that of the folder as it is
    values, former = recipe_yaml.replace_former_keys(recipe_yaml.unflatten(leaves))
    _warn_of_former_names({f"--{old}": f"--{new}" for old, new in former.items()})
    return values


def _start(weights: str | None) -> Values:
    """The values of `--from`; the champion's are those of its run, so that the training can be repeated."""
    if weights is None:
        return {}
    return {"start_from": resolve_champion() if weights == CHAMPION else weights}


def _parse_collection(text: str) -> object:
    """The list or mapping of a YAML text; any other text as it is."""
    try:
        return yaml.safe_load(text) if text.startswith(("[", "{")) else text
    except yaml.YAMLError:
        return text


def _merge(base: Values, override: Values) -> Values:
    """`base` with the leaves of `override`."""
    return recipe_yaml.unflatten({**dict(recipe_yaml.flatten(base)), **dict(recipe_yaml.flatten(override))})


def _request(values: Values, workspace: Workspace | None = None) -> TrainingRequest:
    return TrainingRequest(Recipe.from_values(values), to_yaml(values), workspace)


def _recorded(run_id: str) -> Values:
    """The recipe that a run was made with, without its comparison; on stderr, how the environment differs."""
    runs.connect(create=False)
    try:
        values = recipe_yaml.parse(runs.load_text(run_id, runs.RECIPE)) | {"comparison": None}
        Recipe.from_values(values)
    except RecipeError as error:
        raise RecipeError(f"the recipe of run {run_id} cannot be used: {error}") from error
    _note_changes(run_id)
    return values


def _interrupted(comparison_id: str) -> TrainingRequest:
    """The newest interrupted training of this folder, of that comparison unless it is "", that MLflow knows."""
    workspaces = [one for one in resume.interrupted() if comparison_id in ("", one.comparison_id)]
    if workspaces:
        runs.connect(create=False)
    workspace = next((one for one in workspaces if runs.exists(one.comparison_id)), None)
    if workspace is None:
        which = f" of comparison {comparison_id}" if comparison_id else ""
        folder = resume.FOLDER.resolve()
        raise ResumeError(
            f"nothing to resume: {folder} contains no interrupted training{which} of MLflow at {runs.tracking_uri()}"
        )
    try:
        request = _request(recipe_yaml.parse(workspace.recipe_yaml), workspace)
    except RecipeError as error:
        raise RecipeError(f"{workspace.folder / resume.RECIPE} cannot be used: {error}") from error
    _note_changes(workspace.comparison_id)
    print(f"resuming comparison {workspace.comparison_id}", file=sys.stderr)
    return request


def _note_changes(run_id: str) -> None:
    recorded = runs.tags(run_id)
    for name, value in provenance.tags().items():
        if recorded.get(name) != value:
            print(f"note: {name} is {value}; it was {recorded.get(name, 'unknown')} for run {run_id}", file=sys.stderr)


def _warn_of_former_names(former: Mapping[str, str], where: str = "") -> None:
    for old, new in former.items():
        print(f"warning: {where}{old} is now {new}; the next release will not accept {old}", file=sys.stderr)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
