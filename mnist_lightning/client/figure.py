"""The explanation of a prediction as a PNG file."""

from pathlib import Path
from typing import Any

from mnist_lightning.common.files import save_atomic


def save_explanation(answer: dict[str, Any], path: Path) -> None:
    """Draw attributions for (red) and against (blue) the prediction over the network input, both 28×28.

    `answer` is that of `ask(..., explain=True)`. Raises OSError.
    """
    import numpy as np  # imported here so that the client alone starts fast
    from matplotlib.figure import Figure

    attributions = np.array(answer["explanation"])
    largest = max(float(np.abs(attributions).max()), 1e-9)
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.array(answer["seen"]), cmap="gray_r", alpha=0.35)
    visible = np.ma.masked_equal(attributions, 0)
    image = axes.imshow(visible, cmap="coolwarm", vmin=-largest, vmax=largest, alpha=0.85)
    figure.colorbar(image, ax=axes, label="contribution to the digit's logit")
    axes.set_title(f"{answer['prediction']}, {100 * answer['confidence']:.2f} %")
    axes.axis("off")
    save_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
