"""Figures from arrays."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnist_lightning.evaluation import plots


def as_png(figure: Figure) -> bytes:
    """The figure as PNG; drawing fails on invalid content."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_the_curves_of_all_optimizers_share_a_figure() -> None:
    histories = {name: {"loss": [2.0, 1.0], "accuracy": [0.5, 0.9]} for name in ("Adam", "SGD")}
    figure = plots.comparison_curves(histories)
    assert as_png(figure).startswith(b"\x89PNG")
    assert titles(figure) == ["loss", "error"]
    assert {line.get_label() for line in figure.axes[0].lines} == {"Adam", "SGD"}


def test_the_confusion_matrix_counts() -> None:
    labels, predictions = np.array([0, 0, 1, 9]), np.array([0, 6, 1, 9])
    figure = plots.confusion_matrix(labels, predictions)
    assert as_png(figure)
    assert sorted(texts(figure)) == ["1", "1", "1", "1"]
    assert titles(figure) == ["1 of 4 misread (75.00 %)"]


def test_the_gallery_starts_with_the_most_confident_error() -> None:
    probabilities = np.full((3, 10), 0.01)
    probabilities[0, 7], probabilities[1, 2], probabilities[2, 3] = 0.91, 0.6, 0.91
    figure = plots.misread_gallery(np.zeros((3, 28, 28)), np.array([1, 5, 3]), probabilities)
    assert as_png(figure)
    assert texts(figure) == ["1 → 7\n91 %", "5 → 2\n60 %"]


def test_a_gallery_without_errors_is_empty() -> None:
    figure = plots.misread_gallery(np.zeros((1, 28, 28)), np.array([3]), np.eye(10)[[3]])
    assert as_png(figure)
    assert texts(figure) == []


def test_metrics_per_digit_and_filters_are_drawn() -> None:
    figure = plots.per_digit_metrics({"precision": np.linspace(0.9, 1, 10), "recall": np.ones(10)})
    assert as_png(figure)
    assert [line.get_label() for line in figure.axes[0].lines] == ["precision", "recall"]
    (shown,) = plots.first_layer_filters(np.eye(6)[None].repeat(3, 0)).axes[0].images
    assert shown.get_array().sum() == 3 * 6  # type: ignore[union-attr]


def test_a_mosaic_has_the_images_in_rows() -> None:
    one, two, three = np.arange(1, 4)[:, None, None] * np.ones((3, 1, 1), int)
    expected = [[0, 0, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 0, 0]]
    assert plots.mosaic(np.array([one, two, three]), 2, above=1, between=1).tolist() == expected


def test_pictures_stand_beside_the_inputs_made_from_them() -> None:
    pictures = [np.zeros((20, 30, 4), np.uint8), np.zeros((50, 50, 4), np.uint8)]
    figure = plots.pictures_and_inputs(pictures, [np.eye(28), np.eye(28)], ["1 → 7, 91 %", "5 → 2, 60 %"])
    assert as_png(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["1 → 7, 91 %", "", "5 → 2, 60 %"]
    sizes = [axes.images[0].get_size() for axes in figure.axes[:4]]
    assert sizes == [(20, 30), (28, 28), (50, 50), (28, 28)]


def test_boxes_are_drawn_in_their_pictures() -> None:
    pictures = [np.zeros((20, 30, 4), np.uint8), np.zeros((50, 50, 4), np.uint8)]
    boxes = [np.array([[1.0, 2.0, 5.0, 6.0], [10.0, 2.0, 5.0, 6.0]]), np.empty((0, 4))]
    figure = plots.boxed_pictures(pictures, boxes, ["12 → 17, 91 %", "5 → 2, 60 %"])
    assert as_png(figure)
    assert titles(figure) == ["12 → 17, 91 %", "5 → 2, 60 %"]
    assert [len(axes.patches) for axes in figure.axes] == [2, 0, 0, 0]
    box = figure.axes[0].patches[1]
    assert isinstance(box, Rectangle)
    assert box.get_bbox().bounds == (9.5, 1.5, 5, 6)


def test_the_reliability_diagram_shows_accuracy_by_confidence() -> None:
    probabilities = np.zeros((4, 10))
    probabilities[:, 0] = 0.9, 0.9, 0.9, 0.3
    figure = plots.reliability_diagram(probabilities, np.array([0, 0, 1, 0]), 0.1, bins=10)
    assert as_png(figure)
    assert texts(figure) == ["1", "3"]  # images in the bins
    confidence, accuracy = figure.axes[0].lines[1].get_data()
    np.testing.assert_allclose(np.array([confidence, accuracy]), np.array([[0.3, 0.9], [1, 2 / 3]]))


def test_the_load_curves_of_all_servers_share_a_figure() -> None:
    loads = [{"connections": n, "requests_per_second": 100.0 * n, "p50_ms": 5.0, "p99_ms": 9.0} for n in (1, 32)]
    figure = plots.load_curves({"ours": loads, "another": loads})
    assert as_png(figure).startswith(b"\x89PNG")
    assert titles(figure) == ["requests/s", "p50, ms", "p99, ms"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "another"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [100, 3200]  # type: ignore[union-attr]
