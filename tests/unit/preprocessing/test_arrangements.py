"""Any arrangement of shapes on any canvas is a normalized image or a BadPictureError, never another exception."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import normalize_with_count

SIDES = st.integers(1, 300)
GRAYS = st.integers(0, 255)
THICKNESSES = st.sampled_from([-1, 1, 2, 5, 12, 30])  # -1 is filled
POINTS = st.tuples(st.integers(-40, 340), st.integers(-40, 340))


@st.composite
def canvases(draw: st.DrawFn) -> Bytes:
    """A canvas with up to eight ellipses, lines, dots, boxes and digits, gray or in color."""
    channels = draw(st.sampled_from([(), (3,), (4,)]))
    canvas = np.full((draw(SIDES), draw(SIDES), *channels), draw(GRAYS), np.uint8)
    for _ in range(draw(st.integers(0, 8))):
        color = [draw(GRAYS) for _ in range(max(1, *channels, 1))]
        start, end, thickness = draw(POINTS), draw(POINTS), draw(THICKNESSES)
        kind = draw(st.sampled_from(["ellipse", "line", "dot", "box", "digit"]))
        if kind == "ellipse":
            axes = draw(st.tuples(st.integers(0, 150), st.integers(0, 150)))
            cv2.ellipse(canvas, start, axes, draw(st.integers(0, 180)), 0, 360, color, thickness, cv2.LINE_AA)
        elif kind == "line":
            cv2.line(canvas, start, end, color, abs(thickness), cv2.LINE_AA)
        elif kind == "dot":
            cv2.circle(canvas, start, draw(st.integers(0, 9)), color, -1)
        elif kind == "box":
            cv2.rectangle(canvas, start, end, color, thickness)
        else:
            digit, size = str(draw(st.integers(0, 9))), draw(st.floats(0.3, 12))
            cv2.putText(canvas, digit, start, cv2.FONT_HERSHEY_SIMPLEX, size, color, abs(thickness), cv2.LINE_AA)
    return canvas


def check(canvas: Bytes) -> None:
    try:
        result = normalize_with_count(canvas)
    except BadPictureError as error:
        assert str(error)
        return
    assert result.image.shape == (28, 28)
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert result.digits >= 1


@given(canvases())
def test_any_arrangement_is_an_image_or_refused(canvas: Bytes) -> None:
    check(canvas)


def test_a_thick_digit_beside_a_thin_line_of_twice_its_height() -> None:
    canvas = np.full((300, 300), 255, np.uint8)
    cv2.putText(canvas, "8", (30, 160), cv2.FONT_HERSHEY_SIMPLEX, 4, 0, 30, cv2.LINE_AA)
    cv2.line(canvas, (220, 20), (220, 280), 0, 3, cv2.LINE_AA)
    check(canvas)


@settings(max_examples=settings().max_examples // 4)  # noise takes ten times as long to read
@given(st.binary(min_size=784, max_size=784), SIDES)
def test_noise_is_an_image_or_refused(content: bytes, width: int) -> None:
    pixels = np.frombuffer(content, np.uint8)
    check(pixels.reshape(28, 28).copy())
    check(np.asarray(cv2.resize(pixels.reshape(28, 28), (width, 40), interpolation=cv2.INTER_NEAREST), dtype=np.uint8))
