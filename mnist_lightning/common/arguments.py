"""Types for command-line flags."""

import argparse
import math
import re

MAX_SECONDS = 86_400
MAX_REASON = 500  # characters
MAX_SEED = 2**32 - 1
ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?/?", re.IGNORECASE)
MAX_PORT = 65_535
DEFAULT_PORTS = {"http": "80", "https": "443"}


def positive_int(text: str) -> int:
    """Parse an integer of at least 1. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def seed(text: str) -> int:
    """Parse a seed, from 0 to 2**32 - 1. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {MAX_SEED:,}")
    return int(text)


def share(text: str) -> float:
    """Parse a share, which is more than 0 and at most 1. Raises argparse.ArgumentTypeError."""
    value = _float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, more than 0 and at most 1, such as 0.05")
    return value


def seconds(text: str) -> float:
    """Parse a flag's duration, which is more than zero and at most a day. Raises argparse.ArgumentTypeError."""
    value = _float(text)
    if not 0 < value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {MAX_SECONDS:,}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def origin(text: str) -> str:
    """Parse a web page's origin, and return it as browsers send it. Raises argparse.ArgumentTypeError."""
    if not (found := ORIGIN.fullmatch(text)) or int(found[3] or 0) > MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin: a scheme, a host (in its ASCII form) and maybe a port, as in https://example.com"
        )
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    return f"{scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[scheme] else "")


def reason(text: str) -> str:
    """Parse a reason that is recorded, which is not blank. Raises argparse.ArgumentTypeError."""
    stripped = text.strip()
    if not 0 < len(stripped) <= MAX_REASON:
        raise argparse.ArgumentTypeError(f"a reason has 1 to {MAX_REASON} characters; this one has {len(stripped)}")
    return stripped
