"""What a dataset and a document are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from prisma_common.names import SEGMENT

DEFAULT_MODEL = "builtin/wordllama-256"
MAX_KEY_BYTES = 512


class State(StrEnum):
    """Whether a document has its vector."""

    PENDING = "PENDING"
    EMBEDDED = "EMBEDDED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Dataset:
    """A set of documents that are embedded by one model. Counts are those of its documents at this moment."""

    uid: str
    id: str
    display_name: str
    description: str
    embedding_model: str
    dimension: int
    revision: int
    next_row: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    counts: Mapping[State, int] = field(default_factory=dict[State, int])
    text_bytes: int = 0

    @property
    def name(self) -> str:
        return f"datasets/{self.id}"


@dataclass(frozen=True)
class Failure:
    """Why a document could not be embedded."""

    code: int
    reason: str
    message: str


@dataclass(frozen=True)
class Document:
    """A text, and where its vector is: position `position` of blob `shard`, once it is embedded."""

    id: str
    key: str
    row: int
    text: str
    metadata: Mapping[str, Any]
    state: State
    failure: Failure | None
    embedding_truncated: bool
    revision: int
    create_time: datetime
    update_time: datetime
    shard: str | None = None
    position: int | None = None
    text_truncated: bool = False


@dataclass(frozen=True)
class NewDocument:
    """A document that an import brings."""

    key: str
    text: str
    metadata: Mapping[str, Any]


def document_id(key: str) -> str:
    """The last segment of a document's name: the key where it can be one, else `~` and a digest of it."""
    if SEGMENT.fullmatch(key) and not key.startswith("~") and key not in (".", ".."):
        return key
    return "~" + base64.b32encode(hashlib.sha256(key.encode()).digest()).decode().lower()[:26]
