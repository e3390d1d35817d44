"""Features that were planted in one set of documents are what differs, and filters select what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cache

import numpy as np
import pytest

from prisma.embedder.v1.resources_pb2 import Document
from prisma_common import wire
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, parse_filter
from services.chassis.metadata_terms import Type
from services.embedder.metadata import readable
from services.interpreter.comparison import compare
from services.interpreter.document_sets import FILTERS, Dataset, DocumentSet, Members, members
from services.interpreter.errors import FeatureNotFound
from services.interpreter.metadata import Metadata
from services.interpreter.runs import Run
from services.interpreter.selection import select
from services.interpreter.upstream import metadata_value
from tests import filters
from tests.filters import DOCUMENTS, METADATA_FIELDS, TYPES, matching_rows
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

    async def rows(self, dataset: str, names: Sequence[str]) -> list[np.ndarray]:
        numbers = [name.rpartition("/")[2].split("+") for name in names]
        return [np.array(rows, np.uint64) for rows in numbers if rows != ["none"]]

    async def dataset(self, name: str) -> Dataset:
        types = {"year": Type.INTEGER, "tags": Type.STRING}
        return Dataset(name, "w", "other" if name == "datasets/foreign" else "builtin", types)

    async def metadata(self, dataset: str, dataset_uid: str, keys: Sequence[str]) -> Metadata:
        columns = {"year": self.years.tolist(), "tags": [["even" if year % 2 == 0 else "odd"] for year in self.years]}
        unknown = [None] * COUNT
        return Metadata(np.arange(COUNT, dtype=np.uint64), {key: columns.get(key, unknown) for key in keys})

    async def codes_of_dataset(self, run: Run, dataset: Dataset) -> AsyncIterator[wire.Codes]:
        yield self.encode(self.embed(self.second_texts))


class Tabulated(Planted):
    """The metadata with which all back ends are compared, of its first documents."""

    async def dataset(self, name: str) -> Dataset:
        return Dataset(name, "u", "builtin", {key: Type(type_) for key, type_ in TYPES.items()})

    async def metadata(self, dataset: str, dataset_uid: str, keys: Sequence[str]) -> Metadata:
        structs = [Document(metadata=readable(metadata)).metadata for metadata in DOCUMENTS]
        missing = [None] * (COUNT - len(DOCUMENTS))
        columns = {key: [metadata_value(struct, key) for struct in structs] + missing for key in keys}
        return Metadata(np.arange(COUNT, dtype=np.uint64), columns)


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
    assert (len(unknown.occurrences), unknown.notices) == (0, ["no document has the metadata key 'none'"])
    either = await part(f"latent.{FERRY} > 0 OR NOT metadata.year >= 2001")
    assert len(either.occurrences) == len(present) + int(
        np.isin(np.flatnonzero(planted().years < 2001), absent.rows).sum()
    )
    names = [f"datasets/d/documents/{row}" for row in (7, 5)]
    by_name = DocumentSet(field="first", dataset=None, names=names)
    run = planted()
    assert (await members(select(run.features, selection()), run, by_name)).occurrences.rows.tolist() == [5, 7]
    of_passages = DocumentSet(field="first", dataset=None, names=["d/1+2+3", "d/none", f"d/{COUNT}", "d/5"])
    selected = await members(select(run.features, selection()), run, of_passages)
    assert (selected.occurrences.rows.tolist(), selected.missing_count) == ([1, 2, 3, 5], 2)
    with pytest.raises(InvalidFilter):
        await part("latent.x > 0")
    with pytest.raises(InvalidFilter):
        await part(f"latent.{FERRY} > nan")
    activation = float((await part()).occurrences.activations[:, [FERRY]].max())
    for bound, count in ((activation, 1), (np.nextafter(activation, 0), 1), (np.nextafter(activation, np.inf), 0)):
        assert (len((await part(f"latent.{FERRY} >= {float(bound)!r}")).occurrences) > 0) == count
    with pytest.raises(FeatureNotFound):
        await part(f"latent.{len(GROUPS)} > 0")


async def test_all_filters_match_what_python_does() -> None:
    run = Tabulated()
    for text in filters.FILTERS:
        documents = DocumentSet(field="first", dataset=None, condition=parse_filter(text, METADATA_FIELDS))
        rows = (await members(select(run.features, selection()), run, documents)).occurrences.rows.tolist()
        assert [row for row in rows if row < len(DOCUMENTS)] == matching_rows(text), text
