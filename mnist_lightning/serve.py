"""TorchServe in the foreground, with the archive of model_store, on loopback.

python -m mnist_lightning.serve
python -m mnist_lightning.serve --port 9000
python -m mnist_lightning.serve --token-file token
python -m mnist_lightning.serve --reload            # a server that runs takes the archive that is there by now

On SIGHUP, which is what --reload sends, new weights take the place of those that are served; no request is lost.
"""

import argparse
import signal
import sys
from pathlib import Path

from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import positive
from mnist_lightning.common.constants import ARCHIVE, LOOPBACK
from mnist_lightning.serving.config import PROFILES
from mnist_lightning.serving.health import answers
from mnist_lightning.serving.reload import ReplacementError, ask_for, replace, served_by
from mnist_lightning.serving.torchserve import DEFAULT_PORT, ServerError, running


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        if options.check:
            return int(not answers(f"http://{LOOPBACK}:{options.port}", token=tokens.chosen(options.token_file)))
        if options.reload:
            print(f"served: weights {ask_for(options.store / ARCHIVE, options.port, options.token_file)}")
            return 0
        chosen = {"workers": options.workers, "profile": options.profile, "token_file": options.token_file}
        with running(options.store, options.port, options.host, **chosen) as server:
            served = served_by(server.folder)
            signal.signal(signal.SIGHUP, lambda *_: _replace(options.store / ARCHIVE, served))
            print(f"ready: {server.url}/predictions/mnist", flush=True)
            code = server.process.wait()
            print(f"error: TorchServe ended by itself with exit code {code}", file=sys.stderr)
            return 1
    except (ServerError, ReplacementError, tokens.TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.serve", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="inference; management and metrics are the next two, gRPC's are 1010 and 1009 below (%(default)s)",
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument(
        "--host", default=LOOPBACK, help="address that inference listens on; all else stays on loopback (%(default)s)"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes that predict (one for two cores, as memory allows)"
    )
    parser.add_argument(
        "--profile",
        choices=list(PROFILES),
        default="crowd",
        help="answer in batches, or each request at once (%(default)s)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        default=tokens.default_file(),
        help=f"ask for this file's token: 'Authorization: Bearer TOKEN', or 401 "
        f"(none, or the file that {tokens.FILE} names)",
    )
    parser.add_argument("--check", action="store_true", help="only ask a running server: exit code 0 if it predicts")
    parser.add_argument(
        "--reload", action="store_true", help="only have a running server take the archive of --store, and wait for it"
    )
    return parser


def _replace(archive: Path, served: Path) -> None:
    try:
        replace(archive, served)
    except ReplacementError as error:
        print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
