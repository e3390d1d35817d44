"""Requests as they arrive: bytes become a message here, after the caller's key was checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.chassis.errors import InvalidArgument

MAXIMUM_UNSIGNED = 2**63 - 1
"""Databases hold signed 64-bit integers; no row or revision comes near this."""

Decoder = Callable[[bytes], Message]


def decode(decoder: Decoder, data: bytes) -> Message:
    """The message of a request's bytes, its unsigned fields clamped. Raises InvalidArgument."""
    try:
        message = decoder(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise InvalidArgument("the request's bytes are not a message of this method's request type") from error
    clamp(message)
    return message


def clamp(message: Message) -> None:
    """Limits all uint64 fields of a message, also in nested ones, to MAXIMUM_UNSIGNED."""
    for field in _relevant_fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if field.message_type is None:
            _clamp_numbers(message, field)
        elif field.is_repeated:
            _clamp_all(value.values() if field.message_type.GetOptions().map_entry else value)
        elif message.HasField(field.name):
            clamp(value)


def _clamp_all(messages: Iterable[Message]) -> None:
    for message in messages:
        clamp(message)


def _clamp_numbers(message: Message, field: FieldDescriptor) -> None:
    value = getattr(message, field.name)
    if not field.is_repeated:
        if value > MAXIMUM_UNSIGNED:
            setattr(message, field.name, MAXIMUM_UNSIGNED)
    elif value and max(value) > MAXIMUM_UNSIGNED:
        value[:] = [min(number, MAXIMUM_UNSIGNED) for number in value]


@cache
def _relevant_fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The uint64 fields of a message, and those that hold messages with such fields."""
    return tuple(field for field in descriptor.fields if _holds_unsigned(field, frozenset()))


def _holds_unsigned(field: FieldDescriptor, parents: frozenset[str]) -> bool:
    if field.message_type is None:
        return field.type == FieldDescriptor.TYPE_UINT64
    if field.message_type.full_name in parents or field.message_type.full_name.startswith("google."):
        return False
    if field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return value.message_type is not None and _holds_unsigned(value, parents)
    inner = parents | {field.message_type.full_name}
    return any(_holds_unsigned(part, inner) for part in field.message_type.fields)
