"""The processor's instructions that each library may use, for the same bytes on every x86-64.

A library chooses its kernels by the processor, and they round differently. Each reads a variable
when it is loaded, so a job's process must have them from its start.
"""

from typing import Any

# What each library may use at most. oneMKL knows an AVX2 branch too, but on Intel's processors only
# (Developer Guide for Linux, "Specifying Code Branches").
_AT_MOST = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def environment(config: dict[str, Any]) -> dict[str, str]:
    """The variables that the jobs of a configuration need."""
    return dict(_AT_MOST) if config["compute"]["portable"] else {}
