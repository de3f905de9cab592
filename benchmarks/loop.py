"""A model's whole life cycle on a small scale: feedback, retraining, shadow, gate, promotion, rollback.

    python -m benchmarks.loop
    python -m benchmarks.loop --folder build/loop --people 100

Simulated people draw digits in a looped script, which the pretrained model reads badly, and correct its answers. Each
further step is a command of this project, run in a folder of its own with its own MLflow store; nothing outside of it
changes. Prints every command with its output, then what a server answers before, after, and after the rollback, and
last one line of JSON.
"""

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from benchmarks import looped_script
from benchmarks.common import OPTIONS, conditions
from mnist_lightning.client import ClientError, ask_many, number_of
from mnist_lightning.common.arguments import positive_int
from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.evaluation.tables import print_table
from mnist_lightning.serving.config import OFFSETS
from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.web.feedback import FOLDER

CHALLENGER = Path("model_store/challenger.mar")
SHADOW = 0.5  # the share of batches: there is little traffic
PEOPLE_SEED, TRAFFIC_SEED = 1, 2  # of the drawings that are corrected, and of those that the server is asked about
TRAFFIC = 300  # pictures of each kind
WIDTH = 100  # characters of the table at least
SHADOW_POLLS = 40  # times that its counters are read, which the workers write every few seconds
LOOPED, MNIST = "looped script", "MNIST's test digits"
Pictures = list[tuple[bytes, int]]


class LoopError(RuntimeError):
    """A command of the circle has failed."""


def main(arguments: list[str] | None = None) -> int:
    """Run the circle and print it; return 0, or 1 if one of its commands fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", **OPTIONS["data"])
    parser.add_argument("--folder", type=Path, default=Path("build/loop"), help="a new folder (%(default)s)")
    parser.add_argument("--people", type=positive_int, default=200, metavar="N", help="corrections (%(default)s)")
    parser.add_argument("--gate", type=Path, metavar="FILE", help="other margins than config/gate.yaml")
    parser.add_argument("train", nargs="*", metavar="-- FLAG", help="further flags of the training, after --")
    options = parser.parse_args(arguments)
    print(conditions() + "\n")
    try:
        gate = ["--gate", str(options.gate.resolve())] if options.gate else []
        report = run(options.folder, options.data.resolve(), options.people, options.train, gate)
    except (LoopError, ClientError, MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return 0


def run(folder: Path, data: Path, people: int, train: list[str], gate: list[str]) -> dict[str, object]:
    """Run the circle in a new folder; the percentages of digits that were read, by step and kind of picture."""
    folder.mkdir(parents=True)
    traffic = {LOOPED: _looped_script(), MNIST: _mnist(data)}
    port = str(free_port())
    _say(f"{people} people draw digits in a script with loops, and correct what the model makes of them")
    looped_script.save_feedback(folder / FOLDER, people, PEOPLE_SEED)
    with _serving(folder, port):
        before = _ask(port, traffic)
    _verb(folder, "feedback", "list", "--json")
    _verb(folder, "train", "--feedback", str(FOLDER), "--from", "champion", "--data_dir", str(data), *train)
    with _serving(folder, port, "--challenger", str(CHALLENGER), "--shadow", str(SHADOW)):
        _ask(port, traffic)
        shadow = _compared(port)
        _verb(folder, "promote", "--data", str(data), *gate)
        _verb(folder, "serve", "--reload", "--port", port)
        after = _ask(port, traffic)
        _verb(folder, "rollback", "--port", port, "--reason", "a rehearsal")
        rolled_back = _ask(port, traffic)
    _verb(folder, "promote", "--history")
    steps = {"before": before, "after the promotion": after, "after the rollback": rolled_back}
    _print_table(steps)
    return {"people": people, "shadow": shadow, **steps}


def _looped_script() -> Pictures:
    return list(looped_script.drawings(TRAFFIC, TRAFFIC_SEED))


def _mnist(data: Path) -> Pictures:
    images, labels = mnist.load(data, train=False)
    drawings = 255 - images[:TRAFFIC, 0].numpy()  # dark on white
    return [(looped_script.encode(drawing), int(label)) for drawing, label in zip(drawings, labels, strict=False)]


def _say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def _verb(folder: Path, name: str, *flags: str) -> None:
    """Run a command in the folder, and print it with its output. Raises LoopError."""
    command = _command(name, *flags)
    print(f"\n$ {shlex.join(['python', *command[1:]])}", flush=True)
    if code := subprocess.run(command, cwd=folder, env=_environment(), check=False).returncode:
        raise LoopError(f"{name} ended with code {code}")


def _command(name: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", f"mnist_lightning.{name}", *flags]


def _environment() -> dict[str, str]:
    """The project is found from the loop's folder, which has an MLflow store of its own."""
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    }


@contextlib.contextmanager
def _serving(folder: Path, port: str, *flags: str) -> Iterator[None]:
    """Serve the folder's archive while the block runs. Raises LoopError if the server does not start."""
    command = _command("serve", "--port", port, *flags)
    print(f"\n$ {shlex.join(['python', *command[1:]])} &", flush=True)
    with subprocess.Popen(command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise LoopError(f"the server ended with code {process.wait()}")
            print(line, end="", flush=True)
            yield
        finally:
            process.terminate()


def _ask(port: str, traffic: dict[str, Pictures]) -> dict[str, float]:
    """The percentage of each kind of pictures that the server reads correctly. Raises ClientError."""
    shares = {}
    for kind, pictures in traffic.items():
        outcomes = ask_many([content for content, _ in pictures], f"http://{LOOPBACK}:{port}")
        read = ["" if isinstance(outcome, ClientError) else number_of(outcome) for outcome in outcomes]
        right = [number == str(label) for number, (_, label) in zip(read, pictures, strict=True)]
        shares[kind] = round(100 * float(np.mean(right)), 1)
    print(f"read correctly: {', '.join(f'{share:.1f} % of {kind}' for kind, share in shares.items())}", flush=True)
    return shares


def _compared(port: str) -> dict[str, int]:
    """How many pictures the shadow has read as the champion, and differently. Raises LoopError if there are none."""
    for _ in range(SHADOW_POLLS):
        counts = _read_counters(f"http://{LOOPBACK}:{int(port) + OFFSETS['metrics']}/metrics")
        if any(counts.values()):
            print(
                f"shadow: {counts['agreements']} pictures read as the champion, {counts['disagreements']} differently"
            )
            return counts
        time.sleep(0.5)
    raise LoopError("the shadow has read no picture")


def _read_counters(url: str) -> dict[str, int]:
    counts = {"agreements": 0, "disagreements": 0}
    for family in text_string_to_metric_families(requests.get(url, timeout=10).text):
        for sample in family.samples:
            name = sample.name.removeprefix("mnist_challenger_").removesuffix("_total")
            if name in counts:
                counts[name] += int(sample.value)
    return counts


def _print_table(steps: dict[str, dict[str, float]]) -> None:
    table = Table("read correctly", *steps)
    for kind in (LOOPED, MNIST):
        table.add_row(kind, *(f"{shares[kind]:.1f} %" for shares in steps.values()))
    print()
    print_table(table, WIDTH)


if __name__ == "__main__":
    sys.exit(main())
