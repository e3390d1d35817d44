"""Which latents of two autoencoders on the same vectors are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.dtypes import F32, I64
from services.trainer.sae.weights import Weights

EXACT_LATENTS = 4096
"""Up to so many latents the one-to-one matching is optimal (Jonker and Volgenant 1987), beyond them greedy."""
SAME = 0.7
"""Cosine from which two latents count as the same (Bricken et al. 2023 match features across runs so)."""
PART = 0.5
"""Cosine from which several latents count as parts of one."""
_BLOCK = 1024
"""Directions of the first that are compared at once."""


@dataclass(frozen=True)
class Matching:
    """How the n latents of a first autoencoder correspond to the m of a second."""

    partner: I64
    """The second's latent that matches each of the first's, or −1: (n,)."""
    cosine: F32
    """Of the two, 0 without a partner: (n,)."""
    nearest: I64
    """The second's most similar latent, whether or not it is the partner: (n,)."""
    nearest_cosine: F32
    """(n,)."""
    other: I64
    """The first's most similar latent for each of the second's: (m,)."""
    other_cosine: F32
    """(m,)."""

    @property
    def stability(self) -> float:
        """Mean max cosine: how much of the first is found again in the second."""
        return float(self.nearest_cosine.mean())

    def lost(self) -> I64:
        """The first's latents that nothing of the second resembles."""
        return np.flatnonzero((self.partner < 0) & (self.nearest_cosine < PART))

    def new(self) -> I64:
        """The second's latents that resemble nothing of the first."""
        matched = np.zeros(len(self.other), dtype=bool)
        matched[self.partner[self.partner >= 0]] = True
        return np.flatnonzero(~matched & (self.other_cosine < PART))

    def split(self) -> dict[int, list[int]]:
        """The first's latents that are most similar to several of the second's, with these."""
        return _shared(self.other, self.other_cosine)

    def merged(self) -> dict[int, list[int]]:
        """The second's latents that are most similar to several of the first's, with these."""
        return _shared(self.nearest, self.nearest_cosine)


def directions(weights: Weights, latents: NDArray[np.intp] | slice = slice(None)) -> F32:
    """Decoder rows in the vectors' own space, of norm 1: (n, d). So runs that normalise differently compare.

    latents: (m,) of some latents alone.
    """
    rows = weights.W_dec[latents] * weights.scale
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(first: F32, second: F32) -> tuple[I64, F32]:
    """For each of the unit directions (n, d) the most similar of the second (m, d), and its cosine: (n,) both."""
    index, cosine = np.empty(len(first), dtype=np.int64), np.empty(len(first), dtype=np.float32)
    for begin in range(0, len(first), _BLOCK):
        part = first[begin : begin + _BLOCK] @ second.T
        index[begin : begin + _BLOCK], cosine[begin : begin + _BLOCK] = part.argmax(axis=1), part.max(axis=1)
    return index, cosine


def match(first: F32, second: F32, same: float = SAME) -> Matching:
    """Matches unit directions (n, d) and (m, d) one to one, those of cosine `same` or more."""
    n, m = len(first), len(second)
    nearest_index, nearest_cosine = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.float32)
    other, other_cosine = np.zeros(m, dtype=np.int64), np.full(m, -np.inf, dtype=np.float32)
    pairs: list[tuple[I64, I64, F32]] = []
    exact = max(n, m) <= EXACT_LATENTS
    whole = np.empty((n, m) if exact else (0, 0), dtype=np.float32)
    for begin in range(0, n, _BLOCK):
        part = first[begin : begin + _BLOCK] @ second.T
        nearest_index[begin : begin + _BLOCK] = part.argmax(axis=1)
        nearest_cosine[begin : begin + _BLOCK] = part.max(axis=1)
        better = part.max(axis=0) > other_cosine
        other[better] = begin + part.argmax(axis=0)[better]
        other_cosine[better] = part.max(axis=0)[better]
        if exact:
            whole[begin : begin + _BLOCK] = part
        else:
            row, column = np.nonzero(part >= same)
            pairs.append((row + begin, column, part[row, column]))
    if exact:
        from scipy.optimize import linear_sum_assignment  # takes 0.8 s to import, and comparisons are rare

        # A pair below the threshold is worth nothing, so that it takes no good partner away.
        row, column = linear_sum_assignment(np.where(whole >= same, whole, 0), maximize=True)
        keep = whole[row, column] >= same
        row, column = row[keep], column[keep]
    else:
        row, column = _greedy(pairs, n, m)
    partner, cosine = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.float32)
    partner[row] = column
    cosine[row] = np.einsum("ij,ij->i", first[row], second[column])
    return Matching(
        partner=partner,
        cosine=cosine,
        nearest=nearest_index,
        nearest_cosine=nearest_cosine,
        other=other,
        other_cosine=other_cosine,
    )


def _greedy(pairs: list[tuple[I64, I64, F32]], n: int, m: int) -> tuple[I64, I64]:
    """Matches the most similar pair of free latents, until none is left."""
    row, column, cosine = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    free_row, free_column = np.ones(n, dtype=bool), np.ones(m, dtype=bool)
    matches: list[tuple[int, int]] = []
    for place in np.argsort(-cosine, kind="stable").tolist():
        i, j = int(row[place]), int(column[place])
        if free_row[i] and free_column[j]:
            free_row[i] = free_column[j] = False
            matches.append((i, j))
    array = np.array(matches, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _shared(nearest: I64, cosine: F32) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for latent in np.flatnonzero(cosine >= PART).tolist():
        groups.setdefault(int(nearest[latent]), []).append(latent)
    return {whole: parts for whole, parts in sorted(groups.items()) if len(parts) > 1}
