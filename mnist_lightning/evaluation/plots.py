"""Arrays -> matplotlib figures. No files, no display, no MLflow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

Array = NDArray[Any]


def comparison_curves(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Every optimizer's curves in one picture.

    Args:
        histories: for each optimizer, values by epoch for each of some names (the same names for all).
    """
    names = list(next(iter(histories.values())))
    columns = min(len(names), 3)  # more in a row would be too small on MLflow's page
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        falls = name.endswith("accuracy")  # near 1 all curves are one: its distance from 1 tells them apart
        for optimizer, history in histories.items():
            values = [max(1 - value, 1e-4) for value in history[name]] if falls else history[name]
            axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=optimizer)
        axes.set(xlabel="epoch", yscale="log")
        axes.set_title(name.replace("_", " ").replace("accuracy", "error"))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def count_confusions(labels: Array, answers: Array) -> Array:
    """(10, 10) counts: how often each digit (row) was read as each (column)."""
    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def confusion_matrix(labels: Array, answers: Array) -> Figure:
    """How often each digit (row) was read as each (column), (10, 10) counts; the diagonal is not coloured."""
    counts = count_confusions(labels, answers)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds", vmax=max(int(wrong.max()), 1))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if wrong[row, column] > 0.6 * wrong.max() > 0 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    right = int(np.trace(counts))
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.set_title(f"{len(labels) - right} of {len(labels):,} misread ({100 * right / max(len(labels), 1):.2f} %)")
    return figure


def misread_gallery(images: Array, labels: Array, probabilities: Array, *, most: int = 60) -> Figure:
    """The pictures that were misread, surest mistakes first, each with digit, answer and confidence.

    Args:
        images: (N, 28, 28), white ink on black.
        labels: (N,) digits.
        probabilities: (N, 10).
        most: how many to show.
    """
    answers = probabilities.argmax(axis=1)
    confidence = np.asarray(probabilities).max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    shown = wrong[np.argsort(-confidence[wrong])][:most]
    columns = 10
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(columns * 1.1, rows * 1.45 + 0.4), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(labels):,} misread: digit → answer, confidence")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if place < len(shown):
            index = shown[place]
            axes.imshow(images[index], cmap="gray_r")
            axes.set_title(f"{labels[index]} → {answers[index]}\n{100 * confidence[index]:.0f} %", fontsize=9)
    return figure


def by_digit(measures: Mapping[str, Array]) -> Figure:
    """Measures in [0, 1] of each digit, (10,) each, as points; the axis starts just below the lowest."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for place, (name, values) in enumerate(measures.items()):
        axes.plot(np.arange(10) + 0.15 * place, 100 * np.asarray(values), marker="o", linestyle="", label=name)
    lowest = 100 * min(float(np.min(values)) for values in measures.values())
    axes.set(xlabel="digit", ylabel="%", xticks=range(10), ylim=(lowest - (100 - lowest) * 0.1 - 0.02, 100.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def first_filters(filters: Array) -> Figure:
    """Filters (N, h, w) as pictures, each on its own scale: red draws towards ink, blue away from it."""
    columns = 8
    rows = max(1, -(-len(filters) // columns))
    figure = Figure(figsize=(columns, rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if place < len(filters):
            most = float(np.abs(filters[place]).max())
            axes.imshow(filters[place], cmap="RdBu_r", vmin=-most, vmax=most)
    return figure


def sent_and_seen(sent: Sequence[Array], seen: Sequence[Array], titles: Sequence[str]) -> Figure:
    """Pairs of pictures: any picture as it was sent, and the (28, 28) that the network saw."""
    columns = 5
    rows = max(1, -(-len(sent) // columns))
    figure = Figure(figsize=(columns * 2.2, rows * 1.5 + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns * 2, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, (picture, digit, title) in enumerate(zip(sent, seen, titles, strict=True)):
        left, right = grid[place // columns, place % columns * 2 : place % columns * 2 + 2]
        left.imshow(picture, cmap="gray")
        right.imshow(digit, cmap="gray")
        left.set_title(title, fontsize=9, loc="left")
    return figure


def reliability_diagram(probabilities: Array, labels: Array, error: float, *, bins: int = 15) -> Figure:
    """How often the answer is right, by how sure it was; a calibrated network follows the diagonal.

    Args:
        probabilities: (N, 10).
        labels: (N,) digits.
        error: the expected calibration error, for the title.
        bins: of equal width, over [0, 1].
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    filled = [b for b in range(bins) if (place == b).any()]
    means = [float(confidence[place == b].mean()) for b in filled]
    axes.plot(means, [float(right[place == b].mean()) for b in filled], marker="o")
    for mean, b in zip(means, filled, strict=True):
        axes.annotate(f"{int((place == b).sum()):,}", (mean, 0.02), ha="center", fontsize=7, rotation=90)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"expected calibration error {100 * error:.2f} %")
    return figure


def load_curves(servers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Throughput and latencies over the number of connections, every server in one picture.

    Args:
        servers: for each server, its loads by number of `connections`, each with the names below.
    """
    names = {"requests_per_second": "requests/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        for server, loads in servers.items():
            axes.plot([one["connections"] for one in loads], [one[name] for one in loads], marker="o", label=server)
        ticks = sorted({one["connections"] for loads in servers.values() for one in loads})
        axes.set(xlabel="connections", xscale="log", yscale="log")  # equal factors are equal distances
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(title)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def explanation(seen: Array, shares: Array, title: str) -> Figure:
    """What spoke for an answer (red) and against it (blue), over the picture that the network saw, both (28, 28)."""
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(seen, cmap="gray_r", alpha=0.35)
    most = max(float(np.abs(shares).max()), 1e-9)
    drawn = axes.imshow(np.ma.masked_equal(shares, 0), cmap="coolwarm", vmin=-most, vmax=most, alpha=0.85)
    figure.colorbar(drawn, ax=axes, label="share in the digit's logit")
    axes.set_title(title)
    axes.axis("off")
    return figure
