"""The page to draw on as docs/ shows it: on a phone and a large screen, in light and dark, and in use for ten seconds.

    .venv/bin/python -m benchmarks.screenshots

Starts the model server, the page's and Chromium. Writes docs/draw-WIDTH-SCHEME.png and docs/draw.webp.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browser import DIGITS, Stroke, answer, browser, draw, paper, served, until
from mnist_lightning.serving.torchserve import free_port, running

SIZES = {390: 844, 1440: 900}
FRAMES, SHARE = 10, 0.6  # of the film a second; of its pictures' side to the page's
SHOWN = 5

HEATED = """() => document.getElementById("heat").getContext("2d").getImageData(0, 0, 28, 28).data
  .some((value, at) => at % 4 < 3 && value)"""


def main() -> int:
    """Take them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the pictures go (%(default)s)")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    options = parser.parse_args()
    with running(options.store, free_port()) as server, served("--url", server.url) as address, browser() as chrome:
        for width, height in SIZES.items():
            for scheme in ("light", "dark"):
                still(chrome, address, (width, height), scheme).save(
                    options.docs / f"draw-{width}-{scheme}.png", optimize=True
                )
        frames = film(chrome, address)
    frames[0].save(
        options.docs / "draw.webp",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // FRAMES,
        loop=0,
        quality=60,
        method=4,
    )
    return 0


def still(chrome: Browser, address: str, size: tuple[int, int], scheme: str) -> Image.Image:
    """The page with an answer and what spoke for it."""
    page = opened(chrome, address, size, scheme)
    draw(page, DIGITS[SHOWN], pause=2)
    answer(page)
    page.click("#why")
    until(page, f"({HEATED})()")
    page.mouse.move(1, 1)
    page.wait_for_timeout(400)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    page.context.close()
    return picture


def film(chrome: Browser, address: str) -> list[Image.Image]:
    """Four digits drawn, and what spoke for the last of them."""
    page = opened(chrome, address, (1200, 940), "light")
    frames: list[Image.Image] = []
    for strokes in (DIGITS[2], DIGITS[7], DIGITS[4], DIGITS[SHOWN]):
        page.click("#clear", force=True)
        for stroke in strokes:
            trace(page, stroke, frames)
        hold(page, frames, 9)
    page.click("#why")
    until(page, f"({HEATED})()")
    hold(page, frames, 18)
    return frames


def opened(chrome: Browser, address: str, size: tuple[int, int], scheme: str) -> Page:
    context = chrome.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(address)
    return page


def trace(page: Page, stroke: Stroke, frames: list[Image.Image]) -> None:
    """Draw a stroke, with a frame after every few of its points."""
    left, top, side = paper(page)
    page.mouse.move(left + stroke[0][0] * side, top + stroke[0][1] * side)
    page.mouse.down()
    for number, (x, y) in enumerate(stroke[1:]):
        page.mouse.move(left + x * side, top + y * side)
        if number % 2 == 0:
            hold(page, frames, 1)
    page.mouse.up()


def hold(page: Page, frames: list[Image.Image], count: int) -> None:
    """So many frames of the page as it changes by itself."""
    for _ in range(count):
        page.wait_for_timeout(60)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        frames.append(picture.resize([round(SHARE * length) for length in picture.size], Image.Resampling.LANCZOS))


if __name__ == "__main__":
    sys.exit(main())
