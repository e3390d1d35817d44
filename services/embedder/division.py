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
    """Ranges of rows that have all pending documents, each at least `part_size` of them but the last one."""
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
    if size:
        ranges.append(Range(start, max(start + 1, dataset.next_row), size))
    return ranges


@dataclass(frozen=True)
class Tally:
    """What became of documents that were embedded. first_refusal: what the model said of the first that it refused."""

    done: int = 0
    refused: int = 0
    first_refusal: str | None = None

    @classmethod
    def of_batch(cls, batch: Batch) -> Tally:
        """That of one batch."""
        failure = batch.first_failure
        return cls(len(batch.outcomes), batch.failure_count, failure.message if failure is not None else None)

    @classmethod
    def of(cls, result: Struct) -> Tally:
        """That of a part, also of what its earlier attempts did."""
        if "done" not in result:
            return cls()
        done, refused = (int(result.fields[name].number_value) for name in ("done", "refused"))
        return cls(done, refused, result.fields["first_refusal"].string_value or None)

    @classmethod
    def total(cls, results: Sequence[Struct]) -> Tally:
        """That of all parts."""
        return sum(map(cls.of, results), cls())

    def store(self, result: Struct) -> None:
        """Has a part's job learn it."""
        result.update({"done": self.done, "refused": self.refused, "first_refusal": self.first_refusal or ""})

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.done + other.done, self.refused + other.refused, self.first_refusal or other.first_refusal)

    def explain(self, model: str, log: Callable[[str], None]) -> None:
        """Says how many documents were refused. Raises NothingEmbedded where all were."""
        if self.refused:
            log(f"{self.refused:,} of {self.done:,} documents were refused and have failed")
        if self.refused and self.refused == self.done:
            raise NothingEmbedded(
                f"none of {self.done:,} documents could be embedded with {model}; the first: {self.first_refusal}. "
                "RetryFailedDocuments (`prisma embed --retry-failed`) tries them again"
            )
