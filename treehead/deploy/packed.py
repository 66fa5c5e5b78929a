"""Which packed head is taken away."""

from pathlib import Path
from typing import NamedTuple

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.heads import packing


class Packed(NamedTuple):
    """A packed head: its file, its name, and its module in `treehead/heads/`."""

    file: Path
    head: str
    module: str


def taken(choice: list[str] | str, files: list[str], modules: dict[str, str]) -> Packed:
    """The packed head that was chosen, or the first file if none was.

    Args:
        choice: the file of the choice; empty if a head is configured.
        files: "<results>/heads/<head>/packed/<precision>-<seed>.bin" of all heads, or of one.
        modules: of each head.
    """
    file = Path(files[0])
    if choice:
        told = artifacts.read_json(choice)["file"]
        file = next(Path(each) for each in files if each.endswith(f"/{told}"))
    head = file.parents[1].name
    return Packed(file, head, modules[head])


def of_few_bits(packed: Packed, files: list[str]) -> Packed:
    """The same head at the first precision of whole numbers, if its own is of floats.

    Raises:
        InputError: there is no such precision.
    """
    precision, seed = packing.precision_and_seed(packed.file)
    if packing.PRECISIONS[precision] <= 8:
        return packed
    for file in map(Path, files):
        other, its_seed = packing.precision_and_seed(file)
        same = file.parent == packed.file.parent and its_seed == seed
        if same and packing.PRECISIONS[other] <= 8:
            return packed._replace(file=file)
    raise InputError(
        f"{packed.file} holds floats, which have no C; add int8 or fewer bits to precisions."
    )
