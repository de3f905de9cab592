"""The fuzz command with few requests: the server withstands them, and the command recognizes faults."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import find_fault, is_close, main
from mnist_lightning.serving.torchserve import Server

ERROR = json.dumps({"code": 400, "type": "BadJSONError", "message": "…"}).encode()
ANSWER = {"prediction": 7, "confidence": 0.9, "probabilities": [0.1, 0.9]}


@pytest.mark.parametrize("invalid", ["0.8", "0.05"])
def test_the_server_withstands_invalid_requests(
    server: Server,
    mnist_folder: Path,
    invalid: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--bodies", "400", "--connections", "16", "--bad", invalid, "--url", server.url]
    monkeypatch.setattr(sys, "argv", ["fuzz", *flags, "--data", str(mnist_folder)])
    code = main()
    out, err = capsys.readouterr()
    assert code == 0, out + err
    report = json.loads(out.splitlines()[-1])
    assert (report["bodies"], report["faults"]) == (400, 0)
    assert sum(report["statuses"].values()) == 400
    # 403 is TorchServe's answer to %zz in a path.
    assert set(report["statuses"]) <= {"200", "400", "403", "404", "413"}
    assert all(mib > 50 for mib in report["resident_mib"])
    assert len(report["resident_mib"]) == 3


@pytest.mark.parametrize(
    ("status", "content_type", "body", "expected"),
    [
        (500, "application/json", ERROR, None),
        (400, None, ERROR, None),
        (400, "text/html", ERROR, None),
        (413, "application/json", ERROR, None),
        (400, "application/json", b"{}", None),
        (200, "application/json", b"no JSON", None),
        (400, "application/json", ERROR, ANSWER),
        (200, "application/json", json.dumps({**ANSWER, "prediction": 1}).encode(), ANSWER),
        (200, "application/json", json.dumps([ANSWER]).encode(), ANSWER),
    ],
)
def test_faults_are_recognized(status: int, content_type: str, body: bytes, expected: object) -> None:
    assert find_fault(status, content_type, body, expected) is not None


def test_correct_answers_are_no_faults() -> None:
    assert find_fault(400, "application/json", ERROR, None) is None
    assert find_fault(200, "application/json", json.dumps(ANSWER).encode(), ANSWER) is None
    assert is_close({**ANSWER, "confidence": 0.90001}, ANSWER)
    assert not is_close({**ANSWER, "confidence": 0.9001}, ANSWER)
