"""Open a page to draw digits on, which shows the server's predictions.

python -m mnist_lightning.draw
python -m mnist_lightning.draw --url http://127.0.0.1:9000 --token-file token
python -m mnist_lightning.draw --serve
"""

import argparse
import contextlib
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from mnist_lightning.client import DEFAULT_URL, TOKEN_HELP
from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import seconds
from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.common.signals import interrupt_once
from mnist_lightning.serving.model_store import STORE_HELP, choose_store
from mnist_lightning.serving.torchserve import ServerError, default_or_free_port, running
from mnist_lightning.web.app import Settings, create_app
from mnist_lightning.web.feedback import FOLDER

DEFAULT_PORT = 8090


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    options = _parser().parse_args(arguments)
    interrupt_once()
    try:
        with _listen(options.host, options.port) as listener, _model_server(options) as (url, token):
            app = create_app(Settings(url, options.feedback, options.timeout, token))
            host, port = listener.getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
            print(f"draw: {address}", flush=True)
            if not options.no_browser:
                # In a thread, because text browsers occupy the terminal until they are closed.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=1)
            uvicorn.Server(config).run([listener])
    except (ServerError, tokens.TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.draw", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default=DEFAULT_URL, help="URL of the model server (%(default)s)")
    parser.add_argument("--serve", action="store_true", help="also start a model server with the archive of --store")
    parser.add_argument("--store", type=Path, help=STORE_HELP)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port of the page; 0 for any (%(default)s)")
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        help="address that the page listens on, such as this machine's LAN address (%(default)s)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--timeout", type=seconds, default=10.0, help="seconds to wait for an answer (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=TOKEN_HELP)
    parser.add_argument(
        "--feedback",
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help="folder for corrected pictures, stored with consent (%(default)s)",
    )
    return parser


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, which accepts connections before the browser opens. Raises ServerError."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, TypeError, UnicodeError) as error:
        raise ServerError(f"cannot listen on {host}, port {port}: {error}; choose another with --port N") from error
    # Accepted connections inherit it; without it, the body of an answer waits 40 ms for the headers' acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _model_server(options: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """Yield the model server's URL and token; with --serve, the server runs for the duration of the block."""
    if not options.serve:
        yield options.url, tokens.resolve_token(options.token_file)
        return
    token_file = options.token_file or tokens.default_file()
    with running(choose_store(options.store), default_or_free_port(), token_file=token_file) as server:
        yield server.url, server.token


if __name__ == "__main__":
    sys.exit(main())
