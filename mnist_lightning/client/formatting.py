"""The server's answer as text for the terminal."""

from typing import Any

BAR_WIDTH = 30  # characters, for a probability of 1


def format_answer(name: str, answer: dict[str, Any], top: int = 10) -> str:
    """Return the prediction, the rotation and the note if any, and a bar for each of the `top` most probable digits."""
    ranked = sorted(enumerate(answer["probabilities"]), key=lambda pair: -pair[1])[:top]
    rows = [f"  {digit}  {100 * share:6.2f} %  {'█' * round(BAR_WIDTH * share)}".rstrip() for digit, share in ranked]
    turned = [f"  turned by {_direction(answer['rotation'])}"] if "rotation" in answer else []
    note = [f"  note: {answer['note']}"] if "note" in answer else []
    return "\n".join([f"{name}: {answer['prediction']}", *turned, *note, *rows])


def _direction(rotation: int) -> str:
    return f"{abs(rotation)}° {'clockwise' if rotation > 0 else 'counterclockwise'}"
