"""The report on a classifier's readings of numbers, and its figure."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.datasets.samples import Sample
from mnist_lightning.evaluation.classify import Outcome, Unanswered
from mnist_lightning.evaluation.numbers import NumberResults, make_report, print_report, save_figures
from tests.support import SEVEN

CONTENT = SEVEN.read_bytes()


def answer(number: str, confidence: float) -> dict[str, Any]:
    characters = number.replace("\n", "")
    digits = [{"box": [20 * place, 10, 20, 200]} for place in range(len(characters))]
    return {"prediction": 1, "number": number, "confidence": confidence} | (
        {"digits": digits} if len(digits) > 1 else {}
    )


def results(*readings: tuple[str, str, Outcome]) -> NumberResults:
    """Results from sub-folders, labels and outcomes."""
    samples = [
        Sample(f"{group}/{index}.png", group, label, CONTENT) for index, (group, label, _) in enumerate(readings)
    ]
    return NumberResults(samples, [outcome for *_, outcome in readings])


RESULTS = results(
    ("paper", "3450", answer("3450", 0.99)),
    ("paper", "3450", answer("3750", 0.96)),  # one wrong
    ("paper", "12\n34", answer("1234", 0.5)),  # one line feed is missing
    ("board", "77", answer("7?7", 0.98)),  # one too many
    ("board", "7", answer("7", 1.0)),
    ("board", "890", Unanswered("no ink")),
)


def test_the_report_counts_edits_by_length_and_by_folder() -> None:
    report = make_report(RESULTS)
    assert report.total.pictures == 6
    assert report.total.exact_match_rate == pytest.approx(2 / 6)
    assert report.total.digit_error_rate == pytest.approx((1 + 1 + 1 + 3) / 18)
    assert {length: rates.pictures for length, rates in report.by_length.items()} == {"1": 1, "2": 1, "3": 1, "4": 3}
    assert report.by_length["4"].exact_match_rate == pytest.approx(1 / 3)
    assert report.by_length["4"].digit_error_rate == pytest.approx(2 / 12)
    assert report.by_folder["board"].digit_error_rate == pytest.approx(4 / 6)
    assert report.by_folder["paper"].exact_match_rate == pytest.approx(1 / 3)
    assert report.misread == {"paper/1.png": "3750", "paper/2.png": "1234", "board/3.png": "7?7"}
    assert report.refused == {"board/5.png": "no ink"}


def test_lengths_are_in_order() -> None:
    report = make_report(results(*(("paper", "1" * length, answer("1", 1.0)) for length in (10, 2, 1))))
    assert list(report.by_length) == ["1", "2", "10"]


def test_the_confidence_is_that_of_complete_readings() -> None:
    report = make_report(RESULTS)
    assert report.incomplete == pytest.approx(1 / 6)
    assert report.confident == 3
    assert report.confident_exact_match_rate == pytest.approx(2 / 3)
    # Three answers in the highest bin, of which two are right, and a wrong one of 0.5.
    assert report.calibration_error == pytest.approx((3 * abs(2 / 3 - (0.99 + 0.96 + 1) / 3) + 0.5) / 4)


def test_without_a_complete_reading_there_is_no_calibration() -> None:
    report = make_report(results(("paper", "34", Unanswered("no ink")), ("paper", "34", answer("3?", 1.0))))
    assert (report.calibration_error, report.confident, report.confident_exact_match_rate) == (None, 0, None)
    assert report.total.digit_error_rate == pytest.approx(3 / 4)


def test_the_answer_of_a_server_that_reads_single_digits() -> None:
    old = {"prediction": 7, "confidence": 0.9}
    report = make_report(results(("paper", "7", old), ("paper", "71", old)))
    assert report.total.exact_match_rate == 0.5
    assert report.misread == {"paper/1.png": "7"}


def test_the_figure_is_written(tmp_path: Path) -> None:
    (path,) = save_figures(RESULTS, tmp_path / "new")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "new").iterdir()) == [path]
    save_figures(results(("paper", "7", answer("7", 1.0))), tmp_path)  # nothing is misread


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report(RESULTS)
    print_report(report)
    output = capsys.readouterr().out
    assert "no answer for board/5.png: no ink\n16.67 % have a piece that does not look like a digit\n" in output
    assert "3 are read with a confidence of at least 95 %: 66.67 % of them right\n6 pictures" in output
    assert "6 pictures, exact matches 33.33 %, digit errors 33.33 %, expected calibration error " in output
    print_report(replace(report, calibration_error=None, confident_exact_match_rate=None))
    output = capsys.readouterr().out
    assert "at least 95 %" not in output
    assert output.endswith("6 pictures, exact matches 33.33 %, digit errors 33.33 %\n")
