"""Examples for the OpenAPI document: requests that are useful as they are, responses made from the schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prisma_common.names import SEGMENT

Schema = Mapping[str, Any]

_TEXT = "Rents in the city rose by 4% in a year."
_IDS: Mapping[str, str] = {
    "datasets": "news",
    "documents": "k17",
    "runs": "news-16x",
    "features": "512",
    "labels": "1",
    "families": "37",
    "imports": "3f1c9a52",
    "jobs": "8d0e44b7",
    "rounds": "1",
}
"""Ids by the segment before them."""
_TEXTS: Mapping[str, str] = {
    "displayName": "News of 2026",
    "description": "Articles of local papers",
    "embeddingModel": "ollama/nomic-embed-text",
    "provider": "ollama",
    "model": "ollama/llama3.1:8b",
    "query": "rising rents",
    "text": _TEXT,
    "texts": _TEXT,
    "snippet": _TEXT,
    "label": "Housing costs",
    "key": "year",
    "id": "k17",
    "filter": "metadata.year >= 2020",
    "nextPageToken": "",
    "uid": "0b7e6c1d",
    "service": "embedder",
    "message": "",
    "health": "HEALTH_OK",
}
"""Of strings, by the name of the field."""
_FLOATS = "AACAPwAAAEA="  # 1 and 2
_LABEL = {"text": "Housing costs", "description": "What flats and houses cost, and whom it burdens."}
_REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "EmbedderService_CreateDataset": {"displayName": "News of 2026", "embeddingModel": "ollama/nomic-embed-text"},
    "EmbedderService_UpdateDataset": {"displayName": "News of 2026"},
    "EmbedderService_BatchGetDocuments": {"names": ["datasets/news/documents/k17"]},
    "EmbedderService_CompareRows": {"rowRanges": [{"start": "0", "end": "1200"}]},
    "SearchService_SearchDocuments": {"query": "rising rents", "filter": "metadata.year >= 2020", "pageSize": 20},
    "SearchService_ExportHits": {"search": {"query": "rising rents"}, "format": "TABLE_FORMAT_CSV"},
    "TrainerService_CreateRun": {"dataset": "datasets/news", "config": {"k": 32, "expansion": 16}},
    "TrainerService_UpdateRun": {"displayName": "News, 16 times as many features", "dataset": "datasets/news"},
    "TrainerService_CloneRun": {"config": {"k": 64}},
    "TrainerService_SweepRuns": {"dataset": "datasets/news", "ks": [16, 32], "expansions": [8, 16]},
    "TrainerService_EncodeDataset": {"dataset": "datasets/news"},
    "TrainerService_Encode": {
        "vectors": {"dimension": 2, "encoding": "VECTOR_ENCODING_FLOAT32", "data": _FLOATS},
    },
    "TrainerService_Decode": {
        "codes": {"indptr": "AAAAAAIAAAA=", "indices": "AwAAAAcAAAA=", "values": _FLOATS, "latentCount": 8192},
    },
    "InterpreterService_CreateLabel": _LABEL,
    "InterpreterService_AssociateMetadata": {"key": "year"},
    "InterpreterService_CarryLabels": {"fromRun": "runs/news-8x"},
    "InterpreterService_CompareDatasets": {
        "first": {"dataset": "datasets/news"},
        "second": {"dataset": "datasets/blogs"},
    },
    "InterpreterService_LabelFeatures": {"limit": 100},
    "InterpreterService_ExplainSimilarity": {"first": {"text": _TEXT}, "second": {"text": "Flats get dearer."}},
}
"""By operation."""
_FORMATS: Mapping[str, str] = {"date-time": "2026-03-01T09:30:00Z", "int64": "1200", "uint64": "1200"}
_MAX_DEPTH = 8


class Examples:
    """Makes examples of schemas that may refer to named ones."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def request(self, schema: Schema, operation: str) -> Any:
        """A request: one that is written down here, or what it must have. operation: its id."""
        return _REQUESTS.get(operation) or self._value(schema, "", depth=0)

    def response(self, media_type: str, schema: Schema) -> Any:
        """A response, with all that is always there; of a stream, a message; None for a file."""
        if "contentSchema" in schema:
            line = json.dumps(self._value(schema["contentSchema"], "", depth=0))
            return f"event: message\ndata: {line}\n\n" if media_type == "text/event-stream" else f"{line}\n"
        return self._value(schema, "", depth=0) if media_type == "application/json" else None

    def segment(self, collection: str) -> str:
        """An id in a path. collection: the segment before it."""
        return _IDS.get(collection, "embedder")

    def _resolved(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        return self._schemas[reference.rpartition("/")[2]] if reference else schema

    def _object(self, shape: Schema, names: Mapping[str, None], *, depth: int) -> dict[str, Any]:
        properties = shape.get("properties", {})
        if not names and "text" in properties and "document" in properties:  # one of them
            names = {"text": None}
        if not names and "dataset" in properties:
            names = {"dataset": None}
        return {name: self._value(properties[name], name, depth=depth + 1) for name in names}

    def _value(self, schema: Schema, name: str, *, depth: int) -> Any:
        shape = self._resolved(schema)
        if "enum" in shape:
            return next((value for value in shape["enum"] if not value.endswith("_UNSPECIFIED")), shape["enum"][0])
        match shape["type"]:
            case "object":
                return self._object(shape, dict.fromkeys(shape.get("required", ())), depth=depth)
            case "array":
                is_deep = depth > _MAX_DEPTH and not shape.get("minItems")
                return [] if is_deep else [self._value(shape["items"], name, depth=depth + 1)]
            case "boolean":
                return False
            case "string":
                return _string(shape, name)
            case kind:
                return _number(shape, whole=kind == "integer")


def _string(schema: Schema, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if schema.get("contentEncoding") == "base64":
        return "AACAPw=="
    pattern = schema.get("pattern", "")
    if "/" in pattern:
        return _resource_name(pattern)
    if pattern.startswith("^-?"):
        return "1.5s"
    return "news" if pattern else _TEXTS.get(name, "")


def _resource_name(pattern: str) -> str:
    """`datasets/news/documents/k17` for the pattern of such names."""
    parts = re.sub(r"^\^\(?|\)?\??\$$", "", pattern).replace(SEGMENT.pattern, "*").replace("[0-9]{1,9}", "*").split("/")
    return "/".join(_IDS[parts[place - 1]] if part == "*" else part for place, part in enumerate(parts))


def _number(schema: Schema, *, whole: bool) -> float:
    value = 3 if whole else 0.25
    return min(max(value, schema.get("minimum", value)), schema.get("maximum", value))
