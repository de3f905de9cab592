"""Compare the challenger with the champion, and make it the champion if it passes; exit with 0 if so, with 1 if not.

python -m mnist_lightning.promote
python -m mnist_lightning.promote --force "the style matters more"    # promote it whatever the comparison says
python -m mnist_lightning.promote --history                           # who has decided what, when and why
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.common.arguments import reason
    from mnist_lightning.common.pictures import is_image
    from mnist_lightning.datasets.feedback import FeedbackError
    from mnist_lightning.datasets.mnist import MnistUnavailableError
    from mnist_lightning.datasets.samples import SampleError
    from mnist_lightning.evaluation.gate import GateConfig, GateError
    from mnist_lightning.evaluation.gate_report import print_checks
    from mnist_lightning.models.archive import ArchiveError
    from mnist_lightning.packaging.archiver import PackagingError
    from mnist_lightning.packaging.gating import GateRequest, run_gate
    from mnist_lightning.tracking import history, runs
    from mnist_lightning.tracking.history import Kind
    from mnist_lightning.tracking.runs import TrackingError
    from mnist_lightning.web.feedback import FOLDER

ERRORS = (
    *(TrackingError, PackagingError, ArchiveError, GateError, FeedbackError, SampleError, MnistUnavailableError),
    OSError,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        runs.connect(create=False)
        with runs.errors():
            if options.history:
                history.print_events()
                return 0
            return _promote(options)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _promote(options: argparse.Namespace) -> int:
    feedback = options.feedback or (FOLDER if any(map(is_image, FOLDER.rglob("*"))) else None)
    request = GateRequest(options.store, options.data, feedback, GateConfig.load(options.gate), options.force)
    event, verdict = run_gate(request)
    print_checks(verdict)
    print(f"{event.kind}: version {event.version}, weights {event.weights}: {event.reason}")
    if event.kind == Kind.REJECTION:
        return 1
    print("next:\n  .venv/bin/python -m mnist_lightning.serve --reload")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.promote", description=__doc__.splitlines()[0])
    parser.add_argument("--history", action="store_true", help="print all decisions instead")
    parser.add_argument("--force", type=reason, metavar="REASON", help="promote it in any case, and record why")
    parser.add_argument("--gate", type=Path, metavar="FILE", help="the margins (default: config/gate.yaml)")
    parser.add_argument(
        "--feedback",
        type=Path,
        metavar="FOLDER",
        help=f"folder of corrected pictures; those held out are read (default: {FOLDER}, if it has any)",
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of the archive (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
