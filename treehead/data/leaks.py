"""Leaks: pictures of a held-out part that are also in train, identical or nearly so.

Identical means equal decoded pixels. Near means another version of one photograph: compressed
anew, brighter, scaled, shifted by up to 6 % of its side or cropped by up to 2 %. Another photograph
of the same thing, a mirror image and a copy in other colours do not count. After Barz and Denzler,
"Do we train on test data? Purging CIFAR of near-duplicates", 2020,
https://doi.org/10.3390/jimaging6060041

Each picture has a short signature, the low frequencies of its detail. The nearest signature of the
other part is the one candidate of a picture, and pixels decide. So time grows with the product of
the sizes, and memory with their sum, whatever the pictures show.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.fft import dct, dctn
from scipy.ndimage import gaussian_filter

from treehead.console import progress
from treehead.data.dataset import digest

# The thresholds prefer a missed copy to a false alarm: of the 100 weakest pairs that they pass
# on CIFAR-100, 6 show two products alike, 2 are doubtful, and the others one photograph each.
SIMILARITY = 0.45  # at least, of the details
COLOUR = 16.0  # at most, mean difference in levels

_SIDE = 32  # pixels of a side at which pictures are compared
_FREQUENCIES = 10  # of the signature, in each direction
_SCALE = 2048  # signatures are whole numbers, so that their products are exact in any order
_CANDIDATE = 0.5  # cosine of signatures; hardly any near pair is below
_SHIFT = 2  # pixels at most, of _SIDE
_CONTRAST = 5.0  # grey levels; weaker detail is noise
_STRENGTH = 0.05  # mean square of the detail where its evidence is halved
_BREADTH = 30.0  # number of frequencies in the detail where its evidence is halved
_BYTES = 2**22  # of pictures that are read at once
_BLOCK = 2048  # signatures that are compared at once


class Leak(NamedTuple):
    """A row of train and a row of the held-out part with the same picture."""

    train: int
    held_out: int
    kind: str  # "identical" or "near"


def find(train: Any, held_out: Any) -> list[Leak]:
    """Pairs of a picture of train and the same picture in the held-out part.

    A row that leaks is in at least one pair: `{leak.train for leak in leaks}` is what to remove
    from train, `{leak.held_out for leak in leaks}` what a model may know by heart. A row with
    several partners is not listed with each of them.

    Args:
        train: uint8 (n, 3, size, size), an array or a file that is read by slices and rows.
        held_out: uint8 (m, 3, size, size), likewise.

    Returns:
        Pairs in the order of the held-out rows, then of the train rows.
    """
    if not len(train) or not len(held_out):
        return []
    (digests, signatures), (digests_out, signatures_out) = (
        _read(part, name) for part, name in ((train, "train"), (held_out, "held-out"))
    )
    first, first_out = _first(digests), _first(digests_out)
    identical = {(first[it], row) for row, it in enumerate(digests_out) if it in first}
    identical |= {(row, first_out[it]) for row, it in enumerate(digests) if it in first_out}

    pairs = _nearest(signatures, signatures_out)
    pairs = pairs[[digests[row] != digests_out[other] for row, other in pairs]]
    near = pairs[_near(train, held_out, pairs)].tolist()
    kinds = (("identical", identical), ("near", near))
    found = [Leak(*pair, kind) for kind, pairs_of_kind in kinds for pair in pairs_of_kind]
    return sorted(found, key=lambda leak: (leak.held_out, leak.train))


def _first(digests: list[str]) -> dict[str, int]:
    """First row of each digest."""
    return {it: row for row, it in reversed(list(enumerate(digests)))}


def _read(images: Any, name: str) -> tuple[list[str], np.ndarray]:
    """Digests (n) and signatures (n, dim) of all pictures."""
    digests: list[str] = []
    signatures = np.empty((len(images), _FREQUENCIES**2 - 1), np.float32)
    step = max(1, _BYTES // int(np.prod(images.shape[1:])))
    starts = range(0, len(images), step)
    for start in progress(starts, f"Signatures of {name}", len(images), "images", step):
        chunk = np.asarray(images[start : start + step])
        digests += map(digest, chunk)
        signatures[start : start + step] = _signature(_detail(_reduced(chunk)))
    return digests, signatures


def _reduced(images: np.ndarray) -> np.ndarray:
    """Pictures as float32 (n, 3, side, side), by linear interpolation with antialiasing."""
    size = images.shape[-1]
    scale = size / _SIDE
    offset = (np.arange(_SIDE)[:, None] + 0.5) * scale - np.arange(size) - 0.5
    weights = np.maximum(1 - np.abs(offset) / max(scale, 1), 0)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights @ images.astype(np.float32) @ weights.T


def _detail(reduced: np.ndarray) -> np.ndarray:
    """Local contrast of the grey picture, (n, side, side): of edges and texture, 0 where flat."""
    grey = np.tensordot(reduced, np.float32([0.299, 0.587, 0.114]), axes=(1, 0))
    blurred, squares = (gaussian_filter(image, (0, 1.5, 1.5)) for image in (grey, grey**2))
    deviation = np.sqrt(np.maximum(squares - blurred**2, 0))
    return (grey - blurred) / (deviation + _CONTRAST)


def _signature(detail: np.ndarray) -> np.ndarray:
    """Low frequencies of the detail, whole numbers (n, dim) of length `_SCALE`; 0 if flat."""
    basis = dct(np.eye(_SIDE, dtype=np.float32), axis=0, norm="ortho")[:_FREQUENCIES]
    low = (basis @ detail @ basis.T).reshape(len(detail), -1)[:, 1:]
    length = np.linalg.norm(low, axis=1, keepdims=True)
    return np.rint(_SCALE * low / np.maximum(length, 1))


def _nearest(signatures: np.ndarray, signatures_out: np.ndarray) -> np.ndarray:
    """Candidates (pairs, 2): each row of either part with the nearest of the other part."""
    n, m = len(signatures), len(signatures_out)
    best, best_out = (np.full(rows, _CANDIDATE * _SCALE**2, np.float32) for rows in (n, m))
    partner, partner_out = np.full(n, -1), np.full(m, -1)
    for start in progress(range(0, n, _BLOCK), "Comparing with train", n, "images", _BLOCK):
        rows = slice(start, start + _BLOCK)
        for start_out in range(0, m, _BLOCK):
            rows_out = slice(start_out, start_out + _BLOCK)
            cosine = signatures[rows] @ signatures_out[rows_out].T
            _improve(cosine, best[rows], partner[rows], start_out)
            _improve(cosine.T, best_out[rows_out], partner_out[rows_out], start)
    pairs = [
        *((row, other) for row, other in enumerate(partner.tolist()) if other >= 0),
        *((other, row) for row, other in enumerate(partner_out.tolist()) if other >= 0),
    ]
    return np.array(sorted(set(pairs)), int).reshape(-1, 2)


def _improve(cosine: np.ndarray, best: np.ndarray, partner: np.ndarray, start: int) -> None:
    """Note the first largest of each row, if it is larger than the best before."""
    largest = cosine.max(axis=1)
    better = np.flatnonzero(largest > best)
    best[better] = largest[better]
    partner[better] = start + cosine[better].argmax(axis=1)


def _near(train: Any, held_out: Any, pairs: np.ndarray) -> np.ndarray:
    """Whether the pictures of each pair are versions of one photograph, bool (pairs,)."""
    step = max(1, _BYTES // int(np.prod(train.shape[1:])) // 4)
    starts = range(0, len(pairs), step)
    near = [np.zeros(0, bool)]
    for start in progress(starts, "Comparing candidates", len(pairs), "pairs", step):
        rows, rows_out = pairs[start : start + step].T
        image, other = _reduced(_rows(train, rows)), _reduced(_rows(held_out, rows_out))
        alike = _similarity(_detail(image), _detail(other)) >= SIMILARITY
        near.append(alike & (_colour_difference(image, other) <= COLOUR))
    return np.concatenate(near)


def _rows(images: Any, rows: np.ndarray) -> np.ndarray:
    """Pictures of these rows, read once each and in the order of the file."""
    unique, inverse = np.unique(rows, return_inverse=True)
    return np.asarray(images[unique])[inverse]


def _similarity(detail: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of the details of each pair at the best shift, times the evidence, (pairs,)."""
    inner = other[:, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    energy = (inner**2).sum((1, 2))
    best = np.zeros(len(detail), np.float32)
    for shifted in _shifts(detail):
        length = np.sqrt(energy * (shifted**2).sum((1, 2)))
        best = np.maximum(best, (shifted * inner).sum((1, 2)) / np.maximum(length, 1e-6))
    return best * np.minimum(_evidence(detail), _evidence(other))


def _evidence(detail: np.ndarray) -> np.ndarray:
    """How much an equal detail says, 0 to 1, (n,): little for an outline or a digit, 0 if flat.

    Strength is the mean square, breadth the number of frequencies that share the power.
    """
    power = dctn(detail, axes=(1, 2), norm="ortho") ** 2
    strength = power.mean((1, 2))
    breadth = power.sum((1, 2)) ** 2 / np.maximum((power**2).sum((1, 2)), 1e-12)
    return strength / (strength + _STRENGTH) * breadth / (breadth + _BREADTH)


def _shifts(detail: np.ndarray) -> Iterator[np.ndarray]:
    for top, left in np.ndindex(2 * _SHIFT + 1, 2 * _SHIFT + 1):
        inner = _SIDE - 2 * _SHIFT
        yield detail[:, top : top + inner, left : left + inner]


def _colour_difference(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean difference of red minus green and of blue minus green, in coarse cells, (pairs,)."""
    cells = (image - other).reshape(len(image), 3, 8, _SIDE // 8, 8, _SIDE // 8).mean((3, 5))
    return np.abs(cells[:, ::2] - cells[:, 1:2]).mean((1, 2, 3))
