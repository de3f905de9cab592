"""Servers that run in threads of the test process: the drawing page's, and a stub of the model server."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import uvicorn

from mnist_lightning.web.app import Settings, create_app
from mnist_lightning.web.feedback import Quota
from tests.http_servers import Quiet, serving

Answer = tuple[int, object]  # HTTP status, JSON body


@contextlib.contextmanager
def running_page(url: str, feedback: Path, timeout: float = 10.0, quota: Quota | None = None) -> Iterator[str]:
    """Serve the drawing page for the model server at `url`, and yield the page's URL."""
    app = create_app(Settings(url, feedback, timeout, quota=quota or Quota()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield "http://{}:{}/".format(*listener.getsockname())
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def stub_model_server(answer: Callable[[], Answer], port: int = 0) -> Iterator[str]:
    """Run a model server that answers every request with the result of `answer`, and yield its URL."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answer()
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            with contextlib.suppress(OSError):  # the client may have given up
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

    with serving(Handler, port) as url:
        yield url
