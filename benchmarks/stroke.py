"""How long a stroke on the page waits for its answer: from the button's release to the digit on the screen.

    .venv/bin/python -m benchmarks.stroke

Starts the model server, the page's and Chromium, draws the ten digits again and again, and reads the browser's own
clock. Prints, in milliseconds, the median and the 95th percentile, and, last, one line of JSON.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks.browser import DIGITS, answer, browser, draw, served, until
from mnist_lightning.serving.torchserve import free_port, running

# From the event's own time stamp to the frame after the one that shows the answer about all that was drawn.
WATCH = """
addEventListener("pointerup", (event) => { if (event.target.id === "pad") window.released = event.timeStamp; }, true);
addEventListener("DOMContentLoaded", () => {
  window.waits = [];
  new MutationObserver(() => {
    if (document.getElementById("answer").getAttribute("aria-busy") === "true" || !window.released) return;
    const released = window.released;
    window.released = null;
    requestAnimationFrame(() => setTimeout(() => waits.push(performance.now() - released)));
  }).observe(document.getElementById("answer"), {attributeFilter: ["aria-busy"]});
});
"""


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of the ten digits (%(default)s)")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    options = parser.parse_args()
    with running(options.store, free_port()) as server, served("--url", server.url) as address, browser() as chrome:
        page = chrome.new_page(viewport={"width": 1440, "height": 1000})
        page.add_init_script(WATCH)
        page.goto(address)
        right = 0
        for number in range(10 * (options.rounds + 1)):
            draw(page, DIGITS[number % 10], pause=4)
            right += answer(page) == str(number % 10)
            until(page, "window.released === null")
            page.click("#clear")
            if number == 9:  # the first round warms up
                page.evaluate("waits.length = 0")
                right = 0
        waits = page.evaluate("waits")
    cuts = statistics.quantiles(waits, n=20)
    report = {"strokes": len(waits), "median_ms": cuts[9], "p95_ms": cuts[18], "read_right": right}
    print(f"{len(waits)} strokes: median {cuts[9]:.1f} ms, p95 {cuts[18]:.1f} ms; {right} digits read right")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
