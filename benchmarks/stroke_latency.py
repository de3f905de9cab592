"""Measure the latency of the drawing page: from the release of the mouse button to the prediction on the screen.

    .venv/bin/python -m benchmarks.stroke_latency

Starts the model server, the page's server and Chromium, draws the ten digits in several rounds, and reads the
browser's clock. Prints the median and the 95th percentile in milliseconds and, last, one line of JSON.
"""

import json
import statistics
import sys

from benchmarks.browser import DIGITS, draw_strokes, launch_browser, page_server, wait_for_prediction, wait_until
from benchmarks.common import conditions, make_parser
from mnist_lightning.serving.torchserve import free_port, running

# Measures from the event's time stamp to the frame after the one that shows the prediction of the whole drawing.
MEASURE = """
addEventListener("pointerup", (event) => { if (event.target.id === "pad") window.released = event.timeStamp; }, true);
addEventListener("DOMContentLoaded", () => {
  window.latencies = [];
  new MutationObserver(() => {
    if (document.getElementById("answer").getAttribute("aria-busy") === "true" || !window.released) return;
    const released = window.released;
    window.released = null;
    requestAnimationFrame(() => setTimeout(() => latencies.push(performance.now() - released)));
  }).observe(document.getElementById("answer"), {attributeFilter: ["aria-busy"]});
});
"""


def main() -> int:
    """Measure, and print."""
    parser = make_parser(__doc__, "store")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of ten digits (%(default)s)")
    options = parser.parse_args()
    print(conditions() + "\n")
    with (
        running(options.store, free_port()) as server,
        page_server("--url", server.url) as address,
        launch_browser() as browser,
    ):
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.add_init_script(MEASURE)
        page.goto(address)
        correct = 0
        for number in range(10 * (options.rounds + 1)):
            draw_strokes(page, DIGITS[number % 10], pause=4)
            correct += wait_for_prediction(page) == str(number % 10)
            wait_until(page, "window.released === null")
            page.click("#clear")
            if number == 9:  # the first round warms up
                page.evaluate("latencies.length = 0")
                correct = 0
        latencies = page.evaluate("latencies")
    quantiles = statistics.quantiles(latencies, n=20)
    report = {"strokes": len(latencies), "median_ms": quantiles[9], "p95_ms": quantiles[18], "correct": correct}
    print(
        "{strokes} strokes: median {median_ms:.1f} ms, p95 {p95_ms:.1f} ms; {correct} digits correct".format(**report)
    )
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
