"""What becomes of documents that are imported into a dataset with passages: as `arrivals`, which they are judged by.

Where a document is replaced, passages whose texts it still has keep their rows and vectors; the others become
tombstones, and passages with new texts get new rows.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, insert

from services.chassis import metadata_schema, metadata_terms
from services.chassis.metadata_schema import Schema
from services.chassis.metadata_terms import Described
from services.embedder import metadata, queries, sql_rows, whole_documents
from services.embedder.arrivals import Written
from services.embedder.documents import Fate, NewDocument, OnDuplicate, State
from services.embedder.fingerprints import new_digest
from services.embedder.tables import DOCUMENTS
from services.embedder.vector_store import Shard


@dataclass(frozen=True)
class WholeArrivals:
    """What is to be done with a batch of documents.

    added: whose keys are new. replaced: rows of the old documents with the new ones, which differ.
    fates: of the documents whose keys the dataset has already, by key.
    """

    added: list[NewDocument] = field(default_factory=list[NewDocument])
    replaced: list[tuple[Row[Any], NewDocument]] = field(default_factory=list[tuple[Row[Any], NewDocument]])
    fates: dict[str, Fate] = field(default_factory=dict[str, Fate])

    @staticmethod
    def of(
        connection: Connection, uid: str, documents: Sequence[NewDocument], on_duplicate: OnDuplicate
    ) -> WholeArrivals:
        """What is to be done with documents of different keys."""
        keys = [document.key for document in documents]
        query = queries.wholes_by_key if on_duplicate == OnDuplicate.REPLACE else queries.known_whole_keys
        existing = {row.key: row for row in connection.execute(query(uid, keys))}
        arrivals = WholeArrivals()
        for document in documents:
            old = existing.get(document.key)
            if old is None:
                arrivals.added.append(document)
            elif on_duplicate != OnDuplicate.REPLACE:
                arrivals.fates[document.key] = Fate.SKIPPED if on_duplicate == OnDuplicate.SKIP else Fate.REJECTED
            elif old.text == document.text and _canonical(old.metadata) == _canonical(document.metadata):
                arrivals.fates[document.key] = Fate.SKIPPED
            else:
                arrivals.replaced.append((old, document))
                arrivals.fates[document.key] = Fate.UPDATED
        return arrivals

    @property
    def has_rows(self) -> bool:
        """Whether given vectors are used: passages have none."""
        return False

    @property
    def is_change(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or self.replaced)

    def write(
        self,
        connection: Connection,
        *,
        uid: str,
        first_row: int,
        revision: int,
        schema: Schema,
        model: str,
        shard: Shard | None,
    ) -> Written:
        """Writes the documents. model: the dataset's. shard: None, as passages have no given vectors."""
        assert shard is None, "given vectors have no passages"
        differences, digests = Counter[str](), sum(new_digest(document) for document in self.added)
        added = [metadata_terms.described(document.metadata) for document in self.added]
        if self.added:
            differences.update(
                whole_documents.add(connection, self.added, added, uid=uid, first_row=first_row, revision=revision)
            )
        changed = [metadata_terms.described(document.metadata) for _old, document in self.replaced]
        for (old, document), described in zip(self.replaced, changed, strict=True):
            replacement = _Replacement(old, document, described)
            next_row = first_row + differences["next_row"]
            replaced, removed_passages = replacement.write(connection, uid, next_row=next_row, revision=revision)
            differences.update(replaced)
            digests += new_digest(document) - whole_documents.digest(old, removed_passages, model)
        removed = [metadata_terms.described(metadata.readable(old.metadata)) for old, _document in self.replaced]
        grown = metadata_schema.changed(schema, [*added, *changed], by=1)
        return Written(differences, metadata_schema.changed(grown, removed, by=-1), digests)


@dataclass(frozen=True)
class _Replacement:
    """A document in place of one with the same key. described: its metadata."""

    old: Row[Any]
    document: NewDocument
    described: Described

    def write(
        self, connection: Connection, uid: str, *, next_row: int, revision: int
    ) -> tuple[Counter[str], list[Row[Any]]]:
        """Replaces the document; returns the differences of the dataset's counters, and the passages that went."""
        number = self.old.number
        passages = connection.execute(queries.passages_of(uid, number)).all()
        rows = sql_rows.new_passages(self.document, uid=uid, number=number, first_row=0, revision=revision)
        matches, removed = _matched(passages, rows)
        added = [row for index, row in enumerate(rows) if index not in matches]
        for row_number, row in enumerate(added, start=next_row):
            row |= sql_rows.passage_names(row_number)
        whole_documents.remove_passages(connection, uid, [passage.row for passage in removed], revision)
        if matches:
            moves = [{"moved_row": old.row, **sql_rows.moved_passage(rows[index])} for index, old in matches.items()]
            connection.execute(queries.move_passages(uid, revision), moves)
        if added:
            connection.execute(insert(DOCUMENTS), added)
        whole = sql_rows.new_whole(self.document, self.described, uid=uid, number=number, revision=revision)
        connection.execute(queries.replace_whole(uid, number, whole))
        whole_documents.follow_passages(connection, uid, [number], revision)
        differences = Counter({sql_rows.COUNTERS[State.PENDING]: len(added), "next_row": len(added)})
        differences.subtract(sql_rows.COUNTERS[State(passage.state)] for passage in removed)
        differences["text_bytes"] = whole["text_bytes"] - self.old.text_bytes
        return differences, removed


def _matched(
    passages: Sequence[Row[Any]], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[int, Row[Any]], list[Row[Any]]]:
    """Old passages with the texts of new ones, by the index of these; and the old ones that are left."""
    unmatched: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for passage in reversed(passages):
        unmatched[passage.text].append(passage)
    matches = {index: unmatched[row["text"]].pop() for index, row in enumerate(rows) if unmatched[row["text"]]}
    return matches, [passage for rest in unmatched.values() for passage in rest]


def _canonical(metadata: Mapping[str, object]) -> str:
    return json.dumps(metadata, sort_keys=True)
