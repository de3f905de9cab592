"""Serve the archive of a model store with TorchServe in the foreground.

python -m mnist_lightning.serve
python -m mnist_lightning.serve --port 9000
python -m mnist_lightning.serve --token-file token
python -m mnist_lightning.serve --allow-origin https://example.com    # whose pages may read answers
python -m mnist_lightning.serve --reload            # make a running server load the current archive
python -m mnist_lightning.serve --challenger new.mar --shadow 0.1
python -m mnist_lightning.serve --challenger new.mar --canary 0.05

On SIGHUP, which --reload sends, the server loads the current archive without dropping a request.
"""

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import origin, positive_int, share
from mnist_lightning.common.constants import ARCHIVE, LOOPBACK
from mnist_lightning.common.signals import interrupt_once
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.challenger import Challenger, Trial
from mnist_lightning.serving.config import DEFAULT_PROFILE, PROFILES, probe_url
from mnist_lightning.serving.health import is_ready
from mnist_lightning.serving.model_store import STORE_HELP, choose_store
from mnist_lightning.serving.reload import ReloadError, reload_or_report, report, request_reload
from mnist_lightning.serving.torchserve import DEFAULT_PORT, Server, ServerError, running

MIN_UPTIME = 10.0  # seconds; a TorchServe that ends sooner would end again
POLL_SECONDS = 0.2
RETRY_SECONDS, MAX_RETRIES = 5.0, 60  # of starting TorchServe again, such as while the disk is full
OLD_PROFILES = {"crowd": "throughput"}  # accepted for one release


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.challenger) != bool(options.shadow or options.canary):
        parser.error("--challenger FILE needs --shadow SHARE or --canary SHARE, and these need --challenger FILE")
    try:
        if options.check:
            return _check(options)
        if options.reload:
            archive = choose_store(options.store) / ARCHIVE
            print(f"served: weights {request_reload(archive, options.port, options.token_file)}")
            return 0
        return _serve(options)
    except (ServerError, ReloadError, tokens.TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _check(options: argparse.Namespace) -> int:
    """Ask a running server of this user for a prediction; return 0 or 1."""
    if (server := pid_file.find(options.port)) is not None:
        return int(not is_ready(server.url, token=server.token(options.token_file)))
    url = probe_url(options.host, _port(options))
    return int(not is_ready(url, token=tokens.resolve_token(options.token_file)))


def _port(options: argparse.Namespace) -> int:
    return DEFAULT_PORT if options.port is None else int(options.port)


def _serve(options: argparse.Namespace) -> int:
    """Serve until a signal ends it, and start TorchServe again if it ends by itself; return 0 or 1."""
    reload_requested = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: reload_requested.set())
    interrupt_once()
    port = _port(options)
    try:
        with pid_file.registered(port, probe_url(options.host, port), options.token_file):
            retries = 0  # the first start must succeed
            trial = Trial(_challenger(options))
            while True:
                try:
                    lasted = _run(options, port, reload_requested, trial)
                except ServerError as error:
                    if not retries:
                        raise
                    retries -= 1
                    report(f"error: {error}; next attempt in {RETRY_SECONDS:.0f} s")
                    time.sleep(RETRY_SECONDS)
                else:
                    if not lasted:
                        return 1
                    retries = MAX_RETRIES
    except KeyboardInterrupt:
        report("stopped")
        return 0


def _run(options: argparse.Namespace, port: int, reload_requested: threading.Event, trial: Trial) -> bool:
    """Run TorchServe until it ends by itself; whether it lasted long enough to be started again."""
    settings = {name: getattr(options, name) for name in ("workers", "profile", "token_file", "reference")}
    settings["origins"] = options.allow_origin
    with running(choose_store(options.store), port, options.host, challenger=trial.challenger, **settings) as server:
        started = time.monotonic()
        report(f"ready: {server.url}/predictions/mnist", sys.stdout)
        code = _supervise(server, options.store, reload_requested, trial)
    lasted = time.monotonic() - started >= MIN_UPTIME
    report(f"error: TorchServe exited with code {code}{'; it starts again' if lasted else ' soon after its start'}")
    return lasted


def _supervise(server: Server, store: Path | None, reload_requested: threading.Event, trial: Trial) -> int:
    """Load the archive again whenever that is requested, until TorchServe ends; return its exit code.

    Reports when the canary ends.
    """
    while (code := server.process.poll()) is None:
        if reason := trial.find_end(server.folder):
            report(f"warning: the canary has ended: {reason}")
        if reload_requested.wait(POLL_SECONDS):
            reload_requested.clear()
            reload_or_report(choose_store(store) / ARCHIVE, server.folder)
    return code


def _challenger(options: argparse.Namespace) -> Challenger | None:
    return Challenger(options.challenger, options.shadow, options.canary) if options.challenger else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.serve", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--port",
        type=int,
        help="inference port; management and metrics use the next two, gRPC those 1010 and 1009 below "
        f"(default: {DEFAULT_PORT}; for --check and --reload, that of this user's running server)",
    )
    parser.add_argument("--store", type=Path, help=STORE_HELP)
    parser.add_argument(
        "--host", default=LOOPBACK, help="IPv4 address of the inference port; the others stay on loopback (%(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes that predict (default: three for four cores, as memory allows)",
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
    parser.add_argument(
        "--challenger", type=Path, metavar="FILE", help="archive whose model is tried beside the served one"
    )
    parser.add_argument(
        "--shadow",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the batches that the challenger reads too, after they are answered, to be compared in metrics",
    )
    parser.add_argument(
        "--canary",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the clients that get the challenger's answers, until it fails or is too slow",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="distributions that replace the archive's in measuring drift, as drift --record writes them",
    )
    parser.add_argument(
        "--allow-origin",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let the pages of this site, such as https://example.com, read answers (CORS); repeat it for several",
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
