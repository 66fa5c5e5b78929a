"""Run a head's C: here, and on emulated Cortex-M processors, whose instructions are counted.

Needs gcc, or Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

import shutil
import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError
from treehead.deploy.c import source
from treehead.deploy.c.build import IntegerHead

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
    """

    classes: np.ndarray
    saturated: np.ndarray
    instructions: np.ndarray
    logits: np.ndarray


class Compiled(NamedTuple):
    """A head's C as a program in `folder`.

    Args:
        flash: bytes of the head's instructions and tables.
        ram: bytes of its static variables; its work buffer is the caller's.
    """

    folder: Path
    processor: Processor
    flash: int
    ram: int

    def run(self, q: np.ndarray) -> Run:
        """Classify numbers q (n, dim) of the head's type."""
        (self.folder / "features.bin").write_bytes(q.tobytes())
        _call(self.folder, *self.processor.run, "./program")
        told = np.frombuffer((self.folder / "results.bin").read_bytes(), np.int32)
        classes, saturated, instructions, *logits = told.reshape(len(q), -1).T
        return Run(classes, saturated, instructions, np.transpose(logits))


def missing(processor: str) -> list[str]:
    """Commands that the processor needs and this machine lacks."""
    chosen = PROCESSORS[processor]
    needed = [chosen.compiler[0], chosen.size, *chosen.run[:1]]
    return [command for command in needed if not shutil.which(command)]


def compiled(folder: str | Path, processor: str) -> Compiled:
    """Compile head.c and head.h of a folder, with no warning, and the harness that runs them.

    Raises:
        InputError: a command is missing or fails.
    """
    if lacking := missing(processor):
        raise InputError(
            f"{', '.join(lacking)} can't be found; install gcc, gcc-arm-none-eabi, "
            "libnewlib-arm-none-eabi and qemu-system-arm."
        )
    folder, chosen = Path(folder).resolve(), PROCESSORS[processor]
    command = [*chosen.compiler, *WARNINGS, "-O2"]
    _call(folder, *command, "-c", "head.c", "-o", "head.o")
    with as_file(files("treehead.deploy.c") / "board") as board:
        script = [] if chosen.board == "host.c" else ["-T", str(board / "cortex-m.ld")]
        sources = [str(board / "harness.c"), str(board / chosen.board)]
        _call(folder, *command, f"-I{board}", "-I.", *script, *sources, "head.o", "-o", "program")
    text, data, bss = map(int, _call(folder, chosen.size, "head.o").split("\n")[1].split()[:3])
    return Compiled(folder, chosen, text + data, data + bss)


class Figures(NamedTuple):
    """What a head costs on a processor, and the instructions of the mean and the worst image."""

    flash_bytes: int
    ram_bytes: int
    instructions_mean: float
    instructions_worst: int


def measure(
    head: IntegerHead, packed: str | Path, q: np.ndarray, processor: str = "cortex-m4"
) -> Figures:
    """The cost of a head that `build` made of a packed file, over images of numbers q (n, dim).

    Raises:
        InputError: as for `compiled`, or the C does not equal its reference.
    """
    with tempfile.TemporaryDirectory() as folder:
        source.write(folder, head, packed=packed, title=Path(packed).stem, examples=q[:1])
        program = compiled(folder, processor)
        told = program.run(q)
    logits, saturated = head.logits(q)
    if not (np.array_equal(told.logits, logits) and np.array_equal(told.saturated, saturated)):
        raise InputError(f"{packed}: its C on {processor} does not equal its reference; report it.")
    return Figures(
        program.flash,
        program.ram + source.work_bytes(head.program(), logits.shape[1]),
        float(told.instructions.mean()),
        int(told.instructions.max()),
    )


def _call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout)[-2000:]
        raise InputError(f"{command[0]} failed in {folder} ({done.returncode}): {told}")
    return done.stdout
