"""The cosine of planted texts is the sum of the parts that were planted."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.interpreter.selection import select
from services.interpreter.similarity import SimilarityExplanation, explain
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_attribution import selection

GROUPS = ["ferry", "tunnel", "museum", "bridge", "left right"]
FERRY, TUNNEL, MUSEUM, BRIDGE, BOTH = range(5)


@cache
def planted() -> PlantedRun:
    texts = [f"{group} {number}" for group in GROUPS for number in range(3)]
    return PlantedRun(GROUPS, [*texts, *("nothing",) * 15], doubtful=[MUSEUM])


async def explained(first: str, second: str, *, baseline: float = 0.0, limit: int = 20) -> SimilarityExplanation:
    run = planted()
    run.baseline = baseline
    one, other = [await run.encode_text(run.run, text) for text in (first, second)]
    return await explain(select(run.features, selection()), run, one, other, limit=limit)


async def test_what_texts_share_is_what_makes_them_similar() -> None:
    """Two of three words are shared, in vectors of length √3: each contributes a third. The third word of each is
    orthogonal to the other text and contributes nothing."""
    result = await explained("ferry tunnel bridge", "tunnel ferry museum")
    assert result.similarity == pytest.approx(2 / 3)
    by_index = {entry.index: entry for entry in result.contributions}
    assert set(by_index) == {FERRY, TUNNEL, BRIDGE}, "an untrusted feature is not named"
    assert [by_index[index].share for index in (FERRY, TUNNEL, BRIDGE)] == pytest.approx([1 / 3, 1 / 3, 0])
    assert (by_index[BRIDGE].first_activation, by_index[BRIDGE].second_activation) == (1, 0)
    assert (result.other_features, result.baseline, result.unexplained) == pytest.approx((0, 0, 0))


async def test_untrusted_features_and_what_none_explains_have_shares_of_their_own() -> None:
    """`left` alone activates nothing: its part of the similarity is unexplained."""
    result = await explained("museum left", "museum left")
    assert result.similarity == pytest.approx(1)
    assert not result.contributions
    assert (result.other_features, result.unexplained) == pytest.approx((0.5, 0.5))


async def test_a_feature_above_the_limit_is_among_the_others() -> None:
    whole, limited = [await explained("ferry tunnel", "ferry tunnel", limit=limit) for limit in (20, 1)]
    assert [entry.index for entry in limited.contributions] == [whole.contributions[0].index]
    assert limited.other_features == pytest.approx(whole.contributions[1].share)


words = st.lists(st.sampled_from([*GROUPS[:4], "left", "right"]), min_size=1, max_size=6)


@given(words, words, st.floats(-2, 2))
async def test_the_parts_add_up_to_the_cosine(first: list[str], second: list[str], baseline: float) -> None:
    x, y = planted().embed([" ".join(first), " ".join(second)]).astype(np.float64)
    result = await explained(" ".join(first), " ".join(second), baseline=baseline, limit=2)
    assert result.similarity == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    parts = [*(entry.share for entry in result.contributions), result.other_features]
    assert sum(parts) + result.baseline + result.unexplained == pytest.approx(result.similarity, abs=1e-9)
    swapped = await explained(" ".join(second), " ".join(first), baseline=baseline, limit=2)
    assert swapped.baseline == pytest.approx(result.baseline)
    assert swapped.other_features == pytest.approx(result.other_features)
