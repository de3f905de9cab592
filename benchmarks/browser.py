"""The page to draw on in a real browser: its server, Chromium, and a hand that draws the ten digits with the mouse."""

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

Stroke = Sequence[tuple[float, float]]  # x, y as shares of the paper's side
PROJECT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing is asked of the net, and no graphics card is imitated by the processor that everything else runs on.
FLAGS = ("--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-gpu")
ANSWERED = "#answer[aria-busy=false]:has(.first)"


def chromium() -> str | None:
    """The machine's Chromium, where it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window. Raises RuntimeError where there is none."""
    if (path := chromium()) is None:
        raise RuntimeError("there is no Chromium here; on Debian: apt-get install chromium")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


@contextlib.contextmanager
def served(*flags: str, folder: Path = PROJECT) -> Iterator[str]:
    """`python -m mnist_lightning.draw` with these flags, in `folder`; its address."""
    command = [sys.executable, "-m", "mnist_lightning.draw", "--no-browser", "--port", "0", *flags]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = next(iter(process.stdout or ()), "")
            if not said.startswith("draw: "):
                raise RuntimeError(f"the page did not start: exit code {process.wait()}")
            yield said.removeprefix("draw: ").strip()
        finally:
            process.terminate()


def paper(page: Page) -> tuple[float, float, float]:
    """Where the paper lies in the window: left, top, side."""
    found = page.locator("#pad").evaluate("pad => Object.values(pad.getBoundingClientRect().toJSON()).slice(0, 3)")
    return found[0], found[1], found[2]


def draw(page: Page, strokes: Sequence[Stroke], pause: float = 0) -> None:
    """Draw with the mouse, each point a move; `pause` is milliseconds between them."""
    left, top, side = paper(page)
    for stroke in strokes:
        places = [(left + x * side, top + y * side) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
            if pause:
                page.wait_for_timeout(pause)
        page.mouse.up()


def answer(page: Page) -> str:
    """The digit that the page shows, once it is about all that was drawn."""
    page.locator(ANSWERED).wait_for()
    return page.locator("#digit").inner_text()


def until(page: Page, expression: str, seconds: float = 20) -> None:
    """Wait until JavaScript is true, or raise TimeoutError. Playwright's own way is what the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {seconds:g} s: {expression}")
        page.wait_for_timeout(20)


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> Stroke:
    """Part of an ellipse, from one angle to another, in degrees: 0 is to the right, 90 down."""
    count = max(4, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / count) for step in range(count + 1)]
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]


def line(*corners: tuple[float, float]) -> Stroke:
    """Straight from corner to corner, in small steps."""
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
