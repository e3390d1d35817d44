"""Families of planted features: who belongs together comes out whole, and strangers are not joined."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.cluster import hierarchy

from services.interpreter import agglomeration, families, likeness
from services.interpreter.families import Family, FamilyLabel, Member, Options
from services.interpreter.trust import Trust

ROWS = 1000


def planted(groups: int, size: int, *, strangers: int = 0, likeness_inside: float = 0.5) -> np.ndarray:
    """(groups · size + strangers, d) unit vectors: inner products inside a group are about as given, else about 0."""
    random = np.random.default_rng(3)
    count = groups * size + strangers
    centres = np.zeros((count, 400))
    centres[np.arange(groups * size), np.repeat(np.arange(groups), size)] = 1
    own = random.standard_normal((count, 400)) / 20
    share = np.where(np.arange(count) < groups * size, np.sqrt(likeness_inside), 0)[:, None]
    return (share * centres + np.sqrt(1 - share**2) * own).astype(np.float32)


def built(vectors: np.ndarray, *, counts: np.ndarray | None = None, **options: float) -> list[Family]:
    active_count = np.arange(len(vectors), 0, -1) if counts is None else counts
    return families.alike(
        vectors,
        active_count,
        reliable=np.ones(len(vectors), np.bool_),
        row_count=100 * ROWS,
        options=Options(**options),  # pyright: ignore[reportArgumentType]
    )


def members(built: list[Family], number: int = 1) -> set[frozenset[int]]:
    return {frozenset(family.indices) for family in built if family.round == number}


def test_planted_families_come_out_whole_and_strangers_are_in_none() -> None:
    result = built(planted(12, 7, strangers=100), rounds=1)
    assert members(result) == {frozenset(range(7 * group, 7 * group + 7)) for group in range(12)}


def test_families_that_share_one_feature_are_not_chained() -> None:
    """A feature between two families is as much like either: it joins one, and does not join them to each other."""
    vectors = planted(2, 5, strangers=1, likeness_inside=0.6)
    between = vectors[:10].mean(axis=0)
    vectors[10] = between / np.linalg.norm(between)
    result = members(built(vectors, rounds=1, threshold=0.4))
    assert {frozenset(group - {10}) for group in result} == {frozenset(range(5)), frozenset(range(5, 10))}


def test_later_rounds_have_the_parts_that_are_more_alike() -> None:
    """Two halves of .6 inside, .3 across, are one family; the next rounds divide it, and repeat nothing."""
    vectors = planted(2, 4, likeness_inside=0.6)
    common = np.zeros(vectors.shape[1])
    common[-1] = 1
    vectors = (np.sqrt(0.75) * vectors + np.sqrt(0.25) * common).astype(np.float32)
    result = built(vectors, rounds=3, threshold=0.2)
    halves = {frozenset(range(4)), frozenset(range(4, 8))}
    assert [members(result, number) for number in (1, 2, 3)] == [{frozenset(range(8))}, halves, set()]
    assert [family.id for family in result] == ["1-0", "2-0", "2-4"]


def test_the_most_frequent_feature_is_on_top_and_each_hangs_from_what_it_is_most_like() -> None:
    vectors = planted(1, 6)
    (family,) = built(vectors, counts=np.array([5, 9, 7, 9, 3, 1]), rounds=1)
    assert family.root == 1  # as frequent as 3, which has the higher index
    products = vectors @ vectors.T
    reached = {family.root}
    for member in family.members[1:]:
        assert member.parent in reached, "a parent comes before its children"
        assert member.weight == pytest.approx(products[member.parent, member.index], abs=1e-6)
        likeness_to_reached = [products[member.index, index] for index in reached]
        assert member.weight == pytest.approx(max(likeness_to_reached), abs=1e-6)
        reached.add(member.index)


@given(st.integers(0, 2**32 - 1), st.integers(3, 30))
def test_the_tree_of_a_family_is_the_maximum_spanning_tree(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    vectors = np.abs(random.standard_normal((count, 6))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = vectors @ vectors.T
    if np.diff(np.sort(products[np.triu_indices(count, 1)])).min() < 1e-6:
        return  # rounding decides
    (family,) = built(vectors, rounds=1, threshold=1e-6)
    graph = nx.Graph()
    graph.add_weighted_edges_from(
        (first, second, float(products[first, second])) for first in range(count) for second in range(first)
    )
    expected = {frozenset(edge) for edge in nx.maximum_spanning_tree(graph).edges}
    assert {frozenset((member.index, member.parent)) for member in family.members[1:]} == expected
    assert family.root == 0


def test_two_features_alone_are_no_family() -> None:
    assert built(planted(5, 2)) == []


def test_dense_dead_and_unreliable_features_are_in_no_family() -> None:
    vectors = planted(1, 8)
    counts = np.full(8, 50)
    counts[0], counts[1] = 0, families.MAX_DENSITY * ROWS + 1
    reliable = np.arange(8) != 2
    (family,) = families.alike(vectors, counts, reliable=reliable, row_count=ROWS, options=Options(rounds=1))
    assert set(family.indices) == {3, 4, 5, 6, 7}


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0.05, 0.9))
def test_merges_are_those_of_average_linkage(seed: int, count: int, least: float) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - (vectors @ vectors.T)[np.triu_indices(count, 1)].astype(np.float64)
    tree = hierarchy.linkage(np.maximum(distances, 0), "average")
    heights = tree[:, 2]
    if np.abs(heights - (1 - least)).min() < 1e-5 or np.diff(heights).min(initial=1) < 1e-5:
        return  # rounding decides
    numbers = hierarchy.fcluster(tree, 1 - least, "distance")
    expected = {frozenset(np.flatnonzero(numbers == number).tolist()) for number in np.unique(numbers)}
    groups = agglomeration.groups(agglomeration.merges(vectors, least), least)
    assert {frozenset(group) for group in groups} == {group for group in expected if len(group) > 1}


def test_features_that_never_meet_are_alike_where_they_meet_the_same() -> None:
    """0 and 1 are never active together, but each with 2; 3 meets all by chance, and 4 meets no one."""
    active = np.zeros((ROWS, 5), np.int64)
    active[:40, 0] = active[40:80, 1] = active[:80, 2] = 1
    active[::10, 3] = 1
    active[500:540, 4] = 1
    vectors = likeness.company(sparse.csr_array(active.T @ active), ROWS)
    products = vectors @ vectors.T
    assert products[0, 1] == pytest.approx(1)
    assert not vectors[3].any(), "what is shared by chance is no company"
    assert not vectors[4].any()


def test_company_in_a_million_rows_is_counted_without_overflow() -> None:
    """3,000 rows that two features share, times a million rows, are beyond 32 bits."""
    counts = np.array([[20_000, 3_000, 0], [3_000, 20_000, 0], [0, 0, 20_000]], np.int32)
    vectors = likeness.company(sparse.csr_array(counts), 1_000_000)
    assert np.array_equal(vectors, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_many_features_keep_their_company_when_it_is_projected() -> None:
    """300 groups of four features, each group of the same 60 rows."""
    active = sparse.csr_array(np.repeat(np.repeat(np.eye(300, dtype=np.int32), 4, axis=1), 60, axis=0))
    vectors = likeness.company(sparse.csr_array(active.T @ active), 18_000)
    assert vectors.shape == (1200, 1024)
    products = vectors @ vectors.T
    inside = np.kron(np.eye(300), np.ones((4, 4))).astype(bool)
    assert products[inside].min() > 0.6  # each is in the company of the other three: two of them are the same
    assert np.abs(products[~inside]).max() < 0.2


def ranked(trusts: list[tuple[str, int, Trust]]) -> list[Family]:
    sizes = {root: size for root, size, _ in trusts}
    trust_of = {root: trust for root, _, trust in trusts}
    listed = families.most_trusted_first(
        [
            Family(
                id=f"1-{root}",
                round=1,
                color=0,
                members=[Member(int(root), None, 0.0)]
                + [Member(100 + place, int(root), 0.5) for place in range(size - 1)],
            )
            for root, size in sizes.items()
        ],
        lambda family: trust_of[family.id[2:]],
    )
    return families.coloured(listed)


def test_families_are_listed_by_trust_then_by_size_and_the_first_eight_have_colours() -> None:
    trusts = [
        ("1", 9, Trust.UNNAMED),
        ("2", 3, Trust.TRUSTED),
        ("3", 8, Trust.OPEN),
        ("4", 5, Trust.TRUSTED),
        ("5", 9, Trust.DOUBTFUL),
        ("6", 9, Trust.OPEN),
        *[(str(root), 4, Trust.UNNAMED) for root in range(7, 11)],
    ]
    listed = ranked(trusts)
    assert [family.root for family in listed] == [4, 2, 6, 3, 5, 1, 7, 8, 9, 10]
    assert [family.color for family in listed] == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]


def test_finer_families_have_no_colour() -> None:
    first, finer = (Family(id=f"{n}-0", round=n, color=0, members=[Member(0, None, 0.0)]) for n in (1, 2))
    assert [family.color for family in families.coloured([finer, first])] == [0, 1]
    assert families.coloured([replace(first, color=5)]) == [replace(first, color=1)]


def test_a_family_is_found_by_its_name_and_by_the_labels_of_its_features() -> None:
    label = FamilyLabel(text="Network address", description="", density=0.1, scores=None)
    named = Family(id="1-0", round=1, color=0, members=[Member(0, None, 0.0), Member(1, 0, 0.5)], label=label)
    other = Family(id="1-2", round=1, color=0, members=[Member(2, None, 0.0)])
    labels = ["socket", "host name", "memory address"]

    def ids(query: str) -> list[str]:
        return [family.id for family in families.matching([named, other], query, labels.__getitem__)]

    assert ids("address") == ["1-0", "1-2"]
    assert ids("ADDRESS network") == ["1-0"]
    assert ids("host") == ["1-0"]
    assert ids("socket address") == [], "no one text has both words"
