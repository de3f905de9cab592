"""Errors of libraries, in a line."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type's name if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
