"""A page to draw digits on, and what the server reads in them.

python -m mnist_lightning.draw
python -m mnist_lightning.draw --url http://127.0.0.1:9000 --token-file token
python -m mnist_lightning.draw --serve
"""

import argparse
import contextlib
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from mnist_lightning import client
from mnist_lightning.common import tokens
from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.serving.torchserve import ServerError, running, usual_port
from mnist_lightning.web.app import Rooms, application

DEFAULT_PORT = 8090


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends both servers as Ctrl-C does
    try:
        with _listener(options.host, options.port) as listener, _model_server(options) as (url, token):
            app = application(Rooms(url, options.feedback, options.timeout, token))
            address = "http://{}:{}/".format(*listener.getsockname())
            print(f"draw: {address}", flush=True)
            if not options.no_browser:
                # Beside the server, as some browsers run in the terminal until they are left.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            settings = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=1)
            uvicorn.Server(settings).run([listener])
    except (ServerError, tokens.TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.draw", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default=client.DEFAULT_URL, help="the server that reads (%(default)s)")
    parser.add_argument(
        "--serve", action="store_true", help="start that server as well, with the archive of --store, and stop it"
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the page; 0 for any (%(default)s)")
    parser.add_argument(
        "--host", default=LOOPBACK, help="address that the page listens on: this machine's in its network (%(default)s)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=client.TOKEN_HELP)
    parser.add_argument(
        "--feedback",
        type=Path,
        default=Path("data/feedback"),
        metavar="FOLDER",
        help="where corrections are kept, with consent (%(default)s)",
    )
    return parser


def _listener(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on, before the browser is opened. Raises ServerError."""
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise ServerError(f"port {port} on {host} cannot be had: {error}; choose another with --port N") from error
    # Every connection has it from here; without it an answer's body waits 40 ms for its head to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _model_server(options: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """The address and the token of the server that reads, which is there as long as the block where it is ours."""
    if not options.serve:
        yield options.url, tokens.chosen(options.token_file)
        return
    guard = options.token_file or tokens.default_file()
    with running(options.store, usual_port(), token_file=guard) as server:
        yield server.url, server.token


if __name__ == "__main__":
    sys.exit(main())
