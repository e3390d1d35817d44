"""Features that were planted in a category, or in larger values, are discovered and confirmed, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from services.interpreter.associations import Associations, associate
from services.interpreter.metadata import Kind, categories, kind_of, numbers
from services.interpreter.occurrences import Occurrences, occurrences
from services.interpreter.selection import select
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_attribution import selection

COUNT = 3000
NULLS = [f"null{number}" for number in range(40)]
GROUPS = ["ferry", "rose", *NULLS]
FERRY, ROSE = 0, 1


def texts(ferry: Sequence[bool], rose: Sequence[bool], seed: int = 0) -> list[str]:
    """Texts with `ferry` and `rose` where they are planted, with random other words, and each with a number."""
    present = np.random.default_rng(seed).random((len(ferry), len(NULLS))) < 0.1
    return [
        " ".join([*["ferry"] * has_ferry, *["rose"] * has_rose, *np.array(NULLS)[row].tolist(), f"number{place}"])
        for place, (has_ferry, has_rose, row) in enumerate(zip(ferry, rose, present, strict=True))
    ]


@cache
def planted() -> tuple[PlantedRun, tuple[str, ...], tuple[float, ...]]:
    """`ferry` is in 16 % of documents on ships and in 4 % of others (an odds ratio of 4.57). Documents with `rose` have
    values of a standard deviation more (an area of .76)."""
    random = np.random.default_rng(1)
    ship = random.random(COUNT) < 0.3
    ferry = random.random(COUNT) < np.where(ship, 0.16, 0.04)
    rose = random.random(COUNT) < 0.1
    values = random.standard_normal(COUNT) + rose
    topics = np.where(ship, "ship", random.choice(["law", "art", "war"], COUNT))
    return PlantedRun(GROUPS, texts(ferry.tolist(), rose.tolist())), tuple(topics.tolist()), tuple(values.tolist())


async def counted(run: PlantedRun) -> Occurrences:
    return await occurrences(select(run.features, selection()), run.codes(run.run))


async def associated(values: Sequence[object], kind: Kind | None = None) -> Associations:
    run, _topics, _values = planted()
    return associate(await counted(run), values, kind, max_q=0.05)


async def test_a_feature_is_more_frequent_in_the_category_that_it_was_planted_in() -> None:
    result = await associated(planted()[1])
    assert (result.kind, result.test_count) == (Kind.CATEGORY, 4 * len(GROUPS))
    best = result.discovered[0]
    assert (best.column, best.category, best.confirmed) == (FERRY, "ship", True)
    truth = 0.16 / 0.84 / (0.04 / 0.96)
    assert best.low < truth < best.high
    assert best.effect > 1
    # Where it is rarer is told, too; nothing else is confirmed.
    remaining = [entry for entry in result.discovered[1:] if entry.confirmed]
    assert {(entry.column, entry.category) for entry in remaining} <= {(FERRY, "law"), (FERRY, "art"), (FERRY, "war")}
    assert all(entry.high < 1 for entry in remaining)
    # Counts are those of the confirming half.
    count, total = best.inside
    assert count / total == pytest.approx(0.16, abs=0.05)
    assert total + best.outside[1] == result.document_counts[1]


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.DATE])
async def test_a_feature_goes_with_the_larger_values_that_it_was_planted_with(kind: Kind) -> None:
    values: Sequence[object] = planted()[2]
    if kind is Kind.DATE:
        days = np.round(np.array(values) * 300).astype("timedelta64[D]")
        values = [str(day) for day in np.datetime64("2020-01-01") + days]
    result = await associated(values)
    assert (result.kind, result.test_count) == (kind, len(GROUPS))
    best = result.discovered[0]
    assert (best.column, best.category, best.confirmed) == (ROSE, None, True)
    assert best.low < 0.7602 < best.high
    assert sum(entry.confirmed for entry in result.discovered) == 1


async def test_nothing_goes_with_values_at_random() -> None:
    confirmed = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        for values in (random.random(COUNT).tolist(), random.choice(["a", "b", "c"], COUNT).tolist()):
            confirmed += sum(entry.confirmed for entry in (await associated(values)).discovered)
    assert confirmed <= 1


async def test_the_area_and_its_error_equal_those_of_all_pairs() -> None:
    random = np.random.default_rng(3)
    rose = random.random(600) < 0.15
    values = np.round(random.standard_normal(600) + rose)  # with ties
    run = PlantedRun(["rose", *NULLS], texts([False] * 600, rose.tolist()))
    present = await counted(run)
    result = associate(present, values.tolist(), Kind.NUMBER, max_q=0.999)
    entry = next(entry for entry in result.discovered if entry.column == 0)
    half = present.confirming
    active, remaining = values[rose & half], values[~rose & half]
    wins = (active[:, None] > remaining) + (active[:, None] == remaining) / 2
    error = np.sqrt(wins.mean(axis=1).var(ddof=1) / len(active) + wins.mean(axis=0).var(ddof=1) / len(remaining))
    assert entry.effect == pytest.approx(wins.mean())
    assert (entry.high - entry.low) / 2 == pytest.approx(1.959964 * error)


async def test_documents_without_a_value_are_left_out() -> None:
    topics: list[object] = [*planted()[1]]
    topics[:1000] = [None] * 1000
    result = await associated(topics)
    assert sum(result.document_counts) == COUNT - 1000
    assert result.discovered[0].category == "ship"


async def test_documents_of_rare_categories_are_outside_of_the_frequent_ones() -> None:
    topics: list[object] = [*planted()[1]]
    rare = [place for place, topic in enumerate(topics) if topic == "law"][:300]
    for number, place in enumerate(rare):
        topics[place] = f"rare{number}"
    result = await associated(topics)
    assert (sum(result.document_counts), result.omitted_categories) == (COUNT, 204)
    best = result.discovered[0]
    assert (best.category, best.inside[1] + best.outside[1]) == ("ship", result.document_counts[1])


async def test_copies_are_in_one_half_and_halves_are_of_equal_size() -> None:
    run = PlantedRun(["ferry", "rose"], ["ferry", "rose", "ferry rose", "none"] * 5 + ["x"] * 80)
    present = await counted(run)
    for kind in range(3):
        assert len(set(present.confirming[[kind, kind + 4, kind + 8]].tolist())) == 1
    many = await counted(planted()[0])
    assert many.confirming.mean() == pytest.approx(0.5, abs=0.05)


def test_values_are_read_as_what_they_are() -> None:
    assert kind_of([1, 2.5, None]) is Kind.NUMBER
    assert kind_of(["2020", "2020-05", "2021-01-02", "2021-01-02T10:00:00Z"]) is Kind.DATE
    assert kind_of(["2020", "b"]) is Kind.CATEGORY
    assert kind_of([True, False]) is Kind.CATEGORY
    years = numbers(["1970", "1970-02", "1970-01-01T01:00:00+01:00", "no", None], Kind.DATE)
    assert years[:3].tolist() == [0, 31 * 86400, 0]
    assert np.isnan(years[3:]).all()
    assert numbers(["4", 4.5, True, "x"], Kind.NUMBER)[:2].tolist() == [4, 4.5]
    several = categories([["a", "b"], "a", 4.0, True, None, {"no": 1}])
    assert several.names == ["a", "4", "b", "true"]
    assert several.membership.toarray().tolist() == [
        [1, 0, 1, 0],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    many = categories([str(number) for number in range(130)])
    assert (len(many.names), many.omitted_count) == (100, 30)
    assert many.has_value.all()
    assert several.has_value.tolist() == [True, True, True, True, False, False]
