"""The report of a challenger's comparison with the champion: Markdown, a figure, a table on the console."""

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from mnist_lightning.evaluation.gate import Check, Measurement, Verdict
from mnist_lightning.evaluation.gate_data import TITLES
from mnist_lightning.evaluation.tables import print_table

COLUMNS = ("", "champion", "challenger", "allowed", "")
WIDTH = 110  # characters at least


def render(verdict: Verdict, title: str, reason: str) -> str:
    """The report as Markdown, which gives the reason for the decision."""
    digits = zip(range(10), verdict.champion.by_digit, verdict.challenger.by_digit, strict=True)
    return "\n".join(
        [
            f"# {title[:1].upper()}{title[1:]}",
            "",
            reason,
            "",
            *_table(COLUMNS, [_row(check) for check in verdict.checks]),
            "",
            "MNIST's test set by digit:",
            "",
            *_table(
                ("digit", "champion", "challenger"),
                [[str(digit), f"{100 * before:.2f} %", f"{100 * after:.2f} %"] for digit, before, after in digits],
            ),
            "",
        ]
    )


def print_checks(verdict: Verdict) -> None:
    """Print the checks as a table."""
    table = Table(*COLUMNS)
    for check in verdict.checks:
        table.add_row(*_row(check))
    print_table(table, WIDTH)


def figure(verdict: Verdict) -> Figure:
    """The change on each set of pictures and on each digit, in points, with two standard errors of the change."""
    made = Figure(figsize=(9, 3.5), layout="constrained")
    sets, digits = made.subplots(1, 2, width_ratios=[1.4, 1])
    names = list(verdict.champion.correct)
    changes = [_change(verdict.champion, verdict.challenger, name) for name in names]
    sets.errorbar([mean for mean, _ in changes], range(len(names)), xerr=[2 * error for _, error in changes], fmt="o")
    sets.set_yticks(range(len(names)), [TITLES[name] for name in names])
    sets.invert_yaxis()
    sets.set_xlabel("challenger − champion, points")
    gains = np.subtract(verdict.challenger.by_digit, verdict.champion.by_digit)
    digits.plot(range(10), 100 * gains, marker="o", linestyle="")
    digits.set(xlabel="digit of the test set", ylabel="points", xticks=range(10))
    for axes, draw_line in ((sets, sets.axvline), (digits, digits.axhline)):
        draw_line(0, color="gray", linestyle=":")
        axes.grid(alpha=0.3)
    return made


def _change(champion: Measurement, challenger: Measurement, name: str) -> tuple[float, float]:
    """The mean change of a set in points, and its standard error."""
    changes = 100 * (challenger.correct[name].astype(float) - champion.correct[name].astype(float))
    return float(changes.mean()), float(changes.std() / np.sqrt(len(changes)))


def _row(check: Check) -> list[str]:
    return [check.title, check.champion, check.challenger, check.allowed, "passes" if check.passed else "fails"]


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table; the figures are on the right."""
    rule = ["---", *["---:"] * 2, *["---"] * (len(columns) - 3)]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]
