"""The HTTP client: `ask` posts one picture and returns the server's answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import requests

from mnist_lightning.common import tokens
from mnist_lightning.common.constants import MAX_REQUEST_BYTES

DEFAULT_URL = "http://127.0.0.1:8080"
EXPLANATION_SECONDS = 50.0  # that an explanation may take longer: a worker's first one loads torch
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
EXPLANATION_FIELDS = ("seen", "explanation")
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

    The answer contains `prediction` (0 to 9), `confidence`, `probabilities` (10) and `is_digit` (0 to 1), and `number`,
    what the picture shows as a string: `"7"`, `"3450"`, `"12\\n345"` for two lines, with `?` for a piece that is no
    digit. `number_of` reads it, also from the answer of a server that sends none. If the picture does not look like a
    single digit, the answer also contains `note`, a sentence for the user; if it was read better turned, `rotation`,
    the degrees that the digit is turned by, clockwise.

    For several digits, `confidence` is the probability that all are right, `digits` is a list with an object for
    each, line after line and from left to right, and `lines`, if there are several, a list of their strings. An object
    contains `prediction`, `confidence`, `probabilities`, `is_digit` and `box`, its left, top, width and height in
    pixels of the picture.

    With `explain`, the answer and each of `digits` also contain `seen`, the 28×28 network input with values from 0 to
    255, and `explanation`, 28×28 attributions that are positive where a pixel supports the prediction.

    Raises ClientError if the server is not running, rejects the picture, or takes longer than `timeout` seconds, for an
    explanation EXPLANATION_SECONDS more.
    """
    limit = timeout + (EXPLANATION_SECONDS if explain else 0)
    headers = {"Content-Type": "application/octet-stream", **tokens.auth_headers(token)}
    try:
        endpoint = f"{url.rstrip('/')}/{'explanations' if explain else 'predictions'}/mnist"
        with session(url) as http:
            answer = http.post(endpoint, data=picture, headers=headers, timeout=limit)
        body = answer.json()
    except requests.Timeout as error:
        raise timed_out(url, limit) from error
    except requests.ConnectionError as error:
        raise no_server(url) from error
    except requests.exceptions.JSONDecodeError as error:
        raise no_json(url, answer.status_code) from error
    except (requests.RequestException, ValueError) as error:
        raise bad_url(url, error) from error
    return check_answer(url, answer.status_code, body, explain=explain)


def check_answer(url: str, status: int, body: object, *, explain: bool = False) -> dict[str, Any]:
    """The JSON body of a response if it is the answer for one picture. Raises ClientError."""
    if status < 400 and _is_answer(body, explain=explain):
        return cast(dict[str, Any], body)
    message = f"{url} answered {status}: {str(_message(body))[:MAX_MESSAGE]}"
    raise ClientError(message, 502 if status < 400 else status, body)


def no_json(url: str, status: int) -> ClientError:
    """The error for a response whose body is not JSON."""
    return ClientError(f"{url} answered {status} without JSON; it is not a model server")


def no_server(url: str) -> ServerUnreachableError:
    """The error for a URL at which no server accepts connections."""
    return ServerUnreachableError(f"no server at {url}; start it with: python -m mnist_lightning.serve")


def bad_url(url: str, error: Exception) -> ClientError:
    """The error for a URL that no request can be made for."""
    return ClientError(f"the URL {url} cannot be requested: {error}; see --url")


def timed_out(url: str, timeout: float) -> ClientError:
    """The error for an answer that takes longer than `timeout` seconds."""
    return ClientError(f"no answer from {url} within {timeout:g} s; see --timeout", 504)


def read_picture(path: Path) -> bytes:
    """A picture file's content, cut where it is too large for any server. Raises ClientError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_REQUEST_BYTES + 1)
    except OSError as error:
        raise ClientError(f"the file cannot be read: {error.strerror or error}") from error


def number_of(answer: Mapping[str, Any]) -> str:
    """The number in an answer, its lines joined by line feeds; the prediction if the server is too old to send one."""
    return str(answer.get("number", answer["prediction"]))


def pieces_of(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each character of an answer's number, a digit or `?`, with its part of `digits`; none for a single digit."""
    digits = answer.get("digits", [])
    return list(zip(number_of(answer).replace("\n", ""), digits, strict=True)) if digits else []


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
    if not (isinstance(body, dict) and _is_digit(body)):
        return False
    explained = not explain or all(isinstance(body.get(name), list) for name in EXPLANATION_FIELDS)
    number, digits = body.get("number", ""), body.get("digits", [])
    if not (explained and isinstance(number, str) and isinstance(digits, list)):
        return False
    has_all_digits = not digits or len(digits) == len(number.replace("\n", ""))
    return has_all_digits and all(_is_digit(digit) and _are_numbers(digit.get("box"), 4) for digit in digits)


def _is_digit(part: object) -> bool:
    """Whether a part of an answer describes a digit."""
    if not isinstance(part, dict):
        return False
    numbers = [part.get(name) for name in ("prediction", "confidence", "is_digit")]
    return _are_numbers(numbers, 3) and _are_numbers(part.get("probabilities"), 10)


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(one, int | float) for one in values)


def _message(body: object) -> object:
    return body.get("message", body) if isinstance(body, dict) else body
