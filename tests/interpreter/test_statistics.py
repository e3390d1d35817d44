"""Statistics from streamed codes equal those of a plain dense computation."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from prisma_common.wire import Codes
from services.interpreter.decoder import Decoder
from services.interpreter.neighbors import decoder_neighbors
from services.interpreter.spool import Spool
from services.interpreter.statistics import (
    BIN_COUNT,
    NEIGHBOR_COUNT,
    NO_ROW,
    SPREAD_COUNT,
    TOP_COUNT,
    Accumulator,
    Statistics,
)


def dense_codes(seed: int, row_count: int, n: int, k: int) -> np.ndarray:
    """(R, n) codes with at most k active; values repeat, so that there are ties, and some latents are dead."""
    random = np.random.default_rng(seed)
    codes = np.zeros((row_count, n), np.float32)
    alive = random.permutation(n)[: max(1, n * 3 // 4)]
    for row in codes:
        active = random.choice(alive, size=min(len(alive), int(random.integers(0, k + 1))), replace=False)
        row[active] = random.integers(1, 9, len(active)) * random.choice([0.125, 1e-3, 100.0])
    return codes


def accumulate(codes: np.ndarray, rows: np.ndarray, cuts: list[int], decoder: np.ndarray) -> Statistics:
    with Accumulator(codes.shape[1]) as accumulator:
        edges = [0, *sorted(cuts), len(codes)]
        for start, stop in itertools.pairwise(edges):
            block = sparse.csr_array(codes[start:stop])
            block.sort_indices()
            indptr, indices = block.indptr.astype(np.uint32), block.indices.astype(np.uint32)
            accumulator.add(
                Codes(
                    rows=rows[start:stop],
                    indptr=indptr,
                    indices=indices,
                    values=block.data,
                    latent_count=codes.shape[1],
                )
            )
        return accumulator.finish(Decoder.of(decoder), seed=7)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
    seed = draw(st.integers(0, 2**32))
    row_count, n = draw(st.integers(1, 400)), draw(st.integers(2, 40))
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(row_count * 3, row_count, replace=False)).astype(np.uint64)
    cuts = draw(st.lists(st.integers(0, row_count), max_size=5))
    decoder = random.standard_normal((n, 5)).astype(np.float32)
    return dense_codes(seed, row_count, n, min(n, 8)), rows, cuts, decoder


@settings(max_examples=60)
@given(cases())
def test_every_number_equals_the_dense_reference(case: tuple[np.ndarray, np.ndarray, list[int], np.ndarray]) -> None:
    codes, rows, cuts, decoder = case
    result = accumulate(codes, rows, cuts, decoder)
    assert result.row_count == len(codes)
    assert np.array_equal(result.cooccurrence.toarray(), (codes > 0).T.astype(int) @ (codes > 0).astype(int))
    for latent in range(codes.shape[1]):
        active = np.flatnonzero(codes[:, latent])
        values = codes[active, latent].astype(np.float64)
        assert result.active_count[latent] == len(active)
        assert result.density[latent] == len(active) / len(codes)
        order = np.lexsort((rows[active], -values))
        top = rows[active][order][:TOP_COUNT]
        assert np.array_equal(result.top_rows[latent], np.append(top, np.full(TOP_COUNT - len(top), NO_ROW)))
        assert np.array_equal(result.top_values[latent, : len(top)], values[order][:TOP_COUNT].astype(np.float32))
        spread = result.spread_rows[latent][result.spread_rows[latent] != NO_ROW]
        assert len(spread) == min(len(active), SPREAD_COUNT) == len(set(spread.tolist()))
        negatives = result.negative_rows[latent][result.negative_rows[latent] != NO_ROW]
        assert len(set(negatives.tolist())) == len(negatives)
        assert np.isin(negatives, rows).all()
        assert not np.isin(negatives, rows[active]).any()
        if not len(active):
            assert (result.maximum[latent], result.mean[latent], result.variance[latent]) == (0, 0, 0)
            assert not result.histogram[latent].any()
            continue
        assert spread[0] == top[0]
        assert spread[-1] == rows[active][order][-1] or len(spread) == 1
        assert result.maximum[latent] == values.max()
        assert result.mean[latent] == pytest.approx(values.mean(), rel=1e-12)
        assert result.variance[latent] == pytest.approx(values.var(), rel=1e-9, abs=1e-18)
        bins = [max(0, int(np.ceil(value * BIN_COUNT / values.max())) - 1) for value in values]
        assert np.array_equal(result.histogram[latent], np.bincount(bins, minlength=BIN_COUNT))


@settings(max_examples=25)
@given(cases(), st.randoms(use_true_random=False))
def test_the_way_codes_are_cut_into_blocks_changes_nothing(
    case: tuple[np.ndarray, np.ndarray, list[int], np.ndarray], random: object
) -> None:
    codes, rows, cuts, decoder = case
    one, other = accumulate(codes, rows, cuts, decoder), accumulate(codes, rows, [], decoder)
    for name in ("histogram", "top_rows", "top_values", "spread_rows", "negative_rows", "mean", "variance"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@settings(max_examples=40)
@given(cases())
def test_neighbours_equal_the_dense_reference(case: tuple[np.ndarray, np.ndarray, list[int], np.ndarray]) -> None:
    codes, rows, cuts, decoder = case
    result = accumulate(codes, rows, cuts, decoder)
    active = (codes > 0).astype(float)
    both = active.T @ active
    either = active.sum(0)[:, None] + active.sum(0)[None, :] - both
    jaccard = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    cosine = unit @ unit.T
    for latent in range(codes.shape[1]):
        rest = np.array([other for other in range(codes.shape[1]) if other != latent])
        together = rest[jaccard[latent, rest] > 0]
        expected = together[np.lexsort((together, -jaccard[latent, together]))][:NEIGHBOR_COUNT]
        neighbors = result.coactive.indices[latent]
        assert neighbors[neighbors >= 0].tolist() == expected.tolist()
        assert result.coactive.scores[latent, : len(expected)] == pytest.approx(jaccard[latent, expected])
        best = np.sort(cosine[latent, rest])[::-1][:NEIGHBOR_COUNT]
        assert result.decoder.scores[latent, : len(best)] == pytest.approx(best, abs=1e-6)
        assert latent not in result.decoder.indices[latent]


def test_variance_keeps_its_digits_where_the_mean_is_large() -> None:
    values = np.float32(4096) + np.tile(np.array([0.0, 0.0009765625], np.float32), 5000)
    codes = values[:, None].astype(np.float32)
    result = accumulate(codes, np.arange(len(codes), dtype=np.uint64), [1, 5000], np.ones((1, 3), np.float32))
    assert result.variance[0] == pytest.approx(np.var(codes[:, 0].astype(np.float64)), rel=1e-9)


def test_equal_cosines_go_to_the_lower_index() -> None:
    decoder = np.tile(np.eye(3, dtype=np.float32), (8, 1))
    neighbors = decoder_neighbors(decoder, 4)
    assert neighbors.indices[0].tolist() == [3, 6, 9, 12]
    assert neighbors.scores[0].tolist() == [1, 1, 1, 1]


def test_large_and_small_counts_of_latents_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = dense_codes(3, 500, 30, 6)
    rows, decoder = np.arange(500, dtype=np.uint64), np.ones((30, 2), np.float32)
    dense = accumulate(codes, rows, [100, 200, 201, 350], decoder)
    monkeypatch.setattr("services.interpreter.cooccurrence._DENSE_LIMIT", 8)
    monkeypatch.setattr("services.interpreter.cooccurrence._STEP", 64)
    in_parts = accumulate(codes, rows, [100, 200, 201, 350], decoder)
    assert np.array_equal(dense.cooccurrence.toarray(), in_parts.cooccurrence.toarray())


def test_the_spool_goes_with_the_accumulator(tmp_path: Path) -> None:
    with Accumulator(4, tmp_path) as accumulator:
        row, indptr = np.array([5], np.uint64), np.array([0, 1], np.uint32)
        accumulator.add(Codes(row, indptr, np.array([2], np.uint32), np.array([1], np.float32), latent_count=4))
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("n", "bytes_for_each"), [(64, 5), (4096, 5), (8192, 6), (65536, 6)])
def test_an_activation_takes_a_few_bytes_on_disk(tmp_path: Path, n: int, bytes_for_each: int) -> None:
    random, row_count, k = np.random.default_rng(0), 200, 32
    indices = np.concatenate([np.sort(random.choice(n, k, replace=False)) for _ in range(row_count)])
    indptr = np.arange(0, row_count * k + 1, k, dtype=np.uint32)
    rows, values = np.arange(row_count, dtype=np.uint64), random.random(row_count * k, np.float32)
    with Spool(n, tmp_path) as spool:
        spool.add(Codes(rows, indptr, indices.astype(np.uint32), values, latent_count=n))
        entries = np.concatenate([entries for _, entries in spool.ranges()])
        byte_count = sum(file.stat().st_size for file in tmp_path.rglob("*.*"))
    assert byte_count <= row_count * (k * bytes_for_each + 32)
    assert len(entries) == row_count * k
