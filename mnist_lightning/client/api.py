"""Ask the server about pictures of digits.

python -m mnist_lightning.client my_digit.png
python -m mnist_lightning.client --top 3 --json one.png two.jpg
python -m mnist_lightning.client --explain why.png my_digit.png
cat my_digit.png | python -m mnist_lightning.client -
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

import requests

from mnist_lightning.common import tokens

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_HELP = f"the file of the server's token (else what {tokens.FILE} names, or {tokens.VARIABLE} itself)"


class ClientError(RuntimeError):
    """No answer could be had; the message says what to do.

    `status` is the server's, or what a gateway would answer in its place: 502, or 504 for one that takes too long.
    `body` is the JSON that the server answered with, {} where it did not.
    """

    def __init__(self, message: str, status: int = 502, body: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.client", description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a picture file, or - for standard input")
    parser.add_argument("--top", type=_one_to_ten, default=10, metavar="N", help="show the N likeliest digits (10)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each picture")
    parser.add_argument("--url", default=DEFAULT_URL, help="the server's address (%(default)s)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=TOKEN_HELP)
    parser.add_argument("--explain", type=Path, metavar="PNG", help="draw which pixels spoke for the answer")
    options = parser.parse_args(arguments)
    if options.explain and len(options.pictures) > 1:
        parser.error("--explain draws one picture")
    try:
        token = tokens.chosen(options.token_file)
    except tokens.TokenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    failed = False
    for name in options.pictures:
        try:
            if not options.json:
                print(f"asking {options.url} about {name}", file=sys.stderr)
            answer = ask(_read(name), options.url, options.timeout, token, explain=bool(options.explain))
            if options.explain:
                _draw(answer.pop("seen"), answer.pop("explanation"), answer, options.explain)
            print(json.dumps({"picture": name, **answer}) if options.json else _told(name, answer, options.top))
        except ClientError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = True
        except KeyboardInterrupt:
            return 130
    return int(failed)


def ask(
    picture: bytes, url: str = DEFAULT_URL, timeout: float = 10.0, token: str | None = None, *, explain: bool = False
) -> dict[str, Any]:
    """The server's answer about a picture file's bytes: `prediction`, `confidence`, `probabilities`, `is_digit`.

    Where it does not look like one digit, also `note`, which says so in a person's words.

    With `explain` also `seen`, 28 rows of 28 numbers from 0 to 255 as the network saw the picture, and `explanation`,
    as many numbers, positive where a pixel spoke for the answer.

    Raises ClientError if the server is not there, takes longer than `timeout` seconds, or refuses the picture.
    """
    headers = {"Content-Type": "application/octet-stream", **tokens.headers(token)}
    try:
        address = f"{url.rstrip('/')}/{'explanations' if explain else 'predictions'}/mnist"
        answer = requests.post(address, data=picture, headers=headers, timeout=timeout)
        body = answer.json()
    except requests.Timeout as error:
        raise ClientError(f"no answer from {url} within {timeout:g} s; see --timeout", 504) from error
    except requests.ConnectionError as error:
        raise ClientError(f"no server at {url}; start it with: python -m mnist_lightning.serve") from error
    except requests.exceptions.JSONDecodeError as error:
        raise ClientError(f"{url} answered {answer.status_code}, and not as a model server would") from error
    except (requests.RequestException, ValueError) as error:
        raise ClientError(f"{url} cannot be asked: {error}; see --url") from error
    if not answer.ok or "prediction" not in body:
        status = 502 if answer.ok else answer.status_code
        raise ClientError(f"{url} answered {answer.status_code}: {_message(body)}", status, body)
    return cast(dict[str, Any], body)


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ClientError(f"the file cannot be read: {error.strerror or error}") from error


def _draw(seen: list[list[int]], shares: list[list[float]], answer: dict[str, Any], path: Path) -> None:
    """The picture and what spoke for the answer, as a PNG; whole or not at all."""
    import numpy as np  # here, so that asking alone stays light

    from mnist_lightning.evaluation import plots

    title = f"{answer['prediction']}, {100 * answer['confidence']:.2f} %"
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        plots.explanation(np.array(seen), np.array(shares), title).savefig(unfinished, format="png", dpi=150)
        unfinished.replace(path)
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror or error}") from error


def _message(body: object) -> object:
    return body.get("message", body) if isinstance(body, dict) else body


def _told(name: str, answer: dict[str, Any], top: int) -> str:
    """The digit, what there is to note, then the likeliest ones with a bar each."""
    ranked = sorted(enumerate(answer["probabilities"]), key=lambda pair: -pair[1])[:top]
    rows = [f"  {digit}  {100 * share:6.2f} %  {'█' * round(30 * share)}".rstrip() for digit, share in ranked]
    note = [f"  note: {answer['note']}"] if "note" in answer else []
    return "\n".join([f"{name}: {answer['prediction']}", *note, *rows])


def _one_to_ten(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
