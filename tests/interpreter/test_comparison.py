"""Features that were planted in one set of documents are what differs, and filters select what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cache

import numpy as np
import pytest

from prisma_common import wire
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, parse_filter
from services.interpreter.comparison import compare
from services.interpreter.document_sets import FILTERS, Dataset, DocumentSet, Members, matches_value, members
from services.interpreter.errors import FeatureNotFound
from services.interpreter.metadata import Metadata
from services.interpreter.runs import Run
from services.interpreter.selection import select
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_associations import COUNT, GROUPS, texts
from tests.interpreter.test_attribution import selection

FERRY, ROSE = 0, 1


class Planted(PlantedRun):
    """A run with the years and sections of its documents, and a second dataset of which half has `ferry`."""

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        self.years = random.integers(2000, 2010, COUNT)
        ferry = random.random(COUNT) < np.where(self.years >= 2005, 0.15, 0.05)
        super().__init__(GROUPS, texts(ferry.tolist(), (random.random(COUNT) < 0.1).tolist()))
        half = np.arange(400) % 2 == 0
        self.second_texts = texts(half.tolist(), (random.random(400) < 0.1).tolist(), seed=9)

    async def rows(self, dataset: str, names: Sequence[str]) -> np.ndarray:
        return np.array([int(name.rpartition("/")[2]) for name in names], np.uint64)

    async def dataset(self, name: str) -> Dataset:
        return Dataset(name, "w", "other" if name == "datasets/foreign" else "builtin")

    async def metadata(self, dataset: str, dataset_uid: str, keys: Sequence[str]) -> Metadata:
        columns = {"year": self.years.tolist(), "tags": [["even" if year % 2 == 0 else "odd"] for year in self.years]}
        unknown = [None] * COUNT
        return Metadata(np.arange(COUNT, dtype=np.uint64), {key: columns.get(key, unknown) for key in keys})

    async def codes_of_dataset(self, run: Run, dataset: Dataset) -> AsyncIterator[wire.Codes]:
        yield self.encode(self.embed(self.second_texts))


@cache
def planted() -> Planted:
    return Planted()


async def part(filter: str = "", dataset: str | None = None) -> Members:
    run = planted()
    documents = DocumentSet(field="first", dataset=dataset, condition=parse_filter(filter, FILTERS))
    return await members(select(run.features, selection()), run, documents)


async def test_what_was_planted_in_one_period_is_what_differs() -> None:
    later, earlier = await part("metadata.year >= 2005"), await part("metadata.year < 2005")
    assert len(later.occurrences) + len(earlier.occurrences) == COUNT
    result = compare(later.occurrences, earlier.occurrences, max_q=0.05)
    assert result.test_count == len(GROUPS)
    (difference,) = result.differences
    assert difference.column == FERRY
    assert difference.low < 0.1 < difference.high
    assert (difference.first_share, difference.second_share) == pytest.approx((0.15, 0.05), abs=0.03)
    # The rest of the dataset is the same documents, and the other way round the difference has the other sign.
    rest = later.rest().occurrences
    assert compare(later.occurrences, rest, max_q=0.05) == result
    assert compare(rest, later.occurrences, max_q=0.05).differences[0].value == pytest.approx(-difference.value)


async def test_a_different_dataset_is_compared_under_one_run() -> None:
    own, other = await part(), await part(dataset="datasets/e")
    assert len(other.occurrences) == 400
    (difference,) = compare(other.occurrences, own.occurrences, max_q=0.05).differences
    assert (difference.column, difference.first_share) == (FERRY, 0.5)
    with pytest.raises(InvalidArgument, match="embedding model"):
        await part(dataset="datasets/foreign")


async def test_nothing_differs_between_halves_at_random() -> None:
    whole = (await part()).occurrences
    count = 0
    for seed in range(20):
        half = np.random.default_rng(seed).random(COUNT) < 0.5
        first, second = (whole.of(np.flatnonzero(places)) for places in (half, ~half))
        count += len(compare(first, second, max_q=0.05).differences)
    assert count <= 2


async def test_an_empty_set_differs_in_nothing() -> None:
    nothing, whole = (await part("metadata.year > 3000")).occurrences, (await part()).occurrences
    assert (compare(nothing, whole, max_q=0.05).test_count, len(nothing)) == (0, 0)


async def test_filters_select_by_activations_and_metadata() -> None:
    present = (await part(f"latent.{FERRY} > 0")).occurrences
    assert present.present[:, [FERRY]].sum() == len(present) > 0
    absent = (await part(f"latent.{FERRY} = 0")).occurrences
    assert len(present) + len(absent) == COUNT
    both = await part(f'latent.{FERRY} > 0 AND metadata.tags = "even" AND metadata.year != 2004')
    years = planted().years[both.occurrences.rows.astype(int)]
    assert len(years)
    assert set(years.tolist()) <= {2000, 2002, 2006, 2008}
    unknown = await part("metadata.none = 1")
    assert (len(unknown.occurrences), unknown.unknown_keys) == (0, ["none"])
    names = [f"datasets/d/documents/{row}" for row in (7, 5)]
    by_name = DocumentSet(field="first", dataset=None, names=names)
    run = planted()
    assert (await members(select(run.features, selection()), run, by_name)).occurrences.rows.tolist() == [5, 7]
    with pytest.raises(InvalidFilter):
        await part("latent.x > 0")
    with pytest.raises(FeatureNotFound):
        await part(f"latent.{len(GROUPS)} > 0")


@pytest.mark.parametrize(
    ("value", "op", "text", "expected"),
    [
        (4, "=", "4.0", True),
        ("4", "<", "10", True),
        ("2024-05-03", ">=", "2024-05", True),
        ("2024-04-30", ">=", "2024-05", False),
        (["a", "b"], "=", "b", True),
        (["a", "b"], "!=", "b", False),
        ("a", "<", "b", False),
        (True, "=", "true", True),
        (None, "!=", "a", False),
        ({"a": 1}, "=", "a", False),
    ],
)
def test_metadata_compare_as_numbers_dates_or_texts(value: object, op: str, text: str, expected: bool) -> None:
    assert matches_value(value, op, text) is expected
