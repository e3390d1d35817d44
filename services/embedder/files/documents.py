"""The documents in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from services.chassis import logs
from services.embedder.documents import NewDocument
from services.embedder.files.formats import Format, Reader, location
from services.embedder.given import VectorSource
from services.embedder.items import Fields, IdSource, ItemRejected, Reason, Rejection, document
from services.embedder.metadata import printable

_MAX_TABLE = 100
"""Characters of a table's path in a rejection."""
_log = logs.get(__name__)


def read_documents(
    reader: Reader, fields: Fields, max_text_bytes: int, *, vectors: VectorSource | None = None
) -> Iterator[tuple[int, NewDocument] | Rejection]:
    """The items of a file: each a document with its place from 1, or the reason why it is rejected.

    A document without an id of its own gets a digest of its text; the second with the same text gets `-2` behind it.
    With ids by row it gets its place; in a file of vectors alone, the row that it would have in an empty dataset, and
    `Store.add_documents` knows the real one. vectors: of the items; None where a model makes them. Raises InvalidFile
    where the rest of the file cannot be read.
    """
    keys: set[str] = set()
    copies: Counter[str] = Counter()
    is_vectors_alone = reader.layout.format is Format.NPY
    for number, (place, value) in enumerate(reader.items(texts=fields.texts)):
        try:
            new = _document(value, fields, max_text_bytes, has_vectors=vectors is not None)
            if is_vectors_alone:
                new = replace(new, key=str(len(keys)))
            elif fields.id_source is IdSource.ROW:
                new = replace(new, key=str(place))
            elif fields.id_source is IdSource.TEXT:
                copies[new.key] += 1
                if copies[new.key] > 1:
                    new = replace(new, key=f"{new.key}-{copies[new.key]}")
            if new.key in keys:
                message = "an earlier item of the file has the same id"
                raise ItemRejected(Reason.DUPLICATE_IN_FILE, message, key=new.key)
            if vectors is not None:
                new = replace(new, vector=vectors.vector(number, value, "" if is_vectors_alone else new.key))
        except ItemRejected as rejected:
            yield located(rejected.rejection(place), reader)
            continue
        keys.add(new.key)
        yield place, new


def located(rejection: Rejection, reader: Reader) -> Rejection:
    """A rejection of the latest pass that says in which of several tables, or on which sheet, its item is."""
    where = location(reader, rejection.item)
    if where is None:
        return replace(rejection, table=reader.layout.sheet)
    table = printable(where.table[:_MAX_TABLE])
    message = f"{table}, item {where.item}: {rejection.message}"
    return replace(rejection, message=message, table=table, table_item=where.item)


def _document(value: object, fields: Fields, max_text_bytes: int, *, has_vectors: bool) -> NewDocument:
    """The document in an item's value. Raises ItemRejected, whatever the value is."""
    if isinstance(value, ItemRejected):
        raise value
    try:
        return document(value, fields, max_text_bytes, has_vectors=has_vectors)
    except ItemRejected:
        raise
    except Exception as error:
        _log.warning("unexpected error in an imported item", error=type(error).__name__)
        raise ItemRejected(Reason.INVALID_JSON, f"the item cannot be read ({type(error).__name__})") from error
