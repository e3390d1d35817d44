"""Page tokens and names: what is right comes back, what is wrong is told."""

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
