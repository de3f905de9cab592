"""The drawing page in Chromium, in front of TorchServe with the small network."""

import json
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from benchmarks.browser import DIGITS, canvas_box, draw_strokes, wait_for_prediction, wait_until
from mnist_lightning import evaluate
from tests.browser.conftest import Visit
from tests.support import SEVEN


@pytest.mark.parametrize("digit", range(10))
def test_drawn_digit_is_predicted(visit: Visit, digit: int) -> None:
    draw_strokes(visit.page, DIGITS[digit], pause=2)
    assert wait_for_prediction(visit.page) == str(digit)
    expect(visit.page.locator("#bars li.predicted .name")).to_have_text(str(digit))
    expect(visit.page.locator("#announcement")).to_contain_text(f"Prediction: {digit}")
    texts = visit.page.locator("#bars .probability").all_inner_texts()
    assert len(texts) == 10
    assert abs(sum(float(text.strip("> \u202f%")) for text in texts) - 100) < 1


@pytest.mark.parametrize("width", [6, 18, 36])
def test_first_request_of_a_stroke_is_not_blank(visit: Visit, width: int) -> None:
    """A blank picture would be rejected with status 400, which Chromium logs to the console."""
    left, top, side = canvas_box(visit.page)
    visit.page.locator("#width").fill(str(width))
    visit.page.mouse.move(left + 0.5 * side, top + 0.5 * side)
    with visit.page.expect_response("**/read") as first:
        visit.page.mouse.down()
    assert first.value.status == 200
    visit.page.mouse.up()
    wait_for_prediction(visit.page)
    assert ink_pixels(visit, "network-input") > 5


def test_dot_drawn_by_keyboard_is_not_blank(visit: Visit) -> None:
    visit.page.locator("#pad").focus()
    with visit.page.expect_response("**/read") as first:
        visit.page.keyboard.press("Space")
    assert first.value.status == 200
    visit.page.keyboard.press("Space")
    wait_for_prediction(visit.page)


def test_prediction_updates_during_a_stroke(visit: Visit) -> None:
    left, top, side = canvas_box(visit.page)
    visit.page.mouse.move(left + 0.3 * side, top + 0.3 * side)
    visit.page.mouse.down()
    visit.page.mouse.move(left + 0.7 * side, top + 0.3 * side, steps=20)
    expect(visit.page.locator("#bars li.predicted")).to_have_count(1)
    expect(visit.page.locator("#announcement")).to_have_text("")  # not announced before the stroke ends
    visit.page.mouse.move(left + 0.45 * side, top + 0.8 * side, steps=20)
    visit.page.mouse.up()
    assert wait_for_prediction(visit.page) == "7"


def test_undo_and_clear(visit: Visit) -> None:
    page = visit.page
    draw_strokes(page, DIGITS[4][:1])
    digit, confidence = wait_for_prediction(page), page.locator("#confidence").inner_text()
    draw_strokes(page, DIGITS[4][1:])
    assert wait_for_prediction(page) == "4"
    page.keyboard.press("Control+z")
    expect(page.locator("#confidence")).to_have_text(confidence)
    assert wait_for_prediction(page) == digit
    page.click("#clear")
    expect(page.locator("#digit")).to_have_text("–")
    expect(page.locator("#announcement")).to_have_text("")
    page.click("#undo")
    assert wait_for_prediction(page) == digit
    page.click("#undo")
    expect(page.locator("#digit")).to_have_text("–")
    expect(page.locator("#undo")).to_be_disabled()


def test_opened_file_is_replaced_by_a_drawing(visit: Visit) -> None:
    visit.page.set_input_files("#file", SEVEN)
    assert wait_for_prediction(visit.page) == "7"
    draw_strokes(visit.page, DIGITS[0])
    expect(visit.page.locator("#digit")).to_have_text("0")
    visit.page.click("#undo")
    expect(visit.page.locator("#digit")).to_have_text("7")


@pytest.mark.parametrize(("kind", "digit"), [("squared-paper", "3"), ("circled", "6"), ("boxed", "8"), ("turned", "9")])
def test_an_example_is_read(kind: str, digit: str, visit: Visit) -> None:
    visit.page.get_by_role("button", name=f"Example: {digit}, {kind}").click()
    assert wait_for_prediction(visit.page) == digit
    assert ("turned" in visit.page.inner_text("#confidence")) == (kind == "turned")


TRANSFER = """([type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "picture.png", {type: "image/png"}));
  const paste = {clipboardData: transfer, bubbles: true}, drop = {dataTransfer: transfer, bubbles: true};
  const event = type === "paste" ? new ClipboardEvent(type, paste) : new DragEvent(type, drop);
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_pasted_or_dropped_picture_is_predicted(visit: Visit, event: str) -> None:
    visit.page.evaluate(TRANSFER, [event, list(SEVEN.read_bytes())])
    assert wait_for_prediction(visit.page) == "7"


def test_unreadable_file_shows_an_error(visit: Visit, tmp_path: Path) -> None:
    visit.expects_failed_requests = True
    for content in (b"words", SEVEN.read_bytes()[:900]):
        (tmp_path / "picture.png").write_bytes(content)
        visit.page.set_input_files("#file", tmp_path / "picture.png")
        expect(visit.page.locator("#message")).to_contain_text("not a readable picture, or the file is damaged")
        expect(visit.page.locator("#digit")).to_have_text("–")
    draw_strokes(visit.page, DIGITS[1])
    assert wait_for_prediction(visit.page) == "1"
    expect(visit.page.locator("#notice")).to_be_hidden()


def test_keyboard_draws(visit: Visit) -> None:
    page = visit.page
    page.locator("h1").click()
    page.keyboard.press("Tab")
    expect(page.locator("#pad")).to_be_focused()
    expect(page.locator("#keys")).to_be_visible()
    for key in ["ArrowLeft"] * 4 + ["Space"] + ["ArrowRight"] * 8 + ["ArrowDown", "ArrowDown", "ArrowLeft"] * 5:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    assert wait_for_prediction(page) == "7"
    page.keyboard.press("Delete")
    expect(page.locator("#digit")).to_have_text("–")
    page.keyboard.press("Control+z")
    assert wait_for_prediction(page) == "7"
    page.keyboard.press("Tab")
    expect(page.locator("#undo")).to_be_focused()


INK_HEIGHT = """() => {
  const pad = document.getElementById("pad"), copy = new OffscreenCanvas(1, pad.height).getContext("2d");
  copy.drawImage(pad, -pad.width / 2, 0);
  const column = copy.getImageData(0, 0, 1, pad.height).data;
  return column.filter((value, index) => index % 4 === 3 && value > 127).length;
}"""


def test_pen_pressure_sets_the_stroke_width(visit: Visit) -> None:
    """The events come from Chromium's own pen input, not from scripts of the page."""
    page, widths = visit.page, []
    session = page.context.new_cdp_session(page)
    left, top, side = canvas_box(page)
    for force in (0.1, 0.9):
        for event, x in (("mousePressed", 0.3), ("mouseMoved", 0.5), ("mouseMoved", 0.7), ("mouseReleased", 0.7)):
            point = {"x": left + x * side, "y": top + 0.5 * side}
            pen = {"pointerType": "pen", "force": force, "button": "left", "buttons": 1, "clickCount": 1}
            session.send("Input.dispatchMouseEvent", {"type": event, **point, **pen})
        wait_for_prediction(page)
        widths.append(page.evaluate(INK_HEIGHT))
        page.click("#clear")
    assert widths[1] > 2 * widths[0] > 0


# Of a 28×28 canvas: how many pixels are bright, reddish and bluish.
PIXEL_COUNTS = """(id) => {
  const copy = new OffscreenCanvas(28, 28).getContext("2d");
  copy.drawImage(document.getElementById(id), 0, 0);
  const data = copy.getImageData(0, 0, 28, 28).data;
  const pixels = Array.from({length: 784}, (_, index) => [data[4 * index], data[4 * index + 2]]);
  const kinds = [([r, b]) => r + b > 200, ([r, b]) => r > b + 40, ([r, b]) => b > r + 40];
  return kinds.map((matches) => pixels.filter(matches).length);
}"""


def ink_pixels(visit: Visit, canvas: str) -> int:
    counts: list[int] = visit.page.evaluate(PIXEL_COUNTS, canvas)
    return counts[0]


def test_network_input_and_explanation_are_shown(visit: Visit) -> None:
    draw_strokes(visit.page, DIGITS[3])
    assert wait_for_prediction(visit.page) == "3"
    assert ink_pixels(visit, "network-input") > 50
    visit.page.click("#explain")
    wait_until(visit.page, f"Math.min(...({PIXEL_COUNTS})('explanation').slice(1)) > 5")  # both for and against
    visit.page.click("#clear")
    assert visit.page.evaluate(PIXEL_COUNTS, "explanation") == [0, 0, 0]


def test_feedback_is_stored_with_consent_and_can_be_evaluated(
    visit: Visit, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, folder = visit.page, visit.folder / "data" / "feedback"
    draw_strokes(page, DIGITS[9])
    assert wait_for_prediction(page) == "9"
    button = page.get_by_role("button", name="4", exact=True)
    expect(button).to_be_disabled()
    assert not folder.exists()
    page.check("#agree")
    button.click()
    expect(page.locator("#saved")).to_contain_text("Saved as a 4: data/feedback/4-")
    page.get_by_role("button", name="9", exact=True).click()
    expect(page.locator("#saved")).to_contain_text("Saved as a 9: data/feedback/9-")
    (picture,) = folder.glob("*.png")
    lines = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    assert [(line["label"], line["read"]) for line in lines] == [(4, 9), (9, 9)]
    assert lines[-1]["picture"] == picture.name
    flags = ["--json", "--store", str(small_store), "--out", str(folder.parent)]
    assert evaluate.main(["pictures", str(folder), *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["accuracy"], report["refused"]) == (1, 1.0, {})


FAINTEST_CONTRAST = """() => {
  const luminance = (name) => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((index) => parseInt(hex.slice(index, index + 2), 16) / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const contrast = (a, b) => Math.max(luminance(a) / luminance(b), luminance(b) / luminance(a));
  const texts = ["--text", "--muted", "--accent", "--cool"], grounds = ["--background", "--surface"];
  return Math.min(...texts.flatMap((text) => grounds.map((ground) => contrast(text, ground))));
}"""
SMALLEST_CONTROL = """() => Math.min(...[...document.querySelectorAll("button, #width")].map((each) =>
  Math.max(each.getBoundingClientRect().height, each.clientHeight)))"""


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_the_window_and_is_legible(visit: Visit, width: int, scheme: Literal["light", "dark"]) -> None:
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visit.page.set_viewport_size({"width": width, "height": 844})
    draw_strokes(visit.page, DIGITS[6])
    assert wait_for_prediction(visit.page) == "6"
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(FAINTEST_CONTRAST) >= 4.5  # WCAG 2.2, 1.4.3
    assert visit.page.evaluate(SMALLEST_CONTROL) >= 44  # WCAG 2.2, 2.5.5
