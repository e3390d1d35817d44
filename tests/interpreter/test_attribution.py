"""Sentences that carry planted features are found, and parts and remainder add up."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prisma_common import sentences
from services.chassis.feature_filters import FIELDS
from services.chassis.filters import parse_filter
from services.interpreter.attribution import MAX_SENTENCES, SentenceAttribution, attribute
from services.interpreter.errors import FeatureNotFound
from services.interpreter.selection import TRUSTED_ONLY, Selection, of_indices, select
from tests.interpreter.planted_run import PlantedRun

GROUPS = ["ferry", "tunnel", "museum", "left right", "common"]
FERRY, TUNNEL, MUSEUM, BOTH, COMMON = range(5)
TEXT = "The ferry leaves. A tunnel was dug, a tunnel of stone. Behind it, a tunnel. It turns left there. Then right."


@cache
def planted() -> PlantedRun:
    texts = [f"{word} common {number}" for word in ("ferry", "tunnel", "museum", "left right") for number in range(5)]
    return PlantedRun(GROUPS, [*texts, *("nothing",) * 20], doubtful=[MUSEUM], thresholds={TUNNEL: 0.5})


def selection(filter: str = TRUSTED_ONLY, *, include_tail: bool = False) -> Selection:
    return Selection(condition=parse_filter(filter, FIELDS), include_tail=include_tail)


async def attributed(text: str, filter: str = TRUSTED_ONLY) -> SentenceAttribution:
    run = planted()
    return await attribute(select(run.features, selection(filter)), run, text, limit=10)


async def test_the_sentence_that_carries_a_feature_is_found() -> None:
    result = await attributed(TEXT)
    by_index = {entry.index: entry for entry in result.attributions}
    assert set(by_index) == {FERRY, TUNNEL, BOTH}, "a dense feature counts never"
    ferry, tunnel, both = by_index[FERRY], by_index[TUNNEL], by_index[BOTH]
    assert ferry.strongest == 0
    assert (ferry.contributions.tolist(), ferry.remainder) == ([1, 0, 0, 0, 0], 0)
    # Said twice: no sentence is needed. Each alone activates it.
    assert (tunnel.contributions.tolist(), tunnel.remainder) == ([0, 0, 0, 0, 0], 1)
    assert tunnel.alone.tolist() == [0, 1, 1, 0, 0]
    assert tunnel.strongest == 1
    # Said by two sentences together: both are needed, and neither activates it alone.
    assert (both.contributions.tolist(), both.remainder) == ([0, 0, 0, 1, 1], -1)
    assert both.alone.tolist() == [0, 0, 0, 0, 0]


@given(st.lists(st.sampled_from(["ferry.", "tunnel.", "left", "right.", "museum", "so."]), min_size=1, max_size=40))
async def test_contributions_and_remainder_add_up_to_the_activation(words: list[str]) -> None:
    result = await attributed(" ".join(words), "dead = false")
    for entry in result.attributions:
        assert entry.contributions.sum() + entry.remainder == pytest.approx(entry.activation, abs=1e-9)


async def test_only_trusted_features_count_unless_others_are_requested() -> None:
    text = "A museum. A ferry."
    assert [entry.index for entry in (await attributed(text)).attributions] == [FERRY]
    assert [entry.index for entry in (await attributed(text, "dead = false")).attributions] == [FERRY, MUSEUM]
    run = planted()
    selected = of_indices(run.features, np.array([TUNNEL, MUSEUM]), include_tail=False)
    result = await attribute(selected, run, text, indices=[MUSEUM, TUNNEL], limit=10)
    museum, tunnel = result.attributions
    assert (museum.index, museum.strongest) == (MUSEUM, 0)
    assert (tunnel.activation, tunnel.strongest) == (0, None), "it may be active nowhere"


@pytest.mark.parametrize("include_tail", [False, True])
def test_a_feature_that_does_not_exist_is_not_found(include_tail: bool) -> None:
    with pytest.raises(FeatureNotFound, match="the run has features 0 to 4"):
        of_indices(planted().features, np.array([FERRY, 2**31]), include_tail=include_tail)


async def test_an_activation_below_the_threshold_counts_only_with_the_tail() -> None:
    run = PlantedRun(["ferry", "tunnel"], ["ferry", "tunnel", *["none"] * 20], thresholds={0: 1.5})
    for include_tail, expected in ((False, []), (True, [0])):
        selected = select(run.features, selection(include_tail=include_tail))
        result = await attribute(selected, run, "A ferry.", limit=10)
        assert [entry.index for entry in result.attributions] == expected


def parts(text: str, limit: int = MAX_SENTENCES) -> list[str]:
    return [text[part.start : part.end] for part in sentences.split(text, limit)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It is 3.14, see e.g. Dr. Who. Next", ["It is 3.14, see e.g. Dr. Who.", "Next"]),
        ("He said “no.” She left.", ["He said “no.”", "She left."]),
        ("A title\n\nA paragraph of\ntwo lines. End", ["A title", "A paragraph of\ntwo lines.", "End"]),
        ("猫が好き。犬も好き！本当？", ["猫が好き。", "犬も好き！", "本当？"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
        ("  no end  ", ["no end"]),
        ("...", ["..."]),
    ],
)
def test_sentences_end_where_readers_see_it(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@given(st.text(alphabet="aB .!?\n。e", min_size=1, max_size=200), st.integers(1, 5))
def test_sentences_cover_the_text(text: str, limit: int) -> None:
    spans = sentences.split(text, limit)
    assert len(spans) <= limit
    assert "".join("".join(parts(text, limit)).split()) == "".join(text.split())
    assert not spans or not text[spans[-1].next_start :].strip()
