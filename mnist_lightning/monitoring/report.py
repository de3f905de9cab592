"""A window's drift, feature by feature, in a person's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table

from mnist_lightning.monitoring.psi import LARGE, MIN_PICTURES, MODERATE, psi
from mnist_lightning.monitoring.sources import Window

MEANINGS = {  # of a change
    "digit": "people write other digits than before, or one is often misread as another",
    "confidence": "the model is less sure, or surer, than on the pictures that it was measured on",
    "is_digit": "more pictures show no digit, or look less like one",
    "rotation": "pictures are turned, as by a camera that does not record its orientation",
    "ink_share": "strokes fill another part of the digit: another pen, or other shapes",
    "stroke_width": "people write with another pen",
    "picture_size": "another program sends the pictures",
}
VALUES = {"digit", "rotation"}  # features whose bins are single values
STABLE, MODERATE_WORDS, LARGE_WORDS = "stable", "moderate change", "large change"
ADVICE = {
    STABLE: "the pictures are as in the reference",
    MODERATE_WORDS: "look at a sample of the pictures",
    LARGE_WORDS: "the measured accuracy may not hold: look at the pictures, and evaluate the model on such",
}


@dataclass(frozen=True)
class Drift:
    """The drift of one feature. Without an index, `status` says why."""

    feature: str
    index: float | None
    status: str
    moved: str = ""  # the bin whose share has changed most, and how, unless the feature is stable

    @property
    def is_large(self) -> bool:
        """Whether it is an alarm."""
        return self.index is not None and self.index >= LARGE


def measure_drift(window: Window) -> list[Drift]:
    """The drift of every feature of a window."""
    known = [name for name in MEANINGS if name in window.traffic]
    names = [*known, *sorted(window.traffic.keys() - known)]
    return [_measure(name, window.traffic[name], window.reference.get(name, {})) for name in names]


def as_table(window: Window, drifts: list[Drift]) -> Table:
    """The drifts as a table, with what large and moderate ones mean."""
    table = Table(
        "feature", "PSI", "status", "largest change", "meaning", title=f"{window.period}: {window.pictures:,} pictures"
    )
    for drift in drifts:
        meaning = MEANINGS.get(drift.feature, "") if drift.moved else ""
        index = "" if drift.index is None else f"{drift.index:.3f}"
        table.add_row(drift.feature, index, drift.status, drift.moved, meaning)
    return table


def advice(drifts: list[Drift]) -> str:
    """What to do about the largest change, in one line."""
    found = {drift.status for drift in drifts}
    worst = next((status for status in (LARGE_WORDS, MODERATE_WORDS, STABLE) if status in found), None)
    return f"{worst}: {ADVICE[worst]}" if worst else "no feature can be compared"


def _measure(name: str, traffic: Mapping[str, float], reference: Mapping[str, float]) -> Drift:
    if not sum(reference.values()):
        return Drift(name, None, "no reference (see --record)")
    if sum(traffic.values()) < MIN_PICTURES:
        return Drift(name, None, f"fewer than {MIN_PICTURES} pictures")
    index = psi(traffic, reference)
    if index < MODERATE:
        return Drift(name, index, STABLE)
    return Drift(
        name, index, LARGE_WORDS if index >= LARGE else MODERATE_WORDS, _largest_move(name, traffic, reference)
    )


def _largest_move(feature: str, traffic: Mapping[str, float], reference: Mapping[str, float]) -> str:
    """The bin whose share has changed most, and how, such as "0.0 to 1.5: 5 % → 21 %"."""
    names = sorted(traffic.keys() | reference.keys(), key=float)
    now, before = ({name: bins.get(name, 0) / sum(bins.values()) for name in names} for bins in (traffic, reference))
    largest = max(names, key=lambda name: abs(now[name] - before[name]))
    upper = dict(pairwise(names)).get(largest)
    width = "" if feature in VALUES else f" to {upper}" if upper else " and more"
    return f"{largest}{width}: {before[largest]:.0%} → {now[largest]:.0%}"
