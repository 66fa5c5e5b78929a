"""Run a head's C: here, and on emulated Cortex-M processors, whose instructions are counted.

Needs gcc, or Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError

_ARM = ["arm-none-eabi-gcc", "-mthumb", "-ffunction-sections", "-nostartfiles"]
_QEMU = ["qemu-system-arm", "-nographic", "-monitor", "none", "-serial", "none"]
_SEMIHOSTING = ["-semihosting-config", "enable=on,target=native", "-icount", "shift=6", "-kernel"]
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


class Processor(NamedTuple):
    """How to compile for a processor, and how to run what comes out.

    Args:
        compiler: command and options.
        board: source of its machine, in board/.
        run: command that runs the program named after it.
        size: command that tells the bytes of an object.
    """

    compiler: list[str]
    board: str
    run: list[str]
    size: str


def _cortex(cpu: str, machine: str, ram: int, *flags: str) -> Processor:
    linked = [f"-mcpu={cpu}", *flags, "-Wl,--gc-sections", f"-Wl,--defsym=ram_bytes={ram}"]
    run = [*_QEMU, "-M", machine, *_SEMIHOSTING]
    return Processor([*_ARM, *linked], "cortex-m.c", run, "arm-none-eabi-size")


# The M4's loop is its program without the dual multiplication. The M0+ runs on a board with a
# Cortex-M0, which has the same instructions, and 16 KiB of RAM.
PROCESSORS = {
    "host": Processor(["gcc"], "host.c", [], "size"),
    "sanitized": Processor(
        ["gcc", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], "host.c", [], "size"
    ),
    "cortex-m4": _cortex("cortex-m4", "mps2-an386", 2**20),
    "cortex-m4-loop": _cortex("cortex-m4", "mps2-an386", 2**20, "-U__ARM_FEATURE_DSP"),
    "cortex-m0plus": _cortex("cortex-m0plus", "microbit", 2**14),
}


class Run(NamedTuple):
    """What the C says of n images.

    Args:
        classes: (n,).
        saturated: how many numbers were out of range, (n,).
        instructions: of each image, (n,); 0 where they are not counted.
        logits: (n, classes).
        flash: bytes of the program and its tables.
        ram: bytes of static variables, without the caller's work buffer.
    """

    classes: np.ndarray
    saturated: np.ndarray
    instructions: np.ndarray
    logits: np.ndarray
    flash: int
    ram: int


def missing(processor: str) -> list[str]:
    """Commands that the processor needs and this machine lacks."""
    chosen = PROCESSORS[processor]
    needed = [chosen.compiler[0], chosen.size, *chosen.run[:1]]
    return [command for command in needed if not shutil.which(command)]


def run(folder: str | Path, q: np.ndarray, classes: int, processor: str) -> Run:
    """Compile head.c and head.h of a folder, and classify numbers q (n, dim) by them.

    Raises:
        InputError: a command is missing, or a program failed.
    """
    if lacking := missing(processor):
        raise InputError(
            f"{', '.join(lacking)} can't be found; install gcc-arm-none-eabi, "
            "libnewlib-arm-none-eabi and qemu-system-arm."
        )
    folder, chosen = Path(folder).resolve(), PROCESSORS[processor]
    compile_ = [*chosen.compiler, *WARNINGS, "-O2"]
    _call(folder, *compile_, "-c", "head.c", "-o", "head.o")
    with as_file(files("treehead.deploy") / "board") as board:
        script = [] if chosen.board == "host.c" else ["-T", str(board / "cortex-m.ld")]
        sources = [str(board / "harness.c"), str(board / chosen.board)]
        _call(folder, *compile_, f"-I{board}", "-I.", *script, *sources, "head.o", "-o", "program")
    (folder / "features.bin").write_bytes(q.tobytes())
    _call(folder, *chosen.run, "./program")
    told = np.frombuffer((folder / "results.bin").read_bytes(), np.int32).reshape(len(q), -1)
    text, data, bss = map(int, _call(folder, chosen.size, "head.o").split("\n")[1].split()[:3])
    return Run(
        *(told[:, place] for place in range(3)), told[:, 3:], flash=text + data, ram=data + bss
    )


def _call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{' '.join(command)} failed in {folder}: {done.stderr[-2000:]}")
    return done.stdout
