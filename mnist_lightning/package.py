"""Archive the best run's checkpoint as model_store/mnist.mar, ready for TorchServe, and describe it in mnist.json.

python -m mnist_lightning.package                     # the champion
python -m mnist_lightning.package --run RUN_ID
python -m mnist_lightning.package --comparison NAME   # choose the champion of a comparison that machines share
python -m mnist_lightning.package --parts build       # also copy what goes into the archive to build/
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.packaging import promotion
from mnist_lightning.packaging.archiver import PackagingError
from mnist_lightning.tracking import runs


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        runs.connect(create=False)
        if options.comparison:
            promotion.promote_shared(options.comparison, options.store, options.parts)
        else:
            print(promotion.archive_run(options.run or runs.champion(), options.store, options.parts))
    except (runs.TrackingError, PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.package", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="RUN_ID", help="archive this run's best checkpoint, not the champion's")
    which.add_argument("--comparison", metavar="NAME", help="make the best of this comparison the champion first")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of the archive (%(default)s)")
    parser.add_argument("--parts", type=Path, metavar="DIR", help="also copy the archive's parts to DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
