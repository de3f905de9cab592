"""What several verbs' flags take."""

import argparse


def positive(text: str) -> int:
    """A whole number from 1 up, as a flag's type."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
