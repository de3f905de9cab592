"""Read lines of digits by the network of `models.line_reader`."""

import functools
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mnist_lightning.common.engine import load_shipped
from mnist_lightning.preprocessing.decode import Bytes

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).with_name("line_reader.onnx")  # made by mnist_lightning.train_line_reader
STRIPS_INPUT, SCORES_OUTPUT, CONFIDENCE_PROPERTY = "strips", "log_probabilities", "confidence"
BLANK = 0  # a class; 1 to 10 are the digits 0 to 9, 11 is other writing
STRIDE = 2  # pixels of a strip for each position of the network's output
MISSED = 2.0  # log-probability that a symbol for a separate piece of ink may cost: chosen on validation digits
SOLID, MIN_HEIGHT, NEAR = 90, 11, 2  # ink of 255; pixels: of a separate piece, and around it
SURE = 0.9  # confidence of a line that is read once
LEAST = 1e-4  # share of the confidence of variants: then their log-odds are finite
MAX_VOTES = 8  # unsure lines of a picture that are read in variants
SLANTS, STRETCHES = (
    (-0.2, 0.0, 0.2),
    (0.9, 1.1),
)  # of an unsure line's variants: pixels to the right for each down; height
MULTIPLE = 8  # the width of strips, in pixels, is one of it


class Symbol(NamedTuple):
    """A character in a line."""

    label: int  # its class, not BLANK
    start: int  # its first position
    end: int  # its last position


class LineReading(NamedTuple):
    """What a line says."""

    symbols: list[Symbol]
    scores: Floats  # (len(symbols), 11): probabilities of the ten digits, and of being something else
    confidence: float  # the probability that the whole line is right

    @property
    def is_unsure(self) -> bool:
        """Whether it is worth to read variants of the line."""
        return len(self.symbols) > 1 and self.confidence < SURE


class Calibration(NamedTuple):
    """Makes log-odds calibrated ones (Platt, 1999)."""

    slope: float = 1.0
    shift: float = 0.0

    def probability(self, odds: float) -> float:
        """The probability that log-odds stand for."""
        return float(1 / (1 + np.exp(-self.slope * odds - self.shift)))


class Confidence(NamedTuple):
    """What makes the confidence of lines calibrated."""

    read: Calibration = Calibration()  # of lines that are read once
    voted: Calibration = Calibration()  # of those that are read in variants


class Reader(NamedTuple):
    """A network that reads lines."""

    session: onnxruntime.InferenceSession
    confidence: Confidence

    @classmethod
    def of(cls, session: onnxruntime.InferenceSession) -> "Reader":
        """The reader of an exported network, with the confidence in its metadata."""
        calibrations = json.loads(session.get_modelmeta().custom_metadata_map[CONFIDENCE_PROPERTY])
        return cls(session, Confidence(*(Calibration(*calibration) for calibration in calibrations)))

    def read(self, strips: Sequence[Bytes]) -> list[LineReading]:
        """Read strips (h, w) of any widths; unsure ones again in variants."""
        readings = [self.read_once([strip])[0] for strip in strips]
        unsure = [place for place, one in enumerate(readings) if one.is_unsure]
        for place in unsure[:MAX_VOTES]:
            readings[place] = self.vote(strips[place], readings[place])
        return readings

    def read_once(self, strips: Sequence[Bytes]) -> list[LineReading]:
        """Read strips (h, w) together."""
        (scores,) = self.session.run([SCORES_OUTPUT], {STRIPS_INPUT: pad(strips)})
        readings = []
        for row, strip in zip(scores, strips, strict=True):
            symbols, log_probability = add_missed(row, strip, *decode_line(row))
            probabilities = [_probabilities(row[symbol.start : symbol.end + 1]) for symbol in symbols]
            confidence = self.confidence.read.probability(float(log_odds(log_probability)))
            readings.append(LineReading(symbols, np.array(probabilities, np.float32).reshape(-1, 11), confidence))
        return readings

    def vote(self, strip: Bytes, reading: LineReading) -> LineReading:
        """The surest of the readings of a strip and its variants that agree with most of the confidence."""
        readings = [reading, *self.read_once(_variants(strip))]
        totals: defaultdict[tuple[int, ...], float] = defaultdict(float)
        for one in readings:
            totals[_labels(one)] += one.confidence
        labels, total = max(totals.items(), key=lambda item: item[1])
        best = max((one for one in readings if _labels(one) == labels), key=lambda one: one.confidence)
        share = min(max(total / len(readings), LEAST), 1 - LEAST)
        return best._replace(confidence=self.confidence.voted.probability(math.log(share / (1 - share))))


def read(strips: Sequence[Bytes]) -> list[LineReading]:
    """Read strips (h, w) by the network that ships with the package. Raises RuntimeError as `load_shipped`."""
    return _shipped().read(strips)


@functools.cache
def _shipped() -> Reader:
    return Reader.of(load_shipped(SHIPPED))


def _variants(strip: Bytes) -> list[Bytes]:
    """A strip slanted to both sides, and higher and lower; every column of ink stays about where it is."""
    height, width = strip.shape
    middle = (height - 1) / 2
    matrices = [
        np.array([[1, slant, -slant * middle], [0, stretch, (1 - stretch) * middle]])
        for slant in SLANTS
        for stretch in STRETCHES
    ]
    return [np.asarray(cv2.warpAffine(strip, matrix, (width, height)), dtype=np.uint8) for matrix in matrices]


def _labels(reading: LineReading) -> tuple[int, ...]:
    return tuple(symbol.label for symbol in reading.symbols)


def pad(strips: Sequence[Bytes]) -> Bytes:
    """Strips (h, w) in one array (N, 1, h, W), with paper at their right ends; W is a MULTIPLE."""
    width = max(2 * MULTIPLE, -(-max(strip.shape[1] for strip in strips) // MULTIPLE) * MULTIPLE)
    padded = np.zeros((len(strips), 1, strips[0].shape[0], width), np.uint8)
    for row, strip in zip(padded, strips, strict=True):
        row[0, :, : strip.shape[1]] = strip
    return padded


def decode_line(scores: Floats) -> tuple[list[Symbol], float]:
    """The symbols of the most probable path through log-probabilities (T, 12).

    Also returns the log-probability of the sequence of symbols, by all paths that give it (Graves et al., 2006).
    """
    path = scores.argmax(axis=1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    ends = np.append(starts[1:], len(path)) - 1
    runs = zip(path[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
    symbols = [Symbol(*run) for run in runs if run[0] != BLANK]
    return symbols, sequence_log_probability(scores, [symbol.label for symbol in symbols])


def add_missed(
    scores: Floats, strip: Bytes, symbols: list[Symbol], log_probability: float
) -> tuple[list[Symbol], float]:
    """Symbols and their log-probability, with those of separate pieces of ink that none was read for.

    Between equal neighbors the network needs a blank, which it is seldom sure of: it reads four ones as three.
    """
    pieces = _pieces(strip)
    if len(pieces) <= len(symbols):
        return symbols, log_probability
    for left, right in pieces:
        first, last = max(0, (left - NEAR) // STRIDE), min(len(scores) - 1, (right + NEAR) // STRIDE)
        if any(first <= (symbol.start + symbol.end + 1) / 2 <= last for symbol in symbols):
            continue
        label = 1 + int(scores[first : last + 1, 1:].max(axis=0).argmax())
        more = sorted([*symbols, Symbol(label, first, last)], key=lambda symbol: symbol.start + symbol.end)
        found = sequence_log_probability(scores, [symbol.label for symbol in more])
        if found > log_probability - MISSED:
            symbols, log_probability = more, found
    return symbols, log_probability


def _pieces(strip: Bytes) -> list[tuple[int, int]]:
    """The left and right ends of separate pieces of ink in a strip that are as high as digits may be."""
    _, solid = cv2.threshold(strip, SOLID, 1, cv2.THRESH_BINARY)
    _, _, stats, _ = cv2.connectedComponentsWithStats(solid, None, None, None, 8, cv2.CV_16U)
    pieces: list[tuple[int, int]] = []
    for left, width in sorted(
        (left, width) for left, _, width, height, _ in stats[1:].tolist() if height >= MIN_HEIGHT
    ):
        if pieces and left < pieces[-1][1]:  # they share columns
            pieces[-1] = pieces[-1][0], max(pieces[-1][1], left + width)
        else:
            pieces.append((left, left + width))
    return pieces


def log_odds(log_probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The logarithm of the odds, finite also for the probability 1."""
    below = np.minimum(log_probability, -1e-7)
    return np.asarray(below - np.log(-np.expm1(below)))


def _probabilities(scores: Floats) -> Floats:
    """The probabilities (11,) of a symbol's classes, from the log-probabilities of its positions (T, 12)."""
    weights = np.exp(scores[:, 1:]).sum(axis=0)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def sequence_log_probability(scores: Floats, classes: Sequence[int]) -> float:
    """The logarithm of the probability of a sequence of classes, of log-probabilities (T, 12)."""
    states = np.zeros(2 * len(classes) + 1, np.int64)  # blanks around every symbol
    states[1::2] = classes
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    emitted = scores.astype(np.float64)[:, states]
    alpha = np.full(len(states), -np.inf)
    alpha[:2] = emitted[0, :2]
    for row in emitted[1:]:
        one = np.concatenate([[-np.inf], alpha[:-1]])
        two = np.where(may_skip, np.concatenate([[-np.inf, -np.inf], alpha[:-2]])[: len(states)], -np.inf)
        alpha = np.logaddexp(np.logaddexp(alpha, one), two) + row
    return float(np.logaddexp(alpha[-1], alpha[-2])) if len(states) > 1 else float(alpha[-1])
