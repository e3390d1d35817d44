"""From a JSON value to a document: the rules for ids, texts and metadata, and the reasons for a rejection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from prisma_common.words import is_blank
from services.embedder import metadata as metadata_rules
from services.embedder.documents import MAX_KEY_BYTES, NewDocument
from services.embedder.metadata import is_utf8, printable

MAX_REJECTIONS = 1000
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


@dataclass(frozen=True)
class Rejection:
    """An item that was rejected.

    item: its place in the file, from 1.
    key: its id as far as it could be read, valid UTF-8.
    message: what was expected and what came, valid UTF-8.
    """

    item: int
    key: str
    reason: Reason
    message: str


@dataclass
class Report:
    """The result of an import."""

    imported: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    counts: Counter[Reason] = field(default_factory=Counter[Reason])

    def reject(self, rejection: Rejection) -> None:
        """Counts a rejection, and keeps the first MAX_REJECTIONS."""
        self.counts[rejection.reason] += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejection)


@dataclass(frozen=True)
class Options:
    """How to read a file. id_field: None for the default, `id`."""

    id_field: str | None = None
    text_field: str = "text"
    max_text_bytes: int = 1 << 20


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


def document(item: object, options: Options) -> NewDocument:
    """The document in a JSON value. Raises ItemRejected."""
    if not isinstance(item, dict):
        raise ItemRejected(Reason.NOT_AN_OBJECT, f"expected an object with id and text, got {_kind(item)}")
    fields: dict[str, object] = item  # pyright: ignore[reportUnknownVariableType] - JSON objects have string keys
    exported = options.id_field is None and _is_exported(fields)
    id_field = "key" if exported else options.id_field or "id"
    key = _key(fields, id_field)
    if exported and (fields.get("textTruncated") or fields.get("text_truncated")):
        message = "a list cut this text short; export the documents with documents:read, which returns whole texts"
        raise ItemRejected(Reason.INVALID_TEXT, message, key=key)
    text = _text(fields, options, key)
    extra_fields: dict[str, object] = {}
    if not exported:
        extra_fields = {name: value for name, value in fields.items() if name not in (id_field, options.text_field)}
    elif fields.get(_METADATA) is not None:
        extra_fields = {_METADATA: fields[_METADATA]}
    metadata = _metadata(extra_fields, key)
    if (problem := metadata_rules.problem(metadata)) is not None:
        raise ItemRejected(Reason.INVALID_METADATA, problem, key=key)
    return NewDocument(key, text, metadata)


def _is_exported(fields: Mapping[str, object]) -> bool:
    """Whether the object is a Document as the API returns it, whose other fields the server sets."""
    name = fields.get("name")
    return isinstance(name, str) and "key" in fields and "id" not in fields and bool(_DOCUMENT_NAME.fullmatch(name))


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
    lists = [name for name, value in fields.items() if isinstance(value, list) and value and isinstance(value[0], dict)]  # pyright: ignore[reportUnknownVariableType]
    if lists:
        return f"the objects under {lists[0][:_MAX_SHOWN_KEY]!r} seem to be the documents: import that array alone"
    return f"the fields are {', '.join(fields)[:_MAX_SHOWN_KEY]}" if fields else "the object is empty"


def _text(fields: Mapping[str, object], options: Options, key: str) -> str:
    value = fields.get(options.text_field)
    if value is None:
        message = f"expected a text under {options.text_field!r} (another field: text_field, --text-field); "
        message += _alternatives(fields, options.text_field)
        raise ItemRejected(Reason.MISSING_TEXT, message, key=key)
    if not isinstance(value, str):
        raise ItemRejected(Reason.INVALID_TEXT, f"expected a text, got {_kind(value)}", key=key)
    if is_blank(value):
        raise ItemRejected(Reason.INVALID_TEXT, "expected a text, got only blank or invisible characters", key=key)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ItemRejected(Reason.INVALID_UTF8, "the text holds half of a surrogate pair", key=key) from None
    if size > options.max_text_bytes:
        message = f"the text has {size:,} bytes, at most {options.max_text_bytes:,} are allowed"
        raise ItemRejected(Reason.TEXT_TOO_LONG, message, key=key)
    return value


def _kind(value: object) -> str:
    if isinstance(value, float):
        return f"the number {value}"
    kinds = {"dict": "an object", "list": "an array", "str": "text", "bool": "true or false", "NoneType": "null"}
    return kinds.get(type(value).__name__, "a number")
