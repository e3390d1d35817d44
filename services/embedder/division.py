"""Embedding in parts: which rows each of them has, and what became of their documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct

from services.chassis.job_partitions import MAX_PARTITIONS, Range
from services.embedder.documents import Dataset
from services.embedder.errors import NothingEmbedded
from services.embedder.outcomes import Batch
from services.embedder.store import Store

_RANGES_OF_PART = 4
"""Ranges of rows that are counted for each part where all documents are pending: parts differ by a fourth at most."""


def division(store: Store, dataset: Dataset, part_size: int) -> list[Range]:
    """Ranges of rows that have all pending documents, each at least `part_size` of them."""
    part_size = max(part_size, -(-dataset.counts.pending // MAX_PARTITIONS))
    width = max(1, part_size // _RANGES_OF_PART)
    ranges: list[Range] = []
    start = size = 0
    for number, count in store.pending_counts(dataset.uid, width):
        size += count
        if size >= part_size:
            stop = (number + 1) * width
            ranges.append(Range(start, stop, size))
            start, size = stop, 0
    if size and ranges:  # too few for a part of their own
        last = ranges.pop()
        start, size = last.start, last.size + size
    if size:
        ranges.append(Range(start, max(start + 1, dataset.next_row), size))
    return ranges


@dataclass(frozen=True)
class Tally:
    """What became of documents. first_refusal: what the model said of the first that it refused."""

    embedded: int = 0
    refused: int = 0
    first_refusal: str | None = None

    @property
    def done(self) -> int:
        """Documents that were embedded or refused."""
        return self.embedded + self.refused

    @classmethod
    def of_batch(cls, batch: Batch) -> Tally:
        """That of one batch."""
        failure = batch.first_failure
        embedded = len(batch.outcomes) - batch.failure_count
        return cls(embedded, batch.failure_count, failure.message if failure is not None else None)

    @classmethod
    def of(cls, result: Struct) -> Tally:
        """That of a part, also of what its earlier attempts did."""
        if "embedded" not in result:
            return cls()
        embedded, refused = (int(result.fields[name].number_value) for name in ("embedded", "refused"))
        return cls(embedded, refused, result.fields["first_refusal"].string_value or None)

    @classmethod
    def total(cls, results: Sequence[Struct]) -> Tally:
        """That of all parts."""
        return sum(map(cls.of, results), cls())

    def store(self, result: Struct) -> None:
        """Has a part's job learn it."""
        result.update({"embedded": self.embedded, "refused": self.refused, "first_refusal": self.first_refusal or ""})

    def __add__(self, other: Tally) -> Tally:
        first_refusal = self.first_refusal or other.first_refusal
        return Tally(self.embedded + other.embedded, self.refused + other.refused, first_refusal)

    def explain(self, model: str, log: Callable[[str], None]) -> None:
        """Says how many documents were refused. Raises NothingEmbedded where none was embedded."""
        if self.refused:
            log(f"{self.refused:,} of {self.done:,} documents were refused and have failed")
        if self.refused and not self.embedded:
            raise NothingEmbedded(
                f"none of {self.done:,} documents could be embedded with {model}; the first: {self.first_refusal}. "
                "RetryFailedDocuments (`prisma embed --retry-failed`) tries them again"
            )
