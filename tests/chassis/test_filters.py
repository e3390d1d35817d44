"""Filters of AIP-160: what is right gives its tree, what is wrong is told with its place."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from prisma.common.v1.job_pb2 import Job
from services.chassis.filters import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    TRUTH,
    UNFILTERED,
    AllOf,
    AnyOf,
    Comparison,
    Filter,
    InvalidFilter,
    Leaf,
    Negation,
    Presence,
    all_of,
    any_of,
    evaluate,
    leaves,
    negation,
    parse_filter,
    text_of,
)
from services.chassis.job_index import entry_of
from services.chassis.job_service import parse_query
from services.chassis.metadata_terms import number_form

FIELDS = {"state": "= != :*", "density": "= < >", "metadata.": "= != < <= > >= : :*"}
A, B, C, D = (Comparison("state", "=", name) for name in "abcd")

names = st.sampled_from(["state"]) | st.text(min_size=1, max_size=8).map(lambda key: f"metadata.{key}")
comparisons = st.builds(
    lambda name, op, value: Comparison(name, op if name != "state" else "=", value),
    names,
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]),
    st.text(max_size=8),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    comparisons | names.map(Presence),
    lambda parts: (
        st.lists(parts, min_size=2, max_size=3).map(all_of)
        | st.lists(parts, min_size=2, max_size=3).map(any_of)
        | parts.map(negation)
    ),
    max_leaves=12,
)


@given(filters)
def test_a_tree_as_text_is_read_as_the_same_tree(tree: Filter) -> None:
    assert parse_filter(text_of(tree), FIELDS) == tree


@given(filters, st.data())
def test_its_text_means_the_same(tree: Filter, data: st.DataObject) -> None:
    values = {leaf: data.draw(st.booleans()) for leaf in leaves(tree)}
    assert evaluate(parse_filter(text_of(tree), FIELDS), values.__getitem__, TRUTH) == _meaning(tree, values)


def _meaning(tree: Filter, values: dict[Leaf, bool]) -> bool:
    if isinstance(tree, AllOf):
        return min(_meaning(part, values) for part in tree.parts)
    if isinstance(tree, AnyOf):
        return max(_meaning(part, values) for part in tree.parts)
    return not _meaning(tree.part, values) if isinstance(tree, Negation) else values[tree]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", UNFILTERED),
        (" \n", UNFILTERED),
        ("state = a", A),
        ("state=a", A),
        ("state = a AND state = b AND state = c", AllOf((A, B, C))),
        ("state = a OR state = b OR state = c", AnyOf((A, B, C))),
        ("state = a AND state = b OR state = c", AllOf((A, AnyOf((B, C))))),
        ("state = a OR state = b AND state = c OR state = d", AllOf((AnyOf((A, B)), AnyOf((C, D))))),
        ("(state = a AND state = b) OR state = c", AnyOf((AllOf((A, B)), C))),
        ("((state = a))", A),
        ("(state = a AND state = b) AND state = c", AllOf((A, B, C))),
        ("NOT state = a", Negation(A)),
        ("-state = a", Negation(A)),
        ("NOT state = a OR state = b", AnyOf((Negation(A), B))),
        ("NOT (state = a OR state = b)", Negation(AnyOf((A, B)))),
        ("-(state = a AND state = b)", Negation(AllOf((A, B)))),
        ("NOT (NOT state = a)", A),
        ("NOT(state = a)AND(state = b)", AllOf((Negation(A), B))),
        ("state:*", Presence("state")),
        ("metadata.year : *", Presence("metadata.year")),
        ('metadata.year : "*"', Comparison("metadata.year", ":", "*")),
        ("metadata.year > -5", Comparison("metadata.year", ">", "-5")),
        ("metadata.day >= 2021-05-01T10:00:00+02:00", Comparison("metadata.day", ">=", "2021-05-01T10:00:00+02:00")),
        ('state = "AND"', Comparison("state", "=", "AND")),
        ("state = ANDROID", Comparison("state", "=", "ANDROID")),
    ],
)
def test_the_tree_of_a_filter(text: str, tree: Filter) -> None:
    assert parse_filter(text, FIELDS) == tree


def test_a_value_may_stand_in_single_quotes() -> None:
    tree = parse_filter(
        "state = '2021' AND metadata.x = 'say \"hi\"' AND metadata.x = 'don\\'t' AND state = don't", FIELDS
    )
    values = [leaf.value for leaf in leaves(tree) if isinstance(leaf, Comparison)]
    assert values == ["2021", 'say "hi"', "don't", "don't"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('metadata."publication year" = 1', "metadata.publication year"),
        ("metadata.'publication year' = 1", "metadata.publication year"),
        ('metadata."a=b" = 1', "metadata.a=b"),
        ('metadata.outer."inner key".name = 1', "metadata.outer.inner key.name"),
        ('metadata."say \\"hi\\"" = 1', 'metadata.say "hi"'),
        ('metadata."größe" = 1', "metadata.größe"),
        ("metadata.größe = 1", "metadata.größe"),
        ("metadata.my-key = 1", "metadata.my-key"),
    ],
)
def test_a_field_that_is_no_plain_word_is_quoted(text: str, field: str) -> None:
    assert parse_filter(text, FIELDS) == Comparison(field, "=", "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("state", "at character 6: expected one of = != :\\* after state; got the end"),
        ("state =", "at character 8: expected a value after =; .* got the end"),
        ("state = 'a", 'at character 9: expected a value after =; .* got "\'a"'),
        ('state = "a', "at character 9: expected a value"),
        ("state = AND state = a", "at character 9: expected a value .* got 'AND state = a'"),
        ("colour = red", "at character 1: expected one of the fields state, density, metadata.<key>; got 'colour"),
        ("metadata. = red", "at character 1: expected one of the fields"),
        ("state = a AND state < 3", "at character 15: expected state with one of = != :\\*; got 'state < 3'"),
        ("density:*", "at character 1: expected density with one of = < >"),
        ("state = a state = b", "at character 11: expected AND or OR; got 'state = b'"),
        ("(state = a", "at character 11: expected AND, OR or a closing parenthesis; got the end"),
        ("state = a)", "at character 10: expected AND or OR; got '\\)'"),
        ("AND", "at character 1: expected a comparison such as .* got 'AND'"),
        ("state = a OR", "at character 13: expected a comparison .* got the end"),
        ("NOT NOT state = a", "at character 5: expected a comparison"),
        ("state = a and state = b", "at character 11: expected AND or OR; got 'and"),
        ("regex(state)", "at character 1: expected one of the fields"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        parse_filter(text, FIELDS)


def test_length_depth_and_number_of_comparisons_are_bounded() -> None:
    deepest = "(" * MAX_DEPTH + "state = a" + ")" * MAX_DEPTH
    longest = " OR ".join(["state = a"] * MAX_COMPARISONS)
    assert parse_filter(deepest, FIELDS) == A
    assert len(list(leaves(parse_filter(longest, FIELDS)))) == MAX_COMPARISONS
    for text in (f"({deepest})", f"{longest} OR state = a", 'state = "' + "x" * 10_000 + '"', "(" * 8000):
        with pytest.raises(InvalidFilter):
            parse_filter(text, FIELDS)


def test_numbers_flags_and_choices_are_read_as_such() -> None:
    number, flag = leaves(parse_filter("density > .5 AND state = true", FIELDS))
    assert isinstance(number, Comparison)
    assert isinstance(flag, Comparison)
    assert (number.number(), flag.flag()) == (0.5, True)
    with pytest.raises(InvalidFilter, match="at character 18: state is compared with a number, got 'true'"):
        flag.number()
    with pytest.raises(InvalidFilter, match="density is compared with one of true, false"):
        number.flag()


@pytest.mark.parametrize("value", ["0", "-7", "+.5", "12.", "1e-3", "2.5E+10"])
def test_numbers_are_written_as_in_metadata(value: str) -> None:
    assert Comparison("density", ">", value).number() == float(value)
    assert number_form(value) is not None


@pytest.mark.parametrize(
    "value", ["1_000", " 1 ", "١٢", "1e999", "inf", "nan", "", ".", "1e", "0x1", "1,5", "1" * 8000]
)
def test_what_only_python_reads_as_a_number_is_none(value: str) -> None:
    with pytest.raises(InvalidFilter, match="density is compared with a number"):
        Comparison("density", ">", value).number()


def test_jobs_are_chosen_by_what_their_index_says_and_then_by_their_records() -> None:
    job = Job(
        name="jobs/1", kind="train", service="trainer", state=Job.STATE_RUNNING, resources=["datasets/a", "runs/b"]
    )
    entry = entry_of(job)
    for text, active, entry_matches, matches in [
        ("", False, True, True),
        ("state = RUNNING", True, True, True),
        ("state = RUNNING OR state = SUBMITTED", True, True, True),
        ("state = FAILED OR state = SUBMITTED", False, True, False),
        ("state != SUCCEEDED AND state != FAILED AND state != CANCELLED", True, True, True),
        ("NOT state = RUNNING", False, True, False),
        ("kind = train AND state = FAILED", False, True, False),
        ("kind = other AND state = RUNNING", True, False, False),
        ("kind = other OR state = RUNNING", False, True, True),
        ("NOT (kind = train OR state = FAILED)", False, False, False),
        ('resource = "datasets/a" AND NOT resource = "runs/c"', False, True, True),
        ('resource = "runs/c" OR service = trainer', False, True, True),
    ]:
        query = parse_query(text)
        assert (query.active, query.entry_matches(entry), query.job_matches(job)) == (active, entry_matches, matches), (
            text
        )
    assert parse_query('state = RUNNING AND resource = "datasets/a"').resource == "datasets/a"
    assert parse_query('resource = "datasets/a" OR resource = "runs/b"').resource is None
