"""Which fields documents' metadata have, and of which type they are: counted as documents come and go."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from services.chassis.metadata_terms import Described, Type

MAX_FIELDS = 1000
"""Fields that are counted; of the others nothing is known, and they are compared as texts."""
MAX_KEY_BYTES = 500
"""Of the key of a field that is counted, in UTF-8."""


@dataclass(frozen=True)
class MetadataField:
    """What is known of a field.

    document_count: documents that have a value. counts: documents that have a value of each type by itself.
    override: the type that a person chose.
    """

    document_count: int = 0
    counts: Mapping[Type, int] = dataclasses.field(default_factory=dict[Type, int])
    override: Type | None = None

    @property
    def type(self) -> Type:
        """The one that was chosen, else the one that all values have; numbers may be whole, texts may be anything."""
        if self.override is not None:
            return self.override
        types = {type_ for type_, count in self.counts.items() if count > 0}
        if types == {Type.INTEGER, Type.NUMBER}:
            return Type.NUMBER
        return types.pop() if len(types) == 1 else Type.STRING


Schema = Mapping[str, MetadataField]
"""Fields by key; nested keys joined by `.`."""
Types = Mapping[str, Type]
"""Of fields, by key."""


def types_of(schema: Schema) -> Types:
    """The types of the fields that some document has."""
    return {key: field.type for key, field in schema.items() if field.document_count}


def changed(schema: Schema, documents: Iterable[Described], *, by: int) -> Schema:
    """The schema once documents with these metadata have come (by = 1) or gone (by = -1)."""
    changes: Counter[tuple[str, Type | None]] = Counter()
    for document in documents:
        changes.update(document.types)
        changes.update({(key, None) for key, _type in document.types})
    fields = dict(schema)
    for (key, type_), count in changes.items():
        if key not in fields and (len(fields) >= MAX_FIELDS or len(key.encode()) > MAX_KEY_BYTES):
            continue
        field = fields.get(key, MetadataField())
        if type_ is None:
            fields[key] = replace(field, document_count=field.document_count + by * count)
        else:
            fields[key] = replace(field, counts={**field.counts, type_: field.counts.get(type_, 0) + by * count})
    return {key: field for key, field in fields.items() if field.document_count > 0 or field.override is not None}


def overridden(schema: Schema, overrides: Types) -> Schema:
    """The schema with types that a person chose, also of fields beyond the first MAX_FIELDS."""
    fields = dict(schema)
    for key, type_ in overrides.items():
        fields[key] = replace(fields.get(key, MetadataField()), override=type_)
    return fields


def from_json(stored: Mapping[str, Any] | None) -> Schema:
    """A schema as `to_json` wrote it."""
    return {
        key: MetadataField(
            document_count=entry["documents"],
            counts={Type(name): count for name, count in entry["types"].items()},
            override=Type(entry["override"]) if entry["override"] else None,
        )
        for key, entry in (stored or {}).items()
    }


def to_json(schema: Schema) -> dict[str, Any]:
    """A schema as JSON."""
    return {
        key: {
            "documents": field.document_count,
            "types": {type_.value: count for type_, count in field.counts.items() if count},
            "override": field.override.value if field.override else None,
        }
        for key, field in sorted(schema.items())
    }


def nearest_key(key: str, known_keys: Iterable[str]) -> str | None:
    """The known key that is spelled most like a key; None where none is close."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(known_keys)}
    close = get_close_matches(key.lower(), by_lower_case, n=1, cutoff=0.6)
    if close:
        return by_lower_case[close[0]]
    return next((candidate for candidate in by_lower_case.values() if candidate.endswith(f".{key}")), None)
