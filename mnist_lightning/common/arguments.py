"""Types for command-line flags."""

import argparse


def positive_int(text: str) -> int:
    """Parse an integer of at least 1. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)
