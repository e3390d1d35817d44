"""Pictures of a whole run equal those of a plain dense computation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from prisma_common import wire
from services.chassis.filters import UNFILTERED
from services.interpreter import matrices
from services.interpreter.decoder import Decoder
from services.interpreter.features import Features
from services.interpreter.matrices import Kind
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import Accumulator
from tests.interpreter.test_statistics import dense_codes

ROWS, LATENTS, GAP = 400, 30, 1000
RANGES = [(0, 150), (GAP, GAP + ROWS - 150)]
RUN = Run(
    uid="u",
    name="runs/r",
    dataset="datasets/d",
    dataset_uid="v",
    embedding_model="builtin",
    latent_count=LATENTS,
    revision=1,
    trained=True,
    ranges=RANGES,
)


class Trainer:
    """Stands in for the trainer: codes of two ranges of rows, in blocks."""

    def __init__(self, codes: NDArray[np.float32], decoder: NDArray[np.float32]) -> None:
        self._rows = np.concatenate([np.arange(start, end, dtype=np.uint64) for start, end in RANGES])
        self._codes = codes
        self._decoder = decoder

    def block(self, positions: NDArray[np.intp]) -> wire.Codes:
        part = sparse.csr_array(self._codes[positions])
        part.sort_indices()
        indptr, indices = part.indptr.astype(np.uint32), part.indices.astype(np.uint32)
        rows = self._rows[positions]
        return wire.Codes(rows=rows, indptr=indptr, indices=indices, values=part.data, latent_count=LATENTS)

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        inside = [any(start <= row < end for start, end in ranges) for row in self._rows.tolist()]
        for part in np.array_split(np.flatnonzero(inside), 3):
            yield self.block(part)

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        return Decoder.of(self._decoder[list(indices)] if indices else self._decoder)


def interpreted(seed: int) -> tuple[Features, Trainer, NDArray[np.float32], NDArray[np.float32]]:
    codes = dense_codes(seed, ROWS, LATENTS, 6)
    decoder = np.random.default_rng(seed).standard_normal((LATENTS, 5)).astype(np.float32)
    trainer = Trainer(codes, decoder)
    with Accumulator(LATENTS) as accumulator:
        whole = trainer.block(np.arange(ROWS))
        accumulator.add(whole)
        statistics = accumulator.finish(Decoder.of(decoder))
    return Features(Interpretation(run=RUN), statistics, {}, []), trainer, codes, decoder


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 60)), min_size=1, max_size=5), st.integers(1, 200))
def test_rows_are_taken_at_equal_steps(gaps: list[tuple[int, int]], count: int) -> None:
    ranges: list[tuple[int, int]] = []
    for gap, length in gaps:
        start = (ranges[-1][1] if ranges else 0) + gap
        ranges.append((start, start + length))
    all_rows = [row for start, end in ranges for row in range(start, end)]
    spread_rows = [row for start, end in matrices.spread(ranges, count) for row in range(start, end)]
    assert (
        spread_rows == [all_rows[place * len(all_rows) // count] for place in range(count)]
        if len(all_rows) > count
        else all_rows
    )


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, ROWS), st.integers(1, LATENTS))
async def test_a_sample_is_a_part_of_the_codes(seed: int, row_count: int, feature_count: int) -> None:
    features, trainer, codes, _ = interpreted(seed)
    sample = await matrices.sample(features, trainer, row_count, feature_count)
    counts = (codes > 0).sum(axis=0)
    expected = [index for index in np.lexsort((np.arange(LATENTS), -counts)).tolist() if counts[index]]
    assert sample.indices.tolist() == expected[:feature_count]
    places = np.arange(row_count) * ROWS // row_count
    assert (sample.activations.toarray() == codes[places][:, sample.indices]).all()
    assert sample.activations.has_sorted_indices


@settings(max_examples=20)
@given(st.integers(0, 2**32))
async def test_matrices_equal_the_dense_reference_in_one_order(seed: int) -> None:
    features, trainer, codes, decoder = interpreted(seed)
    indices = features.most_frequent(UNFILTERED, 12)
    drawn = {kind: await matrices.matrix(features, trainer, kind, indices) for kind in Kind}
    order = drawn[Kind.CO_OCCURRENCE].indices
    assert sorted(order) == sorted(indices)
    assert all((matrix.indices == order).all() for matrix in drawn.values())
    active = (codes > 0)[:, order].astype(np.float64)
    both, own = active.T @ active, active.sum(axis=0)
    np.testing.assert_allclose(drawn[Kind.CO_OCCURRENCE].values, both / np.minimum(own[:, None], own[None, :]), 1e-6)
    for kind, columns in ((Kind.ACTIVATION_COSINE, codes[:, order]), (Kind.DECODER_COSINE, decoder[order].T)):
        unit = columns / np.linalg.norm(columns, axis=0)
        np.testing.assert_allclose(drawn[kind].values, unit.T @ unit, atol=1e-5)


async def test_a_matrix_of_no_features_is_empty() -> None:
    """Without indices, the trainer serves the directions of all latents."""
    features, trainer, _codes, _decoder = interpreted(1)
    for kind in Kind:
        matrix = await matrices.matrix(features, trainer, kind, np.array([], np.int64))
        assert matrix.values.shape == (0, 0)


def test_features_that_activate_together_stand_side_by_side() -> None:
    group = np.array([0, 1, 0, 1, 2, 0, 2, 1])
    together = np.where(group[:, None] == group[None, :], 0.8, 0.05)
    np.fill_diagonal(together, 1)
    drawn = group[matrices.drawing_order(together)]
    assert (np.diff(drawn) != 0).sum() == 2
    assert matrices.drawing_order(np.ones((1, 1))).tolist() == [0]
    assert matrices.drawing_order(np.ones((0, 0))).tolist() == []
