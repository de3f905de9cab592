"""What happens to a server in benchmarks.endurance, as text and as a figure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from matplotlib.figure import Figure

MAX_GROWTH = 0.05  # of the median memory of a worker, last quarter to second
SLOW = 1.0  # seconds
SHOWN = 20  # faults, and last lines of the server's log


@dataclass
class Record:
    """What happened; the threads share one."""

    answers: Counter[str] = field(default_factory=Counter)  # good requests by outcome
    attacks: Counter[int] = field(default_factory=Counter)  # by status; 0: no answer
    disturbances: list[tuple[float, str]] = field(default_factory=list)  # seconds since the start
    memory: list[tuple[float, float, float]] = field(default_factory=list)  # seconds, oldest worker and Java in MiB
    recoveries: list[float] = field(default_factory=list)  # seconds from a kill until the server was whole again
    faults: list[str] = field(default_factory=list)
    slow: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, of the answer

    def memory_medians(self) -> tuple[float, float]:
        """The median memory of the oldest worker in MiB, in the second and the last quarter of the time."""
        workers = [worker for _, worker, _ in self.memory] or [1.0]
        quarter = max(len(workers) // 4, 1)
        return median(workers[quarter : 2 * quarter] or workers), median(workers[-quarter:])


def print_report(record: Record, log: Sequence[str]) -> None:
    """Print the record and the end of the server's log; memory that grew is added to its faults."""
    before, after = record.memory_medians()
    growth = after / before - 1
    if growth > MAX_GROWTH:
        record.faults.append(f"a worker's memory grew from {before:.0f} to {after:.0f} MiB")
    slowest = max((seconds for _, seconds in record.slow), default=0.0)
    print(f"good requests by outcome: {dict(record.answers)}")
    print(f"slower than {SLOW:g} s without a disturbance: {len(record.slow)}, at most {slowest:.2f} s")
    print(f"recoveries after a kill: {len(record.recoveries)}, at most {max(record.recoveries, default=0.0):.1f} s")
    print(f"attacks by status: {dict(record.attacks)}")
    print(f"memory of the oldest worker, medians of the second and the last quarter: {before:.0f}, {after:.0f} MiB")
    for fault in record.faults[:SHOWN]:
        print(f"fault: {fault}")
    for line in log[-SHOWN:]:
        print(f"log: {line[:300]}")
    print(json.dumps({"answers": record.answers, "faults": len(record.faults), "growth": round(growth, 4)}))


def plot(record: Record) -> Figure:
    """Memory and slow answers over time, with the disturbances."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    memory, slow = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    if record.memory:
        times, workers, java = np.array(record.memory).T
        memory.plot(times / 60, workers, label="oldest worker")
        memory.plot(times / 60, java, label="Java")
        memory.legend()
    memory.set(ylabel="MiB", ylim=(0, None), title=f"{sum(record.answers.values()):,} good requests")
    for at, name in record.disturbances:
        for axes in (memory, slow):
            axes.axvline(at / 60, color="C3" if "killed" in name else "0.8", linewidth=0.6, zorder=0)
    if record.slow:
        slow.plot(*(np.array(record.slow).T / [[60], [1]]), ".")
    slow.set(xlabel="minutes", ylabel=f"answers\nafter > {SLOW:g} s, s")
    return figure
