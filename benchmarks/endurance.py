"""Serve for hours under mixed load, attacks, kills, reloads, a full disk and stalled clients.

    .venv/bin/python -m benchmarks.endurance --hours 2
    .venv/bin/python -m benchmarks.endurance --hours 0.02     # a minute, to see that it works

Starts `serve` as a process of its own. Most connections send ordinary pictures all the time, and compare each answer
with the one that a quiet server gave. One connection sends attacks. Every minute, one of the disturbances happens: a
worker is killed, Java is killed, the weights are replaced, the disk of the server's folder is full, clients stall.

Java is killed in the first quarter only, and of the workers always the youngest, so that the oldest one lives from
then to the end and its memory shows leaks. Prints counts and memory, and draws both over time. The exit code is 1 if an
answer is wrong, if a good request gets an error other than by a kill, if a worker ends that was not killed, or if
memory grows after the first quarter (endurance_report.py).
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

from benchmarks.attacks import BINARY, BODIES, FORMS, JSON, MULTIPART, PICTURES, RAW
from benchmarks.common import conditions, make_parser
from benchmarks.endurance_report import SLOW, Record, plot, print_report
from benchmarks.fuzz import is_close
from benchmarks.fuzz_requests import FuzzRequest, image_files, valid_requests
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import plots
from mnist_lightning.inference.open_inference import HEADER_LENGTH
from mnist_lightning.serving.torchserve import free_port

INTERVAL = 60.0  # seconds between two disturbances
RECOVERY = 120.0  # seconds in which the server must be whole again after a kill; about four on an idle machine
SAMPLE_SECONDS = 5.0


class Endurance:
    """A server, its clients and what disturbs it."""

    def __init__(self, store: Path, folder: Path, connections: int, requests_: Sequence[FuzzRequest]) -> None:
        self.store, self.folder, self.connections, self.requests = store, folder, connections, requests_
        self.port, self.record = free_port(), Record()
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        self.started, self.ended = time.monotonic(), threading.Event()
        self.whole_since = 0.0  # seconds since the start; infinite between a kill and the recovery

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def run(self, seconds: float) -> None:
        """Serve, send and disturb for so long."""
        with self._serving() as process:
            self.expected = [self._ask(requests.Session(), request)[1] for request in self.requests]
            self.started = time.monotonic()
            with ThreadPoolExecutor(self.connections + 2) as pool:
                try:
                    tasks = [pool.submit(self._send, number) for number in range(self.connections)]
                    tasks += [pool.submit(self._attack), pool.submit(self._sample, process)]
                    self._disturb(process, seconds)
                finally:
                    self.ended.set()
                for task in tasks:
                    task.result()

    @contextlib.contextmanager
    def _serving(self) -> Iterator[psutil.Process]:
        command = [sys.executable, "-m", "mnist_lightning.serve", "--port", str(self.port), "--store", str(self.store)]
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True)
        with process:
            try:
                if process.stdout is None or not process.stdout.readline().startswith("ready"):
                    raise RuntimeError((self.folder / "log").read_text())
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield psutil.Process(process.pid)
            finally:
                process.terminate()

    def _ask(self, session: requests.Session, request: FuzzRequest) -> tuple[int, object]:
        headers = {"Content-Type": request.content_type} if request.content_type else {}
        answer = session.post(self.url + request.path, data=request.body, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    def _send(self, number: int) -> None:
        """Send good requests until the end, and compare their answers."""
        rng, session = random.Random(number), requests.Session()  # noqa: S311 - a choice of requests
        session.trust_env = False
        while not self.ended.is_set():
            index, began, whole_since = rng.randrange(len(self.requests)), self.now(), self.whole_since
            outcome = self._outcome(session, index)
            took = self.now() - began
            calm = began >= whole_since == self.whole_since
            self.record.answers[outcome if calm or outcome == "right" else f"{outcome}, disturbed"] += 1
            if took > SLOW and calm:
                self.record.slow.append((self.now(), took))
            if outcome != "right" and (calm or outcome == "wrong"):
                self.record.faults.append(f"{self.now():.0f} s: {self.requests[index].path}: {outcome}")
            if outcome == "lost":
                self.ended.wait(0.1)

    def _outcome(self, session: requests.Session, index: int) -> str:
        try:
            status, answer = self._ask(session, self.requests[index])
        except (requests.RequestException, ValueError):
            return "lost"
        if status != 200:
            return str(status)
        return "right" if is_close(answer, self.expected[index]) else "wrong"

    def _attack(self) -> None:
        """Send attacks until the end, one after the other."""
        kinds = [(table, headers) for table, headers in ((FORMS, MULTIPART), (BODIES, JSON), (PICTURES, RAW))]
        bodies = [(make(), headers) for table, headers in kinds for make in table.values()]
        binary = (make() for make in BINARY.values())
        bodies += [(body, {**RAW, HEADER_LENGTH: length}) for body, length in binary]
        for body, headers in itertools.cycle(bodies):
            if self.ended.wait(0.5):
                return
            status = 0
            with contextlib.suppress(requests.RequestException):
                endpoint = f"{self.url}/predictions/mnist"
                status = requests.post(endpoint, data=body, headers=headers, timeout=60).status_code
            self.record.attacks[status] += 1

    def _sample(self, process: psutil.Process) -> None:
        """Record the memory of Java and of the oldest worker, which ends with a killed Java only."""
        oldest, sampled = None, 0.0
        while not self.ended.wait(SAMPLE_SECONDS):
            with contextlib.suppress(psutil.Error, ValueError):
                java, workers = family(process)
                if oldest not in (None, workers[0]) and self.whole_since <= sampled:
                    self.record.faults.append(f"{self.now():.0f} s: a worker ended that was not killed")
                oldest, sampled = workers[0], self.now()
                self.record.memory.append((self.now(), mebibytes(oldest), mebibytes(java)))

    def _disturb(self, process: psutil.Process, seconds: float) -> None:
        """Let one disturbance after the other happen."""
        disturbances: Mapping[str, Callable[[psutil.Process], None]] = {
            "a worker is killed": self._kill_worker,
            "the weights are replaced": self._reload,
            "clients stall": self._stall,
            "the disk is full": self._fill_disk,
            "two reloads at once": self._reload_twice,
            "Java is killed": self._kill_java,
        }
        interval = min(INTERVAL, seconds / (len(disturbances) + 1))
        for name, disturb in itertools.cycle(disturbances.items()):
            time.sleep(min(interval, max(seconds - self.now(), 0)))
            if self.now() >= seconds:
                return
            if disturb == self._kill_java and self.now() > seconds / 4:
                continue
            self.record.disturbances.append((self.now(), name))
            print(f"{self.now():6.0f} s  {name}", file=sys.stderr)
            disturb(process)

    def _kill_worker(self, process: psutil.Process) -> None:
        self._kill(process, family(process)[1][-1])

    def _kill_java(self, process: psutil.Process) -> None:
        self._kill(process, family(process)[0])

    def _kill(self, process: psutil.Process, victim: psutil.Process) -> None:
        """Kill, and wait until the server has as many workers as before and answers."""
        killed, workers = self.now(), len(family(process)[1])
        self.whole_since = float("inf")
        victim.kill()
        while self.now() < killed + RECOVERY:
            time.sleep(0.1)
            with contextlib.suppress(psutil.Error, ValueError, requests.RequestException):
                if len(family(process)[1]) == workers and self._ask(requests.Session(), self.requests[0])[0] == 200:
                    break
        else:
            self.record.faults.append(f"{killed:.0f} s: the server did not recover within {RECOVERY:g} s")
        self.whole_since = self.now()
        self.record.recoveries.append(self.whole_since - killed)

    def _reload(self, process: psutil.Process) -> None:
        command = [sys.executable, "-m", "mnist_lightning.serve", "--reload", "--store", str(self.store)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            self.record.faults.append(f"{self.now():.0f} s: the reload failed: {done.stderr.strip()}")

    def _reload_twice(self, process: psutil.Process) -> None:
        for _ in range(2):
            process.send_signal(signal.SIGHUP)

    def _stall(self, process: psutil.Process) -> None:
        connections = []
        for _ in range(25):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            head = "POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nContent-Length: 9900000\r\n\r\n"
            connection.sendall(head.encode() + bytes(100_000))
            connections.append(connection)
        time.sleep(15)
        for connection in connections:
            connection.close()

    def _fill_disk(self, process: psutil.Process) -> None:
        """Fill the server's folder, if it is a small file system of its own, and ask for a reload meanwhile."""
        fill = self.folder / "fill"
        free = shutil.disk_usage(self.folder).free
        if free > 256 << 20:
            self.record.disturbances[-1] = (self.now(), "the disk is full (skipped: --folder is no small file system)")
            return
        with contextlib.suppress(OSError):
            fill.write_bytes(bytes(free))
        process.send_signal(signal.SIGHUP)
        time.sleep(5)
        fill.unlink()


def family(process: psutil.Process) -> tuple[psutil.Process, list[psutil.Process]]:
    """Java and the workers of a `serve`, the oldest first. Raises ValueError while Java does not run."""
    (java,) = (child for child in process.children() if child.name() == "java")
    workers = sorted(java.children(), key=psutil.Process.create_time)
    if not workers:
        raise ValueError("no workers")
    return java, workers


def mebibytes(process: psutil.Process) -> float:
    """The memory of a process."""
    return float(process.memory_info().rss / 2**20)


def main() -> int:
    """Run the test, and print and draw its outcome."""
    parser = make_parser(__doc__, "store", "data", "docs")
    parser.add_argument("--hours", type=float, default=2.0, help="duration (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="connections with good requests (%(default)s)")
    parser.add_argument("--folder", type=Path, help="the server's runtime folder, such as a small tmpfs")
    options = parser.parse_args()
    digits = mnist.load(options.data, train=False)[0][:200, 0].numpy()
    good = valid_requests(image_files(digits, 0), digits, 0)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        shutil.copy(options.store / ARCHIVE, name)
        endurance = Endurance(Path(name), Path(name), options.connections, good)
        with contextlib.suppress(KeyboardInterrupt):
            endurance.run(options.hours * 3600)
        log = (Path(name) / "log").read_text().splitlines()
    record = endurance.record
    print(conditions() + "\n")
    print_report(record, log)
    plots.save(plot(record), options.docs / "endurance.png")
    return int(bool(record.faults))


if __name__ == "__main__":
    sys.exit(main())
