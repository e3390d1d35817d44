"""The datasets and runs that the index derives from, as their owners last told: names, uids, revisions.

Kept on disk too, so that searching goes on while an owner is away. The owners are the truth: they are asked first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from services.chassis.files import whole


@dataclass(frozen=True)
class Dataset:
    """A dataset of the embedder. deleted: a tombstone."""

    name: str
    uid: str
    embedding_model: str
    revision: int
    deleted: bool = False


@dataclass(frozen=True)
class Run:
    """A run of the trainer. trained: it has codes."""

    name: str
    uid: str
    dataset: str
    dataset_uid: str
    revision: int
    trained: bool
    deleted: bool = False


class Catalog:
    """What is known of datasets and runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.datasets: Sequence[Dataset] = ()
        self.runs: Sequence[Run] = ()
        try:
            held = json.loads(path.read_bytes())
            self.datasets = [Dataset(**each) for each in held["datasets"]]
            self.runs = [Run(**each) for each in held["runs"]]
        except (OSError, ValueError, KeyError, TypeError):
            return  # none yet, or damaged: the owners tell it again

    def replace(self, datasets: Sequence[Dataset] | None = None, runs: Sequence[Run] | None = None) -> None:
        """Takes what an owner has told, and keeps it."""
        before = (self.datasets, self.runs)
        self.datasets = self.datasets if datasets is None else list(datasets)
        self.runs = self.runs if runs is None else list(runs)
        if (self.datasets, self.runs) == before:
            return
        held = {"datasets": [asdict(each) for each in self.datasets], "runs": [asdict(each) for each in self.runs]}
        with whole(self._path) as file:
            file.write(json.dumps(held).encode())

    def dataset(self, name: str) -> Dataset | None:
        """The living dataset of this name, if one is known."""
        return next((each for each in self.datasets if each.name == name and not each.deleted), None)

    def run(self, name: str) -> Run | None:
        """The living run of this name, if one is known."""
        return next((each for each in self.runs if each.name == name and not each.deleted), None)

    def runs_of(self, dataset_uid: str) -> list[Run]:
        """The living, trained runs of a dataset."""
        return [each for each in self.runs if each.dataset_uid == dataset_uid and each.trained and not each.deleted]
