"""The fuzz command, at a small size: the server is not hurt, and what is hurt would be noticed."""

import json
import subprocess
import sys

import pytest

from benchmarks.fuzz import alike, fault
from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT

REFUSAL = json.dumps({"code": 400, "type": "BadJSONError", "message": "…"}).encode()
ANSWER = {"prediction": 7, "confidence": 0.9, "probabilities": [0.1, 0.9]}


@pytest.mark.parametrize("share", ["0.8", "0.05"])
def test_the_server_is_not_hurt(server: Server, share: str) -> None:
    flags = ["--bodies", "400", "--connections", "16", "--bad", share, "--url", server.url]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", *flags], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["bodies"], report["hurt"]) == (400, 0)
    assert sum(report["statuses"].values()) == 400
    assert set(report["statuses"]) <= {
        "200",
        "400",
        "403",
        "404",
        "413",
    }  # 403 is what TorchServe answers to %zz in an address
    assert all(mib > 50 for mib in report["resident_mib"])
    assert len(report["resident_mib"]) == 3


@pytest.mark.parametrize(
    ("status", "content_type", "body", "expected"),
    [
        (500, "application/json", REFUSAL, None),
        (400, None, REFUSAL, None),
        (400, "text/html", REFUSAL, None),
        (413, "application/json", REFUSAL, None),
        (400, "application/json", b"{}", None),
        (200, "application/json", b"no JSON", None),
        (400, "application/json", REFUSAL, ANSWER),
        (200, "application/json", json.dumps({**ANSWER, "prediction": 1}).encode(), ANSWER),
        (200, "application/json", json.dumps([ANSWER]).encode(), ANSWER),
    ],
)
def test_a_fault_is_noticed(status: int, content_type: str, body: bytes, expected: object) -> None:
    assert fault(status, content_type, body, expected) is not None


def test_what_is_right_is_no_fault() -> None:
    assert fault(400, "application/json", REFUSAL, None) is None
    assert fault(200, "application/json", json.dumps(ANSWER).encode(), ANSWER) is None
    assert alike({**ANSWER, "confidence": 0.90001}, ANSWER)
    assert not alike({**ANSWER, "confidence": 0.9001}, ANSWER)
