"""Means, their errors, and when a lead is more than luck."""

import pytest

from mnist_lightning.evaluation.significance import Mean, verdict


def test_a_mean_tells_its_error() -> None:
    assert str(Mean.of([0.99, 0.98])) == "98.50 ± 0.50 %"
    assert str(Mean.of([0.9961])) == "99.61 %"


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        (
            {"Adam": [0.99, 0.991, 0.9905], "SGD": [0.98, 0.9805, 0.981]},
            "Adam leads SGD by 1.000 points, which is more",
        ),
        ({"Adam": [0.99, 0.97, 0.98], "SGD": [0.98, 0.96, 0.985]}, "which is noise"),
        ({"Adam": [0.99], "SGD": [0.98]}, "one seed cannot tell"),
        ({"Adam": [0.99, 0.99], "SGD": [0.99, 0.99]}, "the same in every seed"),
    ],
)
def test_the_verdict(accuracies: dict[str, list[float]], said: str) -> None:
    assert said in verdict(accuracies)


def test_one_alone_leads_nobody() -> None:
    assert verdict({"Adam": [0.99]}) == ""
