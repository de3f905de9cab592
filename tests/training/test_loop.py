"""The whole circle, as `make loop` runs it: feedback, retraining, shadow, gate, promotion, rollback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from mnist_lightning.common.paths import resource
from mnist_lightning.evaluation import gate
from tests.support import PROJECT


def test_the_circle_closes(mnist_folder: Path, tmp_path: Path) -> None:
    margins = yaml.safe_load(resource(gate.SHIPPED).read_text())
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump({**margins, "presented_digits": 15}))  # they take longest
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.loop", "--folder", str(tmp_path / "loop"), "--data", str(mnist_folder)),
            *("--gate", str(tmp_path / "gate.yaml"), "--", "--only", "Adam"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # other tests run beside it
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    before, after, rolled_back = (report[step] for step in ("before", "after the promotion", "after the rollback"))
    assert before["looped script"] < 80
    assert after["looped script"] > 90
    assert after["MNIST's test digits"] >= before["MNIST's test digits"] - 1
    assert rolled_back == before
    assert report["shadow"]["disagreements"] > 0
    assert "promotion: version 1, weights " in done.stdout
    history = done.stdout[done.stdout.rindex("promote --history") :]
    assert [kind for kind in ("challenger", "promotion", "rollback") if kind in history] == [
        *("challenger", "promotion", "rollback")
    ]
    assert "a rehearsal" in history
    store = {path.name for path in (tmp_path / "loop" / "model_store").iterdir()}
    assert store == {f"{slot}.{suffix}" for slot in ("mnist", "previous", "challenger") for suffix in ("mar", "json")}
