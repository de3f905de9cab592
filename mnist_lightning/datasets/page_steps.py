"""What a page shows besides the digits: print below their ink, marks above it, and what lies around the paper."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from mnist_lightning.datasets.camera import SUPERSAMPLING
from mnist_lightning.datasets.page import Color, Floats, Page, as_coverage, log_uniform, mix, random_ink

TEXTS = ("Name", "Date", "Total", "Nr.", "Page", "Sum", "Seite", "Points", "Question", "No.", "EUR", "Score")


def _parallels(page: Page, angle: float, pitch: float, width: float, first: float) -> Floats:
    """The coverage of parallel lines over the whole page; `first` in [0, 1) shifts them, as a fraction of the pitch."""
    direction = np.array([math.cos(angle), math.sin(angle)])
    normal, middle = np.array([-direction[1], direction[0]]), np.array([page.width, page.height]) / 2
    reach = 0.75 * (page.width + page.height)
    steps = np.arange((first - reach // pitch) * pitch, reach, pitch)
    ends = np.stack([-reach * direction, reach * direction])
    return page.lines([middle + step * normal + ends for step in steps], width)


def _print_squares(page: Page) -> None:
    rng = page.rng
    tilt, pitch = math.radians(rng.normal(0, 4)), page.side * log_uniform(rng, 0.05, 0.35)
    width = min(pitch / 6, SUPERSAMPLING * log_uniform(rng, 0.35, 2.6))
    upright = math.pi / 2 + tilt + math.radians(rng.normal(0, 1.5))
    color, pitches = page.print_color(), (pitch, pitch * math.exp(rng.normal(0, 0.05)))
    heavier = rng.random() < 0.15  # every fifth line
    for angle, own in zip((tilt, upright), pitches, strict=True):
        first = rng.random()
        page.put(_parallels(page, angle, own, width, first), color)
        if heavier:
            page.put(_parallels(page, angle, 5 * own, 1.8 * width, first / 5), color)


def _print_rules(page: Page) -> None:
    rng = page.rng
    tilt, pitch = math.radians(rng.normal(0, 4)), page.side * log_uniform(rng, 0.1, 0.7)
    width = SUPERSAMPLING * log_uniform(rng, 0.35, 2.6)
    page.put(_parallels(page, tilt, pitch, width, rng.random()), page.print_color())
    if rng.random() < 0.25:  # a margin
        x = rng.choice([rng.uniform(0, 0.2), rng.uniform(0.8, 1)]) * page.width
        lean = math.tan(tilt) * page.height
        page.put(page.lines([[(x + lean / 2, 0), (x - lean / 2, page.height)]], width), page.print_color())


def _print_dots(page: Page) -> None:
    rng = page.rng
    pitch, canvas = page.side * rng.uniform(0.05, 0.14), page.canvas()
    radius = max(1, round(SUPERSAMPLING * rng.uniform(0.4, 1.2)))
    for y in np.arange(rng.uniform(0, pitch), page.height, pitch):
        for x in np.arange(rng.uniform(0, 0.1) * pitch, page.width, pitch):
            cv2.circle(canvas, (round(x), round(y)), radius, 255, -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), page.print_color())


def _print_text(page: Page) -> None:
    """Words in print, smaller than the digits and beside them."""
    rng = page.rng
    left, top, right, bottom = page.box
    size = min(0.4 * (bottom - top), page.side * rng.uniform(0.04, 0.1))
    scale, canvas = size / 22, page.canvas()
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    for _ in range(int(rng.integers(1, 5))):
        text = str(rng.choice(TEXTS)) + str(rng.choice(["", ":", " ...", " 12", "?"]))
        (width, height), below = cv2.getTextSize(text, font, scale, 1)
        x, y = rng.uniform(0, max(1, page.width - width)), rng.uniform(height, page.height)
        apart = x > right or x + width < left or y - height > bottom or y + below < top
        if apart:
            thickness = max(1, round(scale * rng.uniform(1.5, 3)))
            cv2.putText(canvas, text, (round(x), round(y)), font, scale, 255, thickness, cv2.LINE_AA)
    page.put(as_coverage(canvas), mix(page.paper, random_ink(rng, page.paper), rng.uniform(0.5, 1)))


def _mark_color(page: Page) -> Color:
    """The color of a mark around the digits: their ink, or another one."""
    rng = page.rng
    return page.ink if rng.random() < 0.55 else mix(page.paper, random_ink(rng, page.paper), rng.uniform(0.35, 1))


def _mark_width(page: Page) -> float:
    return float(np.clip(page.pen * math.exp(page.rng.normal(0, 0.45)), 0.8, 0.06 * page.side))


def _mark_box(page: Page) -> None:
    rng = page.rng
    left, top, right, bottom = page.box
    height = bottom - top
    around = height * rng.uniform(0.03, 0.45, 4)
    corners = np.array(
        [
            (left - around[0], top - around[1]),
            (right + around[2], top - around[1]),
            (right + around[2], bottom + around[3]),
            (left - around[0], bottom + around[3]),
        ]
    )
    angle = math.radians(rng.normal(0, 3.5))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = corners.mean(axis=0)
    turned = (corners - middle) @ rotation.T + middle + rng.normal(0, 0.01 * height, (4, 2))
    page.put(page.lines([turned], _mark_width(page), closed=True), _mark_color(page))


def _mark_circle(page: Page) -> None:
    """A circle by hand around the digits: uneven, sometimes open or overshooting, sometimes close to the ink."""
    rng = page.rng
    left, top, right, bottom = page.box
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) + rng.normal(0, 0.04, 2) * (bottom - top)
    half = np.hypot(right - left, bottom - top) / 2 * rng.uniform(0.95, 1.5)
    radii = half * np.exp(rng.normal(0, 0.08, 2)) * (np.array([1 + (right - left) / (bottom - top), 2]) / 2).clip(1, 3)
    start, turn = rng.uniform(0, 2 * math.pi), 2 * math.pi * rng.uniform(0.94, 1.06)
    angles = np.linspace(start, start + turn, 72)
    wobble = 1 + rng.uniform(0, 0.05) * np.sin(rng.integers(2, 5) * angles + rng.uniform(0, 6))
    points = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii * wobble[:, None]
    page.put(page.lines([points], _mark_width(page)), _mark_color(page))


def _mark_line(page: Page) -> None:
    """One line below the digits, or through their feet, across the page or as wide as they are."""
    rng = page.rng
    left, top, right, bottom = page.box
    height, tilt = bottom - top, math.tan(math.radians(rng.normal(0, 3.5)))
    y, middle = bottom + height * rng.uniform(-0.12, 0.18), (left + right) / 2
    ends = (-page.width, 2 * page.width) if rng.random() < 0.6 else (left - 0.2 * height, right + 0.2 * height)
    points = [(x, y + tilt * (x - middle)) for x in ends]
    page.put(page.lines([points], _mark_width(page)), _mark_color(page))


def edge(page: Page) -> None:
    """The table beside the paper, with the shadow of the paper's straight or torn edge."""
    rng = page.rng
    left, top, right, bottom = page.box
    room = [left / page.width, 1 - right / page.width, top / page.height, 1 - bottom / page.height]
    place = int(np.argmax(np.array(room) * rng.uniform(0.5, 1, 4)))
    share = rng.uniform(0.15, 0.95) * room[place]
    steps = np.linspace(-0.1, 1.1, 25)
    bends = np.cumsum(rng.normal(0, 0.006 if rng.random() < 0.3 else 0.0, 25)) + rng.normal(0, 0.03) * (steps - 0.5)
    depth = np.clip(share + bends - bends.max(), -0.1, share)  # never over the digits
    edge = [(d, s) if place < 2 else (s, d) for d, s in zip(depth, steps, strict=True)]
    outside = [(-0.2, 1.1), (-0.2, -0.1)] if place < 2 else [(1.1, -0.2), (-0.1, -0.2)]
    points = np.array(edge + outside)
    axis = 0 if place < 2 else 1
    if place % 2:
        points[:, axis] = 1 - points[:, axis]
    polygon = np.round(points * (page.width, page.height)).astype(np.int32)
    canvas = page.canvas()
    cv2.fillPoly(canvas, [polygon], 255, cv2.LINE_AA)
    table = (rng.uniform(0.05, 0.9) * (1 - 0.5 * rng.random(3))).astype(np.float32)
    grain = cv2.resize(rng.normal(0, 0.06, (int(rng.integers(4, 40)), int(rng.integers(4, 40)))), canvas.shape[::-1])
    coverage = as_coverage(canvas)
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(coverage, (0, 0), SUPERSAMPLING * rng.uniform(1, 6))
        page.colors *= 1 - (rng.uniform(0.1, 0.5) * soft * (1 - coverage))[..., None]
    page.put(coverage, table)
    page.colors += (coverage * grain)[..., None].astype(np.float32)
    page.mask *= 1 - coverage


def _holes(page: Page) -> None:
    """Perforation along a side."""
    rng = page.rng
    left, _, right, _ = page.box
    radius = page.side * rng.uniform(0.01, 0.05)
    lanes = [x for x in (1.6 * radius, page.width - 1.6 * radius) if x + radius < left or x - radius > right]
    if not lanes:
        return
    canvas, x = page.canvas(), float(rng.choice(lanes))
    for y in np.arange(rng.uniform(0, 4) * radius, page.height, radius * rng.uniform(3, 12)):
        cv2.circle(canvas, (round(x), round(y)), round(radius), 255, -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), (page.paper * rng.uniform(0.2, 0.8)).astype(np.float32))


def _stains(page: Page) -> None:
    rng = page.rng
    canvas = page.canvas()
    for _ in range(int(rng.integers(1, 4))):
        middle = (int(rng.integers(page.width)), int(rng.integers(page.height)))
        axes = (rng.uniform(0.03, 0.25, 2) * page.side).astype(int).tolist()
        ring = -1 if rng.random() < 0.6 else max(1, round(page.side * rng.uniform(0.01, 0.03)))
        cv2.ellipse(canvas, middle, axes, rng.uniform(0, 180), 0, 360, 255, ring, cv2.LINE_AA)
    soft = cv2.GaussianBlur(as_coverage(canvas), (0, 0), page.side * rng.uniform(0.005, 0.04))
    shade = (page.paper * (1 - rng.uniform(0.1, 0.4) * rng.random(3))).astype(np.float32)
    page.put(soft * np.float32(rng.uniform(0.3, 1)), shade)


def _creases(page: Page) -> None:
    rng = page.rng
    for _ in range(int(rng.integers(1, 3))):
        ends = rng.uniform(-0.2, 1.2, (2, 2)) * (page.width, page.height)
        line = page.lines([ends], SUPERSAMPLING * rng.uniform(0.5, 3))
        soft = cv2.GaussianBlur(line, (0, 0), SUPERSAMPLING * rng.uniform(0.5, 2))
        page.put(soft * np.float32(rng.uniform(0.3, 1)), (page.paper * rng.uniform(0.7, 1.15)).astype(np.float32))


def _specks(page: Page) -> None:
    rng, canvas = page.rng, page.canvas()
    for _ in range(int(rng.integers(3, 30))):
        middle = (int(rng.integers(page.width)), int(rng.integers(page.height)))
        cv2.circle(canvas, middle, int(rng.integers(1, 4)), int(rng.integers(80, 255)), -1, cv2.LINE_AA)
    page.put(as_coverage(canvas), random_ink(rng, page.paper))


Step = Callable[[Page], None]
NOTHING: tuple[Step, ...] = ()
# By kind: what is drawn below the ink and above it, and how often of 100.
KINDS: Mapping[str, tuple[tuple[Step, ...], tuple[Step, ...], float]] = {
    "plain": (NOTHING, NOTHING, 16),
    "squared": ((_print_squares,), NOTHING, 30),
    "ruled": ((_print_rules,), NOTHING, 15),
    "dotted": ((_print_dots,), NOTHING, 3),
    "underlined": (NOTHING, (_mark_line,), 12),
    "boxed": (NOTHING, (_mark_box,), 12),
    "circled": (NOTHING, (_mark_circle,), 12),
}
# What any kind may have besides, and the probability.
EXTRAS: Mapping[Step, float] = {
    _print_text: 0.08,
    edge: 0.15,
    _holes: 0.05,
    _stains: 0.08,
    _creases: 0.06,
    _specks: 0.06,
}
