"""The gateway's JSON of a message is that of `json_format`, for the response of every RPC."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from gateway import proto_json
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_common import contract

RESPONSES = {method.output_type.full_name: method.output_type for method in contract.methods()}
SPECIAL = ("google.protobuf.Any", "google.protobuf.FieldMask", "google.protobuf.Timestamp", "google.protobuf.Duration")


def expected(message: Message) -> Any:
    return json.loads(json_format.MessageToJson(message, always_print_fields_with_no_presence=True))


@pytest.mark.parametrize("name", sorted(RESPONSES))
def test_every_response_is_written_as_json_format_writes_it(name: str) -> None:
    for seed in range(20):
        message = message_factory.GetMessageClass(RESPONSES[name])()
        fill(message, random.Random(seed), depth=3)
        assert json.loads(proto_json.dump(message)) == expected(message)


def test_metadata_of_every_kind_of_value() -> None:
    metadata: dict[str, Any] = {"a": 'é\n"', "b": 1.5, "c": True, "d": None, "e": [1, [None], {"f": "g"}], "h": {}}
    hit = search_pb2.DocumentHit(metadata=Struct())
    hit.metadata.update(metadata)
    assert json.loads(proto_json.dump(hit))["metadata"] == metadata


def test_whole_numbers_of_metadata_have_no_fraction() -> None:
    hit = search_pb2.DocumentHit(metadata=Struct())
    hit.metadata.update({"a": 7, "b": -3, "c": [0.5, 2], "d": 1e300, "e": 2**53, "f": -0.0, "g": 0})
    written = json.loads(proto_json.dump(hit))["metadata"]
    assert [repr(written[key]) for key in "abcdefg"] == ["7", "-3", "[0.5, 2]", "1e+300", str(2**53), "-0.0", "0"]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 3.4e38, 1e-45, float("nan"), float("inf"), float("-inf")])
def test_numbers_have_the_shortest_decimal(value: float) -> None:
    message = trainer_pb2.EncodeResponse(unexplained_fractions=[value])
    assert json.loads(proto_json.dump(message)) == expected(message)


def fill(message: Message, chance: random.Random, *, depth: int) -> None:
    """Sets some fields to some values."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.3 or (field.message_type is not None and depth == 0):
            continue
        count = chance.randrange(3) if field.is_repeated else 1
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update({f"key {number}": "value" for number in range(count)})
        elif field.message_type is not None:
            for _ in range(count):
                part = getattr(message, field.name)
                fill_part(part.add() if field.is_repeated else part, field.message_type, chance, depth=depth - 1)
        elif field.is_repeated:
            getattr(message, field.name).extend([value_of(field, chance) for _ in range(count)])
        else:
            setattr(message, field.name, value_of(field, chance))


def fill_part(part: Any, descriptor: Any, chance: random.Random, *, depth: int) -> None:
    part.SetInParent()
    if descriptor.full_name == "google.protobuf.Timestamp":
        part.FromMilliseconds(chance.randrange(1 << 40))
    elif descriptor.full_name == "google.protobuf.Struct":
        part.update({"n": chance.random(), "list": [1, "two", None, True], "inner": {"text": "ü"}})
    elif descriptor.full_name not in SPECIAL:
        fill(part, chance, depth=depth)


def value_of(field: Any, chance: random.Random) -> Any:
    if field.enum_type is not None:
        return chance.choice([value.number for value in field.enum_type.values] + [4711])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = chance.choice(["", "plain", 'ünï\u2028 "quoted"\x00'])
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return chance.choice([0.0, -0.5, chance.random(), 1e300 if field.type == FieldDescriptor.TYPE_DOUBLE else 1e30])
    return chance.choice([0, 7, (1 << 31) - 1])
