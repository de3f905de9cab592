"""The drawing page in Chromium, in front of TorchServe with the small network."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from benchmarks.browser import (
    DIGITS,
    PREDICTED,
    Stroke,
    canvas_box,
    draw_strokes,
    wait_for_prediction,
    wait_until,
)
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


@pytest.mark.parametrize(("kind", "digit"), [("squared paper", "3"), ("circled", "6"), ("boxed", "8"), ("turned", "9")])
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
SMALLEST_CONTROL = """() => Math.min(...[...document.querySelectorAll("button, #width")]
  .filter((each) => each.checkVisibility())
  .map((each) => Math.max(each.getBoundingClientRect().height, each.clientHeight)))"""


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


# ── Numbers ──

Box = tuple[float, float, float, float]  # left, top, right, bottom
PAPER = (420, 280)  # width and height of the picture that the page sends of a drawing, in pixels


def number_strokes(text: str, size: float = 0.65) -> list[list[Stroke]]:
    """Return the strokes of each digit, side by side over the canvas's whole width; of `size` 1, as high as alone."""
    pitch = PAPER[0] / PAPER[1] / len(text)
    middles = [0.5 + (index - (len(text) - 1) / 2) * pitch for index in range(len(text))]
    return [
        [[(middle + size * (x - 0.5), 0.5 + size * (y - 0.5)) for x, y in stroke] for stroke in DIGITS[int(character)]]
        for middle, character in zip(middles, text, strict=True)
    ]


def draw_number(page: Page, text: str) -> list[Box]:
    """Draw a number, and return the box around the points of each digit's strokes, in pixels of the window."""
    left, top, side = canvas_box(page)
    boxes = []
    for strokes in number_strokes(text):
        draw_strokes(page, strokes, pause=2)
        columns, rows = zip(*(point for stroke in strokes for point in stroke), strict=True)
        first, last = (min(columns), min(rows)), (max(columns), max(rows))
        boxes.append((left + side * first[0], top + side * first[1], left + side * last[0], top + side * last[1]))
    page.locator(PREDICTED).wait_for()
    return boxes


def box_in_window(locator: Locator) -> Box:
    box = locator.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def check_boxes(page: Page, expected: list[Box], margin: float) -> None:
    """Check that each digit's box contains the expected one and is at most `margin` pixels larger on each side."""
    boxes = [box_in_window(each) for each in page.locator("#boxes span").all()]
    for box, inner in zip(boxes, expected, strict=True):
        growth = [inner[0] - box[0], inner[1] - box[1], box[2] - inner[2], box[3] - inner[3]]
        assert all(-1 < each < margin for each in growth), growth


def part(digit: int, box: tuple[int, int, int, int], confidence: float = 0.98, *, explained: int = 0) -> dict[str, Any]:
    """Return an entry of an answer's `digits`, with a network input of `explained` bright rows and an explanation."""
    probabilities = [0.0] * 10
    probabilities[digit], probabilities[digit - 1] = confidence, 1 - confidence
    answer = {"prediction": digit, "confidence": confidence, "probabilities": probabilities, "is_digit": 0.9}
    seen = [[255 * (row < explained)] * 28 for row in range(28)]
    explanation = [[float(row < explained)] * 28 for row in range(28)]
    return {**answer, "box": box, **({"seen": seen, "explanation": explanation} if explained else {})}


def number_answer(number: str, digits: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of a server that reads numbers; the whole picture reads as an 8."""
    whole = {"prediction": 8, "confidence": 0.6, "probabilities": [0.1] * 10, "is_digit": 0.01}
    lines = {"lines": number.split("\n")} if "\n" in number else {}
    note = "several digits: " + number.replace("\n", " / ")
    return {**whole, "number": number, **lines, "digits": digits, "note": note}


def answer_with(page: Page, answer: dict[str, Any]) -> None:
    """Answer the page's requests in the server's place."""
    page.route("**/read", lambda route: route.fulfill(json={"answer": answer, "seen": [[0] * 28] * 28}))
    page.route("**/explain", lambda route: route.fulfill(json=answer))


def check_selected(page: Page, index: int, digit: int) -> None:
    """Check that the bars are about the digit at this index of the number."""
    expect(page.locator("#number button").nth(index)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#number [aria-pressed=true]")).to_have_count(1)
    expect(page.locator("#bars li.predicted .name")).to_have_text(str(digit))
    expect(page.locator("#runner-up")).to_contain_text(f" {index + 1} of ")


def test_drawn_number_is_read(visit: Visit) -> None:
    drawn = draw_number(visit.page, "1740")
    expect(visit.page.locator("#number button")).to_have_text(list("1740"))
    expect(visit.page.locator("#digit")).to_be_hidden()
    expect(visit.page.locator("#announcement")).to_contain_text("Prediction: 1740")
    check_boxes(visit.page, drawn, margin=30)  # half of the pen's width, which the points lack, and some space


def test_lines_of_a_number_are_shown_and_doubtful_digits_are_marked(visit: Visit) -> None:
    page = visit.page
    boxes = [(20, 10, 50, 110), (160, 10, 60, 110), (20, 150, 70, 110), (160, 150, 60, 110)]
    digits = [part(1, boxes[0]), part(5, boxes[1], 0.97), part(4, boxes[2], 0.79), part(2, boxes[3])]
    answer_with(page, number_answer("1?\n42", digits))
    draw_strokes(page, DIGITS[1])
    expect(page.locator("#number")).to_have_text("1?42")
    assert page.locator("#number").inner_text().split() == ["1?", "42"]
    expect(page.locator("#confidence")).to_have_text("60.0 % confident")
    expect(page.locator("#announcement")).to_have_text("Prediction: 1 not a digit; 42, 60.0 % confident.")
    for hidden in ("#digit", "#note", "#notice", "#feedback"):
        expect(page.locator(hidden)).to_be_hidden()
    check_selected(page, 1, 5)  # the most doubtful one
    for index, style in enumerate(["solid", "dashed", "dashed", "solid"]):
        expect(page.locator("#boxes span").nth(index)).to_have_css("border-top-style", style)
    left, top, right, bottom = box_in_window(page.locator("#paper"))
    scale = (right - left) / PAPER[0]
    assert abs((bottom - top) / PAPER[1] - scale) < 0.01
    inner = [(left + scale * x, top + scale * y, left + scale * (x + w), top + scale * (y + h)) for x, y, w, h in boxes]
    check_boxes(page, inner, margin=6)
    page.click("#clear")
    expect(page.locator("#digit")).to_have_text("–")
    for shown, is_shown in {"#digit": True, "#feedback": True, "#number": False, "#boxes": False}.items():
        expect(page.locator(shown)).to_be_visible(visible=is_shown)


def test_digit_of_a_number_is_selected_by_pointing_keyboard_and_tap(visit: Visit) -> None:
    page = visit.page
    digits = [part(3, (20, 80, 60, 120)), part(4, (120, 80, 60, 120), 0.7), part(5, (220, 80, 60, 120))]
    answer_with(page, number_answer("345", digits))
    draw_strokes(page, DIGITS[1])
    check_selected(page, 1, 4)
    third = page.get_by_role("button", name="Digit 3 of 3: 5, 98.0 %")
    third.hover()
    check_selected(page, 2, 5)
    third.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    check_selected(page, 0, 3)
    left, top, right, bottom = box_in_window(page.locator("#boxes span").nth(1))
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    check_selected(page, 1, 4)
    third.click()
    check_selected(page, 2, 5)


def test_boxes_are_over_the_digits_of_an_upright_photograph(visit: Visit, tmp_path: Path) -> None:
    """The file is stored lying, as cameras do. A tap on a box selects its digit, and starts no drawing."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    Image.new("L", (1600, 800), 200).save(tmp_path / "upright.jpg", exif=exif)
    page, boxes = visit.page, [(100, 200, 200, 400), (500, 900, 200, 400)]
    answer_with(page, number_answer("3\n4", [part(3, boxes[0], 0.5), part(4, boxes[1])]))
    page.set_input_files("#file", tmp_path / "upright.jpg")
    expect(page.locator("#number")).to_have_text("34")
    left, top, right, bottom = box_in_window(page.locator("#paper"))
    scale = (bottom - top) / 1600
    left = (left + right) / 2 - 400 * scale
    inner = [(left + scale * x, top + scale * y, left + scale * (x + w), top + scale * (y + h)) for x, y, w, h in boxes]
    check_boxes(page, inner, margin=6)
    check_selected(page, 0, 3)
    page.locator("#boxes span").nth(1).click()
    check_selected(page, 1, 4)
    page.click("#undo")  # the only action is the picture
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#boxes")).to_be_hidden()


def test_selected_digit_of_a_number_is_explained(visit: Visit) -> None:
    page = visit.page
    digits = [part(6, (20, 80, 60, 120), 0.7, explained=2), part(7, (120, 80, 60, 120), explained=5)]
    answer_with(page, number_answer("67", digits))
    draw_strokes(page, DIGITS[1])
    expect(page.locator("#number")).to_have_text("67")
    expect(page.locator("#network-input")).to_be_hidden()  # it comes with the explanations
    page.click("#explain")
    wait_until(page, f"({PIXEL_COUNTS})('explanation')[1] === {2 * 28}")
    page.locator("#number button").nth(1).hover()
    assert page.evaluate(PIXEL_COUNTS, "explanation")[1] == 5 * 28
    assert ink_pixels(visit, "network-input") == 5 * 28


def test_answer_of_a_server_that_reads_one_digit(visit: Visit) -> None:
    answer = {"prediction": 8, "confidence": 0.9, "probabilities": [0.1] * 10, "is_digit": 0.01}
    answer_with(visit.page, {**answer, "note": "I see 3 digits; send one"})
    draw_strokes(visit.page, DIGITS[1])
    expect(visit.page.locator("#note")).to_have_text("I see 3 digits; send one")
    for hidden in ("#number", "#boxes", "#digit"):
        expect(visit.page.locator(hidden)).to_be_hidden()
    expect(visit.page.locator("#feedback")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("number", ["34", "314159265358"])
def test_number_fits_the_window(visit: Visit, width: int, number: str) -> None:
    visit.page.set_viewport_size({"width": width, "height": 844})
    answer_with(visit.page, number_answer(number, [part(int(c), (30 * i, 90, 25, 60)) for i, c in enumerate(number)]))
    draw_strokes(visit.page, DIGITS[1])
    expect(visit.page.locator("#number")).to_have_text(number)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(SMALLEST_CONTROL) >= 44
    window = box_in_window(visit.page.locator("#number"))
    assert box_in_window(visit.page.locator("#number button").last)[2] <= window[2] + 1
