"""Names that users write for enum values of the protos, such as `top-k` for ARCHITECTURE_TOP_K."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import Message

from prisma.trainer.v1.resources_pb2 import Config


class SearchMode(StrEnum):
    """How documents are searched."""

    HYBRID = "hybrid"
    FULL_TEXT = "full_text"
    SEMANTIC = "semantic"
    SPARSE = "sparse"


class ExampleKind(StrEnum):
    """Which documents show what a feature does."""

    STRONGEST = "strongest"
    DECILE = "decile"
    NEAR_MISS = "near_miss"
    RANDOM = "random"


class TableFormat(StrEnum):
    """How a table is written to a file."""

    CSV = "csv"
    JSON_LINES = "json-lines"
    PARQUET = "parquet"
    ARROW = "arrow"


class Architecture(StrEnum):
    """Architectures of a sparse autoencoder."""

    TOP_K = "top-k"
    BATCH_TOP_K = "batch-top-k"
    MATRYOSHKA = "matryoshka"


class Goal(StrEnum):
    """What the size of a sparse autoencoder is chosen for."""

    INTERPRETABLE = "interpretable"
    FAITHFUL = "faithful"


class Normalization(StrEnum):
    """How vectors are normalised before encoding."""

    STANDARD = "standard"
    SCALE = "scale"
    NONE = "none"


class MatrixKind(StrEnum):
    """By what features are compared."""

    DECODER_COSINE = "decoder-cosine"
    CO_OCCURRENCE = "co-occurrence"
    ACTIVATION_COSINE = "activation-cosine"


class MetadataKind(StrEnum):
    """How values of metadata are read."""

    CATEGORY = "category"
    NUMBER = "number"
    DATE = "date"


_Choice = TypeVar("_Choice", bound=StrEnum)


def choose(choices: type[_Choice], name: str, what: str) -> _Choice:
    """Returns the choice of a name; hyphens, underscores and case do not matter. Raises ValueError."""
    key = name.lower().replace("_", "-")
    for choice in choices:
        if choice.value.replace("_", "-") == key:
            return choice
    raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(choices)}")


def search_mode(name: str) -> str:
    """Returns the name of a search mode in the proto. Raises ValueError."""
    return f"MODE_{choose(SearchMode, name, 'search mode').name}"


def matrix_kind(name: str) -> str:
    """Returns the name of a kind of feature matrix in the proto. Raises ValueError."""
    return f"KIND_{choose(MatrixKind, name, 'kind of matrix').name}"


def example_kind(name: str) -> str:
    """Returns the name of a kind of examples in the proto. Raises ValueError."""
    return f"KIND_{choose(ExampleKind, name, 'kind of examples').name}"


def metadata_kind(name: str | None) -> str | None:
    """Returns the name of a kind of metadata in the proto; None for None. Raises ValueError."""
    return None if name is None else f"KIND_{choose(MetadataKind, name, 'kind of metadata').name}"


def training_config(fields: Mapping[str, Any]) -> Config:
    """Builds a training configuration; None leaves a field at its default. Raises ValueError, TypeError."""
    values = {name: value for name, value in fields.items() if value is not None}
    check_fields(Config, values)
    if isinstance(name := values.get("architecture"), str):
        architecture = choose(Architecture, name, "architecture")
        values["architecture"] = f"ARCHITECTURE_{architecture.name}"
    if isinstance(name := values.get("normalization"), str):
        normalization = choose(Normalization, name, "normalization")
        values["normalization"] = f"NORMALIZATION_{normalization.name}"
    if isinstance(name := values.get("goal"), str):
        values["goal"] = f"GOAL_{choose(Goal, name, 'goal').name}"
    config = Config()
    for name, value in values.items():
        try:
            config.MergeFrom(Config(**{name: value}))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
    return config


def check_fields(message: type[Message], fields: Mapping[str, Any]) -> None:
    """Raises ValueError where a message does not have a field, with the names of those that it has."""
    allowed = list(message.DESCRIPTOR.fields_by_name)
    if unknown := [name for name in fields if name not in allowed]:
        raise ValueError(f"unknown option {', '.join(unknown)}: choose from {', '.join(allowed)}")
