"""The description of the machine in measurements."""

from pathlib import Path

import pytest

from mnist_lightning.common import machine

CPUINFO = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2 avx512f

processor\t: 1
model name\t: another one
flags\t\t: amx_bf16
"""


def test_model_and_instruction_sets_of_the_first_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for name in machine.LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert machine.processor() == "AMD EPYC, 2 cores, avx2, avx512f"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine.processor() == "AMD EPYC, 2 cores, avx2, avx512f, ONEDNN_MAX_CPU_ISA=AVX2"


def test_a_system_without_cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "absent")
    assert " cores" in machine.processor()
