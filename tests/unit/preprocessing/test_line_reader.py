"""Lines are decoded as connectionist temporal classification defines it, and the shipped network reads them."""

import json
from itertools import product

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from mnist_lightning.common.engine import load_shipped
from mnist_lightning.preprocessing.line_reader import (
    SHIPPED,
    Floats,
    Symbol,
    add_missed,
    decode_line,
    log_odds,
    pad,
    read,
    sequence_log_probability,
)


def scores(seed: int, length: int = 12) -> Floats:
    logits = np.random.default_rng(seed).normal(0, 3, (length, 12)).astype(np.float32)
    return torch.from_numpy(logits).log_softmax(1).numpy()


def path(*classes: int) -> Floats:
    likely = np.full((len(classes), 12), -10.0, np.float32)
    likely[np.arange(len(classes)), classes] = 0
    return torch.from_numpy(likely).log_softmax(1).numpy()


def test_repetitions_are_one_symbol_and_blanks_separate() -> None:
    symbols, _ = decode_line(path(0, 2, 2, 0, 0, 2, 3, 3, 0))
    assert symbols == [Symbol(2, 1, 2), Symbol(2, 5, 5), Symbol(3, 6, 7)]


def test_paper_says_nothing() -> None:
    symbols, certainty = decode_line(path(0, 0, 0))
    assert symbols == []
    assert certainty == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("classes", [[], [3], [3, 3], [1, 2, 11], [5, 5, 5, 1]])
@pytest.mark.parametrize("seed", range(3))
def test_a_sequence_has_the_probability_of_ctc(classes: list[int], seed: int) -> None:
    own = scores(seed)
    found = sequence_log_probability(own, classes)
    targets, lengths = torch.tensor([classes], dtype=torch.long), torch.tensor([len(classes)])
    loss = F.ctc_loss(torch.from_numpy(own)[:, None], targets, torch.tensor([len(own)]), lengths, reduction="sum")
    assert found == pytest.approx(-loss.item(), rel=1e-4)


def test_the_sequences_of_a_short_line_have_a_probability_of_one() -> None:
    own = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 12)).astype(np.float32)).log_softmax(1).numpy()
    sequences = [[], *([one] for one in range(1, 12)), *map(list, product(range(1, 12), repeat=2))]
    possible = [one for one in sequences if len(one) < 2 or one[0] != one[1]]  # twice the same needs a blank between
    assert sum(np.exp(sequence_log_probability(own, one)) for one in possible) == pytest.approx(1, abs=1e-4)


def test_a_piece_of_ink_that_was_read_as_part_of_its_neighbor_gets_its_own_symbol() -> None:
    strip = np.zeros((32, 48), np.uint8)
    strip[6:26, 8:11] = strip[6:26, 20:23] = 255
    likely = np.full((24, 12), -10.0, np.float32)
    likely[:, 0] = 0
    likely[4:12, 2] = likely[4:12, 0] = 0  # a 1, or several with blanks between them
    own = torch.from_numpy(likely).log_softmax(1).numpy()
    one = [Symbol(2, 4, 6)]
    log_probability = sequence_log_probability(own, [2])
    symbols, more = add_missed(own, strip, one, log_probability)
    assert [symbol.label for symbol in symbols] == [2, 2]
    assert more == pytest.approx(sequence_log_probability(own, [2, 2]))
    strip[:, 12:] = 0
    assert add_missed(own, strip, one, log_probability) == (one, log_probability)


def test_a_piece_of_ink_that_says_nothing_gets_no_symbol() -> None:
    strip = np.zeros((32, 48), np.uint8)
    strip[6:26, 8:11] = strip[6:26, 30:33] = 255
    own = path(*[0] * 4, 2, 2, *[0] * 18)
    one, log_probability = decode_line(own)
    assert add_missed(own, strip, one, log_probability) == (one, log_probability)


def test_log_odds_are_finite() -> None:
    assert np.isfinite(log_odds(np.array([0.0, -1e-12, -1.0, -200.0]))).all()
    assert float(log_odds(np.log(0.75))) == pytest.approx(np.log(3))


def test_strips_are_padded_to_one_width() -> None:
    padded = pad([np.full((32, 30), 7, np.uint8), np.full((32, 41), 9, np.uint8)])
    assert padded.shape == (2, 1, 32, 48)
    assert (padded[0, 0, :, 30:].max(), padded[1, 0, :, 41:].max()) == (0, 0)


def test_paper_added_at_the_end_changes_nothing() -> None:
    strip = np.zeros((32, 80), np.uint8)
    strip[6:26, 20:23] = strip[6:26, 50:53] = 255
    short, long = read([strip, np.pad(strip, ((0, 0), (0, 160)))])
    assert [symbol.label for symbol in short.symbols] == [symbol.label for symbol in long.symbols]
    assert short.confidence == pytest.approx(long.confidence, abs=0.05)
    assert len(short.scores) == len(short.symbols)


def test_the_shipped_network_says_how_it_was_trained() -> None:
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load(SHIPPED).metadata_props}
    assert set(properties["trained"]) == {"seed", "lines", "epochs", "commit", "exact_matches"}
    assert all(slope > 0 for slope, _ in properties["confidence"])
    assert SHIPPED.stat().st_size < 600_000
    load_shipped(SHIPPED)
