"""Where an import finds the vectors of its documents, decided before anything is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from services.embedder.documents import Dataset
from services.embedder.errors import GivenVectors, InvalidFile
from services.embedder.files.formats import Format, Reader
from services.embedder.files.npy import NpyArray
from services.embedder.given import FieldVectors, FileVectors, VectorChecks, VectorSource
from services.embedder.items import Fields


@dataclass(frozen=True)
class ImportVectors:
    """The vectors of an import.

    field: that holds them; None for a file of their own. source: None where a model makes them. notes: what was guessed
    and left out, a sentence each.
    """

    field: str | None
    source: VectorSource | None
    checks: VectorChecks
    notes: Sequence[str]


def find_vectors(
    dataset: Dataset, reader: Reader, fields: Fields, file: IO[bytes] | None, *, named_field: str | None
) -> ImportVectors:
    """The vectors for the items of `reader`: those in a file, or in a field.

    named_field: the field that the request names. Raises GivenVectors where a model makes the dataset's, InvalidFile
    where there are none, or not one for each item.
    """
    expected = dataset.dimension or (dataset.query_model.dimension if dataset.query_model else 0)
    checks = VectorChecks(expected)
    is_alone = reader.layout.format is Format.NPY
    listed = ", ".join(repr(name[:60]) for name in sorted(set(fields.vector_fields))[:10]) if not is_alone else ""
    left_out = [f"Left out, as it seems to hold vectors: {listed}."] if listed else []
    if not dataset.has_given_vectors:
        if file is not None or is_alone or named_field is not None:
            raise GivenVectors(
                f"the vectors of {dataset.name} are made by {dataset.embedding_model}: a dataset takes vectors if it "
                "is created with the embedding model `given`, or `given/` and the name of the model that made them"
            )
        if not fields.text_fields:
            raise InvalidFile(
                f"no field holds texts, and {dataset.embedding_model} makes the vectors of {dataset.name} of texts: "
                "name a field (text_fields, --text-field), or import your own vectors into a dataset that is created "
                "with the embedding model `given` (vector_field, --vector-field)"
            )
        return ImportVectors(None, None, checks, left_out)
    if file is not None and named_field is not None:
        raise InvalidFile(f"expected the vectors in the field {named_field[:60]!r} or in a NumPy array, got both")
    if file is not None:
        return ImportVectors(None, FileVectors(_array(file, reader), checks), checks, left_out)
    if fields.vector_field is None:
        which = (
            f"the fields {listed} may hold them: name one" if listed else "no field of the file holds them: name one"
        )
        raise InvalidFile(
            f"the vectors of {dataset.name} are given, and {which} (vector_field, --vector-field), or send a NumPy "
            "array with a row for each item (vectors, --vectors)"
        )
    notes = [] if is_alone else [f"The vectors are taken from {fields.vector_field[:60]!r}."]
    return ImportVectors(fields.vector_field, FieldVectors(fields.vector_field, checks), checks, notes)


def _array(file: IO[bytes], reader: Reader) -> NpyArray:
    """The array in a file, which has a row for each item of the reader. Raises InvalidFile."""
    if reader.layout.format is Format.NPY:
        raise InvalidFile("expected a file of documents and a NumPy array of their vectors, got two arrays")
    array = NpyArray(file)
    count = sum(1 for _item in reader.items())
    if count != array.count:
        raise InvalidFile(
            f"expected a vector for each item: the file has {count:,} items, the NumPy array {array.count:,} rows"
        )
    return array
