"""Classifiers of picture files: a network in this process, and a server."""

import numpy as np
import pytest

from mnist_lightning import client
from mnist_lightning.evaluation import presentations
from mnist_lightning.evaluation.classify import Unanswered, network_classifier, server_classifier
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.models.digitnet import DigitNet, load
from tests.support import SEVEN, WEIGHTS_FILE

BLANK = presentations.sketchpad(np.zeros((28, 28), np.uint8), np.random.default_rng(0))
URL = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return load(WEIGHTS_FILE.read_bytes())


def test_a_network_answers_a_batch_as_it_answers_one_picture(network: DigitNet) -> None:
    classify = network_classifier(network)
    other = presentations.blackboard(np.eye(28, dtype=np.uint8) * 255, np.random.default_rng(0))
    pictures = [SEVEN.read_bytes(), BLANK, other, b"hello"]
    outcomes = classify(pictures)
    seven, blank, _, text = outcomes
    assert not isinstance(seven, Unanswered)
    assert seven["prediction"] == 7
    assert set(seven) == {"prediction", "confidence", "probabilities", "is_digit", "number"}
    assert isinstance(blank, Unanswered)
    assert "no ink" in blank.reason
    assert isinstance(text, Unanswered)
    assert "not a picture" in text.reason
    for picture, outcome in zip(pictures, outcomes, strict=True):
        (alone,) = classify([picture])
        if isinstance(outcome, Unanswered):
            assert alone == outcome
        else:
            assert not isinstance(alone, Unanswered)
            assert alone["prediction"] == outcome["prediction"]
            assert alone["probabilities"] == pytest.approx(outcome["probabilities"], abs=2e-6)
            assert alone.get("note") == outcome.get("note")


def test_no_answers_for_no_pictures(network: DigitNet) -> None:
    assert network_classifier(network)([]) == []
    assert network_classifier(network)([BLANK, BLANK]) == network_classifier(network)([BLANK]) * 2


def test_a_server_answers_in_the_order_of_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(picture: bytes, url: str, *, token: str | None) -> Answer:
        assert (url, token) == (URL, "token")
        if not picture:
            raise client.ClientError("the picture is empty", 400)
        return {"prediction": int(picture)}

    monkeypatch.setattr(client, "ask", ask)
    pictures = [b"3", b"", *(str(digit).encode() for digit in range(10))]
    outcomes = server_classifier(URL, "token")(pictures)
    assert outcomes == [
        {"prediction": 3},
        Unanswered("the picture is empty"),
        *({"prediction": digit} for digit in range(10)),
    ]


@pytest.mark.parametrize("message", ["no server at the address", "rejected"])
def test_the_type_of_an_error_decides_whether_the_evaluation_ends(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_with(error: type[client.ClientError]) -> None:
        def ask(picture: bytes, url: str, *, token: str | None) -> Answer:
            raise error(message)

        monkeypatch.setattr(client, "ask", ask)

    fail_with(client.ClientError)
    assert server_classifier(URL, None)([b"3"]) == [Unanswered(message)]
    fail_with(client.ServerUnreachableError)
    with pytest.raises(client.ServerUnreachableError, match=message):
        server_classifier(URL, None)([b"3"])
