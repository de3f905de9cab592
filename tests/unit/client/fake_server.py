"""A model server whose responses a test scripts, over connections that stay open."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.http_servers import Quiet, serving

SEVEN = {"prediction": 7, "confidence": 0.9, "probabilities": [0.0] * 7 + [0.9, 0.0, 0.1], "is_digit": 0.99}


@dataclass(frozen=True)
class Reply:
    """A response, or a connection that is closed without one."""

    status: int = 200
    body: object = None  # JSON, or bytes as they are; by default an answer for each picture
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False


BUSY = Reply(503, {"code": 503, "type": "BusyError", "message": "the queue is full"})
CLOSED = Reply(closes=True)


@contextlib.contextmanager
def fake_server(script: Callable[[int, bytes], Reply]) -> Iterator[str]:
    """Serve, and yield the URL. `script` gets the number of a request's pictures and its body."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(Reply(), 1)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pictures = body.count(b'name="picture"') or 1
            self.reply(script(pictures, body), pictures)

        def reply(self, reply: Reply, pictures: int) -> None:
            if reply.closes:
                self.close_connection = True
                return
            answers = SEVEN if pictures == 1 else [SEVEN] * pictures
            body = answers if reply.body is None else reply.body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler) as url:
        yield url
