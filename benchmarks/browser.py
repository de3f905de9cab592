"""Drive the drawing page in Chromium: start its server and the browser, and draw digits with the mouse."""

import contextlib
import itertools
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

Stroke = Sequence[tuple[float, float]]  # (x, y) as fractions of the square in the middle of the canvas
PROJECT = Path(__file__).resolve().parent.parent
EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
# No background requests, and no software emulation of a GPU, which would take CPU time from the servers.
FLAGS = ("--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-gpu")
PREDICTED = "#answer[aria-busy=false]:has(.predicted)"


def find_chromium() -> str | None:
    """Return the path of the installed Chromium, or None."""
    return next(filter(None, map(shutil.which, EXECUTABLES)), None)


@contextlib.contextmanager
def launch_browser() -> Iterator[Browser]:
    """Run headless Chromium. Raises RuntimeError if it is not installed."""
    if (path := find_chromium()) is None:
        raise RuntimeError("Chromium is not installed; on Debian: apt-get install chromium")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, *(["--no-sandbox"] if is_root else [])]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def page_server(*flags: str, folder: Path = PROJECT) -> Iterator[str]:
    """Run `python -m mnist_lightning.draw` with these flags in `folder`, and yield its URL."""
    command = [sys.executable, "-m", "mnist_lightning.draw", "--no-browser", "--port", "0", *flags]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            first_line = next(iter(process.stdout or ()), "")
            if not first_line.startswith("draw: "):
                raise RuntimeError(f"the page did not start: exit code {process.wait()}")
            yield first_line.removeprefix("draw: ").strip()
        finally:
            process.terminate()


def canvas_box(page: Page) -> tuple[float, float, float]:
    """Return the left, top and side of the square in the middle of the canvas, in pixels of the window."""
    box = page.locator("#pad").evaluate("pad => Object.values(pad.getBoundingClientRect().toJSON()).slice(0, 4)")
    left, top, width, height = box
    return left + (width - height) / 2, top, height


def draw_strokes(page: Page, strokes: Sequence[Stroke], pause: float = 0) -> None:
    """Draw with the mouse, one move per point, with `pause` milliseconds between moves."""
    left, top, side = canvas_box(page)
    for stroke in strokes:
        points = [(left + x * side, top + y * side) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
            if pause:
                page.wait_for_timeout(pause)
        page.mouse.up()


def wait_for_prediction(page: Page) -> str:
    """Return the displayed digit once it is the prediction of the whole drawing."""
    page.locator(PREDICTED).wait_for()
    return page.locator("#digit").inner_text()


def wait_until(page: Page, expression: str, seconds: float = 20) -> None:
    """Wait until a JavaScript expression is true. Raises TimeoutError.

    Playwright's `wait_for_function` is not possible: the page's Content-Security-Policy forbids it.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {seconds:g} s: {expression}")
        page.wait_for_timeout(20)


def arc(x: float, y: float, x_radius: float, y_radius: float, start: float, end: float) -> Stroke:
    """Return part of an ellipse between two angles in degrees: 0 is to the right, 90 is down."""
    count = max(4, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / count) for step in range(count + 1)]
    return [(x + x_radius * math.cos(angle), y + y_radius * math.sin(angle)) for angle in angles]


def line(*corners: tuple[float, float]) -> Stroke:
    """Return straight lines from corner to corner, eight points each."""
    steps = [step / 8 for step in range(8)]
    pairs = itertools.pairwise(corners)
    return [*((a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s) for a, b in pairs for s in steps), corners[-1]]


DIGITS: Sequence[Sequence[Stroke]] = (
    [arc(0.5, 0.5, 0.19, 0.3, -80, 285)],
    [line((0.4, 0.32), (0.52, 0.2), (0.52, 0.8))],
    [[*arc(0.5, 0.36, 0.17, 0.16, 190, 390), *line((0.63, 0.46), (0.32, 0.79), (0.7, 0.79))]],
    [[*arc(0.48, 0.35, 0.16, 0.15, 200, 440), *arc(0.48, 0.65, 0.18, 0.16, 280, 520)]],
    [line((0.56, 0.2), (0.31, 0.59), (0.72, 0.59)), line((0.6, 0.42), (0.6, 0.82))],
    [[*line((0.66, 0.2), (0.39, 0.2), (0.36, 0.47)), *arc(0.47, 0.62, 0.18, 0.19, 230, 510)]],
    [[*arc(0.68, 0.5, 0.34, 0.32, 250, 180), *arc(0.49, 0.62, 0.16, 0.18, 180, 540)]],
    [line((0.32, 0.23), (0.68, 0.23), (0.46, 0.8))],
    [[*arc(0.5, 0.35, 0.14, 0.14, 90, -270), *arc(0.5, 0.65, 0.17, 0.16, -90, 270)]],
    [[*arc(0.5, 0.37, 0.16, 0.16, -10, -370), *line((0.66, 0.37), (0.6, 0.8))]],
)
