"""Which fields of a file's items hold the id, the text and the metadata of documents."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import cast

import numpy as np

from prisma_common.table_columns import FEATURE_PREFIX, FEATURES, ID
from services.embedder.errors import InvalidFile
from services.embedder.files.formats import Format, Reader
from services.embedder.files.names import ID_NAMES, TEXT_NAMES
from services.embedder.files.npy import VECTOR_FIELD
from services.embedder.items import FieldOptions, Fields, IdSource, is_excerpt, is_exported, wrapper

_SAMPLE_ITEMS = 200
_STRONGEST = re.compile(r" \((\d[\d.]*(?:e[+-]\d+)?)\)(?:; |$)")
"""The activations in what the export says of a document: `late delivery (0.82); refund (0.31)`."""
_Object = Mapping[str, object]


class Kind(StrEnum):
    """What the values of a field are."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    OBJECT = "OBJECT"
    MIXED = "MIXED"
    VECTOR = "VECTOR"


MIN_VECTOR = 16
"""Numbers from which on lists of floats are vectors rather than metadata."""
_KINDS: Mapping[type, Kind] = {
    str: Kind.STRING,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    list: Kind.LIST,
    dict: Kind.OBJECT,
    np.ndarray: Kind.VECTOR,
}


@dataclass(frozen=True)
class Guess:
    """The fields of a file.

    columns: all fields of the first items with the kinds of their values. notes: what was guessed, a sentence each.
    """

    fields: Fields
    columns: Mapping[str, Kind]
    notes: Sequence[str]


def find_fields(reader: Reader, options: FieldOptions, *, needs_texts: bool = True) -> Guess:
    """The fields of a file, guessed from names and contents where the options leave them open.

    needs_texts: False where ids are enough, as vectors stand in another file. Raises InvalidFile where a field that
    the options name is in none of the first items, or no field holds texts: they may be missing beside ids and vectors.
    """
    sample = [value for _place, value in islice(reader.items(), _SAMPLE_ITEMS)]
    if not sample:
        raise InvalidFile("expected a file of documents; this one has no rows")
    objects = [cast("_Object", value) for value in sample if isinstance(value, dict)]
    names = list(reader.layout.columns or dict.fromkeys(name for fields in objects for name in fields))
    columns = {name: _kind(fields.get(name) for fields in objects) for name in names}
    is_of_api = not options.has_no_id_field and any(is_exported(fields) for fields in objects)
    if is_of_api and any(is_exported(fields) and is_excerpt(fields) for fields in objects):
        raise InvalidFile(
            "these are hits of a search, which have excerpts of texts; documents:read returns the documents"
        )
    if not names or is_of_api:
        # documents of the API, or nothing to judge by
        return Guess(Fields.of(options, vector_fields=[VECTOR_FIELD]), columns, [])
    vector_fields = [name for name, kind in columns.items() if kind is Kind.VECTOR]
    if reader.layout.format is Format.NPY:
        if options.id_source in (IdSource.FIELD, IdSource.TEXT):
            raise InvalidFile("vectors alone have neither ids nor texts: their ids are rows of the dataset")
        fields = Fields.of(options, id_field=None, vector_fields=vector_fields)
        return Guess(replace(fields, text_fields=(), id_source=IdSource.ROW), columns, [])
    # Of JSON, only the first objects are known: a later one may have metadata that these lack.
    metadata_fields = (options.metadata_fields or ()) if reader.layout.columns else ()
    for name in [options.id_field, *options.text_fields, *metadata_fields, options.vector_field]:
        if name is not None and name not in names:
            raise InvalidFile(f"no field is called {name[:100]!r}; the fields are {_listed(names)}")
    notes: list[str] = []
    id_field = None if options.has_no_id_field else options.id_field or _id_field(names, objects)
    if id_field is None and options.id_source is IdSource.FIELD:
        raise InvalidFile(
            f"no field seems to hold ids; the fields are {_listed(names)}. Name one (id_field, --id-field)"
        )
    if id_field is None and options.id_source is None:
        notes.append("No field holds ids: each document gets a digest of its text as id.")
    elif id_field is not None and options.id_field is None and id_field != ID_NAMES[0]:
        notes.append(f"The ids are taken from {id_field!r}.")
    text_field = next(iter(options.text_fields), None) or _text_field(names, objects, id_field)
    fields = Fields.of(options, id_field=id_field, vector_fields=vector_fields)
    if text_field is None:
        if fields.id_source is IdSource.TEXT or (needs_texts and not fields.vector_fields):
            raise _no_texts(names, objects)
        notes.append("No field holds texts: the documents have none.")
    elif not options.text_fields and text_field != TEXT_NAMES[0]:
        notes.append(f"The texts are taken from {text_field!r}.")
    fields = replace(fields, text_fields=options.text_fields or tuple([text_field] if text_field else []))
    if options.metadata_fields is None and (feature_fields := _feature_fields(names, objects)):
        fields = replace(fields, feature_fields=feature_fields)
        notes.append(f"The {len(feature_fields)} columns of features, as the export of a run has them, are left out.")
    return Guess(fields, columns, notes)


def _feature_fields(names: Sequence[str], objects: Sequence[_Object]) -> tuple[str, ...]:
    """The fields that the export of a run's documents adds to them."""
    columns = [name for name in names if name.startswith(FEATURE_PREFIX)]
    if FEATURES not in names:
        return tuple(columns)
    values = [value for fields in objects if (value := fields.get(FEATURES)) not in (None, "")]
    has_strongest = bool(columns) or (names[0] == ID and bool(values) and all(map(_are_strongest, values)))
    return (*columns, FEATURES) if has_strongest else ()


def _are_strongest(value: object) -> bool:
    """Whether a value lists the strongest features of a document, in their order, as the export does."""
    if not isinstance(value, str) or not value.endswith(")"):
        return False
    try:
        activations = [float(number) for number in _STRONGEST.findall(value)]
    except ValueError:
        return False
    return bool(activations) and activations == sorted(activations, reverse=True)


def _kind(values: Iterable[object]) -> Kind:
    values = list(values)
    kinds = {_KINDS[type(value)] for value in values if type(value) in _KINDS}
    if kinds == {Kind.INTEGER, Kind.NUMBER}:
        return Kind.NUMBER
    if kinds == {Kind.LIST} and _are_vectors([cast("list[object]", value) for value in values if value is not None]):
        return Kind.VECTOR
    return kinds.pop() if len(kinds) == 1 else Kind.MIXED


def _are_vectors(lists: Sequence[list[object]]) -> bool:
    """Whether most of the lists are of one length and hold numbers alone, which are not all whole."""
    numeric = [numbers for numbers in lists if {type(number) for number in numbers} <= {int, float}]
    if not numeric:
        return False
    length, count = Counter(map(len, numeric)).most_common(1)[0]
    numbers = (number for members in numeric if len(members) == length for number in members)
    has_fractions = any(isinstance(number, float) and math.isfinite(number) for number in numbers)
    return length >= MIN_VECTOR and 2 * count > len(lists) and has_fractions


def _id_field(names: Sequence[str], objects: Sequence[_Object]) -> str | None:
    """The field called `id`, or another with a usual name whose values are all different."""
    if ID_NAMES[0] in names:
        return ID_NAMES[0]
    for name in _by_usual_name(names, ID_NAMES):
        values = [fields.get(name) for fields in objects]
        is_id = all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
        if is_id and len(set(map(str, values))) == len(values):
            return name
    return None


def _text_field(names: Sequence[str], objects: Sequence[_Object], id_field: str | None) -> str | None:
    """The field with a usual name, or else the one with the longest texts; None where no field holds texts."""
    if TEXT_NAMES[0] in names:
        return TEXT_NAMES[0]
    lengths = {name: _mean_length(name, objects) for name in names if name != id_field}
    for name in _by_usual_name(names, TEXT_NAMES):
        if lengths.get(name):
            return name
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] else None


def _no_texts(names: Sequence[str], objects: Sequence[_Object]) -> InvalidFile:
    """What to say of a file in which no field holds texts."""
    inner = next((name for fields in objects if (name := wrapper(fields)) is not None), None)
    if inner is not None:
        return InvalidFile(
            f"no field holds texts; the objects under {inner!r} may be the documents: import that array alone"
        )
    return InvalidFile(f"no field holds texts; the fields are {_listed(names)}. Name one (text_fields, --text-field)")


def _mean_length(name: str, objects: Sequence[_Object]) -> float:
    """Characters of a field's texts on average; 0 where most are no texts."""
    values = [value for fields in objects if (value := fields.get(name)) is not None]
    texts = [value for value in values if isinstance(value, str)]
    if not texts or 2 * len(texts) < len(values):
        return 0.0
    return sum(map(len, texts)) / len(texts)


def _by_usual_name(names: Sequence[str], usual_names: Sequence[str]) -> list[str]:
    by_name = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    return [by_name[name] for name in usual_names if name in by_name]


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name[:60]) for name in names[:20])
    return f"{listed} and {len(names) - 20} more" if len(names) > 20 else listed
