"""Serve the archive of a model store with TorchServe in the foreground.

python -m mnist_lightning.serve
python -m mnist_lightning.serve --port 9000
python -m mnist_lightning.serve --token-file token
python -m mnist_lightning.serve --reload            # make a running server load the current archive

On SIGHUP, which --reload sends, the server loads the current archive without dropping a request.
"""

import argparse
import signal
import sys
from pathlib import Path

from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import positive_int
from mnist_lightning.common.constants import ARCHIVE, LOOPBACK
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.config import DEFAULT_PROFILE, PROFILES
from mnist_lightning.serving.health import is_ready
from mnist_lightning.serving.reload import ReloadError, ReloadHandler, request_reload
from mnist_lightning.serving.torchserve import DEFAULT_PORT, ServerError, running

OLD_PROFILES = {"crowd": "throughput"}  # accepted for one release


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            token = tokens.resolve_token(options.token_file)
            return int(not is_ready(f"http://{LOOPBACK}:{options.port}", token=token))
        if options.reload:
            print(f"served: weights {request_reload(options.store / ARCHIVE, options.port, options.token_file)}")
            return 0
        return _serve(options)
    except (ServerError, ReloadError, tokens.TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(options: argparse.Namespace) -> int:
    """Serve until a signal or TorchServe's own exit ends it; return 0 or 1."""
    handler = ReloadHandler(options.store / ARCHIVE)
    signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the server, as Ctrl-C does
    settings = {"workers": options.workers, "profile": options.profile, "token_file": options.token_file}
    try:
        with (
            pid_file.registered(options.port),
            running(options.store, options.port, options.host, **settings) as server,
        ):
            handler.ready(server.folder)
            print(f"ready: {server.url}/predictions/mnist", flush=True)
            code = server.process.wait()
            print(f"error: TorchServe exited with code {code}", file=sys.stderr)
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
        help="inference port; management and metrics use the next two, gRPC those 1010 and 1009 below (%(default)s)",
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of mnist.mar (%(default)s)")
    parser.add_argument(
        "--host", default=LOOPBACK, help="address of the inference port; the others stay on loopback (%(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes that predict (default: one for two cores, as memory allows)",
    )
    parser.add_argument(
        "--profile",
        type=_profile,
        choices=list(PROFILES),
        default=DEFAULT_PROFILE,
        help="predict in batches, or each request at once (%(default)s)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        default=tokens.default_file(),
        help="require this file's token, 'Authorization: Bearer TOKEN', and answer 401 without it "
        f"(default: the file that {tokens.TOKEN_FILE_VARIABLE} names, if any)",
    )
    parser.add_argument("--check", action="store_true", help="ask a running server for a prediction; exit with 0 or 1")
    parser.add_argument(
        "--reload", action="store_true", help="make a running server load the archive of --store, and wait for it"
    )
    return parser


def _profile(name: str) -> str:
    """Return a profile's current name."""
    if name not in OLD_PROFILES:
        return name
    new = OLD_PROFILES[name]
    print(f"warning: --profile {name} is now {new}; the next release will not accept {name}", file=sys.stderr)
    return new


if __name__ == "__main__":
    sys.exit(main())
