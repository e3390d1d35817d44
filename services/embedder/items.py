"""From a JSON value or a row to a document: the rules for ids, texts and metadata, and the reasons for rejections."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import numpy as np

from prisma_common.words import is_blank
from services.embedder import metadata as metadata_rules
from services.embedder.documents import MAX_KEY_BYTES, NewDocument
from services.embedder.metadata import is_utf8, printable

_MAX_SHOWN_KEY = 200
_DOCUMENT_NAME = re.compile(r"datasets/[^/]+/documents/[^/]+")
_METADATA = "metadata"


class Reason(StrEnum):
    """Why an item is rejected."""

    INVALID_JSON = "INVALID_JSON"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_ID = "MISSING_ID"
    INVALID_ID = "INVALID_ID"
    MISSING_TEXT = "MISSING_TEXT"
    INVALID_TEXT = "INVALID_TEXT"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    DUPLICATE_IN_FILE = "DUPLICATE_IN_FILE"
    DUPLICATE_IN_DATASET = "DUPLICATE_IN_DATASET"
    INVALID_UTF8 = "INVALID_UTF8"
    INVALID_METADATA = "INVALID_METADATA"
    INVALID_ROW = "INVALID_ROW"
    INVALID_VECTOR = "INVALID_VECTOR"
    MISSING_VECTOR = "MISSING_VECTOR"
    VECTOR_LENGTH = "VECTOR_LENGTH"
    ZERO_VECTOR = "ZERO_VECTOR"


@dataclass(frozen=True)
class Rejection:
    """An item that was rejected.

    item: its place in the file, from 1.
    key: its id as far as it could be read, valid UTF-8.
    message: what was expected and what came, valid UTF-8.
    table: the file of an archive, or the sheet of a workbook, that has the item; None for a file that is one table.
    table_item: its place in one of several tables, from 1; None where there is one.
    """

    item: int
    key: str
    reason: Reason
    message: str
    table: str | None = None
    table_item: int | None = None


class IdSource(StrEnum):
    """What gives documents their ids. TEXT: a digest of it. ROW: the item's place in the file."""

    FIELD = "FIELD"
    TEXT = "TEXT"
    ROW = "ROW"


@dataclass(frozen=True)
class FieldOptions:
    """Which fields of a file are what; None or empty where it is to be guessed.

    text_fields: several are joined by blank lines. metadata_fields: None for all that are neither id nor text, empty
    for none. id_source: other than FIELD only without an id_field.
    """

    id_field: str | None = None
    text_fields: tuple[str, ...] = ()
    metadata_fields: tuple[str, ...] | None = None
    vector_field: str | None = None
    id_source: IdSource | None = None

    @property
    def has_no_id_field(self) -> bool:
        """Whether no field holds ids, whatever they are called."""
        return self.id_source in (IdSource.TEXT, IdSource.ROW)


@dataclass(frozen=True)
class Fields:
    """Which fields of a file are what.

    id_field: None where no field holds ids. metadata_fields: None for all others. takes_exported: whether a Document as
    the API returns it is taken as such. vector_field: None where no field holds vectors, or several may. vector_fields:
    all that seem to hold vectors; they are no metadata. id_source: FIELD where there is an id_field. feature_fields:
    those that an export of a run's documents added to them; they are no metadata either.
    """

    id_field: str | None
    text_fields: tuple[str, ...]
    metadata_fields: tuple[str, ...] | None
    takes_exported: bool
    vector_field: str | None = None
    vector_fields: tuple[str, ...] = ()
    id_source: IdSource = IdSource.FIELD
    feature_fields: tuple[str, ...] = ()

    @staticmethod
    def of(
        options: FieldOptions,
        *,
        id_field: str | None = "id",
        text_field: str = "text",
        vector_fields: Collection[str] = (),
    ) -> Fields:
        """The fields of the options, and others where these leave them open.

        vector_fields: those that seem to hold vectors.
        """
        only_one = next(iter(vector_fields)) if len(vector_fields) == 1 else None
        id_field = None if options.has_no_id_field else options.id_field or id_field
        return Fields(
            id_field=id_field,
            id_source=IdSource.FIELD if id_field is not None else options.id_source or IdSource.TEXT,
            text_fields=options.text_fields or (text_field,),
            metadata_fields=options.metadata_fields,
            takes_exported=options.id_field is None and not options.has_no_id_field,
            vector_field=options.vector_field or only_one,
            vector_fields=(*vector_fields, *([options.vector_field] if options.vector_field else [])),
        )

    @property
    def texts(self) -> set[str]:
        """The fields whose values are wanted as text."""
        return {*self.text_fields, *([self.id_field] if self.id_field else [])}


class ItemRejected(Exception):
    """An item cannot become a document."""

    def __init__(self, reason: Reason, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.key = key

    def rejection(self, item: int) -> Rejection:
        """The entry in the report."""
        return Rejection(item, printable(self.key)[:_MAX_SHOWN_KEY], self.reason, printable(self.message))


def document(item: object, fields: Fields, max_text_bytes: int, *, has_vectors: bool = False) -> NewDocument:
    """The document in a JSON value. Raises ItemRejected.

    has_vectors: whether each item has a vector beside: a document that the API returned needs no text then.
    """
    if not isinstance(item, dict):
        raise ItemRejected(Reason.NOT_AN_OBJECT, f"expected an object with id and text, got {_kind(item)}")
    values: dict[str, object] = item  # pyright: ignore[reportUnknownVariableType] - JSON objects have string keys
    if fields.takes_exported and is_exported(values):
        return _exported_document(values, fields.metadata_fields, max_text_bytes, has_vectors=has_vectors)
    key = "" if fields.id_field is None else _key(values, fields.id_field)
    text = _text(values, fields.text_fields, max_text_bytes, key) if fields.text_fields else ""
    if fields.metadata_fields is None:
        used_fields = fields.texts.union(fields.vector_fields, fields.feature_fields)
        extra_fields = {name: _as_metadata(value) for name, value in values.items() if name not in used_fields}
    else:
        extra_fields = {name: _as_metadata(values[name]) for name in fields.metadata_fields if name in values}
    return NewDocument(key or text_id(text), text, _checked_metadata(extra_fields, key))


def _as_metadata(value: object) -> object:
    """The value of a field; of a vector, the list of its numbers. Lists of JSON may hold NaN, which is absent."""
    if isinstance(value, list):
        numbers = cast("list[object]", value)
        return [None if isinstance(number, float) and not math.isfinite(number) else number for number in numbers]
    return cast("list[float]", value.tolist()) if isinstance(value, np.ndarray) else value


def text_id(text: str) -> str:
    """The id of a document without one: half of the SHA-256 of its text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_exported(values: Mapping[str, object]) -> bool:
    """Whether an object is a Document or a line of an export, as the API returns them; the server sets other fields."""
    name = values.get("name", values.get("document"))
    return isinstance(name, str) and "key" in values and "id" not in values and bool(_DOCUMENT_NAME.fullmatch(name))


def is_excerpt(values: Mapping[str, object]) -> bool:
    """Whether an exported object has an excerpt in place of its document's text, as the hits of a search have."""
    return "text" not in values and "snippet" in values


def _exported_document(
    values: Mapping[str, object], metadata_fields: Collection[str] | None, max_text_bytes: int, *, has_vectors: bool
) -> NewDocument:
    """The document that the API returned. Raises ItemRejected for one whose text is cut short.

    metadata_fields: those that are taken, None for all.
    """
    key = _key(values, "key")
    if values.get("passage"):
        message = "this is a passage of a document; export the documents with documents:read and wholeDocuments"
        raise ItemRejected(Reason.INVALID_TEXT, message, key=key)
    if values.get("textTruncated") or values.get("text_truncated"):
        message = "this text was cut short; export the documents with documents:read, which returns whole texts"
        raise ItemRejected(Reason.INVALID_TEXT, message, key=key)
    is_vector_alone = has_vectors and values.get("text") in (None, "")
    text = "" if is_vector_alone else _text(values, ("text",), max_text_bytes, key)
    metadata = _checked_metadata({_METADATA: values[_METADATA]} if values.get(_METADATA) is not None else {}, key)
    if metadata_fields is not None:
        metadata = {name: value for name, value in metadata.items() if name in metadata_fields}
    return NewDocument(key, text, metadata)


def _checked_metadata(fields: dict[str, object], key: str) -> Mapping[str, object]:
    """The metadata in the fields beside id and text. Raises ItemRejected."""
    metadata = _metadata(fields, key)
    if (problem := metadata_rules.problem(metadata)) is not None:
        raise ItemRejected(Reason.INVALID_METADATA, problem, key=key)
    return metadata


def _metadata(extra_fields: dict[str, object], key: str) -> Mapping[str, object]:
    """The fields beside id and text; an object under `metadata` contributes its own fields."""
    nested = extra_fields.get(_METADATA)
    if not isinstance(nested, dict):
        return extra_fields
    fields: dict[str, object] = nested  # pyright: ignore[reportUnknownVariableType] - as above
    beside = {name: value for name, value in extra_fields.items() if name != _METADATA}
    if twice := beside.keys() & fields.keys():
        message = f"{min(twice)!r} is given twice, beside `metadata` and in it"
        raise ItemRejected(Reason.INVALID_METADATA, message, key=key)
    return {**beside, **fields}


def _key(fields: Mapping[str, object], id_field: str) -> str:
    value = fields.get(id_field)
    if value is None:
        message = f"expected an id under {id_field!r} (another field: id_field, --id-field); "
        message += _alternatives(fields, id_field)
        raise ItemRejected(Reason.MISSING_ID, message)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ItemRejected(Reason.INVALID_ID, f"expected an id of text or a whole number, got {_kind(value)}")
    key = str(value)
    if not is_utf8(key):
        raise ItemRejected(Reason.INVALID_ID, "the id holds half of a surrogate pair, which is not text", key=key)
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        message = f"expected an id of 1 to {MAX_KEY_BYTES} bytes of UTF-8, got {len(key.encode()):,}"
        raise ItemRejected(Reason.INVALID_ID, message, key=key)
    return key


def _alternatives(fields: Mapping[str, object], missing: str) -> str:
    """What an object has in place of a field that is missing or null."""
    if missing in fields:
        return "it is null"
    if (name := wrapper(fields)) is not None:
        return f"the objects under {name!r} seem to be the documents: import that array alone"
    return f"the fields are {', '.join(fields)[:_MAX_SHOWN_KEY]}" if fields else "the object is empty"


def wrapper(fields: Mapping[str, object]) -> str | None:
    """The field of an object that holds an array of objects, which may be the documents."""
    for name, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return name[:_MAX_SHOWN_KEY]
    return None


def _text(values: Mapping[str, object], text_fields: tuple[str, ...], max_text_bytes: int, key: str) -> str:
    """The text of a document: that of its fields, joined by blank lines; of several, some may be missing."""
    parts = [value for name in text_fields if (value := values.get(name)) is not None]
    if not parts:
        names = " or ".join(map(repr, text_fields))
        message = f"expected a text under {names} (another field: text_fields, --text-field); "
        message += _alternatives(values, text_fields[0])
        raise ItemRejected(Reason.MISSING_TEXT, message, key=key)
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        part = next(part for part in parts if not isinstance(part, str))
        raise ItemRejected(Reason.INVALID_TEXT, f"expected a text, got {_kind(part)}", key=key)
    text = "\n\n".join(part for part in texts if not is_blank(part)) if len(text_fields) > 1 else texts[0]
    if is_blank(text):
        raise ItemRejected(Reason.INVALID_TEXT, "expected a text, got only blank or invisible characters", key=key)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ItemRejected(Reason.INVALID_UTF8, _undecodable(text), key=key) from None
    if size > max_text_bytes:
        message = f"the text has {size:,} bytes, at most {max_text_bytes:,} are allowed"
        raise ItemRejected(Reason.TEXT_TOO_LONG, message, key=key)
    return text


def _undecodable(text: str) -> str:
    """What to say of a text that has no UTF-8: bytes of a file that are none stand in it as U+DC80 to U+DCFF."""
    place = next(place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff")
    if "\udc80" <= text[place] <= "\udcff":
        return (
            f"the text has bytes that are no UTF-8, after {place:,} characters (other encodings: encoding, --encoding)"
        )
    return "the text holds half of a surrogate pair"


def _kind(value: object) -> str:
    if isinstance(value, float):
        return f"the number {value}"
    kinds = {"dict": "an object", "list": "an array", "str": "text", "bool": "true or false", "NoneType": "null"}
    return kinds.get(type(value).__name__, "a number")
