"""Figures from arrays."""

import io

import numpy as np
from matplotlib.figure import Figure

from mnist_lightning.evaluation import plots


def drawn(figure: Figure) -> bytes:
    """The figure as PNG: whatever cannot be drawn fails here."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_curves_of_all_optimizers_in_one_picture() -> None:
    histories = {name: {"loss": [2.0, 1.0], "accuracy": [0.5, 0.9]} for name in ("Adam", "SGD")}
    figure = plots.comparison_curves(histories)
    assert drawn(figure).startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "error"]
    assert {line.get_label() for line in figure.axes[0].lines} == {"Adam", "SGD"}


def test_the_confusion_matrix_counts() -> None:
    labels, answers = np.array([0, 0, 1, 9]), np.array([0, 6, 1, 9])
    figure = plots.confusion_matrix(labels, answers)
    assert drawn(figure)
    assert sorted(texts(figure)) == ["1", "1", "1", "1"]
    assert figure.axes[0].get_title() == "1 of 4 misread (75.00 %)"


def test_the_gallery_shows_the_surest_mistake_first() -> None:
    probabilities = np.full((3, 10), 0.01)
    probabilities[0, 7], probabilities[1, 2], probabilities[2, 3] = 0.91, 0.6, 0.91
    figure = plots.misread_gallery(np.zeros((3, 28, 28)), np.array([1, 5, 3]), probabilities)
    assert drawn(figure)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["1 → 7\n91 %", "5 → 2\n60 %"]


def test_digits_and_filters_are_drawn() -> None:
    figure = plots.by_digit({"precision": np.linspace(0.9, 1, 10), "recall": np.ones(10)})
    assert drawn(figure)
    assert [line.get_label() for line in figure.axes[0].lines] == ["precision", "recall"]
    assert len([axes for axes in plots.first_filters(np.eye(6)[None].repeat(3, 0)).axes if axes.images]) == 3


def test_no_mistake_is_no_obstacle() -> None:
    figure = plots.misread_gallery(np.zeros((1, 28, 28)), np.array([3]), np.eye(10)[[3]])
    assert drawn(figure)


def test_the_loads_of_all_servers_in_one_picture() -> None:
    loads = [{"connections": n, "requests_per_second": 100.0 * n, "p50_ms": 5.0, "p99_ms": 9.0} for n in (1, 32)]
    figure = plots.load_curves({"ours": loads, "another": loads})
    assert drawn(figure).startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == ["requests/s", "p50, ms", "p99, ms"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "another"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [100, 3200]  # type: ignore[union-attr]
