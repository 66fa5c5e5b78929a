"""The tensors of a checkpoint that fit a network, under whatever names a trainer gave them.

A trainer nests its state dicts in mappings, wraps its network in other modules, and saves more than
the network. So no name is expected: every prefix of the file's names is tried, and the one under
which most tensors have the name and the shape of the network's is taken.
"""

import difflib
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from treehead.artifacts import InputError

Tensors = dict[str, Tensor]
Words = tuple[str, ...]

# What trainers call a running average of the weights.
_AVERAGED = {"ema", "swa", "average", "averaged", "shadow"}
# A counter of BatchNorm, which files from before torch 0.4.1 lack; it is not used in a forward.
_COUNTER = "num_batches_tracked"


class Misfit(InputError):
    """`wrong` tensors of a file are not those of a network; `reason` says in which way."""

    def __init__(self, path: str | Path, wrong: int, reason: str) -> None:
        super().__init__(
            f"{path} does not fit backbone.architecture: {reason}; `treehead inspect {path}` says "
            "what it fits."
        )
        self.wrong, self.reason = wrong, reason


class Match(NamedTuple):
    """Names of the file for names of the network.

    Args:
        key: what stands before the network's names in the file's.
        names: the file's name of each of the network's tensors that the file has.
        right: how many of them have the network's shape.
        averaged: whether a word of the key says that they are a running average.
    """

    key: str
    names: dict[str, str]
    right: int
    averaged: bool


class Fitted(NamedTuple):
    """What a network takes from a checkpoint.

    Args:
        tensors: all tensors of the network, in its order and of its types.
        head: `weight` (classes, dim) and `bias` (classes,) of a linear classifier; {} without one.
        remarks: what a user should know of the file, a line each.
    """

    tensors: Tensors
    head: Tensors
    remarks: list[str]


def fit(
    loaded: Tensors, network: nn.Module, dim: int, path: str | Path, key: str | None = None
) -> Fitted:
    """Take a network's tensors, and the linear head that reads its features, from those of a file.

    Args:
        loaded: all tensors of the file, flat, as `opening.tensors` gives them.
        network: what they are for.
        dim: number of the network's features.
        path: the file, for messages.
        key: the mapping of the file to take, such as `state_dict_ema`; None for the one that fits.

    Raises:
        InputError: nothing fits, or several mappings do and `key` names none.
    """
    wanted = network.state_dict()
    if key is not None:
        loaded = _under(loaded, key, path)
    match, averages = _chosen(_matches(loaded, wanted), loaded, wanted, path)
    _check(match, loaded, wanted, path)
    left = _left(loaded, match)
    heads = _heads(left, loaded, dim)
    _check_depth(left, heads, match, loaded, wanted, path)
    tensors = {
        name: _converted(loaded[match.names[name]], value.dtype, match.names[name], path)
        if name in match.names
        else torch.zeros_like(value)
        for name, value in wanted.items()
    }
    head = _head(left[heads[0]], loaded, path) if len(heads) == 1 else {}
    return Fitted(tensors, head, _remarks(match, averages, left, heads, loaded, wanted))


def _under(loaded: Tensors, key: str, path: str | Path) -> Tensors:
    chosen = {name: value for name, value in loaded.items() if name.startswith(f"{key}.")}
    if not chosen:
        mappings = dict.fromkeys(name.partition(".")[0] for name in loaded)
        raise InputError(
            f"{path} has nothing under {key}, which backbone.weights_key names; it has "
            f"{', '.join(mappings)}."
        )
    return chosen


def _matches(loaded: Tensors, wanted: Tensors) -> list[Match]:
    """A match for each prefix of the file's names under which some have names of the network.

    The network's names may begin with words that the file's lack, such as a Sequential's "0", and
    the file's may hold words that the network's lack, such as "module" and "_orig_mod" of wrappers.
    """
    names = {tuple(name.split(".")) for name in wanted}
    common = shared(names)
    vocabulary = {word for words in names for word in words}
    found: dict[tuple[Words, Words], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in loaded:
        words = tuple(name.split("."))
        for cut, first in enumerate(words):
            rest = tuple(word for word in words[cut:] if word in vocabulary)
            for depth in range(len(common) + 1) if first in vocabulary else ():
                if common[:depth] + rest in names:
                    full = ".".join(common[:depth] + rest)
                    found[words[:cut], common[:depth]][full].append(name)
    matches = {}
    for (prefix, _), named in sorted(found.items()):
        # Two tensors of one name belong to two networks.
        single = {name: own[0] for name, own in named.items() if len(own) == 1}
        right = sum(loaded[own].shape == wanted[name].shape for name, own in single.items())
        averaged = bool(_tokens(prefix) & _AVERAGED)
        match = Match(".".join(prefix), single, right, averaged)
        matches.setdefault(tuple(single.items()), match)
    return sorted(matches.values(), key=lambda match: (-match.right, -len(match.names)))


def shared(names: Iterable[Words]) -> Words:
    """The words with which all names begin; the last word of a name is not among them."""
    columns = zip(*(words[:-1] for words in names), strict=False)
    return tuple(column[0] for column in takewhile(lambda column: len({*column}) == 1, columns))


def _tokens(words: Iterable[str]) -> set[str]:
    return {token for word in words for token in word.lower().split("_")}


def _needed(wanted: Tensors) -> list[str]:
    return [name for name in wanted if not name.endswith(_COUNTER)]


def _chosen(
    matches: list[Match], loaded: Tensors, wanted: Tensors, path: str | Path
) -> tuple[Match, list[Match]]:
    """The match to take, and averages that are as complete; the best one if none is complete."""
    if not matches:
        raise Misfit(
            path,
            len(wanted),
            f"none of its {len(loaded)} tensors, such as {_some(loaded)}, has a name of the "
            f"network, such as {_some(wanted)}",
        )
    complete = [
        match
        for match in matches
        if match.names.keys() >= {*_needed(wanted)} and match.right == len(match.names)
    ]
    if not complete:
        return matches[0], []
    plain = [match for match in complete if not match.averaged] or complete
    if any(not _equal(plain[0], match, loaded, wanted) for match in plain[1:]):
        keys = ", ".join(match.key or "(its top)" for match in plain)
        raise InputError(
            f"{path} holds several networks that fit, under {keys}; set backbone.weights_key to "
            "one of these."
        )
    return plain[0], [match for match in complete if match not in plain]


def _equal(one: Match, other: Match, loaded: Tensors, wanted: Tensors) -> bool:
    return all(
        torch.equal(loaded[one.names[name]], loaded[other.names[name]]) for name in _needed(wanted)
    )


def _check(match: Match, loaded: Tensors, wanted: Tensors, path: str | Path) -> None:
    """Refuse a match that lacks tensors, or has them in other shapes."""
    needed = _needed(wanted)
    missing = [name for name in needed if name not in match.names]
    if missing:
        spare = {*loaded} - {*match.names.values()}
        near = difflib.get_close_matches(missing[0], spare, n=2, cutoff=0)
        nearest = f"; nearest in the file: {_named(near, loaded)}" if near else ""
        raise Misfit(
            path,
            len(missing),
            f"the file lacks {len(missing)} of the {len(needed)} tensors, first "
            f"{_named(missing[:1], wanted)}{nearest}",
        )
    wrong = [name for name in match.names if loaded[match.names[name]].shape != wanted[name].shape]
    if wrong:
        raise Misfit(
            path,
            len(wrong),
            f"{len(wrong)} of {len(needed)} tensors have another shape, first "
            f"{_named([match.names[wrong[0]]], loaded)}, where the network has "
            f"{tuple(wanted[wrong[0]].shape)}",
        )


def _left(loaded: Tensors, match: Match) -> dict[Words, list[str]]:
    """The file's other tensors, grouped by the first word that no name of the match has."""
    taken = {*match.names.values()}
    prefixes = {words[:cut] for words in map(_split, taken) for cut in range(len(words))}
    groups: dict[Words, list[str]] = defaultdict(list)
    for name in loaded:
        if name not in taken and not name.endswith(_COUNTER):
            words = _split(name)
            common = max(cut for cut in range(len(words)) if words[:cut] in prefixes)
            groups[words[: common + 1]].append(name)
    return dict(groups)


def _split(name: str) -> Words:
    return tuple(name.split("."))


def _heads(left: dict[Words, list[str]], loaded: Tensors, dim: int) -> list[Words]:
    """The groups that are one linear layer on the features, and that no other layer reads.

    Of several, those that lie nearest to the network.
    """
    matrices = {
        name: loaded[name].shape
        for names in left.values()
        for name in names
        if name.endswith("weight") and loaded[name].ndim == 2
    }
    read = {inputs for _, inputs in matrices.values()}
    found = []
    for group, names in left.items():
        weights = [name for name in names if name in matrices]
        others = {*names} - {*weights}
        if len(weights) == 1 and others <= {weights[0].removesuffix("weight") + "bias"}:
            classes, inputs = matrices[weights[0]]
            if inputs == dim and (classes not in read or classes == dim):
                found.append(group)
    return [group for group in found if len(group) == max(map(len, found))]


def _head(names: list[str], loaded: Tensors, path: str | Path) -> Tensors:
    head = {
        name.rpartition(".")[2]: _converted(loaded[name], torch.float32, name, path)
        for name in names
    }
    return {"bias": torch.zeros(len(head["weight"])), **head}


def _check_depth(
    left: dict[Words, list[str]],
    heads: list[Words],
    match: Match,
    loaded: Tensors,
    wanted: Tensors,
    path: str | Path,
) -> None:
    """Refuse tensors that are left within the network's own modules: the file's network has more.

    A deeper network of the same family has all tensors of a shallower one.
    """
    root = _root(match, wanted)
    numbered = all(_split(name)[len(root)].isdigit() for name in match.names.values())
    for group, names in left.items():
        within = group[: len(root)] == root and len(group) > len(root) + 1
        beside = group[:-1] == root and numbered and group[-1].isdigit()
        layers = any(loaded[name].ndim > 2 for name in names)
        if group not in heads and (within or (beside and layers)):
            raise Misfit(path, len(names), f"its network has more, {_named(names[:1], loaded)}")


def _root(match: Match, wanted: Tensors) -> Words:
    """The words of the file's names before those of the network."""
    words = shared(map(_split, match.names.values()))
    own = shared(map(_split, wanted))
    while own and words and words[-1] == own[-1]:
        words, own = words[:-1], own[:-1]
    return words


def _converted(value: Tensor, kind: torch.dtype, name: str, path: str | Path) -> Tensor:
    """A tensor as the network has it, whatever its precision; whole numbers stay whole."""
    if kind.is_floating_point and not value.is_floating_point():
        raise InputError(
            f"{path}: the tensor {name} holds whole numbers ({value.dtype}), as quantised weights "
            "do; give the weights before quantisation."
        )
    value = value.to(kind)
    if not value.isfinite().all():
        raise InputError(f"{path}: the tensor {name} holds NaN or infinity; use another file.")
    return value


def _remarks(
    match: Match,
    averages: list[Match],
    left: dict[Words, list[str]],
    heads: list[Words],
    loaded: Tensors,
    wanted: Tensors,
) -> list[str]:
    remarks = []
    if averages:
        keys = " or ".join(average.key for average in averages)
        where = f"The weights are those under {match.key}" if match.key else "Plain weights"
        remarks.append(f"{where}; backbone.weights_key: {keys} takes the average instead.")
    counters = len(wanted) - len(match.names)
    if counters:
        remarks.append(f"The file has no {_COUNTER}; {counters} counters are 0.")
    if len(heads) > 1:
        remarks.append(
            f"Several layers read the features, {' and '.join(map('.'.join, heads))}; none is kept "
            "as the head."
        )
    dropped = {group: names for group, names in left.items() if [group] != heads}
    if dropped:
        what = [_summary(group, names, loaded) for group, names in dropped.items()]
        more = f" and {len(what) - 5} more" if len(what) > 6 else ""
        remarks.append(f"Not of the network: {', '.join(what[: 5 if more else 6])}{more}.")
    return remarks


def _summary(group: Words, names: list[str], loaded: Tensors) -> str:
    """A group in a word: one tensor with its shape, or how many there are."""
    if len(names) == 1:
        return _named(names, loaded)
    return f"{'.'.join(group)} ({len(names)} tensors)"


def _named(names: list[str], tensors: Tensors) -> str:
    return ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in names)


def _some(tensors: Tensors) -> str:
    return ", ".join(list(tensors)[:2])
