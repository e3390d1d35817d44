"""Requests from HTTP: path, query and JSON body become a message; each mistake is reported with the field it is in."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.chassis.decoding import MAX_UNSIGNED
from services.chassis.errors import InvalidArgument

_WELL_KNOWN = "google.protobuf."
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_BOUNDS: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, MAX_UNSIGNED),
}
MAX_DEPTH = 64


def message(
    request_type: Descriptor,
    *,
    path: Mapping[str, str],
    query: Iterable[tuple[str, str]] = (),
    body: Any = None,
    body_field: str | None = None,
) -> Message:
    """The message of a request.

    body: parsed JSON. body_field: the field that it holds, `*` for the whole request, None for no body.
    Raises InvalidArgument that names the field.
    """
    values: dict[str, Any] = {}
    if body_field == "*":
        if body is not None and not isinstance(body, dict):
            _refuse("body", f"expected a JSON object, got {_type_name(body)}")
        values = dict(body or {})
    elif body_field is not None and body is not None:
        values[body_field] = body
    for name, text in query:
        _put(request_type, values, name, text, in_path=False)
    for name, text in path.items():
        _put(request_type, values, name, text, in_path=True)
    _check_object(request_type, values, "", depth=0)
    request = message_factory.GetMessageClass(request_type)()
    try:
        json_format.ParseDict(values, request)
    except (json_format.ParseError, RecursionError, OverflowError, TypeError, AttributeError, ValueError):
        _refuse("body", f"expected a JSON form of {request_type.full_name}")
    return request


def parse_json(data: bytes) -> Any:
    """The JSON of a body; None for an empty one. Raises InvalidArgument that says where it stops being JSON."""
    if not data.strip():
        return None
    try:
        return json.loads(data, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        _refuse("body", f"expected UTF-8, got the byte {data[error.start]:#04x} at position {error.start}")
    except json.JSONDecodeError as error:
        _refuse("body", f"expected JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse("body", f"expected at most {MAX_DEPTH} levels of nesting")
    except _NoSuchConstant as error:
        _refuse("body", f"expected JSON: {error}")
    except ValueError:
        _refuse("body", "expected JSON with numbers of at most 4,300 digits")


class _NoSuchConstant(ValueError):
    """NaN or an infinity."""


def _no_constant(name: str) -> NoReturn:
    raise _NoSuchConstant(f"it has no {name}")


def _put(request_type: Descriptor, values: dict[str, Any], name: str, text: str, *, in_path: bool) -> None:
    """Sets the value of a dotted field in nested dictionaries."""
    *parents, last = name.split(".")
    parent_type, target = request_type, values
    for parent in parents:
        field = _field(parent_type, parent, name)
        if field.message_type is None or field.is_repeated:
            _refuse(name, f"{parent!r} has no fields within")
        parent_type = field.message_type
        inner = target.setdefault(_key_of(target, field, parent), {})
        if not isinstance(inner, dict):
            _refuse(name, f"{parent!r} is also set in the body, where it is not an object")
        target = inner
    field = _field(parent_type, last, name)
    key = _key_of(target, field, last)
    value = _query_value(field, text, name)
    if field.is_repeated:
        if not isinstance(target.setdefault(key, []), list):
            _refuse(name, "also set in the body, where it is not a list")
        target[key].append(value)
    elif key in target and not in_path:
        _refuse(name, "is set more than once")
    else:
        target[key] = value  # the path says which resource is meant, whatever the body says


def _key_of(values: Mapping[str, Any], field: FieldDescriptor, name: str) -> str:
    """The name under which a field is already set, as JSON accepts two; otherwise the one that the request has."""
    return next((key for key in (field.json_name, field.name) if key in values), name)


def _field(message_type: Descriptor, name: str, full_name: str) -> FieldDescriptor:
    field = message_type.fields_by_name.get(name) or message_type.fields_by_camelcase_name.get(name)
    if field is None:
        expected = ", ".join(field.json_name for field in message_type.fields)
        _refuse(full_name, f"no such parameter; expected some of: {expected or 'none'}")
    return field


def _query_value(field: FieldDescriptor, text: str, name: str) -> Any:
    """The text of a path or query as the JSON value that the field takes."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text not in ("true", "false"):
            _refuse(name, f"expected true or false, got {text[:100]!r}")
        return text == "true"
    if field.message_type is not None and not field.message_type.full_name.startswith(_WELL_KNOWN):
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            _refuse(name, f"expected a JSON object, or its fields as {name}.<field>; got {text[:100]!r}")
    return text


def _check_object(message_type: Descriptor, values: Any, place: str, *, depth: int) -> None:
    """Checks the JSON form of a message. Raises InvalidArgument that names the field."""
    if not isinstance(values, dict):
        _refuse(place, f"expected a JSON object, got {_type_name(values)}")
    if depth > MAX_DEPTH:
        _refuse(place, f"expected at most {MAX_DEPTH} levels of nesting")
    for name, value in values.items():
        place_of_field = f"{place}.{name}".strip(".")
        field = message_type.fields_by_name.get(name) or message_type.fields_by_camelcase_name.get(name)
        if field is None:
            _refuse(place_of_field, "no such field")
        if value is not None:
            _check_field(field, value, place_of_field, depth=depth)


def _check_field(field: FieldDescriptor, value: Any, place: str, *, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, dict):
            _refuse(place, f"expected a JSON object, got {_type_name(value)}")
        for key, item in value.items():
            _check_value(field.message_type.fields_by_name["value"], item, f"{place}.{key}", depth=depth)
    elif field.is_repeated:
        if not isinstance(value, list):
            _refuse(place, f"expected a list, got {_type_name(value)}")
        for number, item in enumerate(value):
            _check_value(field, item, f"{place}[{number}]", depth=depth)
    else:
        _check_value(field, value, place, depth=depth)


def _check_value(field: FieldDescriptor, value: Any, place: str, *, depth: int) -> None:
    if field.message_type is None:
        _CHECKS[field.cpp_type](field, value, place)
    elif field.message_type.full_name.startswith(_WELL_KNOWN):
        try:
            json_format.ParseDict(value, message_factory.GetMessageClass(field.message_type)())
        except (json_format.ParseError, RecursionError, TypeError, AttributeError, ValueError):
            _refuse(place, f"expected the JSON form of a {field.message_type.name}, got {_type_name(value)}")
    else:
        _check_object(field.message_type, value, place, depth=depth + 1)


def _check_integer(field: FieldDescriptor, value: Any, place: str) -> None:
    low, high = _BOUNDS[field.cpp_type]
    number: int | None = None
    if (isinstance(value, str) and _INTEGER.fullmatch(value)) or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    ):
        number = int(value)
    if number is None or not low <= number <= high:
        _refuse(place, f"expected an integer of {low} to {high}, got {str(value)[:100]}")


def _check_float(_field: FieldDescriptor, value: Any, place: str) -> None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        _refuse(place, f"expected a finite number, got {str(value)[:100]}")


def _check_bool(_field: FieldDescriptor, value: Any, place: str) -> None:
    if not isinstance(value, bool):
        _refuse(place, f"expected true or false, got {_type_name(value)}")


def _check_enum(field: FieldDescriptor, value: Any, place: str) -> None:
    assert field.enum_type is not None
    values = field.enum_type.values_by_name
    if isinstance(value, bool) or (value not in values if isinstance(value, str) else not isinstance(value, int)):
        _refuse(place, f"expected one of {', '.join(values)}; got {str(value)[:100]}")


def _check_string(field: FieldDescriptor, value: Any, place: str) -> None:
    if not isinstance(value, str):
        _refuse(place, f"expected a string, got {_type_name(value)}")
    if field.type == FieldDescriptor.TYPE_BYTES:
        try:
            base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_" if {"-", "_"} & set(value) else None)
        except (binascii.Error, ValueError):
            _refuse(place, "expected base64")
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(place, "expected Unicode text; it holds a half of a surrogate pair")


_CHECKS: Mapping[int, Callable[[FieldDescriptor, Any, str], None]] = {
    **dict.fromkeys(_BOUNDS, _check_integer),
    FieldDescriptor.CPPTYPE_FLOAT: _check_float,
    FieldDescriptor.CPPTYPE_DOUBLE: _check_float,
    FieldDescriptor.CPPTYPE_BOOL: _check_bool,
    FieldDescriptor.CPPTYPE_ENUM: _check_enum,
    FieldDescriptor.CPPTYPE_STRING: _check_string,
}


def _type_name(value: Any) -> str:
    names: Mapping[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidArgument.field(field.encode("utf-8", "backslashreplace").decode(), description)
