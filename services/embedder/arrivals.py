"""What becomes of imported documents: which are new, and what happens to those whose keys the dataset has already.

A document whose text is replaced gets a new row, and its old one becomes a tombstone: whoever derives data from rows
(vectors, codes, statistics, the index) sees a deletion and a new document, and never the old vector with the new text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Row, insert

from services.chassis import metadata_schema, metadata_terms
from services.chassis.metadata_schema import Schema
from services.embedder import metadata, queries, sql_rows
from services.embedder.documents import Fate, NewDocument, OnDuplicate, State
from services.embedder.fingerprints import new_digest
from services.embedder.sql_rows import stored_digest
from services.embedder.tables import DOCUMENTS
from services.embedder.vector_store import Shard

StoredVector: TypeAlias = tuple[str, str | None, int | None]
"""The key of a document, and the file and position of its vector."""


class Written(NamedTuple):
    """What the writing of documents changes of their dataset.

    differences: of its counters, by column. schema: afterwards. digests: what is added to the sum of digests.
    """

    differences: Counter[str]
    schema: Schema
    digests: int


@dataclass(frozen=True)
class Arrivals:
    """What is to be done with a batch of documents.

    added: whose keys are new. replaced: rows of the old documents with the new ones, whose texts differ.
    changed_metadata: rows of the old documents with the new ones, of the same text.
    fates: of the documents whose keys the dataset has already, by key. positions: of all documents in their batch.
    """

    added: list[NewDocument] = field(default_factory=list[NewDocument])
    replaced: list[tuple[Row[Any], NewDocument]] = field(default_factory=list[tuple[Row[Any], NewDocument]])
    changed_metadata: list[tuple[Row[Any], NewDocument]] = field(default_factory=list[tuple[Row[Any], NewDocument]])
    fates: dict[str, Fate] = field(default_factory=dict[str, Fate])
    positions: dict[str, int] = field(default_factory=dict[str, int])

    @staticmethod
    def of(
        connection: Connection,
        uid: str,
        documents: Sequence[NewDocument],
        on_duplicate: OnDuplicate,
        same_vectors: Collection[StoredVector] = frozenset(),
    ) -> Arrivals:
        """What is to be done with documents of different keys.

        same_vectors: stored ones that are those of the documents; given vectors that are not among them are replaced.
        """
        keys = [document.key for document in documents]
        query = queries.documents_by_key if on_duplicate == OnDuplicate.REPLACE else queries.known_keys
        existing = {row.key: row for row in connection.execute(query(uid, keys))}
        arrivals = Arrivals(positions={key: place for place, key in enumerate(keys)})
        for document in documents:
            old = existing.get(document.key)
            if old is None:
                arrivals.added.append(document)
            elif on_duplicate == OnDuplicate.REPLACE:
                arrivals.fates[document.key] = arrivals._replace(old, document, same_vectors)
            else:
                arrivals.fates[document.key] = Fate.SKIPPED if on_duplicate == OnDuplicate.SKIP else Fate.REJECTED
        return arrivals

    def _replace(self, old: Row[Any], document: NewDocument, same_vectors: Collection[StoredVector]) -> Fate:
        has_vector = document.vector is None or (old.key, old.shard, old.position) in same_vectors
        if old.text != document.text or not has_vector:
            self.replaced.append((old, document))
        elif _canonical(old.metadata) != _canonical(document.metadata):
            self.changed_metadata.append((old, document))
        else:
            return Fate.SKIPPED
        return Fate.UPDATED

    @property
    def is_change(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or self.replaced or self.changed_metadata)

    @property
    def has_rows(self) -> bool:
        """Whether rows are added, those of replaced documents too."""
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
        """Writes the documents.

        model: the dataset's. shard: the given vectors of all documents of the batch; None where a model makes them.
        """
        old_rows = [old for old, _document in self.replaced]
        documents = [*self.added, *(document for _old, document in self.replaced)]
        described = [metadata_terms.described(document.metadata) for document in documents]
        rows = sql_rows.new_documents(
            documents,
            described,
            uid=uid,
            first_row=first_row,
            revision=revision,
            shard=shard,
            positions=None if shard is None else self.positions,
        )
        for row, old in zip(rows[len(self.added) :], old_rows, strict=True):
            row["create_time"] = old.create_time
        if old_rows:
            connection.execute(queries.make_tombstones(uid, [old.row for old in old_rows], revision))
        if rows:
            connection.execute(insert(DOCUMENTS), rows)
        changed = [metadata_terms.described(document.metadata) for _old, document in self.changed_metadata]
        if self.changed_metadata:
            parameters = [
                {"changed_row": old.row, "metadata": dict(document.metadata), "terms": terms}
                for (old, document), (terms, _types) in zip(self.changed_metadata, changed, strict=True)
            ]
            connection.execute(queries.change_metadata(uid, revision), parameters)
        differences = Counter[str]()
        for old in old_rows:
            differences[sql_rows.COUNTERS[State(old.state)]] -= 1
        differences[sql_rows.COUNTERS[State.PENDING if shard is None else State.EMBEDDED]] += len(rows)
        differences["next_row"] = len(rows)
        differences["text_bytes"] = sum(row["text_bytes"] for row in rows) - sum(old.text_bytes for old in old_rows)
        removed = [
            metadata_terms.described(metadata.readable(old.metadata))
            for old, _document in (*self.replaced, *self.changed_metadata)
        ]
        grown = metadata_schema.changed(schema, [*described, *changed], by=1)
        return Written(differences, metadata_schema.changed(grown, removed, by=-1), self._digest_change(model))

    def _digest_change(self, model: str) -> int:
        """What the documents add to the sum of the dataset's digests, and take away. model: the dataset's."""
        documents = [*self.added, *(document for _old, document in self.replaced)]
        added = sum(new_digest(document) for document in documents)
        return added - sum(stored_digest(old, model) for old, _document in self.replaced)


def _canonical(metadata: Mapping[str, object]) -> str:
    """Metadata as text: 1, 1.0 and True are different values, and the order of the names says nothing."""
    return json.dumps(metadata, sort_keys=True)
