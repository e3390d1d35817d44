"""Features for which a model has no usable answer: how many are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct

from services.interpreter.errors import UnusableAnswer

MAX_SHARE = 0.1
"""Share of features without a usable answer from which labelling fails as a whole."""
_MIN_COUNT = 3
"""Features without a usable answer that never fail it, unless they are all."""


@dataclass(frozen=True)
class Unusable:
    """Features without a usable answer, of a job or of a part of one, and what is said of the last one."""

    count: int = 0
    message: str = ""
    model: str = ""
    index: str = ""

    @classmethod
    def of_answer(cls, error: UnusableAnswer) -> Unusable:
        """That of one answer."""
        metadata: Mapping[str, str] = error.metadata
        return cls(1, error.message, metadata.get("model", ""), metadata.get("index", ""))

    @classmethod
    def of_parts(cls, results: Sequence[Struct], resubmit_count: int) -> Unusable:
        """That of all parts of a job, but for those that ended before a person started it again."""
        latest = [result for result in results if result.fields["resubmit_count"].number_value == resubmit_count]
        return sum(map(cls._of, latest), cls())

    @classmethod
    def _of(cls, result: Struct) -> Unusable:
        message, model, index = (result.fields[name].string_value for name in ("message", "model", "index"))
        return cls(int(result.fields["unusable"].number_value), message, model, index)

    def store(self, result: Struct, resubmit_count: int) -> None:
        """Has a part's job learn it. resubmit_count: of the part's record."""
        stored = {"unusable": self.count, "message": self.message, "model": self.model, "index": self.index}
        result.update({**stored, "resubmit_count": resubmit_count})

    def __add__(self, other: Unusable) -> Unusable:
        last = other if other.count else self
        return Unusable(self.count + other.count, last.message, last.model, last.index)

    def check(self, total: int) -> None:
        """Raises UnusableAnswer where these are too many of `total` features, or all of them."""
        if self.count and (self.count > max(_MIN_COUNT, MAX_SHARE * total) or self.count >= total):
            message = f"{self.count} of {total} features have no label: {self.message}"
            raise UnusableAnswer(message, metadata={"model": self.model, "index": self.index})
