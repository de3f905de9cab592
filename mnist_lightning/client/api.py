"""The HTTP client: `ask` posts one picture and returns the server's answer."""

from typing import Any, cast
from urllib.parse import urlsplit

import requests

from mnist_lightning.common import tokens

DEFAULT_URL = "http://127.0.0.1:8080"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
MAX_MESSAGE = 500  # characters of an answer that an error repeats
TOKEN_HELP = (
    "file with the server's token "
    f"(default: the file named by {tokens.TOKEN_FILE_VARIABLE}, or the token in {tokens.TOKEN_VARIABLE})"
)


class ClientError(RuntimeError):
    """The server gave no usable answer; the message includes the remedy.

    Attributes:
        status: the server's HTTP status, or what a gateway would return: 504 for a timeout, otherwise 502.
        body: the JSON of the server's error answer, {} if there is none.
    """

    def __init__(self, message: str, status: int = 502, body: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}


class ServerUnreachableError(ClientError):
    """No server accepts connections at the URL, so other pictures would get no answer either."""


def ask(
    picture: bytes, url: str = DEFAULT_URL, timeout: float = 10.0, token: str | None = None, *, explain: bool = False
) -> dict[str, Any]:
    """Return the server's answer for the content of a picture file.

    The answer contains `prediction` (0 to 9), `confidence`, `probabilities` (10) and `is_digit` (0 to 1). If the
    picture does not look like a single digit, it also contains `note`, a sentence for the user; if it was read better
    turned, `rotation`, the degrees that the digit is turned by, clockwise.

    With `explain`, it also contains `seen`, the 28×28 network input with values from 0 to 255, and `explanation`,
    28×28 attributions that are positive where a pixel supports the prediction.

    Raises ClientError if the server is not running, takes longer than `timeout` seconds, or rejects the picture.
    """
    headers = {"Content-Type": "application/octet-stream", **tokens.auth_headers(token)}
    try:
        endpoint = f"{url.rstrip('/')}/{'explanations' if explain else 'predictions'}/mnist"
        with session(url) as http:
            answer = http.post(endpoint, data=picture, headers=headers, timeout=timeout)
        body = answer.json()
    except requests.Timeout as error:
        raise ClientError(f"no answer from {url} within {timeout:g} s; see --timeout", 504) from error
    except requests.ConnectionError as error:
        raise ServerUnreachableError(f"no server at {url}; start it with: python -m mnist_lightning.serve") from error
    except requests.exceptions.JSONDecodeError as error:
        raise ClientError(f"{url} answered {answer.status_code} without JSON; it is not a model server") from error
    except (requests.RequestException, ValueError) as error:
        raise ClientError(f"the URL {url} cannot be requested: {error}; see --url") from error
    if not answer.ok or not _is_answer(body, explain=explain):
        status = 502 if answer.ok else answer.status_code
        raise ClientError(f"{url} answered {answer.status_code}: {str(_message(body))[:MAX_MESSAGE]}", status, body)
    return cast(dict[str, Any], body)


def session(url: str) -> requests.Session:
    """Return an HTTP session that connects to this machine directly even if HTTP_PROXY is set."""
    http = requests.Session()
    http.trust_env = not is_loopback(url)
    return http


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is this machine. Raises ValueError for a malformed URL."""
    return urlsplit(url).hostname in LOOPBACK_HOSTS


def _is_answer(body: object, *, explain: bool) -> bool:
    """Whether the JSON is what a server of this project answers."""
    if not isinstance(body, dict):
        return False
    probabilities = body.get("probabilities")
    if not (isinstance(probabilities, list) and len(probabilities) == 10):
        return False
    numbers = [*(body.get(name) for name in ("prediction", "confidence", "is_digit")), *probabilities]
    explained = not explain or all(isinstance(body.get(name), list) for name in ("seen", "explanation"))
    return explained and all(isinstance(one, int | float) for one in numbers)


def _message(body: object) -> object:
    return body.get("message", body) if isinstance(body, dict) else body
