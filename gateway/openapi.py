"""The OpenAPI 3.1 document, made from the descriptors with their comments: `python -m gateway.openapi`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from gateway import constraints, error_responses
from gateway.examples import Examples
from prisma_common import contract
from prisma_common.http_rule import HttpBinding, PathTemplate, Variable, http_bindings

FILE = Path(__file__).parent / "web" / "openapi.json"
_SINGULAR = {
    "datasets": "dataset",
    "documents": "document",
    "runs": "run",
    "features": "feature",
    "labels": "label",
    "families": "family",
    "jobs": "job",
    "imports": "import",
}
_FILE_TYPES = (
    "application/octet-stream",
    "text/csv",
    "application/jsonl",
    "application/zip",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.file",
)
"""What downloads are, as their `format` says."""
_MODELS = ("embedding_model", "model")
"""Fields with the name of a model that a provider may not have."""
_PLAIN: Mapping[int, Mapping[str, Any]] = {
    FieldDescriptorProto.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptorProto.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "format": "int64"},
    FieldDescriptorProto.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptorProto.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: Mapping[str, Mapping[str, Any]] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
    ".google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, separated by commas."},
    ".google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    ".google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    },
}


def document() -> dict[str, Any]:
    """The document."""
    files = [file for file in _descriptors().file if file.package]
    return _Writer(files).document()


def text() -> str:
    """The document as it is checked in."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _descriptors() -> FileDescriptorSet:
    return FileDescriptorSet.FromString((resources.files("prisma") / "prisma.binpb").read_bytes())


class _Writer:
    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self._files = files
        self._comments: dict[str, str] = {}
        self._messages: dict[str, DescriptorProto] = {}
        self._enums: dict[str, EnumDescriptorProto] = {}
        self._schemas: dict[str, Any] = {}
        for file in files:
            self._read(file)
        self._answered = self._messages_of_answers()

    def document(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        tags: list[dict[str, str]] = []
        for file in self._files:
            for service in file.service:
                name = f"{file.package}.{service.name}"
                if name.startswith("prisma."):
                    tags.append({"name": service.name, "description": self._comments.get(f".{name}", "")})
                    for method in service.method:
                        for verb, path, operation in self._operations(service.name, f".{name}.{method.name}", method):
                            paths.setdefault(path, {})[verb] = operation
        self._status(paths)
        self._add_examples(paths)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "PRISMA",
                "version": metadata.version("prisma-suite"),
                "summary": "What is in text embeddings: features, labels, families, search.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{}, {"key": []}],
            "tags": tags,
            "paths": dict(sorted(paths.items())),
            "components": {
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
                "responses": error_responses.components(),
                "schemas": {**dict(sorted(self._schemas.items())), "Error": error_responses.ERROR},
            },
        }

    def _add_examples(self, paths: Mapping[str, Any]) -> None:
        """Adds an example to each body and each id in a path, once all schemas are there."""
        examples = Examples(self._schemas)
        for path, operations in paths.items():
            segments = path.split("/")
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    if parameter["in"] == "path":
                        place = next(place for place, part in enumerate(segments) if f"{{{parameter['name']}}}" in part)
                        parameter["example"] = examples.segment(segments[place - 1])
                body = operation.get("requestBody", {}).get("content", {}).get("application/json")
                if body:
                    body["example"] = examples.request(body["schema"], operation["operationId"])
                for media_type, content in operation["responses"]["200"]["content"].items():
                    example = examples.response(media_type, content["schema"])
                    if example is not None:
                        content["example"] = example

    def _read(self, file: FileDescriptorProto) -> None:
        prefix = f".{file.package}"
        names: dict[tuple[int, ...], str] = {}
        for number, message in enumerate(file.message_type):
            self._enter(message, f"{prefix}.{message.name}", (4, number), names)
        for number, enum in enumerate(file.enum_type):
            self._enter_enum(enum, f"{prefix}.{enum.name}", (5, number), names)
        for number, service in enumerate(file.service):
            names[(6, number)] = f"{prefix}.{service.name}"
            for place, method in enumerate(service.method):
                names[(6, number, 2, place)] = f"{prefix}.{service.name}.{method.name}"
        for location in file.source_code_info.location:
            if location.leading_comments and tuple(location.path) in names:
                self._comments[names[tuple(location.path)]] = _tidy(location.leading_comments)

    def _enter(
        self, message: DescriptorProto, name: str, path: tuple[int, ...], names: dict[tuple[int, ...], str]
    ) -> None:
        self._messages[name] = message
        names[path] = name
        for number, field in enumerate(message.field):
            names[(*path, 2, number)] = f"{name}.{field.name}"
        for number, inner in enumerate(message.nested_type):
            self._enter(inner, f"{name}.{inner.name}", (*path, 3, number), names)
        for number, enum in enumerate(message.enum_type):
            self._enter_enum(enum, f"{name}.{enum.name}", (*path, 4, number), names)

    def _enter_enum(
        self, enum: EnumDescriptorProto, name: str, path: tuple[int, ...], names: dict[tuple[int, ...], str]
    ) -> None:
        self._enums[name] = enum
        names[path] = name
        for number, value in enumerate(enum.value):
            names[(*path, 2, number)] = f"{name}.{value.name}"

    def _messages_of_answers(self) -> set[str]:
        """The full names of the messages that responses consist of."""
        return self._messages_within(
            method.output_type for file in self._files for service in file.service for method in service.method
        )

    def _messages_within(self, names: Iterable[str]) -> set[str]:
        """The full names of messages and of all that they consist of."""
        reached: set[str] = set()
        remaining = list(names)
        while remaining:
            name = remaining.pop()
            if name in self._messages and name not in reached:
                reached.add(name)
                remaining += [field.type_name for field in self._messages[name].field]
        return reached

    def _operations(
        self, service: str, name: str, method: MethodDescriptorProto
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for number, binding in enumerate(http_bindings(method.options)):
            path, parameters, bound = _path(binding.path)
            comment = self._comments.get(name, "")
            operation: dict[str, Any] = {
                "operationId": f"{service}_{method.name}{f'_{number}' if number else ''}",
                "tags": [service],
                "summary": comment.split(". ")[0].rstrip("."),
                "description": comment,
                "parameters": [*parameters, *self._query(method, binding.body, bound)],
                "responses": {"200": self._response(method), **self._errors(name, method, binding)},
            }
            if binding.body:
                operation["requestBody"] = self._body(method, binding.body, bound)
            yield binding.verb.lower(), path, operation

    def _errors(self, name: str, method: MethodDescriptorProto, binding: HttpBinding) -> dict[str, Any]:
        _, service, short_name = name.rsplit(".", 2)
        return error_responses.of_method(
            contract.services()[service].methods_by_name[short_name],
            binding,
            names_resource=bool(binding.path.variables) or self._names_resource(method.input_type),
        )

    def _names_resource(self, request: str) -> bool:
        """Whether a request can hold the name of a resource or of a model."""
        return any(
            field.name in _MODELS or constraints.begins_with_name(self._comments.get(f"{message}.{field.name}", ""))
            for message in self._messages_within([request])
            for field in self._messages[message].field
        )

    def _query(self, method: MethodDescriptorProto, body: str | None, bound: set[str]) -> list[dict[str, Any]]:
        if body == "*":
            return []
        request, prefix = self._messages[method.input_type], method.input_type
        if method.client_streaming:  # the config's fields, written without its name
            prefix = next(field.type_name for field in request.field if field.name == "config")
            request, bound = self._messages[prefix], {name.removeprefix("config.") for name in bound}
        return [
            {
                "name": field.json_name,
                "in": "query",
                "required": _is_required(field),
                "description": self._comments.get(f"{prefix}.{field.name}", ""),
                "schema": self._field(prefix, field, answered=False),
            }
            for field in request.field
            if field.name not in bound and field.name != body
        ]

    def _body(self, method: MethodDescriptorProto, body: str, bound: set[str]) -> dict[str, Any]:
        if method.client_streaming:
            file = {"type": "string", "format": "binary"}
            form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
            return {
                "required": True,
                "content": {
                    "application/octet-stream": {"schema": file},
                    "multipart/form-data": {"schema": form},
                },
            }
        if body != "*":
            whole = next(field for field in self._messages[method.input_type].field if field.name == body)
            schema = self._field(method.input_type, whole, answered=False)
            return {"required": True, "content": {"application/json": {"schema": schema}}}
        name = method.input_type.lstrip(".")
        self._schemas[name] = self._message(method.input_type, answered=False, without=bound)  # the path has these
        is_required = bool(self._schemas[name].get("required"))
        schema = {"$ref": f"#/components/schemas/{name}"}
        return {"required": is_required, "content": {"application/json": {"schema": schema}}}

    def _response(self, method: MethodDescriptorProto) -> dict[str, Any]:
        if method.output_type == ".google.api.HttpBody":
            file = {"schema": {"type": "string", "format": "binary"}}
            return {"description": "The file.", "content": dict.fromkeys(_FILE_TYPES, file)}
        schema = self._reference(method.output_type, answered=True)
        if method.server_streaming:
            description = "One message a line; an error in mid-stream is a last line of its own. As events by Accept."
            lines = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
            return {
                "description": description,
                "content": {
                    media_type: {"schema": lines} for media_type in ("application/x-ndjson", "text/event-stream")
                },
            }
        return {"description": "The answer.", "content": {"application/json": {"schema": schema}}}

    def _reference(self, name: str, *, answered: bool) -> dict[str, Any]:
        """The reference to a type. answered: for responses; a message of requests too has a schema of its own there."""
        if name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        plain = name.lstrip(".")
        if not answered and name in self._answered:
            plain += "Input"
        if plain not in self._schemas:
            self._schemas[plain] = {}  # first, as messages may hold themselves
            self._schemas[plain] = self._enum(name) if name in self._enums else self._message(name, answered=answered)
        return {"$ref": f"#/components/schemas/{plain}"}

    def _message(self, name: str, *, answered: bool, without: Collection[str] = ()) -> dict[str, Any]:
        """The schema of a message. answered: for responses, where fields without presence are always there."""
        fields = [field for field in self._messages[name].field if field.name not in without]
        properties = {}
        for field in fields:
            schema = self._field(name, field, answered=answered)
            comment = self._comments.get(f"{name}.{field.name}", "")
            if comment:
                schema = {"description": comment, **schema}
            if _behaves(field, field_behavior_pb2.OUTPUT_ONLY):
                schema["readOnly"] = True
            properties[field.json_name] = schema
        result: dict[str, Any] = {"type": "object", "properties": properties}
        if required := [field.json_name for field in fields if (_is_printed if answered else _is_required)(field)]:
            result["required"] = required
        if comment := self._comments.get(name):
            result["description"] = comment
        return result

    def _enum(self, name: str) -> dict[str, Any]:
        description = [
            f"- `{value.name}`: {self._comments.get(f'{name}.{value.name}', '')}" for value in self._enums[name].value
        ]
        return {
            "type": "string",
            "enum": [value.name for value in self._enums[name].value],
            "description": "\n".join([self._comments.get(name, ""), *description]).strip(),
        }

    def _field(self, message: str, field: FieldDescriptorProto, *, answered: bool) -> dict[str, Any]:
        """The schema of a field. message: the full name of the message that has it."""
        if field.type_name:
            inner = self._messages.get(field.type_name)
            if inner is not None and inner.options.map_entry:
                return {
                    "type": "object",
                    "additionalProperties": self._field(field.type_name, inner.field[1], answered=answered),
                }
            schema = self._reference(field.type_name, answered=answered)
        else:
            comment = self._comments.get(f"{message}.{field.name}", "")
            schema = {**_PLAIN[field.type], **constraints.of_value(field, comment, required=_is_required(field))}
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            schema = {"type": "array", "items": schema}
        return {**schema, **constraints.of_field(message.lstrip("."), field.name)}

    def _status(self, paths: dict[str, Any]) -> None:
        services = {"type": "array", "items": self._reference(".prisma.common.v1.ServiceStatus", answered=True)}
        properties = {"health": {"type": "string"}, "services": services}
        schema = {"type": "object", "properties": properties, "required": ["health", "services"]}
        paths["/v1/status"] = {
            "get": {
                "operationId": "Status",
                "tags": ["StatusService"],
                "summary": "Returns how all processes are",
                "description": "Asks all at once; one that does not answer is listed as HEALTH_DOWN, with what to do.",
                "responses": {
                    "200": {"description": "All parts.", "content": {"application/json": {"schema": schema}}},
                    **error_responses.of_status(),
                },
            }
        }


def _path(template: PathTemplate) -> tuple[str, list[dict[str, Any]], set[str]]:
    """The path with a parameter for each segment, the parameters, and the fields that the path holds."""
    parameters: list[dict[str, Any]] = []

    def segments(variable: Variable) -> str:
        parts: list[str] = []
        for segment in variable.segments:
            if segment != "*":
                parts.append(segment)
                continue
            name = _SINGULAR.get(parts[-1], parts[-1]) if parts else variable.field
            parameters.append(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", **constraints.of_segment(name)},
                    "description": f"The {name}'s id.",
                }
            )
            parts.append(f"{{{name}}}")
        return "/".join(parts)

    path = template.expand(segments)
    return path, parameters, {variable.field for variable in template.variables}


def _behaves(field: FieldDescriptorProto, behavior: int) -> bool:
    return behavior in field.options.Extensions[field_behavior_pb2.field_behavior]  # pyright: ignore[reportArgumentType]


def _is_required(field: FieldDescriptorProto) -> bool:
    return _behaves(field, field_behavior_pb2.REQUIRED)


def _is_printed(field: FieldDescriptorProto) -> bool:
    """Whether proto_json always writes a field: all that have no presence."""
    is_single = field.label != FieldDescriptorProto.LABEL_REPEATED
    is_message = field.type == FieldDescriptorProto.TYPE_MESSAGE
    return not (is_single and (is_message or field.HasField("oneof_index")))


def _tidy(comment: str) -> str:
    return " ".join(line.strip() for line in comment.strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(text())
