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
from scipy import sparse

SIMILAR = 0.7
"""Estimated Jaccard index from which two texts are near-duplicates."""
MAX_CHARACTERS = 4000
"""Only the start of a text is compared."""
_LETTERS = 8
"""In a run."""
_PLACES = 32
_BAND = 4
_EMPTY = np.uint32(2**32 - 1)
_NO_LETTER = re.compile(r"[\W\d_]+")

Signatures = NDArray[np.uint32]
"""(texts, 32)."""


def signatures(texts: Sequence[str]) -> Signatures:
    """The signatures of texts; of blank ones, 32 times the largest number."""
    result = np.full((len(texts), _PLACES), _EMPTY)
    for number, text in enumerate(texts):
        hashes = _hashes(_NO_LETTER.sub("", text[:MAX_CHARACTERS].casefold()))
        np.minimum.at(result[number], hashes >> np.uint64(59), (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    return result


def groups(of: Signatures) -> NDArray[np.int64]:
    """For each text the number of its group; near-duplicates of near-duplicates are in one group."""
    count = len(of)
    texts, partners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, _PLACES, _BAND):
        band = np.ascontiguousarray(of[:, start : start + _BAND])
        filled = np.flatnonzero((band != _EMPTY).any(axis=1))
        _, first, bucket = np.unique(band[filled].view("V16").ravel(), return_index=True, return_inverse=True)
        partner = filled[first][bucket]
        similar = _similarity(of[filled], of[partner]) >= SIMILAR
        texts.append(filled[similar])
        partners.append(partner[similar])
    edges = (np.concatenate(texts), np.concatenate(partners))
    graph = sparse.coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def _similarity(first: Signatures, second: Signatures) -> NDArray[np.float64]:
    """(m,) estimated Jaccard index of m pairs."""
    either = ((first != _EMPTY) | (second != _EMPTY)).sum(axis=1)
    both = ((first == second) & (first != _EMPTY)).sum(axis=1)
    return both / np.maximum(1, either)


def _hashes(letters: str) -> NDArray[np.uint64]:
    """Of all runs of eight letters, or of a shorter text as a whole."""
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if len(codes) < _LETTERS:
        codes = np.concatenate([codes, np.zeros(_LETTERS - len(codes), np.uint64)]) if len(codes) else codes
    count = max(0, len(codes) - _LETTERS + 1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(_LETTERS):
        hashes = hashes * np.uint64(0x100000001B3) + codes[offset : offset + count]
    return mixed(hashes)


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers as hashes: each bit depends on all (the finaliser of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
