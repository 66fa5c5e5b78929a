"""Names of classes and groups that people take for one: they differ in spaces, form or zeros."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from treehead.artifacts import InputError


def alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each name that people take for an earlier one, after that one."""
    first: dict[str, str] = {}
    for name in names:
        if (other := first.setdefault(_seen(name), name)) != name:
            yield other, name


def differ_in_case(one: str, other: str) -> bool:
    """Whether two names that are alike differ in nothing but case, as two letters may."""
    return one.casefold() == other.casefold()


def check(place: object, what: str, names: Sequence[str], *, case: bool = False) -> None:
    """Check that names are told apart.

    Args:
        place: the file or the source that has them, for an error.
        what: the plural of what they name.
        names: of all.
        case: whether words may differ in case alone; single letters always may.

    Raises:
        InputError: a name is there twice, or two differ only in case, spaces, the form of accents
            or leading zeros.
    """
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"{place}: two {what} are called {twice!r}; rename one.")
    for one, other in alike(names):
        letters = len(one) == len(other) == 1
        if not differ_in_case(one, other) or not (case or letters):
            same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
            shown = ascii if same else repr
            raise InputError(
                f"{place}: the {what} {shown(one)} and {shown(other)} differ only in case, spaces, "
                "the form of accents or leading zeros; write both in one way, or rename one."
            )


def _seen(name: str) -> str:
    """What people see of a name; numbers have no leading zeros."""
    plain = " ".join(unicodedata.normalize("NFC", name).split()).casefold()
    number = re.fullmatch(r"\+?(-?)0*(\d+)", plain)
    return number[1] + number[2] if number else plain
