"""Statistics and maps as notebooks, data frames and terminals show them."""

from __future__ import annotations

import html
import math
from html.parser import HTMLParser
from typing import Any, cast

import pytest

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import resources_pb2
from prisma.embedder.v1.statistics_pb2 import (
    DatasetMap,
    DatasetStatistics,
    Distribution,
    DuplicateStatistics,
    LanguageStatistics,
    MapColors,
    TextStatistics,
    VectorStatistics,
)
from prisma_client.aio import datasets as aio_datasets
from prisma_client.statistics import Statistics, VectorMap, rank_sentence, text_lines


def message() -> DatasetStatistics:
    lengths = Distribution(
        min=0, median=10, p90=20, p99=39, max=1000, mean=14, edges=[0, 20, 40, 1001], counts=[80, 19, 1]
    )
    groups = [
        DuplicateStatistics.Group(document_count=3, documents=["datasets/d/documents/a"], text="<b>the\n same</b>")
    ]
    vectors = VectorStatistics(
        vector_count=100,
        dimension=384,
        norms=Distribution(min=1, median=2, p90=3, p99=3, max=3, mean=2, edges=[1, 2, 3], counts=[50, 50]),
        mean_cosine=0.25,
        effective_rank=112.3,
        spectrum_count=100,
        cumulative_variance=[0.5, 0.89, 0.95, 1],
    )
    return DatasetStatistics(
        name="datasets/d/statistics",
        document_count=100,
        texts=TextStatistics(empty_count=2, characters=lengths, words=lengths),
        languages=LanguageStatistics(
            method="py3langid",
            sampled_count=50,
            undetermined_count=10,
            languages=[
                LanguageStatistics.Language(code="en", document_count=30),
                LanguageStatistics.Language(code="de", document_count=10),
            ],
        ),
        exact_duplicates=DuplicateStatistics(compared_count=98, group_count=1, excess_count=2, largest_groups=groups),
        near_duplicates=DuplicateStatistics(compared_count=98),
        vectors=vectors,
    )


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))


def test_a_summary_says_what_is_known_and_of_how_many() -> None:
    text = "\n".join(text_lines(message()))
    for part in (
        "documents: 100\n",
        "without a text: 2",
        "0 to 1,000, median 10, 90 % up to 20, 99 % up to 39",
        "en 60.0 %, de 20.0 %, undetermined 20.0 % (of a sample of 50)",
        "exact duplicates: 2 documents in excess, in 1 groups",
        "near-duplicates: none among 98 documents",
        "384 numbers, effective rank 112; 3 directions hold 90 % of the variance",
        "norms: 1 to 3, median 2",
        "the same</b>",
    ):
        assert part in text, (part, text)
    assert "█" * 32 + " 80" in text


def test_a_summary_says_what_is_missing() -> None:
    sparse = DatasetStatistics(
        name="datasets/d/statistics", stale=True, languages=LanguageStatistics(unavailable_reason="not installed")
    )
    text = "\n".join(text_lines(sparse))
    assert (
        "0 (stale: the dataset or the method has changed since)" in text
        and "languages: not installed" in text
        and "vectors" not in text
    )
    sampled = message()
    sampled.vectors.spectrum_count = 50
    assert "effective rank 112, of a sample of 50;" in rank_sentence(sampled)


def test_a_notebook_shows_facts_and_histograms_and_escapes_them() -> None:
    statistics = Statistics(message())
    notebook_html = statistics._repr_html_()
    assert (
        Tags(notebook_html).names.count("svg") == 3
        and "effective rank 112" in notebook_html
        and "<b>" not in notebook_html
    )
    assert statistics.document_count == 100 and "100 documents" in repr(statistics)
    assert str(statistics).startswith("documents: 100")
    assert Tags(Statistics(DatasetStatistics(name="datasets/d/statistics"))._repr_html_()).names.count("svg") == 0


def test_histograms_and_languages_are_a_table() -> None:
    frame = Statistics(message()).to_pandas()
    assert list(frame.columns) == ["statistic", "value", "from", "to", "count"]
    assert frame[frame.statistic == "characters"]["count"].tolist() == [80, 19, 1]
    assert frame[frame.statistic == "language"][["value", "count"]].to_numpy().tolist() == [["en", 30], ["de", 10]]
    assert Statistics(message()).to_polars().height == len(frame)


@pytest.mark.parametrize(
    ("colors", "values"),
    [
        (MapColors(field="rating", numbers=[4.5, math.nan]), [4.5, None]),
        (MapColors(field="rating", categories=["good"], category=[0, 1]), [None, "good"]),
    ],
)
def test_a_map_is_a_table_and_an_image(colors: MapColors, values: list[object]) -> None:
    drawn = VectorMap(DatasetMap(name="datasets/d/map", rows=[3, 7], x=[0, 1], y=[2, 2], vector_count=9, colors=colors))
    frame = drawn.to_pandas()
    assert frame["row"].tolist() == [3, 7] and frame["x"].tolist() == [0, 1]
    assert [None if value != value else value for value in frame["rating"].tolist()] == values
    assert len(drawn) == 2 and "2 of 9 vectors" in repr(drawn)
    assert Tags(drawn._repr_html_()).names.count("circle") == 2
    assert ("good</span>" in drawn._repr_html_()) == bool(colors.category), "a legend says what the colours are"
    fills = {tag["fill"] for tag in Tags(drawn._repr_html_()).attributes["circle"]}
    assert len(fills) == 2 and "currentColor" in fills, "a point without a value has the colour of the text"
    assert "rating" not in VectorMap(DatasetMap(rows=[3], x=[0], y=[0])).to_pandas()
    assert VectorMap(DatasetMap())._repr_html_()


def test_a_large_map_is_drawn_in_part_from_its_beginning_to_its_end() -> None:
    count = 7000
    drawn = VectorMap(
        DatasetMap(name="datasets/d/map", rows=range(count), x=range(count), y=[0] * count, vector_count=count)
    )
    notebook_html = drawn._repr_html_()
    circles = [float(tag["cx"] or "") for tag in Tags(notebook_html).attributes["circle"]]
    assert len(circles) == 2334 and max(circles) > 399, "it is every third point"
    assert "7,000 of 7,000 vectors>" in html.unescape(notebook_html) and "2,334 are drawn" in notebook_html


@pytest.mark.parametrize("field", ["row", "x", "y"])
def test_a_field_of_colours_does_not_replace_a_column(field: str) -> None:
    colors = MapColors(field=field, numbers=[4.5, math.nan])
    frame = VectorMap(DatasetMap(rows=[3, 7], x=[0, 1], y=[2, 2], colors=colors)).to_pandas()
    assert list(frame.columns) == ["row", "x", "y", f"metadata.{field}"]
    assert frame["row"].tolist() == [3, 7]


def test_a_terminal_gets_no_control_characters_of_documents() -> None:
    hostile = message()
    group = hostile.exact_duplicates.largest_groups[0]
    group.text = "\x1b[2Jcleared \u202eesrever"
    group.keys.append("\x1b]0;title\x07https://a.example/1")
    text = "\n".join(text_lines(hostile))
    assert "3 times (]0;title https://a.example/1): [2Jcleared esrever" in text
    assert "\x1b" not in text


def test_small_shares_and_open_bins_say_so() -> None:
    rare = message()
    rare.languages.sampled_count = 100_000
    text = "\n".join(text_lines(rare))
    assert "en < 0.1 %, de < 0.1 %" in text
    assert "≥ 40 " in text, "its last bin is wider than the others"
    assert "\nnorms:\n" in text
    rare.vectors.normalized = True
    assert "\nnorms:\n" not in "\n".join(text_lines(rare))


class Server:
    """What a dataset's client reads where a job runs already: it has read revision 4, and the dataset is at 7."""

    def __init__(self) -> None:
        self.computed = 0

    async def call(self, method: str, request: object, response: type[Any]) -> Any:
        del request
        if "/Compute" in method:
            self.computed += 1
        state: dict[str, Any] = {"stale": self.computed < 2, "revision": (0, 4, 7)[self.computed]}
        return response(**{"GetDataset": {"revision": 7}, "Get": state}.get(_kind(method), {}))

    async def wait(self, name: str, progress: object) -> Job:
        del progress
        return Job(name=name)

    async def wait_for_index(self, job: Job) -> None: ...


def _kind(method: str) -> str:
    name = method.rpartition("/")[2]
    return name if name == "GetDataset" else name[:3]


async def test_statistics_and_maps_of_a_job_that_began_earlier_are_computed_again() -> None:
    server = Server()
    data = aio_datasets.Dataset(cast(Any, server), cast(Any, server), cast(Any, None), resources_pb2.Dataset())
    statistics = await data.statistics()
    assert (server.computed, statistics.revision, statistics.stale) == (2, 7, False)
    server.computed = 0
    drawn = await data.map("umap")
    assert (server.computed, drawn.revision, drawn.stale) == (2, 7, False)
    server.computed = 0
    assert (await data.map("pca")).stale and not server.computed, "no job draws it"
