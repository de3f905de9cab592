"""The machine that a measurement was made on, and who uses it."""

import getpass
import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows less
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")  # environment variables that hide instruction sets from torch


def user_name() -> str:
    """The name of this process's user, `unknown` in a container without such a user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def processor() -> str:
    """The processor's model, its cores and the instruction sets in use, such as "AMD EPYC, 2 cores, avx2"."""
    lines = CPUINFO.read_text().split("\n\n")[0].splitlines() if CPUINFO.is_file() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    sets = [flag for flag in INSTRUCTION_SETS if flag in flags]
    limits = [f"{variable}={os.environ[variable]}" for variable in LIMITS if variable in os.environ]
    return ", ".join([name, f"{os.cpu_count()} cores", *sets, *limits])
