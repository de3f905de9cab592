"""Classify pictures of digits with a running server, or whole folders of them, also without a server.

    python -m mnist_lightning.client my_digit.png
    python -m mnist_lightning.client --top 3 --json one.png two.jpg
    python -m mnist_lightning.client --explain explanation.png my_digit.png
    cat my_digit.png | python -m mnist_lightning.client -
    python -m mnist_lightning.client FOLDER --csv out.csv
    python -m mnist_lightning.client FOLDER --csv out.csv --resume
    python -m mnist_lightning.client FOLDER --csv out.csv --offline

With --csv, each picture of the folders and their sub-folders gets a row in a table, in the order of the answers. The
columns are path, number, prediction, confidence, is_digit, note and error. The exit code is 0 if all pictures were
read, 1 if some were refused or failed, 130 after Ctrl-C. The rows so far stay in any case; --resume goes on after them.
"""

import argparse
import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnist_lightning.client import DEFAULT_URL, TOKEN_HELP, ClientError, ask, bulk
from mnist_lightning.client.api import EXPLANATION_FIELDS, read_picture
from mnist_lightning.client.figure import save_explanation
from mnist_lightning.client.formatting import UNSURE, format_answer
from mnist_lightning.client.many import CONCURRENCY, MAX_CONCURRENCY, open_server
from mnist_lightning.client.table import TableError
from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import seconds
from mnist_lightning.common.constants import ARCHIVE


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    options = _parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal cannot show every character
    try:
        token = None if options.offline else tokens.resolve_token(options.token_file)
        code = _read_folders(options, token) if options.csv else _classify_all(options, token)
        sys.stdout.flush()
    except (tokens.TokenError, bulk.FolderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of writing the answers: a full disk, or a reader that has ended
        if not isinstance(error, BrokenPipeError):
            print(f"error: the answers cannot be written: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest when it ends
        return 1
    return code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.client",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="picture file, folder, or - for standard input")
    parser.add_argument(
        "--top",
        type=_one_to_ten,
        metavar="N",
        help="show the N most probable digits, of a number those for each of its digits (all 10 for a single digit; "
        f"for a digit of a number one, or two if the confidence is below {100 * UNSURE:.0f} %%)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON per picture, or with --csv the summary"
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="URL of the server (%(default)s)")
    parser.add_argument("--timeout", type=seconds, default=10.0, help="seconds to wait for an answer (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=TOKEN_HELP)
    parser.add_argument(
        "--explain", type=Path, metavar="PNG", help="draw the pixels for and against each digit into this file"
    )
    folders = parser.add_argument_group("whole folders")
    folders.add_argument("--csv", type=Path, metavar="FILE", help="write a table into this file, which must not exist")
    folders.add_argument("--resume", action="store_true", help="go on with the table: skip the pictures that it has")
    folders.add_argument(
        "--concurrency",
        type=_concurrency,
        metavar="N",
        help=f"requests, or with --offline processes, at a time ({CONCURRENCY}, or one for each core)",
    )
    folders.add_argument("--offline", action="store_true", help="classify with an archive, without a server")
    folders.add_argument(
        "--store", type=Path, metavar="DIR", help=f"with --offline, the folder of {ARCHIVE} (as serve chooses it)"
    )
    options = parser.parse_args(arguments)
    if options.explain and len(options.pictures) > 1:
        parser.error("--explain accepts only one picture")
    _check_combination(parser, options)
    return options


def _check_combination(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    table_flags = ("resume", "concurrency", "offline", "store")
    unused = ("top", "explain") if options.csv else table_flags
    if given := [f"--{name}" for name in unused if getattr(options, name)]:
        parser.error(f"{', '.join(given)} cannot be used {'with' if options.csv else 'without'} --csv")
    if options.csv and "-" in options.pictures:
        parser.error("--csv reads folders and files, not standard input")
    if options.store and not options.offline:
        parser.error("--store is for --offline; a server has its own")


def _concurrency(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_CONCURRENCY):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to {MAX_CONCURRENCY}")
    return int(text)


def _one_to_ten(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to 10")
    return int(text)


def _classify_all(options: argparse.Namespace, token: str | None) -> int:
    """Print an answer for each picture, and return the exit code. Raises FolderError."""
    answered = [_classify(name, options, token) for name in _expand(options)]
    return int(not all(answered))


def _expand(options: argparse.Namespace) -> list[str]:
    """The pictures, folders replaced by theirs. Raises FolderError."""
    names = [
        image
        for name in options.pictures
        for image in (map(str, bulk.find_pictures([name], _warn).values()) if Path(name).is_dir() else [name])
    ]
    if options.explain and len(names) > 1:
        raise bulk.FolderError(f"{options.pictures[0]} holds {len(names)} pictures, and --explain accepts only one")
    return names


def _read_folders(options: argparse.Namespace, token: str | None) -> int:
    """Read the pictures into the table, print the summary, and return the exit code."""
    unlisted: list[OSError] = []
    try:
        pictures = bulk.find_pictures(options.pictures, unlisted.append)
        for error in unlisted:
            _warn(error)
        summary = bulk.read_into_table(pictures, options.csv, _lanes(options, token), resume=options.resume)
    except (ClientError, bulk.FolderError, TableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {options.csv} holds the rows so far, and --resume goes on", file=sys.stderr)
        return 130
    print(json.dumps(asdict(summary)) if options.json else summary)
    return int(bool(unlisted) or summary.read < summary.pictures)


def _lanes(options: argparse.Namespace, token: str | None) -> bulk.Lanes:
    if not options.offline:
        return open_server(options.url, options.timeout, token, options.concurrency or CONCURRENCY)
    from mnist_lightning.offline.pool import open_archive  # here, because a client of a server needs no engine

    return open_archive(options.store, options.concurrency)


def _warn(error: OSError) -> None:
    print(f"error: {error.filename} cannot be listed: {error.strerror}", file=sys.stderr)


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
    if name != "-":
        return read_picture(Path(name))
    try:
        if sys.stdin is None:
            raise ClientError("standard input is closed")
        return sys.stdin.buffer.read()
    except OSError as error:
        raise ClientError(f"standard input cannot be read: {error.strerror or error}") from error


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
