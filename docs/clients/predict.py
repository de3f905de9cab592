"""Python, its standard library alone: python predict.py http://127.0.0.1:8080 picture.png

MNIST_TOKEN is the token, if the server requires one. `mnist_lightning.client` does more.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT = 30  # seconds


def ask(url: str, picture: bytes, token: str | None = None) -> dict[str, object]:
    """The server's answer to a picture file. Raises RuntimeError with the server's message, OSError without one."""
    headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"{url}/predictions/mnist", picture, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer: dict[str, object] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["message"]) from error


if __name__ == "__main__":
    server, path = sys.argv[1:]
    try:
        answer = ask(server, Path(path).read_bytes(), os.environ.get("MNIST_TOKEN"))
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(answer))
