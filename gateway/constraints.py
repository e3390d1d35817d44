"""Which values the OpenAPI document allows, beyond their types. The services enforce the same; a test compares both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from prisma_common.names import SEGMENT

Schema = Mapping[str, Any]

_SHARE: Schema = {"minimum": 0, "maximum": 1}
_COSINE: Schema = {"exclusiveMinimum": 0, "maximum": 1}
_OPTIONAL_ID: Schema = {"pattern": f"^({SEGMENT.pattern})?$"}
_NUMBER = "[0-9]{1,9}"
_NUMBERED = ("feature", "index", "label", "revision")
"""Segments that are numbers: a feature's is the latent's index, a label's its revision."""
_RESOURCE = re.compile(r"(?:[^.`]+, )?`([a-z]+/\{[a-z{}/]+)`(?! or `)")
_VARIABLE = re.compile(r"\{(\w+)\}")
_TYPES: Mapping[int, Schema] = {
    FieldDescriptorProto.TYPE_INT32: {"minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptorProto.TYPE_UINT32: {"minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptorProto.TYPE_UINT64: {"pattern": "^[0-9]{1,19}$"},
}
_NAMES: Mapping[str, Schema] = {
    "page_size": {"minimum": 0},
    "dataset_id": _OPTIONAL_ID,
    "run_id": _OPTIONAL_ID,
}
FIELDS: Mapping[str, Mapping[str, Schema]] = {
    "prisma.embedder.v1.Dataset": {
        "display_name": {"maxLength": 200},
        "description": {"maxLength": 10_000},
    },
    "prisma.embedder.v1.BatchGetDocumentsRequest": {"names": {"maxItems": 1000}, "rows": {"maxItems": 1000}},
    "prisma.embedder.v1.EmbedTextsRequest": {"texts": {"minItems": 1, "maxItems": 256}},
    "prisma.trainer.v1.Run": {
        "display_name": {"maxLength": 200},
        "description": {"maxLength": 10_000},
        "tags": {"maxItems": 20},
    },
    "prisma.trainer.v1.Config": {
        "expansion": {"minimum": 1, "maximum": 256},
        "k": {"minimum": 1, "maximum": 4096},
        "k_aux": {"minimum": 1, "maximum": 65_536},
        "aux_coefficient": {"minimum": 0, "maximum": 10},
        "learning_rate": {"minimum": 1e-8, "maximum": 1},
        "batch_size": {"minimum": 1, "maximum": 1 << 20},
        "epochs": {"minimum": 1, "maximum": 100_000},
        "warmup_fraction": _SHARE,
        "decay_fraction": _SHARE,
        "held_out_fraction": {"minimum": 0, "maximum": 0.9},
        "gradient_clip": {"minimum": 1e-8, "maximum": 1e8},
        "threads": {"minimum": 0, "maximum": 1024},
        "patience": {"minimum": 0, "maximum": 100_000},
        "cycles": {"minimum": 1, "maximum": 1000},
        "siblings": {"minimum": 0, "maximum": 8},
        "latent_count": {"minimum": 1, "maximum": 1 << 20},
    },
    "prisma.trainer.v1.CompareRunsRequest": {"min_cosine": _COSINE},
    "prisma.interpreter.v1.CarryLabelsRequest": {"min_cosine": _COSINE},
    "prisma.interpreter.v1.Label": {"text": {"maxLength": 200}, "description": {"maxLength": 2000}},
    "prisma.interpreter.v1.LabelFeaturesRequest": {"indices": {"maxItems": 100_000}},
    "prisma.interpreter.v1.ScoreLabelsRequest": {"indices": {"maxItems": 100_000}},
    "prisma.interpreter.v1.JudgeOptions": {
        "document_count": {"minimum": 10, "maximum": 100},
        "max_questions": {"minimum": 1, "maximum": 1_000_000},
    },
    "prisma.interpreter.v1.LabelOptions": {
        "positive_count": {"minimum": 1, "maximum": 50},
        "negative_count": {"minimum": 0, "maximum": 50},
        "temperature": {"minimum": 0, "maximum": 2},
        "system_prompt": {"maxLength": 20_000},
        "stop_words": {"maxItems": 1000},
    },
    "prisma.interpreter.v1.BuildFamiliesRequest": {"threshold": _COSINE, "rounds": {"minimum": 1, "maximum": 10}},
    "prisma.interpreter.v1.SampleActivationsRequest": {
        "row_count": {"maximum": 10_000},
        "feature_count": {"maximum": 500},
    },
    "prisma.interpreter.v1.GetFeatureMatrixRequest": {"feature_count": {"maximum": 300}},
    "prisma.interpreter.v1.AttributeSentencesRequest": {"indices": {"maxItems": 50}, "limit": {"maximum": 50}},
    "prisma.interpreter.v1.ExplainSimilarityRequest": {"limit": {"maximum": 100}},
    "prisma.interpreter.v1.AssociateMetadataRequest": {"limit": {"maximum": 1000}},
    "prisma.interpreter.v1.CompareDatasetsRequest": {"limit": {"maximum": 1000}},
    "prisma.interpreter.v1.DocumentSet": {"documents": {"maxItems": 10_000}},
    "prisma.interpreter.v1.FitClassifierRequest": {"feature_count": {"maximum": 32}},
    "prisma.interpreter.v1.FindFeaturesRequest": {
        "positives": {"minItems": 1, "maxItems": 200},
        "negatives": {"maxItems": 200},
        "limit": {"maximum": 100},
    },
    "prisma.interpreter.v1.CorrelateFeaturesRequest": {
        "limit": {"maximum": 1000},
        "max_label_similarity_rank": _COSINE,
    },
    "prisma.search.v1.SearchDocumentsRequest": {
        "query": {"maxLength": 100_000},
        "text_weight": _SHARE,
        "dense_weight": _SHARE,
        "sparse_weight": _SHARE,
        "latents": {"maxItems": 256},
        "steering": {"maxItems": 32},
        "steering_sets": {"maxItems": 16},
    },
    "prisma.search.v1.LatentSet": {"indices": {"minItems": 1, "maxItems": 256}},
}
"""By message and field."""


def of_segment(resource: str) -> Schema:
    """For an id in a path, by the singular name of its resource."""
    return {"pattern": f"^{_segment(resource)}$"}


def of_value(field: FieldDescriptorProto, comment: str, *, required: bool) -> Schema:
    """For a value of a field. comment: of the field; it begins with the pattern of a resource name if the field
    holds one, or has it after the first comma: "The dataset, `datasets/{dataset}`."."""
    constraints = {**_TYPES.get(field.type, {}), **_NAMES.get(field.name, {})}
    resource = _RESOURCE.match(comment)
    if resource and field.type == FieldDescriptorProto.TYPE_STRING:
        pattern = _VARIABLE.sub(lambda variable: _segment(variable[1]), resource[1])
        constraints["pattern"] = f"^{pattern}$" if required else f"^({pattern})?$"
    return constraints


def begins_with_name(comment: str) -> bool:
    """Whether the comment of a field says that it holds the name of a resource."""
    return _RESOURCE.match(comment) is not None


def of_field(message: str, field: str) -> Schema:
    """For a field as a whole. message: its full name."""
    return FIELDS.get(message, {}).get(field, {})


def _segment(resource: str) -> str:
    return _NUMBER if resource in _NUMBERED else SEGMENT.pattern
