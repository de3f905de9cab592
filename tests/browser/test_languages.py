"""The drawing page in French, for a browser that prefers it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from benchmarks.browser import DIGITS, draw_strokes, wait_for_prediction
from mnist_lightning.web.languages import TABLE
from tests.browser.conftest import Visit, visiting
from tests.browser.test_draw import answer_with, number_answer, part
from tests.pages import running_page, stub_model_server
from tests.support import SEVEN

EIGHT = {"prediction": 8, "confidence": 0.91, "probabilities": [0.01] * 8 + [0.91, 0.01], "is_digit": 0.9}
# Everything that the page shows or says.
TEXTS = """() => {
  const spoken = [...document.querySelectorAll("*")].flatMap((each) => ["alt", "aria-label", "title"].map((name) => each.getAttribute(name)));
  const body = document.body.cloneNode(true);
  body.querySelectorAll("script, style").forEach((each) => each.remove());
  return [document.title, body.textContent, ...spoken].filter(Boolean).join("\\n");
}"""  # noqa: E501


@pytest.fixture
def french(browser: Browser, page_url: str, page_folder: Path) -> Iterator[Visit]:
    with visiting(browser, page_url, page_folder, locale="fr-FR") as visit:
        yield visit


def english_texts() -> list[str]:
    """What the table has in English and not in French, without short words that may occur in others."""
    groups = json.loads(TABLE.read_text()).values()
    texts = [texts for entries in groups for texts in entries.values()]
    parts = {part for each in texts for part in each["en"].replace("{", "}").split("}")[::2]}
    french = " ".join(each["fr"] for each in texts)
    return [part.strip() for part in parts if len(part.strip()) > 4 and part.strip() not in french]


def check_french(visit: Visit) -> None:
    shown = visit.page.evaluate(TEXTS)
    assert [text for text in english_texts() if text in shown] == []


def test_the_first_byte_is_french(french: Visit) -> None:
    response = french.page.reload()
    assert response is not None
    assert response.headers["content-language"] == "fr"
    assert "accept-language" in response.headers["vary"].lower()
    assert "<title>Dessinez un chiffre ou un nombre</title>" in response.text()
    assert french.page.evaluate("document.documentElement.lang") == "fr"
    check_french(french)


def test_a_digit_in_french(french: Visit) -> None:
    page = french.page
    expect(page.locator("#confidence")).to_have_text("Rien n’est encore dessiné")
    draw_strokes(page, DIGITS[7])
    assert wait_for_prediction(page) == "7"
    expect(page.locator("#announcement")).to_contain_text("Prédiction")
    texts = page.locator("#bars .probability").all_inner_texts()
    assert abs(sum(float(text.strip("> \u202f%").replace(",", ".")) for text in texts) - 100) < 1
    assert all("," in text and "." not in text for text in texts)
    page.click("#explain")
    expect(page.locator("#legend")).to_have_text("pixels pour et contre la prédiction")
    page.get_by_role("button", name="9, tourné").click()
    expect(page.locator("#confidence")).to_contain_text("dans le sens")
    check_french(french)


def test_a_number_in_french(french: Visit) -> None:
    page = french.page
    answer_with(page, number_answer("1?", [part(1, (20, 10, 50, 110)), part(5, (160, 10, 60, 110), 0.9)]))
    draw_strokes(page, DIGITS[1])
    expect(page.locator("#confidence")).to_have_text("Confiance : 60,0 %")
    expect(page.locator("#runner-up")).to_have_text(
        "Partie 2 sur 2 : pas un chiffre. Chiffre le plus proche : 5, 90,0 %."
    )
    expect(page.locator("#announcement")).to_have_text("Prédiction : 1 pas un chiffre, confiance : 60,0 %.")
    page.get_by_role("button", name="Chiffre 1 sur 2 : 1, 98,0 %").hover()
    expect(page.locator("#which")).to_have_text(", chiffre 1 sur 2")
    check_french(french)


def test_errors_and_feedback_in_french(french: Visit, tmp_path: Path) -> None:
    french.expects_failed_requests = True
    page = french.page
    (tmp_path / "picture.png").write_bytes(b"words")
    page.set_input_files("#file", tmp_path / "picture.png")
    expect(page.locator("#message")).to_contain_text("Ce n’est pas une image lisible")
    page.set_input_files("#file", SEVEN)
    assert wait_for_prediction(page) == "7"
    page.check("#agree")
    page.get_by_role("button", name="7", exact=True).click()
    expect(page.locator("#saved")).to_contain_text("Enregistré comme 7 : data/feedback/7-")
    check_french(french)


def test_notes_are_translated_if_they_are_known(browser: Browser, tmp_path: Path) -> None:
    notes = iter(["this does not look like a digit", "another server's note"])
    with (
        stub_model_server(lambda: (200, {**EIGHT, "note": next(notes, "another server's note")})) as url,
        running_page(url, tmp_path) as page_url,
        visiting(browser, page_url, tmp_path, locale="fr-CH") as visit,
    ):
        visit.page.set_input_files("#file", SEVEN)
        expect(visit.page.locator("#note")).to_have_text("Cela ne ressemble pas à un chiffre")
        expect(visit.page.locator("#confidence")).to_have_text("Chiffre le plus proche : 8")
        visit.page.set_input_files("#file", SEVEN)
        expect(visit.page.locator("#note")).to_have_text("Another server's note")


def test_another_language_gets_english(browser: Browser, page_url: str, page_folder: Path) -> None:
    with visiting(browser, page_url, page_folder, locale="ja-JP") as visit:
        assert visit.page.evaluate("document.documentElement.lang") == "en"
        expect(visit.page.locator("#undo")).to_have_text("Undo")


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_french_fits_the_window(french: Visit, width: int) -> None:
    french.page.set_viewport_size({"width": width, "height": 844})
    draw_strokes(french.page, DIGITS[6])
    assert wait_for_prediction(french.page) == "6"
    assert french.page.evaluate("document.documentElement.scrollWidth") == width
