"""What a run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config


@dataclass(frozen=True)
class Source:
    """The vectors that a run is trained on: dataset, revision, and half-open ranges of rows."""

    dataset: str
    dataset_uid: str
    revision: int
    ranges: Sequence[tuple[int, int]]
    row_count: int
    embedding_model: str
    dimension: int


@dataclass(frozen=True)
class Run:
    """A sparse autoencoder on a dataset. `attempt` is the folder of the committed weights; empty before.

    With `imported_from`, weights from elsewhere lie under `imported` and are not trained.
    """

    uid: str
    id: str
    display_name: str
    description: str
    source: Source
    config: Config
    attempt: str
    shards: Sequence[CodeShard]
    revision: int
    metrics: Mapping[str, Any] | None
    job: str
    fingerprint: str
    device: str
    create_time: datetime
    update_time: datetime
    train_time: datetime | None
    delete_time: datetime | None
    tags: Sequence[str]
    evaluation: Mapping[str, Any] | None
    imported_from: str
    latent_count: int

    @property
    def name(self) -> str:
        return f"runs/{self.id}"

    @property
    def folder(self) -> str:
        """Of its blobs."""
        return f"runs/{self.uid}"

    @property
    def imported(self) -> str:
        """Of the weights that it was made of, in the layout of this suite."""
        return f"{self.folder}/imported.safetensors"

    @property
    def trained(self) -> bool:
        return bool(self.attempt)
