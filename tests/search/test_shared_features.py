"""The features that a query and documents share."""

from __future__ import annotations

import numpy as np

from prisma_common.wire import Codes
from services.search import shared_features
from services.search.backend import LatentQuery
from services.search.query import FeatureLabel, Reliability, SharedFeature

RELIABILITY = Reliability(trust="TRUST_OPEN", score=None, score_low=None, score_high=None)
ONE, TWO = FeatureLabel("one", 2.0, RELIABILITY), FeatureLabel("two", 0.0, RELIABILITY)


def test_largest_products_come_first_ties_by_index_and_zero_weights_have_no_part() -> None:
    query = LatentQuery(np.array([0, 1, 3, 4, 9], dtype=np.uint32), np.array([0.0, -2.0, 1.0, 1.0, 5.0]))
    codes = Codes(
        rows=np.array([2, 5, 7], dtype=np.uint64),
        indptr=np.array([0, 4, 4, 5], dtype=np.uint32),
        indices=np.array([0, 1, 3, 4, 2], dtype=np.uint32),
        values=np.array([9, 1, 2, 4, 1], dtype=np.float32),
        latent_count=5,
    )
    common = shared_features.common_latents(query, codes)
    is_tail = np.zeros(len(common.rows), bool)
    assert shared_features.by_row(common, {1: TWO}, is_tail, limit=2) == {
        2: [
            SharedFeature(4, None, query_activation=1, document_activation=4, contribution=0.5),
            SharedFeature(1, TWO, query_activation=-2, document_activation=1, contribution=0.25),
        ]
    }


def test_a_feature_is_in_the_tail_where_query_or_document_is_below_its_threshold() -> None:
    codes = Codes(
        rows=np.array([2, 5], dtype=np.uint64),
        indptr=np.array([0, 2, 4], dtype=np.uint32),
        indices=np.array([0, 1, 0, 1], dtype=np.uint32),
        values=np.array([1, 3, 2, 4], dtype=np.float32),
        latent_count=2,
    )
    indices = np.array([0, 1], dtype=np.uint32)
    strong, weak = (LatentQuery(indices, np.array(weights)) for weights in ([2.0, 0.1], [1.5, 0.1]))
    labels = {0: ONE}

    def tail(query: LatentQuery, **options: bool) -> dict[tuple[int, int], bool]:
        common = shared_features.common_latents(query, codes)
        pairs = zip(common.rows.tolist(), common.indices.tolist(), strict=True)
        return dict(zip(pairs, shared_features.tail(common, labels, **options).tolist(), strict=True))

    assert tail(strong) == {(2, 0): True, (2, 1): False, (5, 0): False, (5, 1): False}
    assert tail(weak) == {(2, 0): True, (2, 1): False, (5, 0): True, (5, 1): False}
    # Weights that a person chose are no activations: the document's decides.
    assert tail(weak, has_weights=True) == tail(strong)
