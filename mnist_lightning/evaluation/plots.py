"""Arrays -> matplotlib figures, without a display."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from mnist_lightning.common.files import save_atomic

Array = NDArray[Any]


def save(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Write a figure in the format that the file's suffix names. Raises OSError."""
    save_atomic(path, lambda temporary: figure.savefig(temporary, dpi=dpi))


def save_all(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures into a folder, which is made if need be, by file name; their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        save(figure, folder / name)
    return [folder / name for name in figures]


def comparison_curves(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """The training curves of all optimizers in one figure.

    Args:
        histories: for each optimizer, values by epoch of each metric; all optimizers have the same metrics.
    """
    metrics = list(next(iter(histories.values())))
    columns = min(len(metrics), 3)  # more in a row would be too small on MLflow's page
    rows = math.ceil(len(metrics) / columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    for place, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(rows, columns, place)
        as_error = metric.endswith("accuracy")  # curves near 1 coincide; errors on a log scale do not
        for optimizer, history in histories.items():
            values = [max(1 - value, 1e-4) for value in history[metric]] if as_error else history[metric]
            axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=optimizer)
        axes.set(xlabel="epoch", yscale="log")
        axes.set_title(metric.replace("_", " ").replace("accuracy", "error"))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion_counts(labels: Array, predictions: Array) -> Array:
    """The confusion matrix (10, 10): how often each digit (row) was read as each digit (column)."""
    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confusion_matrix(labels: Array, predictions: Array) -> Figure:
    """Draw the confusion matrix of digits (N,) and predictions (N,); only the errors are coloured."""
    counts = confusion_counts(labels, predictions)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds", vmax=max(int(wrong.max()), 1))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if wrong[row, column] > 0.6 * wrong.max() > 0 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    correct = int(np.trace(counts))
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.set_title(f"{len(labels) - correct} of {len(labels):,} misread ({100 * correct / max(len(labels), 1):.2f} %)")
    return figure


def misread_gallery(images: Array, labels: Array, probabilities: Array, *, limit: int = 60) -> Figure:
    """The misread images, most confident errors first, each with its digit, the prediction and the confidence.

    Args:
        images: (N, 28, 28), white ink on black.
        labels: (N,) digits.
        probabilities: (N, 10).
        limit: largest number of images in the figure.
    """
    predictions = probabilities.argmax(axis=1)
    confidence = np.asarray(probabilities).max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-confidence[wrong])][:limit]
    columns, side, title = 10, images.shape[1], 16
    rows = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(columns * 1.1, rows * 1.45 + 0.4), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(labels):,} misread: digit → answer, confidence")
    axes = figure.subplots()
    axes.axis("off")
    axes.imshow(
        mosaic(images[shown], columns, above=title, between=4), cmap="gray_r", vmin=0, vmax=max(images.max(), 1)
    )
    for place, index in enumerate(shown):
        row, column = divmod(place, columns)
        text = f"{labels[index]} → {predictions[index]}\n{100 * confidence[index]:.0f} %"
        left, top = column * (side + 4), row * (side + title) + title
        axes.text(left + side / 2, top - 1, text, ha="center", va="bottom", fontsize=9)
    return figure


def mosaic(images: Array, columns: int, *, above: int = 0, between: int = 0) -> Array:
    """Images (N, h, w) in rows of `columns`, with zeros above each and between two in a row, and for missing ones.

    One image is drawn ten times as fast as sixty axes.
    """
    count, height, width = images.shape
    rows = max(1, math.ceil(count / columns))
    padded = np.zeros((rows * columns, above + height, width + between), images.dtype)
    padded[:count, above:, :width] = images
    return padded.reshape(rows, columns, *padded.shape[1:]).swapaxes(1, 2).reshape(rows * padded.shape[1], -1)


def per_digit_metrics(metrics: Mapping[str, Array]) -> Figure:
    """Metrics in [0, 1] of each digit, (10,) each, as points; the axis starts just below the lowest."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for place, (name, values) in enumerate(metrics.items()):
        axes.plot(np.arange(10) + 0.15 * place, 100 * np.asarray(values), marker="o", linestyle="", label=name)
    lowest = 100 * min(float(np.min(values)) for values in metrics.values())
    axes.set(xlabel="digit", ylabel="%", xticks=range(10), ylim=(lowest - (100 - lowest) * 0.1 - 0.02, 100.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def first_layer_filters(filters: Array) -> Figure:
    """Filters (N, h, w) as images, each on its own scale: positive weights are red, negative ones blue."""
    columns = 8
    figure = Figure(figsize=(columns, max(1, math.ceil(len(filters) / columns))), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    scaled = filters / np.maximum(np.abs(filters).max(axis=(1, 2), keepdims=True), 1e-9)
    axes.imshow(mosaic(scaled, columns, above=1, between=1), cmap="RdBu_r", vmin=-1, vmax=1)
    return figure


def pictures_and_inputs(pictures: Sequence[Array], inputs: Sequence[Array], titles: Sequence[str]) -> Figure:
    """Pairs of images with a title: a picture of any size, and the network input (28, 28) made from it."""
    columns = 5
    rows = max(1, math.ceil(len(pictures) / columns))
    figure, grid = _grid_of_pictures(rows, columns * 2, (columns * 2.2, rows * 1.5 + 0.3))
    for place, (picture, model_input, title) in enumerate(zip(pictures, inputs, titles, strict=True)):
        left, right = grid[place // columns, place % columns * 2 : place % columns * 2 + 2]
        left.imshow(picture, cmap="gray")
        right.imshow(model_input, cmap="gray")
        left.set_title(title, fontsize=9, loc="left")
    return figure


def boxed_pictures(pictures: Sequence[Array], boxes: Sequence[Array], titles: Sequence[str]) -> Figure:
    """Pictures of any size with a title, and the boxes drawn in each: (n, 4), as left, top, width, height in pixels."""
    columns = 4
    rows = max(1, math.ceil(len(pictures) / columns))
    figure, grid = _grid_of_pictures(rows, columns, (columns * 2.8, rows * 1.9 + 0.3))
    for axes, picture, found, title in zip(grid.flat, pictures, boxes, titles, strict=False):  # the grid may be larger
        axes.imshow(picture, cmap="gray")
        for left, top, width, height in found:  # imshow's pixels are centred on whole numbers
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor="red"))
        axes.set_title(title, fontsize=8)
    return figure


def _grid_of_pictures(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Array]:
    """A figure of a size in inches, and its axes (rows, columns), without ticks and frames."""
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    return figure, grid


def ink_examples(pictures: Array, masks: Array, ink: Array) -> Figure:
    """Photographs (N, H, W, 3) uint8, and below each the mask of its ink and the ink that was found, both (N, H, W)."""
    rows = [np.concatenate(list(pictures), axis=1)]
    rows += [np.repeat(255 - np.concatenate(list(part), axis=1)[..., None], 3, axis=2) for part in (masks, ink)]
    figure = Figure(figsize=(1.3 * len(pictures), 4), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.imshow(np.concatenate(rows, axis=0).astype(np.uint8))
    return figure


def reliability_diagram(probabilities: Array, labels: Array, error: float, *, bins: int = 15) -> Figure:
    """Accuracy by confidence, with the number of images in each bin; a calibrated network follows the diagonal.

    Args:
        probabilities: (N, 10).
        labels: (N,) digits.
        error: the expected calibration error, for the title.
        bins: number of bins of equal width over [0, 1].
    """
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    filled = [b for b in range(bins) if (bin_of == b).any()]
    means = [float(confidence[bin_of == b].mean()) for b in filled]
    axes.plot(means, [float(correct[bin_of == b].mean()) for b in filled], marker="o")
    for mean, b in zip(means, filled, strict=True):
        axes.annotate(f"{int((bin_of == b).sum()):,}", (mean, 0.02), ha="center", fontsize=7, rotation=90)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"expected calibration error {100 * error:.2f} %")
    return figure


def load_curves(servers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Throughput and latency percentiles by number of connections, all servers in one figure.

    Args:
        servers: for each server, its measurements, each with `connections`, `requests_per_second`, `p50_ms`, `p99_ms`.
    """
    metrics = {"requests_per_second": "requests/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}
    figure = Figure(figsize=(5 * len(metrics), 4), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, len(metrics)), metrics.items(), strict=True):
        for server, loads in servers.items():
            connections = [load["connections"] for load in loads]
            axes.plot(connections, [load[metric] for load in loads], marker="o", label=server)
        ticks = sorted({load["connections"] for loads in servers.values() for load in loads})
        axes.set(xlabel="connections", xscale="log", yscale="log")  # equal factors are equal distances
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(title)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure
