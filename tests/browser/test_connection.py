"""The drawing page in Chromium, in front of a stub that answers late, with errors, with a note, or not at all."""

import threading
from pathlib import Path

from playwright.sync_api import Browser, expect

from benchmarks.browser import DIGITS, draw_strokes, wait_for_prediction
from mnist_lightning.serving.torchserve import free_port
from tests.browser.conftest import visiting
from tests.pages import running_page, stub_model_server

EIGHT = {"prediction": 8, "confidence": 0.91, "probabilities": [0.01] * 8 + [0.91, 0.01], "is_digit": 0.9}
TIMED_OUT = {"code": 504, "type": "ClientError", "message": "no answer"}


def test_page_reconnects_when_the_model_server_returns(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_page(url, tmp_path) as page_url, visiting(browser, page_url, tmp_path) as visit:
        visit.expects_failed_requests = True
        draw_strokes(visit.page, DIGITS[8])
        expect(visit.page.locator("#message")).to_contain_text("not available")
        expect(visit.page.locator("#details")).to_contain_text(f"no server at {url}")
        with stub_model_server(lambda: (200, EIGHT), port):
            assert wait_for_prediction(visit.page) == "8"  # without any user action
            expect(visit.page.locator("#notice")).to_be_hidden()
        draw_strokes(visit.page, DIGITS[8])
        expect(visit.page.locator("#message")).to_contain_text("not available")


def test_note_replaces_the_digit(browser: Browser, tmp_path: Path) -> None:
    answer = {**EIGHT, "is_digit": 0.02, "note": "this does not look like a digit"}
    with (
        stub_model_server(lambda: (200, answer)) as url,
        running_page(url, tmp_path) as page_url,
        visiting(browser, page_url, tmp_path) as visit,
    ):
        draw_strokes(visit.page, DIGITS[8])
        expect(visit.page.locator("#note")).to_have_text("This does not look like a digit")
        expect(visit.page.locator("#digit")).to_be_hidden()
        expect(visit.page.locator("#announcement")).to_contain_text("does not look like a digit")
        visit.page.click("#clear")
        expect(visit.page.locator("#note")).to_be_hidden()
        expect(visit.page.locator("#digit")).to_be_visible()


def test_slow_server_is_reported_and_asked_again(browser: Browser, tmp_path: Path) -> None:
    noticed, answers = threading.Event(), iter([(504, TIMED_OUT)])

    def answer() -> tuple[int, object]:
        noticed.wait(20)
        return next(answers, (200, EIGHT))

    with (
        stub_model_server(answer) as url,
        running_page(url, tmp_path, timeout=30) as page_url,
        visiting(browser, page_url, tmp_path) as visit,
    ):
        visit.expects_failed_requests = True
        draw_strokes(visit.page, DIGITS[8])
        expect(visit.page.locator("#message")).to_contain_text("slow to answer")
        with visit.page.expect_response("**/read") as first:
            noticed.set()
        assert first.value.status == 504
        assert wait_for_prediction(visit.page) == "8"
        expect(visit.page.locator("#notice")).to_be_hidden()
