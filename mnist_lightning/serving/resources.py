"""The machine's resources: cores and memory within a container's limits, and the processes that listen on a port."""

import math
import os
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
WORKER_BYTES = 256 << 20


def available_cores() -> int:
    """Return the number of whole cores that this process may use, at least one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _cgroup_value("cpu.max").partition(" ")  # "200000 100000" means two cores
    v1 = _cgroup_value("cpu/cpu.cfs_quota_us"), _cgroup_value("cpu/cpu.cfs_period_us")
    limits = [int(a) // int(b) for a, b in ((quota, period), v1) if a.isdecimal() and b.isdecimal()]
    return max(1, min([affinity, *limits]))


def available_memory() -> int:
    """Return the number of bytes that this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_cgroup_value(name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def default_workers() -> int:
    """Return three workers for four cores, rounded up, and at most one for each 256 MiB besides Java's.

    For every request, a worker needs three times as much processor time as the front end.
    """
    return max(1, min(math.ceil(available_cores() * 3 / 4), available_memory() // WORKER_BYTES - 1))


def listening_pids(port: int) -> list[int]:
    """Return the processes of this machine that listen on a port, as far as this user may see them."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return []
    listeners = [c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return sorted({c.pid for c in listeners if c.pid})


def _cgroup_value(name: str) -> str:
    """Return the content of a control group's file, or an empty text if there is none."""
    try:
        return (CGROUPS / name).read_text().strip()
    except OSError:
        return ""
