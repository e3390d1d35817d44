"""Statistics and maps as notebooks, data frames and terminals show them."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

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
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)


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
    assert "0 (the dataset has changed since)" in text and "languages: not installed" in text and "vectors" not in text
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
    assert "rating" not in VectorMap(DatasetMap(rows=[3], x=[0], y=[0])).to_pandas()
    assert VectorMap(DatasetMap())._repr_html_()
