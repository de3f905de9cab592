"""A server that gives every request the same answer: python -m tests.server.fixed_answer PORT"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mnist_lightning.common.constants import LOOPBACK

ANSWER = b'{"prediction": 0}'


class FixedAnswer(BaseHTTPRequestHandler):
    """Reads a body and ignores it."""

    protocol_version = "HTTP/1.1"  # keeps connections open, as load generators expect

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer((LOOPBACK, int(sys.argv[1])), FixedAnswer).serve_forever()
