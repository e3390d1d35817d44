"""A file of documents: which items are taken, and the reason for each that is rejected."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from prisma_common.names import SEGMENT
from services.embedder import messages, metadata
from services.embedder.documents import NewDocument, document_id
from services.embedder.errors import InvalidFile
from services.embedder.files.documents import read_documents
from services.embedder.files.fields import find_fields
from services.embedder.files.formats import FileOptions, Format, Layout, Limits
from services.embedder.files.json import MAX_NESTING
from services.embedder.files.lines import read_lines
from services.embedder.files.opening import open_file
from services.embedder.files.structure import CHUNK_BYTES, StructureScanner, array_elements, check_array
from services.embedder.given import FieldVectors, VectorChecks
from services.embedder.items import FieldOptions, Fields, Reason, Rejection
from services.embedder.reports import Report

LIMIT = 1000
FUZZ_FILES = 3000
LIMITS = Limits(item_bytes=1 << 20, file_bytes=1 << 30)
HIT = {"document": "datasets/d/documents/~abc", "key": "doc/1", "row": "0", "metadata": {"year": 2020}}

keys = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60).map(lambda text: f"word {text}")
values = st.dictionaries(
    keys.filter(lambda key: key not in ("id", "text", "metadata")),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    max_size=3,
)
rows = st.lists(st.tuples(keys, texts, values), max_size=8, min_size=1, unique_by=lambda row: row[0])


def items_of(data: bytes, max_text_bytes: int = LIMIT) -> Iterator[tuple[int, NewDocument] | Rejection]:
    limits = replace(LIMITS, item_bytes=2 * max_text_bytes + metadata.MAX_BYTES)
    reader = open_file(io.BytesIO(data), FileOptions(), limits)
    return read_documents(reader, find_fields(reader, FieldOptions()).fields, max_text_bytes)


def split(data: bytes, max_text_bytes: int = LIMIT) -> tuple[list[NewDocument], list[Rejection]]:
    items = list(items_of(data, max_text_bytes))
    rejections = [item for item in items if isinstance(item, Rejection)]
    return [item[1] for item in items if not isinstance(item, Rejection)], rejections


def read(data: bytes) -> tuple[list[str], list[tuple[int, Reason]]]:
    documents, rejections = split(data)
    return [document.key for document in documents], [(rejection.item, rejection.reason) for rejection in rejections]


@settings(max_examples=50)
@given(
    documents=rows,
    as_lines=st.booleans(),
    mark=st.booleans(),
    escaped=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_valid_is_taken_as_array_and_as_lines(
    documents: list[tuple[str, str, dict[str, object]]], as_lines: bool, mark: bool, escaped: bool, line_end: str
) -> None:
    objects = [{**fields, "id": key, "text": text} for key, text, fields in documents]
    if as_lines:
        body = line_end.join(json.dumps(item, ensure_ascii=escaped) for item in objects)
    else:
        body = json.dumps(objects, ensure_ascii=escaped, indent=1)
    items = list(items_of((b"\xef\xbb\xbf" if mark else b"") + body.encode()))
    accepted = [item for item in items if not isinstance(item, Rejection)]
    assert [(new.key, new.text, dict(new.metadata)) for _place, new in accepted] == documents
    assert [place for place, _document in accepted] == list(range(1, len(documents) + 1))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", Reason.INVALID_JSON),
        (b'{"id": "a", "text": NaN}', Reason.MISSING_TEXT),
        (b'{"id": "a", "text": "t", "m": ' + b"1" * 5000 + b"}", Reason.INVALID_JSON),
        (b"7", Reason.NOT_AN_OBJECT),
        (b"[" * 200 + b"]" * 200, Reason.NOT_AN_OBJECT),
        (b'{"text": "t"}', Reason.MISSING_ID),
        (b'{"id": "", "text": "t"}', Reason.INVALID_ID),
        (b'{"id": true, "text": "t"}', Reason.INVALID_ID),
        (b'{"id": 1.5, "text": "t"}', Reason.INVALID_ID),
        (b'{"id": "\\ud800", "text": "t"}', Reason.INVALID_ID),
        (b'{"id": "' + b"k" * 513 + b'", "text": "t"}', Reason.INVALID_ID),
        (b'{"id": "a"}', Reason.MISSING_TEXT),
        (b'{"id": "a", "\\ud800": "t"}', Reason.MISSING_TEXT),
        (b'{"id": "a", "text": 7}', Reason.INVALID_TEXT),
        (b'{"id": "a", "text": " \\n "}', Reason.INVALID_TEXT),
        (b'{"id": "a", "text": "\\u200b\\u00a0\\ufeff\\u0000"}', Reason.INVALID_TEXT),
        (b'{"id": "a", "text": "\\u3164\\u2800\\ufe0f\\u034f\\u115f"}', Reason.INVALID_TEXT),
        (b'{"id": "a", "id": "b", "text": "t"}', Reason.INVALID_JSON),
        (b'{"id": "a", "text": "t", "m": {"x": 1, "x": 2}}', Reason.INVALID_JSON),
        (b'{"id": "a", "text": "a raw \x00"}', Reason.INVALID_JSON),
        (b'{"id": "a", "text": "\\ud800"}', Reason.INVALID_UTF8),
        (b'{"id": "a", "text": "\xff"}', Reason.INVALID_UTF8),
        (b'{"id": "a", "text": "' + b"x" * (LIMIT + 1) + b'"}', Reason.TEXT_TOO_LONG),
        (b'{"id": "a", "text": "' + b"x" * 200_000 + b'"}', Reason.TEXT_TOO_LONG),
        (b'{"id": "a", "text": "t", "m": ' + b"[" * 8 + b"]" * 8 + b"}", Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.TEXT_TOO_LONG),
        (b'{"id": "a", "text": "t", "m": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": {"\\ud800": 1}}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": ["\\udfff"]}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": 1e400}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": -1e400}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": 18446744073709551616}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "m": -18446744073709551616}', Reason.INVALID_METADATA),
        (b'{"id": "a", "text": "t", "a": 1, "metadata": {"a": 2}}', Reason.INVALID_METADATA),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_an_item_is_rejected_alone_with_its_reason(line: bytes, reason: Reason, as_array: bool) -> None:
    lines = [b'{"id": "before", "text": "t"}', line, b'{"id": "after", "text": "t"}']
    data = b"[" + b",\n".join(lines) + b"]" if as_array and line != b"{" else b"\n".join(lines)
    accepted, rejected = read(data)
    assert accepted == ["before", "after"]
    assert rejected == [(2, reason)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": null, "text": "t"}', "under 'id' .*; it is null"),
        (b'{"id": "a", "text": null}', "under 'text' .*; it is null"),
        (b'{"key": "a", "body": "t"}', "the fields are key, body"),
        (b"{}", "the object is empty"),
        (b'{"total": 1, "rows": [{"id": "a", "text": "t"}]}', "under 'rows' seem to be the documents"),
        (b'{"id": 1.0, "text": "t"}', "whole number, got the number 1.0"),
        (b'{"id": "' + b"k" * 513 + b'", "text": "t"}', "got 513"),
        (b'{"id": "\\ud800", "text": "t"}', "half of a surrogate pair"),
        (b'{"id": "a", "text": "t"},', "without a comma behind it"),
        (b'{"id": "a", "text": "t"}{"id": "b", "text": "t"}', "a line of its own"),
        (b"{'id': 'a', 'text': 't'}", "double quotes"),
        (b'{"id": "a", "text": "a\ttab"}', "written as an escape"),
        (b'{"id": "a", "text": "t}', "no closing quote"),
        (b'{"id": "a", "text": "C:\\Users"}', "a backslash must be written twice"),
        (b'{"id": "a", "text": "t", "m": 1, "m": 2}', "the field 'm' is given twice"),
    ],
)
def test_a_rejection_says_what_is_wrong_in_words_of_those_who_made_the_file(line: bytes, words: str) -> None:
    _documents, rejections = split(b'{"id": "before", "text": "t"}\n' + line)
    assert len(rejections) == 1
    assert re.search(words, rejections[0].message), rejections[0].message


def test_a_raw_nul_in_the_first_item_is_no_binary_file() -> None:
    accepted, rejected = read(b'{"id": "a", "text": "one\x00"}\n{"id": "b", "text": "t"}')
    assert (accepted, rejected) == (["b"], [(1, Reason.INVALID_JSON)])


def test_byte_order_marks_are_no_part_of_an_item() -> None:
    """Files that each begin with one are joined by `cat`."""
    mark = b"\xef\xbb\xbf"
    first, second = b'{"id": "a", "text": "t"}\n', b'{"id": "b", "text": "t"}\n'
    assert read(mark + first + mark + second) == (["a", "b"], [])
    assert read(mark + mark + first) == (["a"], [])
    assert read(b"\n" + mark + first) == (["a"], [])


def test_metadata_may_be_8_levels_deep() -> None:
    documents, _rejections = split(b'{"id": "a", "text": "t", "m": ' + b"[" * 7 + b"]" * 7 + b"}")
    assert documents[0].metadata == {"m": [[[[[[[]]]]]]]}


def test_a_rejection_names_the_item_the_place_and_the_size() -> None:
    too_large = {"id": "large", "text": "t", "html": "x" * 70_000, "year": 2020}
    too_precise = {"id": "precise", "text": "t", "a": {"b": [1, 2**64]}}
    _documents, rejections = split(f"{json.dumps(too_large)}\n{json.dumps(too_precise)}".encode(), 1 << 20)
    assert [rejection.key for rejection in rejections] == ["large", "precise"]
    assert "70,002 of them in metadata.html" in rejections[0].message
    assert "metadata.a.b.1: the integer has more than 64 bits" in rejections[1].message
    many = {"id": "many", "text": "t"} | {f"field {number}": 1 for number in range(5000)}
    assert "of 5,000 fields" in split(json.dumps(many).encode(), 1 << 20)[1][0].message


def test_the_second_of_two_equal_ids_is_rejected() -> None:
    accepted, rejected = read(b'[{"id": 1, "text": "a"}, {"id": "1", "text": "b"}]')
    assert accepted == ["1"]
    assert rejected == [(2, Reason.DUPLICATE_IN_FILE)]


def test_metadata_given_as_an_object_is_the_metadata() -> None:
    documents, _rejections = split(b'{"id": 1, "text": "t", "year": 2020, "metadata": {"id": 7, "tags": ["a"]}}')
    assert documents[0].metadata == {"year": 2020, "id": 7, "tags": ["a"]}
    documents, _rejections = split(b'{"id": 1, "text": "t", "metadata": "a word"}')
    assert documents[0].metadata == {"metadata": "a word"}


def test_a_document_as_the_api_returns_it_can_be_imported_again() -> None:
    returned = {
        "name": "datasets/d/documents/~abc",
        "key": "doc/1",
        "row": "0",
        "text": "the text",
        "textTruncated": False,
        "metadata": {"year": 2020.0},
        "state": "STATE_EMBEDDED",
        "createTime": "2026-01-01T00:00:00Z",
    }
    documents, _rejections = split(json.dumps(returned).encode())
    assert documents == [NewDocument("doc/1", "the text", {"year": 2020.0})]
    _documents, rejections = split(json.dumps({**returned, "textTruncated": True}).encode())
    assert "documents:read" in rejections[0].message


def test_a_line_of_an_export_can_be_imported_again() -> None:
    line = {**HIT, "text": "the text", "indices": [3], "activations": [0.5]}
    assert split(json.dumps(line).encode())[0] == [NewDocument("doc/1", "the text", {"year": 2020})]
    _documents, rejections = split(json.dumps({**line, "textTruncated": True}).encode())
    assert "cut short" in rejections[0].message


@pytest.mark.parametrize(
    "data",
    [
        b'{"documents": [{"id": "a", "text": "t"}, {"id": "b", "text": "u"}], "nextPageToken": "xyz", "totalSize": 3}',
        b'\xef\xbb\xbf {\n "documents": [\n  {"id": "a", "text": "t"},\n  {"id": "b", "text": "u"}\n ]\n}\n',
        b'{"reviews":[{"id":"a","text":"t"},{"id":"b","text":"u"}],"info":{"a":[{}]}}',
        b'{"data":[{"id":"a","text":"t"},' + b" " * (3 * CHUNK_BYTES) + b'{"id":"b","text":"u"}]}',
    ],
)
def test_documents_may_be_the_first_member_of_one_object(data: bytes) -> None:
    assert read(data) == (["a", "b"], [])


def test_a_page_of_a_list_says_that_more_pages_follow() -> None:
    data = b'{"documents": [{"id": "a", "text": "t"}], "nextPageToken": "xyz", "totalSize": "3"}'
    notes = open_file(io.BytesIO(data), FileOptions(), LIMITS).layout.notes
    assert (
        notes[0]
        == "The documents are the objects under 'documents'; left out beside them: 'nextPageToken', 'totalSize'."
    )
    assert "one page of a list" in notes[1]
    whole = data.replace(b"xyz", b"")
    assert len(open_file(io.BytesIO(whole), FileOptions(), LIMITS).layout.notes) == 1


def block(numbers: Iterable[int]) -> bytes:
    """A line of documents:read, as HTTP has it."""
    documents = [
        {"name": f"datasets/d/documents/~{number}", "key": f"k{number}", "row": str(number), "text": f"text {number}"}
        for number in numbers
    ]
    return json.dumps({"documents": documents, "deletedRows": [], "revision": "7", "history": "h"}).encode()


@pytest.mark.parametrize("counts", [(2, 3), (12_000, 5, 0)])
def test_what_documents_read_streams_can_be_imported(counts: tuple[int, ...]) -> None:
    starts = [sum(counts[:place]) for place in range(len(counts))]
    blocks = [block(range(start, start + count)) for start, count in zip(starts, counts, strict=True)]
    data = b"\n".join(blocks) + b'\n\n{"error": {"code": 14}}\n' + block([0]) + b'\n{"documents": [\n'
    count = sum(counts)
    keys, rejections = read(data)
    assert keys == [f"k{number}" for number in range(count)]
    assert [reason for _item, reason in rejections] == [
        Reason.MISSING_ID,
        Reason.DUPLICATE_IN_FILE,
        Reason.INVALID_JSON,
    ]
    assert "on each line" in open_file(io.BytesIO(data), FileOptions(), LIMITS).layout.notes[0]
    assert len(read(blocks[0])[0]) == counts[0]


def test_a_document_in_a_block_is_rejected_alone_if_it_is_too_long() -> None:
    long = block([1]).replace(b"text 1", b"x" * 100_000)
    keys, rejections = read(block([0]) + b"\n" + long + b"\n" + block([2]) + b"\n")
    assert (keys, rejections) == (["k0", "k2"], [(2, Reason.TEXT_TOO_LONG)])


LONG = "a long text of a document " * 20


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"tags": [{"name": "horror"}, {"name": "old"}], "title": "T", "body": "A long body"}, "A long body"),
        ({"tags": [{"name": "horror"}], "message": LONG}, LONG),
        ({"tags": [{"name": "horror"}], "novel": LONG}, LONG),
        ({"items": [{"name": "a"}], "title": "T"}, "T"),
        ({"items": [{"name": "a", "text": "t"}], "title": "The list"}, "t"),
        ({"reviews": [{"name": "a", "text": "t"}], "message": "ok"}, "t"),
    ],
)
def test_a_document_may_begin_with_an_array_of_objects(document: dict[str, object], text: str) -> None:
    [item] = split(json.dumps(document).encode())[0]
    assert item.text == text


def test_nan_in_a_vector_rejects_its_row_and_hides_no_column() -> None:
    numbers = [place + 0.5 for place in range(16)]
    vectors = [[float("nan"), *numbers[1:]], numbers, [*numbers[1:], float("-inf")], numbers]
    rows = [{"id": str(place), "text": "t", "v": vector} for place, vector in enumerate(vectors)]
    for data in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        reader = open_file(io.BytesIO(data.encode()), FileOptions(), LIMITS)
        guess = find_fields(reader, FieldOptions())
        assert guess.fields.vector_field == "v"
        items = list(read_documents(reader, guess.fields, LIMIT, vectors=FieldVectors("v", VectorChecks(0))))
        rejections = [item for item in items if isinstance(item, Rejection)]
        assert [(rejection.item, rejection.reason) for rejection in rejections] == [
            (1, Reason.INVALID_VECTOR),
            (3, Reason.INVALID_VECTOR),
        ]
        assert "number 1 of the vector is nan" in rejections[0].message
        named = find_fields(reader, FieldOptions(metadata_fields=("v",)))
        [first, *_] = read_documents(reader, named.fields, LIMIT)
        assert not isinstance(first, Rejection)
        assert first[1].metadata == {"v": [None, *numbers[1:]]}


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b'{"turns": [{"a": 1}], "id": "1", "text": "t"}\n{"turns": [{"a": 1}], "id": "2", "text": "t"}\n', ["1", "2"]),
        (b'{"turns": [{"a": 1}], "id": "1", "text": "t"}\n', ["1"]),
    ],
)
def test_lines_that_begin_with_an_array_are_lines(data: bytes, keys: list[str]) -> None:
    assert read(data)[0] == keys


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\n" * (CHUNK_BYTES * 3), "empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"\xd0\xcf\x11\xe0", "workbook"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\xfe[\x00", "to its end"),
        (b"id,text\n1,\x81\n", "choose another encoding"),
        (b"n,m\n1,2\n", "no field holds texts"),
        (b"One text.\nAnother text, with a comma.\n", "plain text"),
        (b"7\n", "plain text"),
        (b'{\n  "id": 1,\n  "text": "one"\n}\n', "several lines"),
        (b'{"count": 1, "data": [{"id": "a", "text": "t"}]}\n', "the objects under 'data' may be the documents"),
        (b'{"data": [{"id": "a", "text": "t"}', "to its end"),
        (b'{"data": [{"id": "a", "text": "t"}]', "to its end"),
        (b'{"data": [{"id": "a", "text": "t"}], "count": }', "to its end"),
        (b'{"data": [{"id": "a", "text": "t"}]]', "to its end"),
        (b'{"data": [{"id": "a", "text": "t"}], "more": "' + b"x" * (1 << 21) + b'"}', "follow its closing bracket"),
        (json.dumps({"hits": [{**HIT, "snippet": "an excerpt"}]}).encode(), "hits of a search"),
        (json.dumps({**HIT, "snippet": "an excerpt"}).encode() + b"\n", "hits of a search"),
        (b"[]", "the array is empty"),
        (b" [ \n ] ", "the array is empty"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\x28\xb5\x2f\xfd\x24", "Zstandard"),
        (b"\x89PNG\r\n\x1a\n and so on", "picture"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "binary"),
        (b"\n<!DOCTYPE html>\n<html>", "HTML page"),
        (b'<?xml version="1.0"?>\n<a/>', "XML"),
        (b'[{"id": "a", "text": "t"}', "to its end"),
        (b'[{"id": "a", "text": "t}]', "to its end"),
        (b'[{"id": "a", "text": "t"}]]', "to its end"),
        (b'[{"id": "a", "text": "t"}}', "to its end"),
        (b"[" * 20_000 + b"]" * 20_000, "other values"),
        (b"[" + b"1," * CHUNK_BYTES + b"1]", "other values"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_once_before_anything_is_taken(data: bytes, words: str) -> None:
    with pytest.raises(InvalidFile, match=words) as caught:
        next(items_of(data))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"\n" * (CHUNK_BYTES * 3) + b'{"id": "a", "text": "t"}',
        b"[" + b" " * (CHUNK_BYTES * 3) + b'{"id": "a", "text": "t"}]',
        b"  [\n" + b'{"id": "a", "text": "t"},\n]\n',
        b'{"id": "a", "text": "t"}' + b"\r" * (CHUNK_BYTES * 2),
    ],
)
def test_blanks_are_no_items(data: bytes) -> None:
    assert read(data) == (["a"], [])


def test_an_element_beyond_the_limit_is_rejected_alone() -> None:
    data = b'[{"id": 1, "text": "' + b"x" * 5_000_000 + b'"}, {"id": 2, "text": "b"}]'
    assert read(data) == (["2"], [(1, Reason.TEXT_TOO_LONG)])


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_the_structure_is_the_same_however_the_text_is_cut(step: int) -> None:
    text = rb'[{"a\\": "x\"]{[,\\\""}, [1, {"b": ["\\\\"]}], "c\\\"d", {}]'
    scanner = StructureScanner()
    pieces: list[tuple[int, int]] = []
    for start in range(0, len(text), step):
        structure = scanner.scan(text[start : start + step])
        places = (structure.positions + start).tolist()
        pieces += zip(places, structure.depths.tolist(), strict=True)
    whole = StructureScanner().scan(text)
    assert pieces == list(zip(whole.positions.tolist(), whole.depths.tolist(), strict=True))
    assert scanner.depth == 0
    check_array(io.BytesIO(text))
    assert [json.loads(element or b"") for element in array_elements(io.BytesIO(text), 100)] == json.loads(text)


def test_lines_end_alike_wherever_a_chunk_ends() -> None:
    for filler in range(CHUNK_BYTES - 3, CHUNK_BYTES + 3):
        data = b"x" * filler + b"\r\nb\rc\n\nd"
        assert [line and line[:1] for line in read_lines(io.BytesIO(data), filler)] == [b"x", b"b", b"c", b"", b"d"]
        assert next(read_lines(io.BytesIO(data), filler - 1)) is None


def test_no_mutation_of_a_file_does_more_than_reject_items() -> None:
    """Seeded mutations of valid files: each gives documents and printable rejections, or one InvalidFile."""
    random_numbers = random.Random(20261126)
    valid = [
        json.dumps([{"id": n, "text": f"text {n}", "tags": ["a", {"b": None}], "x": 1.5} for n in range(4)]).encode(),
        b'{"id": "a", "text": "\\ud83d\\ude00 caf\xc3\xa9"}\r\n{"id": "b", "text": "t", "metadata": {"y": -1e10}}\n',
    ]
    pieces = [b"[", b"{", b"]", b"}", b'"', b"\\", b",", b":", b"\n", b"\r", b"\x00", b"\xff", b"\\ud800", b"1e400"]
    pieces += [b"NaN", b"-", b"9" * 30, b"[" * 300, b"null", b"\xef\xbb\xbf", b" " * 2000, b'"metadata":{', b"\t"]
    for _ in range(FUZZ_FILES):
        data = bytearray(random_numbers.choice(valid))
        for _ in range(random_numbers.randint(1, 6)):
            start = random_numbers.randrange(len(data) + 1)
            end = start + random_numbers.choice([0, 0, 1, 2, 20])
            data[start:end] = random_numbers.choice(pieces) * random_numbers.choice([1, 1, 1, 5])
        report = Report(Layout(Format.JSON), Fields.of(FieldOptions()))
        try:
            for item in items_of(bytes(data)):
                if isinstance(item, Rejection):
                    report.reject(item)
                else:
                    assert metadata.problem(item[1].metadata) is None
                    assert SEGMENT.fullmatch(document_id(item[1].key))
        except InvalidFile:
            continue
        assert "cannot be read" not in " ".join(rejection.message for rejection in report.rejections)
        messages.report(report, after=None).SerializeToString()


def test_an_error_that_nobody_foresaw_rejects_its_item_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(value: object) -> None:
        raise RecursionError(value)

    monkeypatch.setattr(metadata, "problem", failing)
    assert read(b'{"id": 1, "text": "a"}\n{"id": 2}') == ([], [(1, Reason.INVALID_JSON), (2, Reason.MISSING_TEXT)])


def test_an_item_is_parsed_up_to_the_bound_of_nesting_alone() -> None:
    inner = b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1)
    _documents, rejections = split(b'{"id": "a", "text": "t", "m": ' + inner + b"}")
    assert rejections[0].key == "a"  # it was parsed
    _documents, rejections = split(b'{"id": "a", "text": "t", "m": [' + inner + b"]}")
    assert rejections[0].key == ""


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80))
def test_every_key_gives_a_segment_and_different_keys_different_ones(key: str) -> None:
    assert SEGMENT.fullmatch(document_id(key))
    assert document_id(key) != document_id(key + "x")
