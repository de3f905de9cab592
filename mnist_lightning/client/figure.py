"""The explanation of a prediction as a PNG file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_lightning.client.api import EXPLANATION_FIELDS, pieces_of
from mnist_lightning.common.files import save_atomic

COLUMNS = 6  # panels in a row, at most


def save_explanation(answer: Mapping[str, Any], path: Path) -> None:
    """Draw attributions for (red) and against (blue) the prediction over the network input, both 28×28.

    Each digit of a number has a panel; all panels have the same scale. `answer` is that of `ask(..., explain=True)`.
    Raises OSError.
    """
    import numpy as np  # imported here so that the client alone starts fast
    from matplotlib.figure import Figure

    panels = _panels(answer)
    largest = max(1e-9, *(float(np.abs(part["explanation"]).max()) for _, part in panels))
    columns, rows = min(len(panels), COLUMNS), math.ceil(len(panels) / COLUMNS)
    side = 4 if len(panels) == 1 else 2.6  # inches; the colour bar's label is 2.3 long
    figure = Figure(figsize=(columns * side + 0.6, rows * side), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, part) in zip(grid.flat, panels, strict=False):  # the last row may be shorter
        axes.imshow(np.array(part["seen"]), cmap="gray_r", alpha=0.35)
        visible = np.ma.masked_equal(np.array(part["explanation"]), 0)
        image = axes.imshow(visible, cmap="coolwarm", vmin=-largest, vmax=largest, alpha=0.85)
        axes.set_title(f"{title}, {100 * part['confidence']:.2f} %")
    figure.colorbar(image, ax=grid, label="contribution to the digit's logit")
    save_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


def _panels(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What is drawn, with its title: each digit of a number if all are explained, otherwise the whole picture."""
    pieces = pieces_of(answer)
    explained = pieces and all(name in digit for _, digit in pieces for name in EXPLANATION_FIELDS)
    return pieces if explained else [(str(answer["prediction"]), answer)]
