"""Means, their standard errors, and the margin of the best optimizer."""

import pytest

from mnist_lightning.evaluation.significance import Mean, compare_top_two


def test_a_mean_of_several_values_has_a_standard_error() -> None:
    assert str(Mean.from_values([0.99, 0.98])) == "98.50 ± 0.50 %"
    assert str(Mean.from_values([0.9961])) == "99.61 %"


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        (
            {"Adam": [0.99, 0.991, 0.9905], "SGD": [0.98, 0.9805, 0.981]},
            "Adam leads SGD by 1.000 points, which is more than noise (Welch's t-test over 3 seeds: p = ",
        ),
        ({"Adam": [0.99, 0.97, 0.98], "SGD": [0.98, 0.96, 0.985]}, "which is noise"),
        ({"Adam": [0.99], "SGD": [0.98]}, "one seed cannot tell that from noise: see --seeds"),
        ({"Adam": [0.99, 0.99], "SGD": [0.99, 0.99]}, "Adam and SGD are the same in every seed"),
        ({"Adam": [0.99], "SGD": [0.98], "RMSprop": [0.5]}, "Adam leads SGD by 1.000 points"),
    ],
)
def test_the_margin_of_the_best_over_the_second(accuracies: dict[str, list[float]], sentence: str) -> None:
    assert sentence in compare_top_two(accuracies)


def test_a_single_optimizer_has_no_margin() -> None:
    assert compare_top_two({"Adam": [0.99]}) == ""
