"""What goes through the codec comes out bit for bit; what contradicts itself is refused."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16, CodeBlock, VectorBlock
from prisma_common import wire


@st.composite
def codes(draw: st.DrawFn) -> wire.Codes:
    latent_count = draw(st.integers(1, 50))
    sets = draw(st.lists(st.sets(st.integers(0, latent_count - 1), max_size=8), max_size=12))
    indices = np.array([index for active in sets for index in sorted(active)], dtype=np.uint32)
    values = draw(arrays(np.float32, len(indices), elements=st.floats(0.001953125, 100, width=32)))
    rows = np.array(sorted(draw(st.sets(st.integers(0, 2**63), min_size=len(sets), max_size=len(sets)))), np.uint64)
    indptr = np.concatenate([[0], np.cumsum([len(active) for active in sets])]).astype(np.uint32)
    return wire.Codes(rows, indptr, indices, values, latent_count)


def assert_equal(left: wire.Codes, right: wire.Codes) -> None:
    assert left.latent_count == right.latent_count
    for name in ("rows", "indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@given(arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(1, 9))))
def test_vectors_come_back_bit_for_bit(vectors: np.ndarray) -> None:
    rows = np.arange(len(vectors), dtype=np.uint64) * 3
    got_rows, got = wire.unpack_vectors(wire.pack_vectors(vectors, rows))
    assert got.tobytes() == vectors.tobytes()
    np.testing.assert_array_equal(got_rows, rows)


def test_float16_vectors_come_back_rounded() -> None:
    vectors = np.array([[0.1, 1000.0]], dtype=np.float32)
    _, got = wire.unpack_vectors(wire.pack_vectors(vectors, encoding=VECTOR_ENCODING_FLOAT16))
    np.testing.assert_array_equal(got, vectors.astype(np.float16).astype(np.float32))


@given(codes())
def test_codes_come_back_bit_for_bit(value: wire.Codes) -> None:
    assert_equal(wire.unpack_codes(wire.pack_codes(value)), value)


@given(codes(), st.data())
def test_cut_and_joined_codes_are_the_same(value: wire.Codes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(value)))
    joined = wire.concatenate([value.slice(0, cut), value.slice(cut, len(value))], value.latent_count)
    assert_equal(joined, value)
    assert_equal(value.take(np.arange(len(value))), value)


@given(codes(), st.data())
def test_taken_codes_are_those_of_their_rows(value: wire.Codes, data: st.DataObject) -> None:
    places = st.lists(st.integers(0, len(value) - 1), max_size=6) if len(value) else st.just([])
    positions = np.array(data.draw(places), dtype=np.intp)
    rows = value.take(positions)
    for place, position in enumerate(positions):
        for left, right in zip(rows.row(place), value.row(int(position)), strict=True):
            np.testing.assert_array_equal(left, right)


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_their_rows(numbers: set[int]) -> None:
    rows = np.array(sorted(numbers), dtype=np.uint64)
    ranges = wire.ranges_of(rows)
    assert [row for part in ranges for row in range(part.start, part.end)] == sorted(numbers)
    every = np.arange(70, dtype=np.uint64)
    if ranges:
        np.testing.assert_array_equal(every[wire.within(every, ranges)], rows)


@pytest.mark.parametrize(
    "block",
    [
        VectorBlock(dimension=0, data=b"1234"),
        VectorBlock(dimension=2, data=b"1234"),
        VectorBlock(dimension=1, data=b"1234", rows=[1, 2]),
        VectorBlock(dimension=1, data=b"1234", encoding=99),  # type: ignore[arg-type]
    ],
)
def test_a_vector_block_that_contradicts_itself_is_refused(block: VectorBlock) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack_vectors(block)


def words(*numbers: int) -> bytes:
    return np.array(numbers, dtype="<u4").tobytes()


@pytest.mark.parametrize(
    "block",
    [
        CodeBlock(indptr=words(0, 1), indices=words(7), values=words(1), latent_count=7),
        CodeBlock(indptr=words(0, 2), indices=words(1), values=words(1), latent_count=7),
        CodeBlock(indptr=words(1, 1), indices=words(1), values=words(1), latent_count=7),
        CodeBlock(indptr=words(0, 1), indices=words(1), values=b"", latent_count=7),
        CodeBlock(indptr=b"123", latent_count=7),
        CodeBlock(rows=[1, 2], indptr=words(0, 1), indices=words(1), values=words(1), latent_count=7),
    ],
)
def test_a_code_block_that_contradicts_itself_is_refused(block: CodeBlock) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack_codes(block)
