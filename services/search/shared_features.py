"""The features that a query and documents share, which say why a document is close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.search.backend import LatentQuery, Rows, Scores
from services.search.query import FeatureLabel, SharedFeature


@dataclass(frozen=True)
class CommonLatents:
    """Latents that are active in a query and in some documents: (S,) pairs of document and latent, by document.

    Of a document, those with the largest products come first; of equals, the lower index.
    """

    rows: Rows
    """The documents' rows."""
    indices: NDArray[np.uint32]
    query_activations: Scores
    document_activations: Scores
    contributions: Scores
    """Shares of each product, without sign, in the sum of all of its document."""

    def take(self, mask: NDArray[np.bool_]) -> CommonLatents:
        """Some of the pairs."""
        return CommonLatents(
            rows=self.rows[mask],
            indices=self.indices[mask],
            query_activations=self.query_activations[mask],
            document_activations=self.document_activations[mask],
            contributions=self.contributions[mask],
        )


def common_latents(query: LatentQuery, codes: Codes) -> CommonLatents:
    """What a query has in common with codes. A weight of zero has no part in it."""
    weights: Scores = np.zeros(codes.latent_count)
    is_latent = query.indices < codes.latent_count
    weights[query.indices[is_latent]] = query.weights[is_latent]
    entries = np.flatnonzero(weights[codes.indices])
    places = np.searchsorted(codes.indptr, entries, side="right") - 1
    indices, values = codes.indices[entries], codes.values[entries].astype(np.float64)
    products = np.abs(weights[indices] * values)
    sums = np.bincount(places, weights=products, minlength=len(codes))
    order = np.lexsort((indices, -products, places))
    places, products, indices = places[order], products[order], indices[order]
    wholes = np.where(sums > 0, sums, 1.0)
    return CommonLatents(
        rows=codes.rows[places],
        indices=indices,
        query_activations=weights[indices],
        document_activations=values[order],
        contributions=products / wholes[places],
    )


def tail(common: CommonLatents, labels: Mapping[int, FeatureLabel], *, has_weights: bool = False) -> NDArray[np.bool_]:
    """(S,) whether an activation of the pair, in the query or in the document, is below the label's threshold.

    has_weights: whether the query has weights, which have no threshold, instead of activations.
    """
    thresholds = np.zeros(int(common.indices.max(initial=0)) + 1)
    for latent, label in labels.items():
        if latent < len(thresholds):
            thresholds[latent] = label.threshold
    least = thresholds[common.indices]
    below = common.document_activations < least
    return below if has_weights else below | (common.query_activations < least)


def by_row(
    common: CommonLatents, labels: Mapping[int, FeatureLabel], tail: NDArray[np.bool_], limit: int
) -> dict[int, list[SharedFeature]]:
    """The first features of each row that shares some, at most `limit`. tail: (S,) as `tail`."""
    rows, starts = np.unique(common.rows, return_index=True)
    ranks = np.arange(len(common.rows)) - np.repeat(starts, np.diff([*starts, len(common.rows)]))
    first = np.flatnonzero(ranks < limit)
    columns = (
        common.rows,
        common.indices,
        common.query_activations,
        common.document_activations,
        common.contributions,
        tail,
    )
    features: dict[int, list[SharedFeature]] = {row: [] for row in rows.tolist()}
    for row, latent, query_activation, document_activation, contribution, in_tail in zip(
        *(column[first].tolist() for column in columns), strict=True
    ):
        feature = SharedFeature(
            latent=latent,
            label=labels.get(latent),
            query_activation=query_activation,
            document_activation=document_activation,
            contribution=contribution,
            tail=in_tail,
        )
        features[row].append(feature)
    return features
