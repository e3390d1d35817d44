"""Why two texts are similar: the cosine of their embeddings as a sum of parts.

A run takes an embedding for x = b + Σ aᵢ dᵢ + r: a baseline, the active features and a rest. With y = b + Σ cᵢ dᵢ + s,
the inner product x·y is a sum of products of two parts each. Dividing each product equally between its two parts (their
Shapley values) gives

    feature i: ½ (aᵢ dᵢ·y + cᵢ dᵢ·x)    baseline: ½ (b·y + b·x)    unexplained: ½ (r·y + s·x)

which add up to x·y, and divided by |x| |y| to the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.interpreter.documents import Passage
from services.interpreter.runs import Run
from services.interpreter.selection import SelectedFeatures
from services.interpreter.upstream import Encoded, Reconstruction

Floats = NDArray[np.float64]


class ReconstructionSource(Protocol):
    """What is read from the trainer."""

    async def reconstruction(self, run: Run, indices: NDArray[np.int64]) -> Reconstruction:
        """What latents add to the vectors that the run reconstructs."""
        ...


@dataclass(frozen=True)
class Contribution:
    """The share of one feature."""

    index: int
    first_activation: float
    second_activation: float
    share: float


@dataclass(frozen=True, kw_only=True)
class SimilarityExplanation:
    """A cosine, and the parts that add up to it."""

    selected: SelectedFeatures
    similarity: float
    contributions: Sequence[Contribution]
    """The largest first, whatever the sign."""
    other_features: float
    baseline: float
    unexplained: float
    passages: tuple[Passage | None, Passage | None] = (None, None)
    """Where those that are passages stand."""


async def explain(
    selected: SelectedFeatures, source: ReconstructionSource, first: Encoded, second: Encoded, *, limit: int
) -> SimilarityExplanation:
    """Explains the cosine of two embeddings. Raises what `source` raises."""
    indices = np.union1d(first.indices, second.indices).astype(np.int64)
    reconstruction = await source.reconstruction(selected.features.run, indices)
    x, y = _unit(first.vector), _unit(second.vector)
    # Everything is divided by the lengths, so that inner products are cosines.
    activations = [_activations(encoded, indices) for encoded in (first, second)]
    lengths = [max(float(np.linalg.norm(encoded.vector.astype(np.float64))), 1e-30) for encoded in (first, second)]
    to_x, to_y = reconstruction.directions @ x, reconstruction.directions @ y
    shares = (activations[0] / lengths[0] * to_y + activations[1] / lengths[1] * to_x) / 2
    baseline = float(reconstruction.baseline @ y / lengths[0] + reconstruction.baseline @ x / lengths[1]) / 2
    similarity = float(x @ y)
    named = _named(selected, indices, np.maximum(*activations), shares)[:limit]
    return SimilarityExplanation(
        selected=selected,
        similarity=similarity,
        contributions=[
            Contribution(int(indices[place]), *(float(values[place]) for values in (*activations, shares)))
            for place in named.tolist()
        ],
        other_features=float(shares.sum() - shares[named].sum()),
        baseline=baseline,
        unexplained=similarity - baseline - float(shares.sum()),
    )


def _named(
    selected: SelectedFeatures, indices: NDArray[np.int64], activations: Floats, shares: Floats
) -> NDArray[np.intp]:
    """Places of the features that are named, the largest share first. activations: the larger of both texts'."""
    columns = selected.columns[indices]
    counts = columns >= 0
    counts[counts] = activations[counts] >= selected.thresholds[columns[counts]]
    places = np.flatnonzero(counts)
    return places[np.lexsort((indices[places], -np.abs(shares[places])))]


def _activations(encoded: Encoded, indices: NDArray[np.int64]) -> Floats:
    """(m,) activations of some latents, which all active ones are among."""
    activations = np.zeros(len(indices))
    activations[np.searchsorted(indices, encoded.indices)] = encoded.values
    return activations


def _unit(vector: NDArray[np.float32]) -> Floats:
    exact = vector.astype(np.float64)
    return exact / max(float(np.linalg.norm(exact)), 1e-30)
