"""Messages as proto3 JSON: what `json_format` says, at half of its cost, because types are looked at once.

Fields without presence are always there, so that 0 and empty lists are seen. Types that JSON writes in a special way
(Struct excepted, which hits consist of), and numbers that JSON cannot write, are left to `json_format`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from struct import Struct as Layout
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from prisma_common.structs import plain_struct

_Convert = Callable[[Any], Any]
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_FLOAT32 = Layout("<f")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True)
class _Plan:
    """How the messages of one type are written.

    fields: by number, the name and what converts a value; None for a value that is JSON already.
    defaults: of fields without presence, in the order of the proto.
    """

    fields: Mapping[int, tuple[str, _Convert | None]]
    defaults: Mapping[str, Any]


def dump(message: Message) -> bytes:
    """A message as JSON on one line."""
    try:
        return _encode(_convert_message(message)).encode()
    except ValueError:  # NaN and infinities, which json_format writes as strings
        return json_format.MessageToJson(
            message, indent=None, always_print_fields_with_no_presence=True, ensure_ascii=False
        ).encode()


def _convert_message(message: Message) -> Any:
    plan = _plan(message.DESCRIPTOR)
    if plan is None:
        return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    values = {**plan.defaults}
    for field, value in message.ListFields():
        name, convert = plan.fields[field.number]
        values[name] = value if convert is None else convert(value)
    return values


@cache
def _plan(descriptor: Descriptor) -> _Plan | None:
    """The plan of a type; None for one that `json_format` writes."""
    if descriptor.file.package == "google.protobuf":
        return None
    return _Plan(
        fields={field.number: (field.json_name, _converter(field)) for field in descriptor.fields},
        defaults={field.json_name: _default(field) for field in descriptor.fields if not field.has_presence},
    )


def _converter(field: FieldDescriptor) -> _Convert | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (_single_converter(field.message_type.fields_by_name[name]) for name in ("key", "value"))
        return partial(_convert_map, key or str, value)
    single = _single_converter(field)
    if not field.is_repeated:
        return single
    return list if single is None else lambda values: [single(value) for value in values]


def _single_converter(field: FieldDescriptor) -> _Convert | None:
    """What converts one value of a field."""
    if field.message_type is not None:
        return plain_struct if field.message_type.full_name == Struct.DESCRIPTOR.full_name else _convert_message
    if field.enum_type is not None:
        return partial(_convert_enum, field.enum_type)
    if field.cpp_type in _LONG:
        return str
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _shortest_float
    return _convert_bytes if field.type == FieldDescriptor.TYPE_BYTES else None


def _convert_map(key: _Convert, value: _Convert | None, entries: Mapping[Any, Any]) -> dict[str, Any]:
    return {key(name): item if value is None else value(item) for name, item in entries.items()}


def _convert_enum(enum: EnumDescriptor, number: int) -> str | int:
    value = enum.values_by_number.get(number)
    return number if value is None else value.name


def _convert_bytes(data: bytes) -> str:
    return b64encode(data).decode()


def _shortest_float(value: float) -> float:
    """The shortest decimal that is this float32."""
    decimals = (float(f"{value:.{digits}g}") for digits in range(6, 9))
    return next((decimal for decimal in decimals if _as_float32(decimal) == value), float(f"{value:.9g}"))


def _as_float32(value: float) -> float:
    return _FLOAT32.unpack(_FLOAT32.pack(value))[0]


def _default(field: FieldDescriptor) -> Any:
    if field.is_repeated:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        return {} if is_map else []
    convert = _single_converter(field)
    return field.default_value if convert is None else convert(field.default_value)
