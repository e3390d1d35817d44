"""Requests as they arrive: bytes become a message here, after the caller's key was checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.chassis.errors import InvalidArgument

MAX_UNSIGNED = 2**63 - 1
"""Databases hold signed 64-bit integers; no row or revision comes near this."""

Decoder = Callable[[bytes], Message]


def decode(decoder: Decoder, data: bytes) -> Message:
    """The message of a request's bytes. Raises InvalidArgument, also for a number above MAX_UNSIGNED."""
    try:
        message = decoder(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise InvalidArgument("the request's bytes are not a message of this method's request type") from error
    _check_numbers(message, "")
    return message


def _check_numbers(message: Message, path: str) -> None:
    """Raises InvalidArgument for a uint64 field above MAX_UNSIGNED, also in nested messages; path: of `message`."""
    for field in _relevant_fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        field_path = f"{path}{field.name}"
        if field.message_type is None:
            _check_number(max(value, default=0) if field.is_repeated else value, field_path)
        elif field.is_repeated:
            _check_all(value.values() if field.message_type.GetOptions().map_entry else value, field_path)
        elif message.HasField(field.name):
            _check_numbers(value, f"{field_path}.")


def _check_all(messages: Iterable[Message], path: str) -> None:
    for index, message in enumerate(messages):
        _check_numbers(message, f"{path}[{index}].")


def _check_number(number: int, path: str) -> None:
    if number > MAX_UNSIGNED:
        raise InvalidArgument.field(path, f"expected at most 2^63 - 1 ({MAX_UNSIGNED}), got {number}")


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
