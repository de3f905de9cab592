"""Make the previous champion the champion again, archive it, and reload the running server.

python -m mnist_lightning.rollback --reason "misreads sevens"
python -m mnist_lightning.rollback --history       # who made what the champion, when and why

A second rollback undoes the first.
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.common import tokens
    from mnist_lightning.common.arguments import reason
    from mnist_lightning.common.tokens import TokenError
    from mnist_lightning.packaging import promotion
    from mnist_lightning.packaging.archiver import PackagingError
    from mnist_lightning.serving import pid_file
    from mnist_lightning.serving.reload import ReloadError, request_reload
    from mnist_lightning.tracking import history, runs
    from mnist_lightning.tracking.runs import TrackingError


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        runs.connect(create=False)
        with runs.errors():
            if options.history:
                history.print_events()
                return 0
            archive = promotion.roll_back(options.store, options.reason)
        print(f"champion: {archive}")
        if pid_file.find(options.port) is None:
            print("no server runs that could load it", file=sys.stderr)
        else:
            print(f"served: weights {request_reload(archive, options.port, options.token_file)}")
    except (TrackingError, PackagingError, ReloadError, TokenError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.rollback", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--reason", type=reason, default="none given", help="recorded in the history (default: %(default)s)"
    )
    parser.add_argument("--history", action="store_true", help="print the changes of the champion, and change nothing")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of the archive (%(default)s)")
    parser.add_argument("--port", type=int, help="of the server that loads it (default: the lowest of this user)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", default=tokens.default_file(), help="with the server's token, if any"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
