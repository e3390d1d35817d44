"""Which texts are near-duplicates: the same but for case, digits, punctuation and a few words.

A text is reduced to its letters. Its runs of eight letters are hashed once and the smallest hash in each of 32 ranges
is its signature (one permutation hashing, Li, Owen and Zhang 2012); the share of equal places estimates the Jaccard
index of two texts' runs. Texts that agree in all four places of a band are compared: the cost is linear in the texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIMILAR = 0.7
"""Estimated Jaccard index from which two texts are near-duplicates."""
MAX_CHARACTERS = 4000
"""Only the start of a text is compared."""
PLACES = 32
"""Hashes of a signature."""
_LETTERS = 8
"""In a run."""
_TEXTS = 256
"""Whose runs are hashed at once."""
_BAND = 4
_PAIRS = 1 << 16
"""Pairs of texts that are compared at once."""
_EMPTY = np.uint32(2**32 - 1)
_NO_LETTER = re.compile(r"[\W\d_]+")

Signatures = NDArray[np.uint32]
"""(texts, 32)."""


def signatures(texts: Sequence[str]) -> Signatures:
    """The signatures of texts; of blank ones, 32 times the largest number."""
    result = np.full(len(texts) * PLACES, _EMPTY)
    for start in range(0, len(texts), _TEXTS):
        letters = [_NO_LETTER.sub("", text[:MAX_CHARACTERS].casefold()) for text in texts[start : start + _TEXTS]]
        hashes, numbers = _hashes(letters)
        places = (start + numbers) * PLACES + (hashes >> np.uint64(59)).astype(np.int64)
        np.minimum.at(result, places, (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    return result.reshape(-1, PLACES)


def groups(of: Signatures) -> NDArray[np.int64]:
    """For each text the number of its group; near-duplicates of near-duplicates are in one group.

    Beside the signatures it takes about 60 bytes a text.
    """
    labels = np.arange(len(of))
    for start in range(0, PLACES, _BAND):
        texts, partners = _candidates(of[:, start : start + _BAND])
        for first in range(0, len(texts), _PAIRS):
            part = slice(first, first + _PAIRS)
            similar = _similarity(of[texts[part]], of[partners[part]]) >= SIMILAR
            join(labels, texts[part][similar], partners[part][similar])
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def join(labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Joins the groups of pairs, in place: the label of a group is its smallest member (connected components).

    labels: (n,) the label of each; at the start, each is its own. first, second: (m,) the pairs.
    """
    while True:
        own, other = labels[first], labels[second]
        if np.array_equal(own, other):
            return
        np.minimum.at(labels, np.maximum(own, other), np.minimum(own, other))
        while not np.array_equal(shorter := labels[labels], labels):
            labels[:] = shorter


def _candidates(band: Signatures) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of texts to compare: each text with the first one that has the same hashes in a band."""
    filled = np.flatnonzero((band != _EMPTY).any(axis=1))
    places = np.ascontiguousarray(band[filled]).view(np.uint64)  # two of four bytes each
    keys = mixed(mixed(places[:, 0]) + places[:, 1])
    _, first, bucket = np.unique(keys, return_index=True, return_inverse=True)
    partners = filled[first][bucket]
    is_pair = partners != filled
    return filled[is_pair], partners[is_pair]


def _similarity(first: Signatures, second: Signatures) -> NDArray[np.float64]:
    """(m,) estimated Jaccard index of m pairs."""
    either = ((first != _EMPTY) | (second != _EMPTY)).sum(axis=1)
    both = ((first == second) & (first != _EMPTY)).sum(axis=1)
    return both / np.maximum(1, either)


def _hashes(letters: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashes of all runs of eight letters of texts, or of a short text as a whole; and the places of the texts."""
    padded = [text.ljust(_LETTERS, "\0") if text else "" for text in letters]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    sizes = np.array([len(text) for text in padded], np.int64)
    hashes = np.zeros(max(0, len(codes) - _LETTERS + 1), np.uint64)
    for offset in range(_LETTERS):
        hashes = hashes * np.uint64(0x100000001B3) + codes[offset : offset + len(hashes)]
    numbers = np.repeat(np.arange(len(letters)), sizes)
    ends = np.cumsum(sizes)
    is_whole = np.arange(len(hashes)) + _LETTERS <= ends[numbers[: len(hashes)]]
    return mixed(hashes[is_whole]), numbers[: len(hashes)][is_whole]


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers as hashes: each bit depends on all (the finaliser of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
