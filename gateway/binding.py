"""Requests from HTTP: path, query and JSON body become a message, and each mistake is told with the field it is in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from google.protobuf import descriptor, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.chassis.errors import InvalidArgument

_UNKNOWN = re.compile(r'has no field named "([^"]*)" at "([^"]*)"')
_AT = re.compile(r"Failed to parse (\S+) field: (.*?)\.?$", re.DOTALL)
_WELL_KNOWN = ("google.protobuf.",)


def message(
    kind: descriptor.Descriptor,
    path: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    body: Any = None,
    body_field: str | None = None,
) -> Message:
    """The message of a request. `body` is parsed JSON, for the field named, or for all with "*".

    Raises InvalidArgument that names the field.
    """
    held: dict[str, Any] = {}
    if body_field == "*":
        if body is not None and not isinstance(body, dict):
            _refuse("body", f"expected a JSON object, got {_kind_of(body)}")
        held = dict(body or {})
    elif body_field and body is not None:
        held[body_field] = body
    for name, text in query:
        _put(kind, held, name, text, in_path=False)
    for name, text in path.items():
        _put(kind, held, name, text, in_path=True)
    made = message_factory.GetMessageClass(kind)()
    try:
        return json_format.ParseDict(held, made)
    except json_format.ParseError as error:
        _explain(error)
    except (RecursionError, OverflowError, TypeError, AttributeError, ValueError) as error:
        _refuse("body", f"expected a value of the field's type: {error}")


def parse_json(data: bytes) -> Any:
    """The JSON of a body; None for an empty one. Raises InvalidArgument that says where it ends to be JSON."""
    if not data.strip():
        return None
    try:
        return json.loads(data, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        _refuse("body", f"expected UTF-8, got the byte {data[error.start]:#04x} at position {error.start}")
    except json.JSONDecodeError as error:
        _refuse("body", f"expected JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except (RecursionError, ValueError) as error:
        _refuse("body", f"expected JSON: {error}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _put(kind: descriptor.Descriptor, held: dict[str, Any], name: str, text: str, *, in_path: bool) -> None:
    """Puts the value of a dotted field into a dictionary."""
    *parents, last = name.split(".")
    place = held
    for parent in parents:
        field = _field(kind, parent, name)
        if field.message_type is None or field.is_repeated:
            _refuse(name, f"{parent!r} has no fields within")
        kind = field.message_type
        inner = place.setdefault(field.name if field.name in place else _known_as(place, field), {})
        if not isinstance(inner, dict):
            _refuse(name, f"{parent!r} is given in the body, and is no object there")
        place = inner
    field = _field(kind, last, name)
    key = _known_as(place, field)
    if field.is_repeated:
        if not isinstance(place.setdefault(key, []), list):
            _refuse(name, "is given in the body too, and is no list there")
        place[key].append(_value(field, text, name))
        return
    if key in place and not in_path:
        _refuse(name, "is given more than once")
    place[key] = _value(field, text, name)  # the path says which resource is meant, whatever the body says


def _known_as(place: Mapping[str, Any], field: FieldDescriptor) -> str:
    """The name under which a field stands there already: JSON takes both."""
    return field.json_name if field.json_name in place else field.name


def _field(kind: descriptor.Descriptor, name: str, whole: str) -> FieldDescriptor:
    field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
    if field is None:
        known = ", ".join(each.json_name for each in kind.fields)
        _refuse(whole, f"no such parameter; expected some of: {known or 'none'}")
    return field


def _value(field: FieldDescriptor, text: str, name: str) -> Any:
    """A text of path or query as the JSON value that the field takes."""
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


def _explain(error: json_format.ParseError) -> NoReturn:
    text = str(error)
    if unknown := _UNKNOWN.search(text):
        _, _, parent = unknown[2].partition(".")
        _refuse(f"{parent}.{unknown[1]}".strip("."), "no such field")
    if at := _AT.search(text):
        _refuse(at[1].strip("'\""), f"expected a value of the field's type: {at[2]}")
    _refuse("body", text)


def _kind_of(value: Any) -> str:
    return {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}.get(
        type(value), "null"
    )


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidArgument.field(field, description)
