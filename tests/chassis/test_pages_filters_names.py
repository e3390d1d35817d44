"""Page tokens, filters and names: what is right comes back, what is wrong is told."""

from __future__ import annotations

import base64
from datetime import datetime

import hypothesis.strategies as st
import pytest
from google.protobuf.message import Message
from hypothesis import given

from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_common.names import SEGMENT
from services.chassis import names
from services.chassis.decoding import MAX_UNSIGNED, decode
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, parse_filter
from services.chassis.paging import InvalidPageToken, Page

scalars = st.integers(-(2**53), 2**53) | st.text(max_size=100)
cursors = scalars | st.lists(scalars, max_size=3)


@given(cursors, st.text(), st.integers(1, 5000))
def test_a_token_brings_its_cursor_back(cursor: object, bound: str, size: int) -> None:
    first = Page.of(size, "", bound_to=(bound,), default=50, maximum=1000)
    assert first.after is None
    assert first.size == min(size, 1000)
    again = Page.of(0, first.next_token(cursor), bound_to=(bound,), default=50, maximum=1000)
    assert (again.after, again.size) == (cursor, 50)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(json_values | st.tuples(st.datetimes().map(str), st.text()) | st.tuples(st.text(), st.text()))
def test_an_invented_cursor_is_of_the_columns_types_or_refused(cursor: object) -> None:
    token = Page.of(0, "", bound_to=(), default=50, maximum=1000).next_token(cursor)
    try:
        page = Page.keyset(0, token, columns=(datetime, str), bound_to=(), default=50, maximum=1000)
        moment, name = page.after
        assert datetime.fromisoformat(moment)
        assert isinstance(name, str)
    except InvalidPageToken:
        pass
    try:
        assert Page.offset(0, token, bound_to=(), default=50, maximum=1000).after >= 0
    except InvalidPageToken:
        pass


@pytest.mark.parametrize("data", [b"[" * 3000, b"[" * 100_000, b"\xff", b"{}", b"[1]", b"[1,2,3]", b"1"])
def test_damaged_tokens_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPageToken):
        Page.of(0, base64.urlsafe_b64encode(data).decode(), bound_to=(), default=50, maximum=1000)


def test_long_filters_are_refused() -> None:
    for text in ("state = x AND " * 200 + "state = x", 'state = "' + "x" * 10_000 + '"'):
        with pytest.raises(InvalidFilter):
            parse_filter(text, FIELDS)


def test_bytes_that_are_no_message_are_invalid() -> None:
    with pytest.raises(InvalidArgument):
        decode(embedder_pb2.ReadDocumentsRequest.FromString, b"\xff\xff\xff")


def test_unsigned_numbers_that_no_database_holds_are_refused_by_field() -> None:
    """Of every request of every service, and at any depth."""
    allowed = embedder_pb2.ReadDocumentsRequest(since_revision=MAX_UNSIGNED, row_ranges=[{"start": 1, "end": 2}])
    assert decode(embedder_pb2.ReadDocumentsRequest.FromString, allowed.SerializeToString()) == allowed
    too_large: list[tuple[Message, str]] = [
        (embedder_pb2.ReadDocumentsRequest(since_revision=2**63), "since_revision"),
        (embedder_pb2.ReadVectorsRequest(start_row=2**64 - 1), "start_row"),
        (embedder_pb2.BatchGetDocumentsRequest(rows=[1, 2**63]), "rows"),
        (trainer_pb2.ReadCodesRequest(row_ranges=[{"end": 5}, {"end": 2**63}]), "row_ranges[1].end"),
        (trainer_pb2.WatchMetricsRequest(after_step=2**63), "after_step"),
        (trainer_pb2.CreateRunRequest(run={"config": {"seed": 2**63}}), "run.config.seed"),
        (interpreter_pb2.ReadLabelsRequest(since_revision=2**63), "since_revision"),
    ]
    for request, field in too_large:
        with pytest.raises(InvalidArgument) as refusal:
            decode(type(request).FromString, request.SerializeToString())
        assert [violation.field for violation in refusal.value.violations] == [field]


@given(st.text(max_size=60))
def test_foreign_tokens_are_refused(token: str) -> None:
    if token:
        with pytest.raises(InvalidPageToken):
            Page.of(0, token, bound_to=(), default=50, maximum=1000)


def test_a_token_of_another_call_is_refused() -> None:
    token = Page.of(0, "", bound_to=("a",), default=50, maximum=1000).next_token(7)
    with pytest.raises(InvalidPageToken):
        Page.of(0, token, bound_to=("b",), default=50, maximum=1000)


FIELDS = {"state": "= !=", "density": "= < >", "metadata.": "="}


@given(st.lists(st.tuples(st.sampled_from(["state", "metadata.x"]), st.text()), max_size=4))
def test_a_filter_is_read_as_it_was_written(terms: list[tuple[str, str]]) -> None:
    quoted = [(field, value.replace("\\", "\\\\").replace('"', '\\"')) for field, value in terms]
    text = " AND ".join(f'{field} = "{value}"' for field, value in quoted)
    assert [(term.field, term.value) for term in parse_filter(text, FIELDS)] == terms


def test_a_value_may_stand_in_single_quotes() -> None:
    terms = parse_filter(
        "state = '2021' AND metadata.x = 'say \"hi\"' AND metadata.x = 'don\\'t' AND state = don't", FIELDS
    )
    assert [term.value for term in terms] == ["2021", 'say "hi"', "don't", "don't"]


@pytest.mark.parametrize(
    "text",
    [
        "state = 'a",
        "state",
        "state =",
        "colour = red",
        "state < 3",
        'state = "a',
        "state = a OR state = b",
        "state = a state = b",
        "AND",
    ],
)
def test_a_wrong_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(text, FIELDS)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('metadata."publication year" = 1', "metadata.publication year"),
        ('metadata."a=b" = 1', "metadata.a=b"),
        ('metadata.outer."inner key".name = 1', "metadata.outer.inner key.name"),
        ('metadata."say \\"hi\\"" = 1', 'metadata.say "hi"'),
        ('metadata."größe" = 1', "metadata.größe"),
    ],
)
def test_a_field_that_is_no_plain_word_is_quoted(text: str, field: str) -> None:
    (term,) = parse_filter(text, FIELDS)
    assert (term.field, term.value) == (field, "1")


def test_numbers_and_flags_are_read_as_such() -> None:
    number, flag = parse_filter("density > .5 AND state = true", FIELDS)
    assert (number.number(), flag.flag()) == (0.5, True)
    with pytest.raises(InvalidFilter):
        flag.number()
    with pytest.raises(InvalidFilter):
        number.flag()


def test_names_give_their_segments() -> None:
    pattern = "datasets/{dataset}/documents/{document}"
    assert names.parse(pattern, "datasets/a/documents/b.c~d", "name") == ("a", "b.c~d")
    for wrong in ("", "datasets/a", "datasets//documents/b", "datasets/a b/documents/c", "runs/a/documents/b", "/"):
        with pytest.raises(InvalidArgument) as caught:
            names.parse(pattern, wrong, "name")
        assert caught.value.violations[0].field == "name"


@given(st.text())
def test_every_text_gives_an_id(text: str) -> None:
    assert SEGMENT.fullmatch(names.slug(text, "dataset"))
