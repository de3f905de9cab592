"""The report on a classifier's outcomes, and its figures."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from mnist_lightning.datasets.samples import Sample
from mnist_lightning.evaluation import report as module
from mnist_lightning.evaluation.classify import Outcome, Unanswered
from mnist_lightning.evaluation.report import (
    Results,
    classify_samples,
    gallery_picture,
    make_report,
    print_report,
    save_figures,
)
from tests.support import PROJECT, SEVEN

CONTENT = SEVEN.read_bytes()
CORPUS = PROJECT / "tests" / "corpus"


def answer(digit: int, confidence: float, note: str | None = None) -> Outcome:
    probabilities = [(1 - confidence) / 9] * 10
    probabilities[digit] = confidence
    fields = {"prediction": digit, "confidence": confidence, "probabilities": probabilities, "is_digit": 0.9}
    return fields | ({} if note is None else {"note": note})


RESULTS = Results(
    [
        Sample("paper/7-a.png", "paper", 7, CONTENT),
        Sample("paper/7-b.png", "paper", 7, CONTENT),
        Sample("board/1/c.png", "board", 1, CONTENT),
        Sample("board/1/d.png", "board", 1, b"hello"),
    ],
    [answer(7, 1.0), answer(2, 0.8, "this does not look like a digit"), answer(1, 1.0), Unanswered("not a picture")],
)


def test_the_report_counts_pictures_without_an_answer_as_errors() -> None:
    report = make_report(RESULTS)
    assert (report.pictures, report.accuracy) == (4, 0.5)
    assert report.by_digit == {"1": 0.5, "7": 0.5}
    assert report.by_folder == {"board": 0.5, "paper": 0.5}
    assert report.misread == {"paper/7-b.png": 2}
    assert report.notes == {"paper/7-b.png": "this does not look like a digit"}
    assert report.no_digit == 0.25
    assert report.refused == {"board/1/d.png": "not a picture"}
    assert sum(map(sum, report.confusion)) == 3
    assert (report.confusion[7][7], report.confusion[7][2], report.confusion[1][1]) == (1, 1, 1)
    assert report.calibration_error == pytest.approx(0.8 / 3)  # one of three answers, 0.8 confident and wrong


def test_without_an_answer_there_is_no_calibration_error() -> None:
    report = make_report(Results(RESULTS.samples, [Unanswered("not a picture")] * 4))
    assert (report.accuracy, report.calibration_error, report.misread) == (0.0, None, {})


def test_pictures_are_classified_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    def classify(pictures: Sequence[bytes]) -> list[Outcome]:
        batches.append(len(pictures))
        return [answer(picture[0] % 10, 0.9) for picture in pictures]

    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    samples = [Sample(str(index), ".", index % 10, bytes([index])) for index in range(7)]
    results = Results(samples, classify_samples(samples, classify))
    assert batches == [3, 3, 1]
    assert results.predictions.tolist() == results.labels.tolist() == list(range(7))


def test_the_figures_are_written_whole(tmp_path: Path) -> None:
    paths = save_figures(RESULTS, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["confusion_matrix.png", "misread.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "confusion_matrix.png",
        "misread.png",
    ]


@pytest.mark.parametrize("name", ["bar.heic", "deep.png", "lossy.webp", "gray.bmp", "cmyk.jpg", "bar.avif", "bar.ppm"])
def test_every_format_has_a_picture_for_the_gallery(name: str) -> None:
    pixels, scale = gallery_picture((CORPUS / name).read_bytes()[1:])  # the first byte is the fuzzer's
    assert (pixels.ndim, pixels.shape[2], str(pixels.dtype)) == (3, 4, "uint8")
    assert scale == 1


def test_large_pictures_are_smaller_in_the_gallery_and_upright() -> None:
    """Turned by a quarter in its metadata, as phones write photographs."""
    photograph, metadata = Image.new("RGB", (4000, 2000)), Image.Exif()
    metadata[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    photograph.save(file, "JPEG", exif=metadata)
    pixels, scale = gallery_picture(file.getvalue())
    assert pixels.shape == (4000 * scale, 2000 * scale, 4)
    assert scale < 0.3


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report(RESULTS)
    print_report(report)
    output = capsys.readouterr().out
    assert "board" in output
    assert "no answer for board/1/d.png: not a picture\n25.00 % do not look like a single digit\n" in output
    assert output.endswith("4 pictures, accuracy 50.00 %, expected calibration error 26.67 %\n")
    print_report(replace(report, calibration_error=None, pictures=12_345))
    assert capsys.readouterr().out.endswith("12,345 pictures, accuracy 50.00 %\n")
