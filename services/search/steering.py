"""Steering: how much the features of a request move documents up or down.

A latent moves a document by its weight · the document's activation / the latent's largest activation in any indexed
document, so that weights of different latents compare. An activation below the latent's threshold counts as 0.

A set of latents moves a document as one latent would whose activation is the sum of those shares. This is linear in the
activations, so the index finds exactly the documents that sets move up most, and each latent has its own contribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prisma_common.wire import Codes
from services.search import scoring
from services.search.ascending import places_of
from services.search.backend import Candidates, Index, LatentQuery, Latents, Rows, Scores, Stream
from services.search.query import FeatureLabel, SteeringFeature, SteeringSet
from services.search.ranked import SteeredDocuments


@dataclass(frozen=True)
class Steering:
    """The latents of a request, on the scale of the index."""

    latents: Latents
    """(L,) ascending."""
    weights: Scores
    """(L,) for an activation of 1; 0 for a latent that is active nowhere."""
    thresholds: Scores
    """(L,) below which an activation counts as 0."""
    silent_latents: tuple[int, ...]
    """Those that are active nowhere."""

    @property
    def boosted(self) -> Latents:
        """The latents that move documents up."""
        return self.latents[self.weights > 0]

    def candidates(self, index: Index, stream: Stream, depth: int, allowed: Rows | None) -> Candidates:
        """The documents that are moved up most. Without boosted latents there are none.

        The index knows no thresholds: of the `depth` that it finds, those stay that are moved up with them too.
        """
        if not len(self.boosted):
            return Candidates(np.empty(0, np.uint64), np.empty(0), 0)
        candidates = index.search_codes(stream, LatentQuery(self.latents, self.weights), depth, allowed)
        rows, scores = candidates.rows, candidates.scores
        if self.thresholds.any():
            rows = np.sort(rows)
            scores = self.scores(self.activations(rows, index.codes(stream, rows)))
        is_moved_up = scores > 0
        return Candidates(rows[is_moved_up], scores[is_moved_up], candidates.total)

    def activations(self, rows: Rows, codes: Codes) -> Scores:
        """(R, L) activations in ascending rows, as far as they count; NaN for a row without a code."""
        matrix = np.full((len(rows), len(self.latents)), np.nan)
        places = np.searchsorted(rows, codes.rows)
        matrix[places] = 0.0
        entry_places = np.repeat(places, np.diff(codes.indptr).astype(np.int64))
        columns, is_steering = places_of(codes.indices, self.latents)
        matrix[entry_places[is_steering], columns] = codes.values[is_steering]
        matrix[matrix < self.thresholds] = 0.0
        return matrix

    def scores(self, activations: Scores) -> Scores:
        """(R,) how much documents are moved; NaN for one without a code."""
        return (activations * self.weights).sum(axis=1).round(scoring.DECIMALS)


def steering_of(
    index: Index, stream: Stream, sets: Sequence[SteeringSet], labels: Mapping[int, FeatureLabel]
) -> Steering:
    """The sets of a request on the scale of a run's codes, with the thresholds of their latents' labels."""
    latents = np.array(sorted(latent for steering_set in sets for latent in steering_set.latents), dtype=np.uint32)
    maxima = index.max_activations(stream, latents)
    shares: Scores = np.zeros(len(maxima))
    np.divide(1.0, maxima, out=shares, where=maxima > 0)
    weights: Scores = np.zeros(len(maxima))
    for steering_set in sets:
        places = np.searchsorted(latents, steering_set.latents)
        members = LatentQuery(latents[places], shares[places])
        weights[places] = steering_set.weight * members.weights / _largest_sum(index, stream, members)
    return Steering(
        latents=latents,
        weights=weights,
        thresholds=np.array([labels[latent].threshold if latent in labels else 0.0 for latent in latents.tolist()]),
        silent_latents=tuple(latents[maxima == 0].tolist()),
    )


def _largest_sum(index: Index, stream: Stream, members: LatentQuery) -> float:
    """The largest sum of shares in any indexed document; 1 for a single latent, or where none is active anywhere."""
    is_active = members.weights > 0
    if np.count_nonzero(is_active) < 2:
        return 1.0
    active = LatentQuery(members.indices[is_active], members.weights[is_active])
    scores = index.search_codes(stream, active, 1, None).scores
    return float(scores[0]) if len(scores) else 1.0


def features_of(steered: SteeredDocuments, place: int, labels: Mapping[int, FeatureLabel]) -> list[SteeringFeature]:
    """The latents that count in a document, those that move it most first."""
    columns = (steered.latents.tolist(), steered.activations[place].tolist(), steered.contributions[place].tolist())
    features: list[SteeringFeature] = []
    for latent, activation, contribution in zip(*columns, strict=True):
        if activation > 0:
            label = labels.get(latent)
            tail = label is not None and activation < label.threshold
            features.append(SteeringFeature(latent, label, activation, contribution, tail=tail))
    return sorted(features, key=lambda feature: (-abs(feature.contribution), feature.latent))
