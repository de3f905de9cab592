"""What of this machine is ours: cores and memory, as a container's limits leave them, and who listens on its ports."""

import os
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
WORKER_BYTES = 512 << 20


def cores() -> int:
    """Whole processors that this process may use, at least one."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _told("cpu.max").partition(" ")  # "200000 100000" for two of them
    old = _told("cpu/cpu.cfs_quota_us"), _told("cpu/cpu.cfs_period_us")
    limits = [int(a) // int(b) for a, b in ((quota, period), old) if a.isdecimal() and b.isdecimal()]
    return max(1, min([free, *limits]))


def memory() -> int:
    """Bytes that this process may use."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_told(name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([whole, *(int(limit) for limit in limits if limit.isdecimal())])


def workers() -> int:
    """How many predict: one for two cores, as the front end needs one; 512 MiB for each and as much for Java."""
    return max(1, min(cores() // 2, memory() // WORKER_BYTES - 1))


def _told(name: str) -> str:
    """What a control group's file says; nothing where there is none."""
    try:
        return (CGROUPS / name).read_text().strip()
    except OSError:
        return ""


def listening(port: int) -> list[int]:
    """The processes of this machine that listen on a port, as far as this user may see them."""
    try:
        found = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return []
    open_ = [c for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return sorted({c.pid for c in open_ if c.pid})
