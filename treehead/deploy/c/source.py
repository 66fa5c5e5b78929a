"""A head of whole numbers as C99 without a heap or a library: head.h, head.c and an example."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from treehead.artifacts import InputError, sha256, write_text
from treehead.deploy.c.build import IntegerHead
from treehead.deploy.c.program import Field, Program
from treehead.heads import packing

_TEMPLATES = files("treehead.deploy.c") / "templates"
_WIDTH = 100
_BYTES = {"int32_t": 4, "uint16_t": 2, "int16_t": 2, "uint8_t": 1}


def write(
    folder: str | Path,
    head: IntegerHead,
    *,
    packed: str | Path,
    title: str,
    examples: np.ndarray,
    name: str = "head",
) -> None:
    """Write <name>.h and <name>.c, and example.c with golden vectors.

    Args:
        head: of `build`.
        packed: the file it was built from, whose precision, seed and hash a comment tells.
        title: name of the head in the comment.
        examples: numbers q of some images, (n, dim), for the golden vectors.
        name: what its files, functions and types begin with.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f'"{name}" can\'t begin a name in C; use a-z, 0-9 and _.')
    for file, text in sources(head, packed, title, examples, name).items():
        write_text(Path(folder) / file, text)


def sources(
    head: IntegerHead, packed: str | Path, title: str, examples: np.ndarray, name: str
) -> dict[str, str]:
    """The text of each file."""
    program, features = head.program(), head.reading.features
    logits, _ = head.logits(examples)
    tables = sum(table.nbytes for table in program.tables.values())
    size = work_bytes(program, logits.shape[1])
    precision, seed = packing.precision_and_seed(packed)
    known = {
        "name": name,
        "NAME": name.upper(),
        "dim": head.reading.dim,
        "classes": logits.shape[1],
        "fraction": head.fraction,
        "work_bytes": size,
        "scale": repr(features.scale),
        "zero": features.zero,
        "feature": features.dtype.name,
        "work": "".join(f"    {one.type} {one.name}[{one.length}];\n" for one in program.work),
        "about": _comment(
            f"{title}: a classifier head of treehead in whole numbers; generated.",
            f"Precision {precision}, seed {seed}, from the packed file with the SHA-256",
            sha256(packed),
            f"{head.reading.dim} features of {features.bits} bits, {logits.shape[1]} classes; "
            f"{tables} bytes of tables, {size} of work.",
        ),
        "count": len(examples),
        "features": _numbers(examples),
        "expected": _numbers(logits.argmax(1)),
    }
    fill = {file: _template(file).substitute(known) for file in ("head.h", "example.c")}
    return {
        f"{name}.h": fill["head.h"],
        f"{name}.c": _body(program, known),
        "example.c": fill["example.c"],
    }


def work_bytes(program: Program, classes: int) -> int:
    """Size of the work buffer, whose widest members come first."""
    always = [Field("int32_t", "logits", classes), Field("int32_t", "saturated", 1)]
    size = sum(_BYTES[field.type] * field.length for field in always + program.work)
    return -(-size // 4) * 4


def _template(file: str) -> Template:
    return Template((_TEMPLATES / file).read_text(encoding="utf-8"))


def _body(program: Program, known: dict[str, object]) -> str:
    """head.c: sizes, tables, then the program text of the kind."""
    macros = "".join(f"#define {name} ({value})\n" for name, value in program.macros.items())
    tables = "\n".join(
        f"static const {table.dtype.name}_t {name}[{table.size}] = {{\n{_numbers(table)}}};"
        for name, table in program.tables.items()
    )
    text = "\n".join(_template(part).substitute(known) for part in program.parts)
    begin = _template("begin.c").substitute(known)
    return f"{begin}{macros}\n{tables}\n\n{text}"


def _comment(*lines: str) -> str:
    return "".join(f" * {line}\n" for line in lines).replace("*/", "* /")


def _numbers(table: np.ndarray) -> str:
    """Numbers with commas, in lines of at most so many characters."""
    lines, line = [], "   "
    form = "0x{:08x}" if table.dtype == np.uint32 else "{}"
    for number in map(form.format, table.ravel().tolist()):
        if len(line) + len(number) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {number},"
    return "\n".join([*lines, line]) + "\n"
