"""Lists of documents by filter: both databases match what plain Python does, and types follow the documents."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from sqlalchemy import event

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2
from services.chassis.filters import parse_filter
from services.chassis.metadata_filters import notices
from services.chassis.metadata_schema import types_of
from services.chassis.metadata_terms import Type
from services.embedder.documents import NewDocument, OnDuplicate
from tests.embedder.test_service import created, imported
from tests.embedder.test_store import Data, data, sqlite
from tests.filters import CHOSEN_TYPES, DOCUMENTS, FILTERS, METADATA_FIELDS, TYPES, matching_rows

__all__ = ["data", "sqlite"]


def fill(data: Data) -> None:
    dataset = data.create()
    new = [NewDocument(f"key {row}", f"text {row}", metadata) for row, metadata in enumerate(DOCUMENTS)]
    data.store.add_documents("d", dataset.uid, new)
    data.store.choose_types("d", dataset.uid, {key: Type(name) for key, name in CHOSEN_TYPES.items()})


def test_all_filters_match_what_python_does(data: Data) -> None:
    fill(data)
    for text in FILTERS:
        matching = data.store.list_documents("d", parse_filter(text, METADATA_FIELDS), after_row=-1, limit=100)
        rows = [document.row for document in matching.documents]
        assert (rows, matching.total) == (matching_rows(text), len(rows)), text
    assert len(FILTERS) >= 60
    assert sum(0 < len(matching_rows(text)) < len(DOCUMENTS) for text in FILTERS) > len(FILTERS) * 0.8


def test_metadata_come_back_as_they_were_imported(data: Data) -> None:
    fill(data)
    documents = data.store.documents_by_row("d", range(len(DOCUMENTS)))
    assert [document.metadata for document in documents] == DOCUMENTS


def test_types_are_those_of_all_values_and_follow_changes(data: Data) -> None:
    fill(data)
    schema = data.store.dataset("d").schema
    assert {key: type_.value for key, type_ in types_of(schema).items()} == TYPES
    assert (schema["year"].document_count, schema["tags"].document_count) == (7, 5)
    dataset = data.store.dataset("d")
    data.store.add_documents("d", dataset.uid, [NewDocument("odd", "t", {"year": "about 1900", "new": True})])
    types = types_of(data.store.dataset("d").schema)
    assert (types["year"], types["new"]) == (Type.STRING, Type.BOOLEAN)
    data.store.delete_document("d", data.store.documents_by_row("d", [len(DOCUMENTS)])[0].id)
    assert data.store.dataset("d").schema == schema
    for document in data.store.documents_by_row("d", range(len(DOCUMENTS))):
        data.store.delete_document("d", document.id)
    assert types_of(data.store.dataset("d").schema) == {}
    assert set(data.store.dataset("d").schema) == set(CHOSEN_TYPES)


def test_replaced_documents_are_found_by_their_new_values(data: Data) -> None:
    dataset = data.create()
    old = [NewDocument("a", "text a", {"year": 1, "old": True}), NewDocument("b", "text b", {"year": 2})]
    new = [NewDocument("a", "text a", {"year": 3.5}), NewDocument("b", "other text", {"year": 4})]
    data.store.add_documents("d", dataset.uid, old)
    data.store.add_documents("d", dataset.uid, new, on_duplicate=OnDuplicate.REPLACE)
    schema = data.store.dataset("d").schema
    assert {key: (field.type, field.document_count) for key, field in schema.items()} == {"year": (Type.NUMBER, 2)}
    for text, keys in [("metadata.year = 3.5", ["a"]), ("metadata.year = 4", ["b"]), ("metadata.year < 3", [])]:
        matching = data.store.list_documents("d", parse_filter(text, METADATA_FIELDS), after_row=-1, limit=9)
        assert [document.key for document in matching.documents] == keys


def test_a_filter_is_one_statement_for_the_page_and_one_for_the_total(sqlite: Data) -> None:
    fill(sqlite)
    statements: list[str] = []
    event.listen(
        sqlite.database._engine,  # pyright: ignore[reportPrivateUsage]
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_rest: statements.append(statement),
    )
    condition = parse_filter("metadata.year > 2000 OR NOT metadata.tags = b", METADATA_FIELDS)
    sqlite.store.list_documents("d", condition, after_row=-1, limit=3)
    assert sum("json_each" in statement for statement in statements) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metadata.year > 2000 AND metadata.tags:*", []),
        ("metadata.yaer > 2000", ["no document has the metadata key 'yaer'; did you mean 'year'?"]),
        ("metadata.depth = 1", ["no document has the metadata key 'depth'; did you mean 'nested.depth'?"]),
        ("NOT metadata.qqq:*", ["no document has the metadata key 'qqq'"]),
        ("metadata.year = old", ["metadata.year is of type INTEGER: it cannot be compared with 'old'"]),
        ("metadata.flag = 1", ["metadata.flag is of type BOOLEAN: it cannot be compared with '1'"]),
        ("metadata.day < soon", ["metadata.day is of type DATE: it cannot be compared with 'soon'"]),
    ],
)
def test_keys_that_no_document_has_and_values_of_other_types_are_told(text: str, expected: list[str]) -> None:
    types = {key: Type(name) for key, name in TYPES.items()}
    assert notices(parse_filter(text, METADATA_FIELDS), [types]) == expected


async def test_types_can_be_chosen_at_an_import_and_integers_keep_64_bits(stub: Any) -> None:
    await created(stub)
    rows = [{"id": f"k{row}", "text": "t", **metadata} for row, metadata in enumerate(DOCUMENTS)]
    report = await imported(stub, rows, metadata_types=[f"{key}={type_}" for key, type_ in CHOSEN_TYPES.items()])
    assert report.imported_count == len(DOCUMENTS)
    fields = {field.key: field for field in report.dataset.metadata_fields}
    names = {
        key: resources_pb2.MetadataField.Type.Name(field.type).removeprefix("TYPE_") for key, field in fields.items()
    }
    assert names == TYPES
    assert [key for key, field in fields.items() if field.is_override] == list(CHOSEN_TYPES)
    assert fields["tags"].document_count == 5

    async def listed(text: str) -> pb2.ListDocumentsResponse:
        return await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d", filter=text))

    (document,) = (await listed("metadata.large = 9007199254740993")).documents
    assert (document.key, document.metadata["large"], document.metadata["year"]) == ("k1", "9007199254740993", 2000)
    answer = await listed("metadata.yaer > 1 AND state = PENDING")
    assert list(answer.notices) == ["no document has the metadata key 'yaer'; did you mean 'year'?"]
    for text in ("yaer > 1", "metadata.year >", "state = OPEN", f'metadata.title : "{"x" * 501}"'):
        with pytest.raises(grpc.RpcError, match="character"):
            await listed(text)
    with pytest.raises(grpc.RpcError, match="expected <key>=<type> with one of STRING, INTEGER"):
        await imported(stub, rows, metadata_types=["zip=TEXT"])
    exported = [block async for block in stub.ReadDocuments(pb2.ReadDocumentsRequest(dataset="datasets/d"))]
    again = [json_format.MessageToDict(document) for block in exported for document in block.documents]
    await created(stub, "again")
    report = await imported(
        stub, again, "datasets/again", metadata_types=[f"{key}={CHOSEN_TYPES[key]}" for key in CHOSEN_TYPES]
    )
    assert [(field.key, field.type) for field in report.dataset.metadata_fields] == [
        (field.key, field.type) for field in fields.values()
    ]
