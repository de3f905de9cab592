"""Take the pictures of the drawing page in docs/: on a phone and a large screen, light and dark, and an animation.

    .venv/bin/python -m benchmarks.screenshots

Starts the model server, the page's server and Chromium. Writes docs/draw-WIDTH-SCHEME.png and docs/draw.webp.
"""

import argparse
import io
import sys
from functools import partial
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browser import (
    DIGITS,
    Stroke,
    canvas_box,
    draw_strokes,
    launch_browser,
    page_server,
    wait_for_prediction,
    wait_until,
)
from mnist_lightning.common.files import save_atomic
from mnist_lightning.serving.torchserve import free_port, running

SIZES = {390: 844, 1440: 900}  # width and height of the window, in pixels
FRAMES_PER_SECOND, FRAME_SCALE = 10, 0.6
DIGIT = 5  # drawn in the still pictures
HOLD_FRAMES, LAST_HOLD_FRAMES = 9, 18
SETTLE_MS = 400  # for transitions to end

EXPLAINED = """() => document.getElementById("explanation").getContext("2d").getImageData(0, 0, 28, 28).data
  .some((value, index) => index % 4 < 3 && value)"""


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="output folder (%(default)s)")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="folder of mnist.mar (%(default)s)")
    options = parser.parse_args()
    with (
        running(options.store, free_port()) as server,
        page_server("--url", server.url) as url,
        launch_browser() as browser,
    ):
        for width, height in SIZES.items():
            for scheme in ("light", "dark"):
                picture = screenshot(browser, url, (width, height), scheme)
                path = options.docs / f"draw-{width}-{scheme}.png"
                save_atomic(path, partial(picture.save, optimize=True))
        frames = animation(browser, url)
    save = partial(
        frames[0].save,
        save_all=True,
        append_images=frames[1:],
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
        quality=60,
        method=4,
    )
    save_atomic(options.docs / "draw.webp", save)
    return 0


def screenshot(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Image.Image:
    """Return the page with a prediction and its explanation."""
    page = open_page(browser, url, size, scheme)
    draw_strokes(page, DIGITS[DIGIT], pause=2)
    wait_for_prediction(page)
    explain(page)
    page.mouse.move(1, 1)
    page.wait_for_timeout(SETTLE_MS)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    page.context.close()
    return picture


def animation(browser: Browser, url: str) -> list[Image.Image]:
    """Return the frames of four digits being drawn and an explanation of the last prediction."""
    page = open_page(browser, url, (1200, 940), "light")
    frames: list[Image.Image] = []
    for strokes in (DIGITS[2], DIGITS[7], DIGITS[4], DIGITS[DIGIT]):
        page.click("#clear", force=True)
        for stroke in strokes:
            record_stroke(page, stroke, frames)
        record(page, frames, HOLD_FRAMES)
    explain(page)
    record(page, frames, LAST_HOLD_FRAMES)
    return frames


def open_page(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Page:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url)
    return page


def explain(page: Page) -> None:
    page.click("#explain")
    wait_until(page, f"({EXPLAINED})()")


def record_stroke(page: Page, stroke: Stroke, frames: list[Image.Image]) -> None:
    """Draw a stroke and take a frame after every second point."""
    left, top, side = canvas_box(page)
    page.mouse.move(left + stroke[0][0] * side, top + stroke[0][1] * side)
    page.mouse.down()
    for index, (x, y) in enumerate(stroke[1:]):
        page.mouse.move(left + x * side, top + y * side)
        if index % 2 == 0:
            record(page, frames, 1)
    page.mouse.up()


def record(page: Page, frames: list[Image.Image], count: int) -> None:
    """Append `count` frames of the page."""
    for _ in range(count):
        page.wait_for_timeout(60)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        size = [round(FRAME_SCALE * length) for length in picture.size]
        frames.append(picture.resize(size, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    sys.exit(main())
