"""The features that a query and documents share."""

from __future__ import annotations

import numpy as np

from prisma_common.wire import Codes
from services.search import shared_features
from services.search.backend import LatentQuery
from services.search.query import SharedFeature


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
    assert shared_features.by_row(common, {1: "one"}, limit=2) == {
        2: [
            SharedFeature(4, None, query_activation=1, document_activation=4, contribution=0.5),
            SharedFeature(1, "one", query_activation=-2, document_activation=1, contribution=0.25),
        ]
    }
