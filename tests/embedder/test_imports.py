"""A file of documents: what is taken, and what each item that is not taken is told."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from services.embedder.documents import document_id
from services.embedder.errors import InvalidFile
from services.embedder.imports import Options, Reason, Rejection, read_documents

LIMIT = 1000
OPTIONS = Options(max_text_bytes=LIMIT)


def read(path: Path, data: bytes) -> tuple[list[str], list[tuple[int, Reason]]]:
    path.write_bytes(data)
    items = list(read_documents(path, OPTIONS))
    rejected = [(each.item, each.reason) for each in items if isinstance(each, Rejection)]
    return [each[1].key for each in items if not isinstance(each, Rejection)], rejected


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


keys = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(str.strip)
values = st.dictionaries(
    keys.filter(lambda key: key not in ("id", "text")),
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts | st.lists(texts, max_size=3),
    max_size=3,
)
items = st.lists(st.tuples(keys, texts, values), max_size=8, min_size=1, unique_by=lambda item: item[0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(items, st.booleans(), st.booleans(), st.booleans())
def test_what_is_valid_is_taken_as_array_and_as_lines(
    file: Path, rows: list[tuple[str, str, dict[str, object]]], as_lines: bool, mark: bool, escaped: bool
) -> None:
    objects = [{**metadata, "id": key, "text": text} for key, text, metadata in rows]
    if as_lines:
        body = "\n".join(json.dumps(each, ensure_ascii=escaped) for each in objects)
    else:
        body = json.dumps(objects, ensure_ascii=escaped, indent=1)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + body.encode())
    taken = [each for each in read_documents(file, OPTIONS) if not isinstance(each, Rejection)]
    assert [(each.key, each.text, dict(each.metadata)) for _place, each in taken] == rows
    assert [place for place, _document in taken] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", Reason.INVALID_JSON),
        (b'{"id": "a", "text": NaN}', Reason.INVALID_JSON),
        (b"7", Reason.NOT_AN_OBJECT),
        (b'{"text": "t"}', Reason.MISSING_ID),
        (b'{"id": "", "text": "t"}', Reason.INVALID_ID),
        (b'{"id": true, "text": "t"}', Reason.INVALID_ID),
        (b'{"id": 1.5, "text": "t"}', Reason.INVALID_ID),
        (b'{"id": "' + b"k" * 513 + b'", "text": "t"}', Reason.INVALID_ID),
        (b'{"id": "a"}', Reason.MISSING_TEXT),
        (b'{"id": "a", "text": 7}', Reason.INVALID_TEXT),
        (b'{"id": "a", "text": " \\n "}', Reason.INVALID_TEXT),
        (b'{"id": "a", "text": "\\ud800"}', Reason.INVALID_UTF8),
        (b'{"id": "a", "text": "\xff"}', Reason.INVALID_UTF8),
        (b'{"id": "a", "text": "' + b"x" * (LIMIT + 1) + b'"}', Reason.TEXT_TOO_LONG),
        (b'{"id": "a", "text": "' + b"x" * 200_000 + b'"}', Reason.TEXT_TOO_LONG),
        (b'{"id": "a", "text": "t", "m": ' + b"[" * 10 + b"]" * 10 + b"}", Reason.INVALID_METADATA),
    ],
)
def test_an_item_that_cannot_be_taken_is_told_why_and_the_others_are_taken(
    file: Path, line: bytes, reason: Reason
) -> None:
    good = b'{"id": "before", "text": "t"}\n'
    taken, rejected = read(file, good + line + b'\n{"id": "after", "text": "t"}\n')
    assert taken == ["before", "after"]
    assert rejected == [(2, reason)]


def test_the_second_of_two_equal_ids_is_reported(file: Path) -> None:
    taken, rejected = read(file, b'[{"id": 1, "text": "a"}, {"id": "1", "text": "b"}]')
    assert taken == ["1"]
    assert rejected == [(2, Reason.DUPLICATE_IN_FILE)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\xfe[\x00", "UTF-16"),
        (b'[{"id": "a", "text": "t"}', "to its end"),
        (b'[{"id": "a", "text": "t"}, nonsense]', "to its end"),
        (b'[{"id": "a", "text": "' + b"x" * 10_000 + b'"}]', "a string of more than"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_taken(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(InvalidFile, match=words):
        next(iter(read_documents(file, OPTIONS)))


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80))
def test_every_key_gives_a_segment_and_different_keys_different_ones(key: str) -> None:
    from services.chassis.names import SEGMENT

    assert SEGMENT.fullmatch(document_id(key))
    assert document_id(key) != document_id(key + "x")
