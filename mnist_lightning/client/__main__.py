"""Classify pictures of digits with a running server.

python -m mnist_lightning.client my_digit.png
python -m mnist_lightning.client --top 3 --json one.png two.jpg
python -m mnist_lightning.client --explain explanation.png my_digit.png
cat my_digit.png | python -m mnist_lightning.client -
"""

import argparse
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from mnist_lightning.client import DEFAULT_URL, TOKEN_HELP, ClientError, ask
from mnist_lightning.client.api import EXPLANATION_FIELDS
from mnist_lightning.client.figure import save_explanation
from mnist_lightning.client.formatting import UNSURE, format_answer
from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    options = _parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal cannot show every character
    try:
        token = tokens.resolve_token(options.token_file)
        answered = [_classify(name, options, token) for name in options.pictures]
        sys.stdout.flush()
    except tokens.TokenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of writing the answers: a full disk, or a reader that has ended
        if not isinstance(error, BrokenPipeError):
            print(f"error: the answers cannot be written: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest when it ends
        return 1
    return int(not all(answered))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.client", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="picture file, or - for standard input")
    parser.add_argument(
        "--top",
        type=_one_to_ten,
        metavar="N",
        help="show the N most probable digits, of a number those for each of its digits (all 10 for a single digit; "
        f"for a digit of a number one, or two if the confidence is below {100 * UNSURE:.0f} %%)",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON per picture")
    parser.add_argument("--url", default=DEFAULT_URL, help="URL of the server (%(default)s)")
    parser.add_argument("--timeout", type=seconds, default=10.0, help="seconds to wait for an answer (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=TOKEN_HELP)
    parser.add_argument(
        "--explain", type=Path, metavar="PNG", help="draw the pixels for and against each digit into this file"
    )
    options = parser.parse_args(arguments)
    if options.explain and len(options.pictures) > 1:
        parser.error("--explain accepts only one picture")
    return options


def _one_to_ten(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to 10")
    return int(text)


def _classify(name: str, options: argparse.Namespace, token: str | None) -> bool:
    """Print the answer for one picture, or an error; return whether there is an answer."""
    try:
        if not options.json:
            print(f"asking {options.url} about {name}", file=sys.stderr)
        answer = ask(_read(name), options.url, options.timeout, token, explain=bool(options.explain))
        if options.explain:
            _draw(answer, options.explain)
            _remove_explanations(answer)
    except ClientError as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        return False
    print(json.dumps({"picture": name, **answer}) if options.json else format_answer(name, answer, options.top))
    return True


def _read(name: str) -> bytes:
    try:
        if name == "-" and sys.stdin is None:
            raise ClientError("standard input is closed")
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ClientError(f"the file cannot be read: {error.strerror or error}") from error


def _remove_explanations(answer: dict[str, Any]) -> None:
    for part in (answer, *answer.get("digits", [])):
        for name in EXPLANATION_FIELDS:
            part.pop(name, None)


def _draw(answer: dict[str, Any], path: Path) -> None:
    try:
        save_explanation(answer, path)
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main())
