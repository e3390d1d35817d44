"""The datasets and runs that the index derives from, as their owners last reported them.

The follower keeps this current by hints and by looking every minute, so that a search asks no owner for what is known
here. It is stored on disk too, so that searching goes on while an owner is unavailable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from services.chassis.files import whole
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import Type
from services.chassis.query_models import text_model
from services.search.backend import Position


@dataclass(frozen=True)
class Dataset:
    """A dataset of the embedder."""

    name: str
    uid: str
    embedding_model: str
    position: Position
    document_count: int
    is_deleted: bool = False
    """Whether this is a tombstone."""
    has_passages: bool = False
    """Whether its rows are passages of documents."""
    types: Types = field(default_factory=dict[str, Type])
    """Of the fields that its documents' metadata have."""
    query_model: str = ""
    """Of given vectors; empty for none."""
    dimension: int = 0
    """0 before the first vector."""

    @property
    def text_model(self) -> str | None:
        """The model that embeds queries; None where vectors are given and none does."""
        return text_model(self.embedding_model, self.query_model)


@dataclass(frozen=True)
class Run:
    """A run of the trainer."""

    name: str
    uid: str
    dataset: str
    dataset_uid: str
    position: Position
    is_trained: bool
    """Whether it has codes."""
    is_deleted: bool = False


class Catalog:
    """The datasets and runs that owners have reported. Not thread-safe: it is changed on the event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.datasets: Sequence[Dataset] = ()
        self.runs: Sequence[Run] = ()
        try:
            content = json.loads(path.read_bytes())
            self.datasets = [_dataset(entry) for entry in content["datasets"]]
            self.runs = [Run(**_with_position(entry)) for entry in content["runs"]]
        except (OSError, ValueError, KeyError, TypeError):
            return  # not written yet, or damaged: the owners report again

    def replace(self, *, datasets: Sequence[Dataset] | None = None, runs: Sequence[Run] | None = None) -> bool:
        """Takes the complete lists that owners report; returns whether anything changed. Call `save` then."""
        before = (self.datasets, self.runs)
        self.datasets = self.datasets if datasets is None else list(datasets)
        self.runs = self.runs if runs is None else list(runs)
        return (self.datasets, self.runs) != before

    def put(self, resource: Dataset | Run) -> bool:
        """Takes what an owner reports of one dataset or run; returns whether anything changed."""
        if isinstance(resource, Dataset):
            return self.replace(datasets=[*(other for other in self.datasets if other.uid != resource.uid), resource])
        return self.replace(runs=[*(other for other in self.runs if other.uid != resource.uid), resource])

    def save(self) -> None:
        """Writes the catalog to disk."""
        content = {
            "datasets": [asdict(dataset) for dataset in self.datasets],
            "runs": [asdict(run) for run in self.runs],
        }
        with whole(self._path) as file:
            file.write(json.dumps(content).encode())

    def dataset(self, name: str) -> Dataset | None:
        """The dataset of this name that is not deleted, if one is known."""
        return next((dataset for dataset in self.datasets if dataset.name == name and not dataset.is_deleted), None)

    def run(self, name: str) -> Run | None:
        """The run of this name that is not deleted, if one is known."""
        return next((run for run in self.runs if run.name == name and not run.is_deleted), None)

    def runs_of(self, dataset_uid: str) -> list[Run]:
        """The trained runs of a dataset that are not deleted."""
        return [run for run in self.runs if run.dataset_uid == dataset_uid and run.is_trained and not run.is_deleted]


def _dataset(entry: dict[str, Any]) -> Dataset:
    types = {key: Type(name) for key, name in entry["types"].items()}
    return replace(Dataset(**_with_position(entry)), types=types)


def _with_position(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "position": Position(**entry["position"])}
