"""Archive a run's best checkpoint as model_store/mnist.mar for TorchServe, and describe it in mnist.json.

python -m mnist_lightning.package                     # the champion
python -m mnist_lightning.package --run RUN_ID
python -m mnist_lightning.package --comparison NAME   # promote the best run of a shared comparison
python -m mnist_lightning.package --archive model_store/mnist.mar   # again, with the code of this release
python -m mnist_lightning.package --parts build       # also copy the archive's content to build/
python -m mnist_lightning.package --export onnx       # also write model_store/mnist.onnx, for other runtimes
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.common.constants import ARCHIVE
    from mnist_lightning.models.archive import ArchiveError
    from mnist_lightning.packaging import promotion
    from mnist_lightning.packaging.archiver import PackagingError, copy_model
    from mnist_lightning.tracking import registry, runs
    from mnist_lightning.tracking.runs import TrackingError
    from mnist_lightning.training.recipe_yaml import RecipeError


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _package(options)
    except (TrackingError, PackagingError, ArchiveError, RecipeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _package(options: argparse.Namespace) -> None:
    archive = options.store / ARCHIVE
    if options.archive:
        archive = promotion.archive_again(options.archive, options.store, options.parts)
        print(archive)
    else:
        runs.connect(create=False)
        with runs.errors():
            _package_run(options)
    if options.export:
        print(copy_model(archive))


def _package_run(options: argparse.Namespace) -> None:
    if options.comparison:
        promotion.promote_shared(options.comparison, options.store, options.parts)
    else:
        print(promotion.archive_run(options.run or registry.champion(), options.store, options.parts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.package", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="RUN_ID", help="archive this run instead of the champion")
    which.add_argument("--comparison", metavar="NAME", help="first make the best run of this comparison the champion")
    which.add_argument("--archive", type=Path, metavar="FILE", help="archive this archive's network again")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of the archive (%(default)s)")
    parser.add_argument("--parts", type=Path, metavar="DIR", help="also copy the archive's content to DIR")
    parser.add_argument(
        "--export", choices=["onnx"], help="also write the model alone, as mnist.onnx beside the archive"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
