"""The page to draw on, in a real Chromium, before a real TorchServe; skipped where there is no Chromium."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import DIGITS, answer, browser, chromium, draw, paper, served, until
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import SEVEN, Trained, verb

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium: apt-get install chromium")
GOES_AND_COMES = "Failed to load resource"  # Chromium's own line about every answer of 400 and above


@dataclass
class Visit:
    """A page, and all that it did."""

    page: Page
    feedback: Path
    hosts: set[str | None] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    opened: int = 0
    most: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.count(1, request.url))
        self.page.on("requestfinished", lambda request: self.count(-1, request.url))
        self.page.on("requestfailed", lambda request: self.count(-1, request.url))

    def count(self, change: int, url: str) -> None:
        if url.startswith("data:"):
            return  # in the page itself
        self.hosts.add(urlsplit(url).hostname)
        self.opened += change
        self.most = max(self.most, self.opened)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as running_browser:
        yield running_browser


@pytest.fixture(scope="module")
def reader(reader_store: Trained) -> Iterator[Server]:
    """TorchServe with a network that has learnt to read what people draw."""
    with running(reader_store.store, free_port(), workers=1) as server:
        yield server


@pytest.fixture(scope="module")
def address(reader: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served("--url", reader.url, folder=tmp_path_factory.getbasetemp()) as url:
        yield url


@contextlib.contextmanager
def visiting(chrome: Browser, address: str, folder: Path) -> Iterator[Visit]:
    """A visit, at whose end nothing was complained of, nobody else asked, and no two requests were open at once."""
    context = chrome.new_context(viewport={"width": 1200, "height": 1000})
    visit = Visit(context.new_page(), folder / "data" / "feedback")
    visit.page.set_default_timeout(15_000)
    visit.watch()
    visit.page.goto(address)
    yield visit
    context.close()
    assert visit.complaints == []
    assert visit.hosts == {"127.0.0.1"}
    assert visit.most == 1


@pytest.fixture
def visit(chrome: Browser, address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(chrome, address, tmp_path_factory.getbasetemp()) as made:
        yield made


@pytest.mark.parametrize("digit", range(10))
def test_it_reads_what_the_mouse_draws(visit: Visit, digit: int) -> None:
    draw(visit.page, DIGITS[digit], pause=2)
    assert answer(visit.page) == str(digit)
    expect(visit.page.locator("#bars li.first .name")).to_have_text(str(digit))
    expect(visit.page.locator("#say")).to_contain_text(f"It reads {digit}")
    shares = [float(text.strip("> \u202f%")) for text in visit.page.locator("#bars .share").all_inner_texts()]
    assert len(shares) == 10
    assert abs(sum(shares) - 100) < 1


def test_it_answers_while_one_draws(visit: Visit) -> None:
    left, top, side = paper(visit.page)
    visit.page.mouse.move(left + 0.3 * side, top + 0.3 * side)
    visit.page.mouse.down()
    visit.page.mouse.move(left + 0.7 * side, top + 0.3 * side, steps=20)
    expect(visit.page.locator("#bars li.first")).to_have_count(1)
    expect(visit.page.locator("#say")).to_have_text("")  # and is announced when the stroke is done
    visit.page.mouse.move(left + 0.45 * side, top + 0.8 * side, steps=20)
    visit.page.mouse.up()
    assert answer(visit.page) == "7"


def test_undo_and_clear(visit: Visit) -> None:
    page = visit.page
    draw(page, DIGITS[4][:1])
    before = answer(page), page.locator("#sure").inner_text()
    draw(page, DIGITS[4][1:])
    assert answer(page) == "4"
    page.keyboard.press("Control+z")
    expect(page.locator("#sure")).to_have_text(before[1])
    assert answer(page) == before[0]
    page.click("#clear")
    expect(page.locator("#digit")).to_have_text("–")
    expect(page.locator("#say")).to_have_text("")
    page.click("#undo")
    assert answer(page) == before[0]
    page.click("#undo")
    expect(page.locator("#digit")).to_have_text("–")
    expect(page.locator("#undo")).to_be_disabled()


def test_a_file_is_read_and_then_drawn_over(visit: Visit) -> None:
    visit.page.set_input_files("#file", SEVEN)
    assert answer(visit.page) == "7"
    draw(visit.page, DIGITS[0])
    expect(visit.page.locator("#digit")).to_have_text("0")
    visit.page.click("#undo")
    expect(visit.page.locator("#digit")).to_have_text("7")


GIVEN = """([kind, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "picture.png", {type: "image/png"}));
  const paste = {clipboardData: transfer, bubbles: true}, drop = {dataTransfer: transfer, bubbles: true};
  const event = kind === "paste" ? new ClipboardEvent(kind, paste) : new DragEvent(kind, drop);
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(visit: Visit, kind: str) -> None:
    visit.page.evaluate(GIVEN, [kind, list(SEVEN.read_bytes())])
    assert answer(visit.page) == "7"


def test_what_is_no_picture_is_told_as_such(chrome: Browser, address: str, tmp_path: Path) -> None:
    with visiting(chrome, address, tmp_path) as visit:
        for content, told in ((b"words", "no picture that can be read"), (SEVEN.read_bytes()[:900], "damaged")):
            (tmp_path / "picture.png").write_bytes(content)
            visit.page.set_input_files("#file", tmp_path / "picture.png")
            expect(visit.page.locator("#told")).to_contain_text(told)
            expect(visit.page.locator("#digit")).to_have_text("–")
        draw(visit.page, DIGITS[1])
        assert answer(visit.page) == "1"
        expect(visit.page.locator("#notice")).to_be_hidden()
        assert all(GOES_AND_COMES in text for text in visit.complaints)
        visit.complaints.clear()


def test_the_keyboard_draws_too(visit: Visit) -> None:
    page = visit.page
    page.locator("h1").click()
    page.keyboard.press("Tab")
    expect(page.locator("#pad")).to_be_focused()
    expect(page.locator("#keys")).to_be_visible()
    for key in ["ArrowLeft"] * 4 + ["Space"] + ["ArrowRight"] * 8 + ["ArrowDown", "ArrowDown", "ArrowLeft"] * 5:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    assert answer(page) == "7"
    page.keyboard.press("Delete")
    expect(page.locator("#digit")).to_have_text("–")
    page.keyboard.press("Control+z")
    assert answer(page) == "7"
    page.keyboard.press("Tab")
    expect(page.locator("#undo")).to_be_focused()


def test_a_pen_s_pressure_is_its_width(visit: Visit) -> None:
    """Two straight strokes of a pen, pressed lightly and hard: Chromium's own pen, not events made in the page."""
    page, widths = visit.page, []
    session = page.context.new_cdp_session(page)
    left, top, side = paper(page)
    for force in (0.1, 0.9):
        for kind, x in (("mousePressed", 0.3), ("mouseMoved", 0.5), ("mouseMoved", 0.7), ("mouseReleased", 0.7)):
            at = {"x": left + x * side, "y": top + 0.5 * side}
            how = {"pointerType": "pen", "force": force, "button": "left", "buttons": 1, "clickCount": 1}
            session.send("Input.dispatchMouseEvent", {"type": kind, **at, **how})
        answer(page)
        widths.append(page.evaluate(INKED))
        page.click("#clear")
    assert widths[1] > 2 * widths[0] > 0


INKED = """() => {
  const pad = document.getElementById("pad"), copy = new OffscreenCanvas(1, pad.height).getContext("2d");
  copy.drawImage(pad, -pad.width / 2, 0);
  const column = copy.getImageData(0, 0, 1, pad.height).data;
  return column.filter((value, at) => at % 4 === 3 && value > 127).length;
}"""


def test_the_network_s_view_and_what_spoke_for_its_answer(visit: Visit) -> None:
    draw(visit.page, DIGITS[3])
    assert answer(visit.page) == "3"
    assert visit.page.evaluate(COLOURS, "seen")[0] > 50  # of its pixels have ink
    visit.page.click("#why")
    until(visit.page, "Math.min(...(" + COLOURS + ")('heat').slice(1)) > 5")  # both for and against
    visit.page.click("#clear")
    assert visit.page.evaluate(COLOURS, "heat") == [0, 0, 0]


COLOURS = """(id) => {
  const copy = new OffscreenCanvas(28, 28).getContext("2d");
  copy.drawImage(document.getElementById(id), 0, 0);
  const data = copy.getImageData(0, 0, 28, 28).data;
  const pixels = Array.from({length: 784}, (_, at) => [data[4 * at], data[4 * at + 2]]);
  const kinds = [([r, b]) => r + b > 200, ([r, b]) => r > b + 40, ([r, b]) => b > r + 40];
  return kinds.map((is) => pixels.filter(is).length);
}"""


def test_corrections_are_kept_with_consent_and_evaluated(visit: Visit, reader_store: Trained) -> None:
    page, folder = visit.page, visit.feedback
    draw(page, DIGITS[9])
    assert answer(page) == "9"
    button = page.get_by_role("button", name="4", exact=True)
    expect(button).to_be_disabled()
    assert not folder.exists()
    page.check("#agree")
    button.click()
    expect(page.locator("#kept")).to_contain_text("Kept as a 4: data/feedback/4-")
    page.get_by_role("button", name="9", exact=True).click()
    expect(page.locator("#kept")).to_contain_text("Kept as a 9: data/feedback/9-")
    (picture,) = folder.glob("*.png")
    (line,) = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    assert (line["picture"], line["label"], line["read"]) == (picture.name, 9, 9)
    places = ["--store", str(reader_store.store), "--out", str(folder.parent)]
    report = json.loads(verb("evaluate", "pictures", str(folder), "--json", *places).stdout)
    assert (report["pictures"], report["accuracy"], report["refused"]) == (1, 1.0, {})


def test_the_server_goes_and_comes_back(chrome: Browser, reader_store: Trained, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with served("--url", url, folder=tmp_path) as address, visiting(chrome, address, tmp_path) as visit:
        draw(visit.page, DIGITS[2])
        expect(visit.page.locator("#told")).to_contain_text("is not there")
        expect(visit.page.locator("#details")).to_contain_text(f"no server at {url}")
        with running(reader_store.store, port, workers=1):
            assert answer(visit.page) == "2"  # with nothing done to the page
            expect(visit.page.locator("#notice")).to_be_hidden()
        draw(visit.page, DIGITS[2])
        expect(visit.page.locator("#told")).to_contain_text("is not there")
        assert all(GOES_AND_COMES in text for text in visit.complaints)
        visit.complaints.clear()


@contextlib.contextmanager
def model_server(answer: dict[str, object], waits: threading.Event | None = None) -> Iterator[str]:
    """A server that says one thing, for answers that no model gives at will; until it `waits` no more, it says none."""

    class Said(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if waits:
                waits.wait(20)
            body = json.dumps(answer).encode()
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Said) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


EIGHT = {"prediction": 8, "confidence": 0.91, "probabilities": [0.01] * 8 + [0.91, 0.01]}


def test_a_note_takes_the_digit_s_place(chrome: Browser, tmp_path: Path) -> None:
    noted = {**EIGHT, "is_digit": 0.02, "note": "this does not look like a digit"}
    with (
        model_server(noted) as url,
        served("--url", url, folder=tmp_path) as address,
        visiting(chrome, address, tmp_path) as visit,
    ):
        draw(visit.page, DIGITS[8])
        expect(visit.page.locator("#note")).to_have_text("This does not look like a digit")
        expect(visit.page.locator("#digit")).to_be_hidden()
        expect(visit.page.locator("#say")).to_contain_text("does not look like a digit")
        visit.page.click("#clear")
        expect(visit.page.locator("#note")).to_be_hidden()
        expect(visit.page.locator("#digit")).to_be_visible()


def test_a_slow_server_is_told_of_and_waited_for(chrome: Browser, tmp_path: Path) -> None:
    patience = threading.Event()
    with (
        model_server(EIGHT, patience) as url,
        served("--url", url, "--timeout", "3", folder=tmp_path) as address,
        visiting(chrome, address, tmp_path) as visit,
    ):
        draw(visit.page, DIGITS[8])
        expect(visit.page.locator("#told")).to_contain_text("taking its time")
        expect(visit.page.locator("#told")).to_contain_text("takes too long")
        patience.set()
        assert answer(visit.page) == "8"
        expect(visit.page.locator("#notice")).to_be_hidden()
        assert all(GOES_AND_COMES in text for text in visit.complaints)
        visit.complaints.clear()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(visit: Visit, width: int, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    visit.page.set_viewport_size({"width": width, "height": 844})
    draw(visit.page, DIGITS[6])
    assert answer(visit.page) == "6"
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(FAINTEST) >= 4.5  # WCAG 2.2, 1.4.3
    assert visit.page.evaluate(SMALLEST) >= 44  # a finger's width


FAINTEST = """() => {
  const light = (name) => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const contrast = (a, b) => Math.max(light(a) / light(b), light(b) / light(a));
  const inks = ["--ink", "--quiet", "--accent", "--cool"], papers = ["--ground", "--sheet"];
  return Math.min(...inks.flatMap((ink) => papers.map((paper) => contrast(ink, paper))));
}"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll("button, #width")].map((each) =>
  Math.max(each.getBoundingClientRect().height, each.clientHeight)))"""
