"""Requests that no client would write: every field of every RPC with values at and beyond its limits, by descriptor."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

TEXTS = (
    *("", "a", "\0", "\u200b", "x" * 5000, "[" * 3000, "../..", "%00", "{}", "null", "1e400", "NaN", "builtin/none"),
    *("state = FAILED", "metadata.a = 1", "latent.3 > 2", f"latent.{10**20} > 1e400", 'text:"a"', "density desc"),
    *("keywords", "AND " * 3000, "open a file"),
)
BYTES = (b"", bytes(7), b"\xff" * 64, b"a" * 4096)
NUMBERS: dict[int, Sequence[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: (0, 1, -1, 2, 1000, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 2, 64, 2**31, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 3, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: (0.0, 1.0, -1.0, float("nan"), float("inf"), 1e-45),
    FieldDescriptor.CPPTYPE_DOUBLE: (0.0, 1.0, -1.0, 0.5, float("nan"), float("-inf"), 1e308, 5e-324),
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
}
MAX_DEPTH = 3


class Requests:
    """Random requests that name resources of a dataset and a run, so that they come further than the first check."""

    def __init__(self, chance: random.Random, *, dataset: str, run: str) -> None:
        self._chance = chance
        self._names = (dataset, run, f"{dataset}/documents/0", f"{run}/features/0", f"{run}/features/{2**63}")
        self._names += (f"{run}/features/0/labels/{2**64}", "datasets/none", "runs/none", "jobs/embedder.none", "none")
        self._of_field = {"dataset": dataset, "run": run, "first": run, "second": run, "from_run": run}

    def stream(self, method: MethodDescriptor) -> list[bytes]:
        """The serialized messages of one call: one, up to three for a client stream, or bytes that are no message."""
        if self._chance.random() < 0.05:
            return [self._chance.randbytes(self._chance.choice((1, 5, 60)))]
        count = self._chance.randint(1, 3) if method.client_streaming else 1
        messages = [self._message(GetMessageClass(method.input_type)()) for _ in range(count)]
        for message in messages:
            for field, name in self._named(method):
                if self._chance.random() < 0.8:
                    setattr(message, field, name)
        return [message.SerializeToString() for message in messages]

    def _named(self, method: MethodDescriptor) -> list[tuple[str, str]]:
        """The fields that its HTTP rule takes from the path, and the name of a resource of the kind that it expects."""
        options: Message = method.GetOptions()
        rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]  # pyright: ignore[reportArgumentType]
        paths = re.findall(r"{(\w+)=([^}]+)}", getattr(rule, rule.WhichOneof("pattern") or "get"))
        patterns = [(field, path.replace("*", "[^/]+")) for field, path in paths]
        matches = [(field, [name for name in self._names if re.fullmatch(path, name)]) for field, path in patterns]
        return [(field, names[0]) for field, names in matches if names]

    def _message(self, message: Message, depth: int = 0) -> Message:
        share = self._chance.choice((0.1, 0.3, 0.6))
        for field in message.DESCRIPTOR.fields:
            is_string = field.type == FieldDescriptor.TYPE_STRING
            if is_string and field.name in self._of_field and self._chance.random() < 0.8:
                setattr(message, field.name, self._of_field[field.name])
            elif self._chance.random() < share:
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Message, field: Any, depth: int) -> None:
        values: Any = getattr(message, field.name)
        if field.message_type is None:
            if field.is_repeated:
                values.extend(self._value(field) for _ in range(self._chance.randint(1, 5)))
            else:
                setattr(message, field.name, self._value(field))
        elif depth < MAX_DEPTH and not field.message_type.GetOptions().map_entry:
            self._message(values.add() if field.is_repeated else values, depth + 1)

    def _value(self, field: Any) -> Any:
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return self._chance.choice([*field.enum_type.values_by_number, 99, -1])
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._chance.choice(BYTES)
        if field.type != FieldDescriptor.TYPE_STRING:
            return self._chance.choice(NUMBERS[field.cpp_type])
        is_name = field.name in ("name", "parent", "document") and self._chance.random() < 0.9
        return self._chance.choice(self._names if is_name else TEXTS)
