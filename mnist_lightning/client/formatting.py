"""The server's answer as text for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_lightning.client.api import number_of, pieces_of

BAR_WIDTH = 30  # characters, for a probability of 1
UNSURE = 0.9  # a digit of a number is shown with the runner-up if its confidence is lower


def format_answer(name: str, answer: Mapping[str, Any], top: int | None = None) -> str:
    """Return what the picture shows, and how certain that is.

    For a single digit: the rotation and the note if any, and a bar for each of the `top` (default: 10) most probable
    digits. For a number: the rotation if any, its confidence, and a line for each digit with its box, naming those of
    the `top` most probable digits that the number does not show (default: the runner-up of a digit below UNSURE).
    """
    lines = _format_number(name, answer, top) if pieces_of(answer) else _format_digit(name, answer, top or 10)
    return "\n".join(lines)


def _format_digit(name: str, answer: Mapping[str, Any], top: int) -> list[str]:
    note = [f"  note: {answer['note']}"] if "note" in answer else []
    bars = [
        f"  {digit}  {_percent(share)}  {'█' * round(BAR_WIDTH * share)}".rstrip()
        for digit, share in _most_probable(answer, top)
    ]
    return [f"{name}: {answer['prediction']}", *_rotation(answer), *note, *bars]


def _format_number(name: str, answer: Mapping[str, Any], top: int | None) -> list[str]:
    lines = number_of(answer).split("\n")
    margins = [f"{name}: ", *[" " * len(f"{name}: ")] * (len(lines) - 1)]
    pieces = pieces_of(answer)
    boxes = ["{2}×{3} at {0},{1}".format(*digit["box"]) for _, digit in pieces]
    width = max(map(len, boxes))
    return [
        *(margin + line for margin, line in zip(margins, lines, strict=True)),
        *_rotation(answer),
        f"  confidence {_percent(answer['confidence']).lstrip()}",
        *(
            f"  {character}  {_percent(digit['confidence'])}  {box:{width}}  {_others(character, digit, top)}".rstrip()
            for (character, digit), box in zip(pieces, boxes, strict=True)
        ),
    ]


def _others(character: str, digit: Mapping[str, Any], top: int | None) -> str:
    """The most probable digits, without the character that the number shows; empty if there are none to show."""
    unsure = digit["confidence"] < UNSURE or character == "?"
    shown = [
        f"{other} {_percent(share).lstrip()}"
        for other, share in _most_probable(digit, top or (2 if unsure else 1))
        if str(other) != character
    ]
    return f"or {', '.join(shown)}" if shown else ""


def _most_probable(part: Mapping[str, Any], count: int) -> Sequence[tuple[int, float]]:
    return sorted(enumerate(part["probabilities"]), key=lambda pair: -pair[1])[:count]


def _rotation(answer: Mapping[str, Any]) -> list[str]:
    return [f"  turned by {_direction(answer['rotation'])}"] if "rotation" in answer else []


def _percent(share: float) -> str:
    return f"{100 * share:6.2f} %"


def _direction(rotation: int) -> str:
    return f"{abs(rotation)}° {'clockwise' if rotation > 0 else 'counterclockwise'}"
