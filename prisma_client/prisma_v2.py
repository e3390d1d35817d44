"""An installation of PRISMA v2 (PyPI `prismadb` 0.1.0): its SQLite database and files of weights, which are only read.

Each document has one vector. Older versions could store several, of parts of the text: their mean stands for them.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATABASE = "db.sqlite3"
_MEDIA = "media"
_TABLES = ("embeddings_dataset", "embeddings_document", "sae_saerun", "explorer_saefeature", "explorer_interpretation")
_EMBEDDED = "done"


class NotAnInstallation(ValueError):
    """A folder without a database of PRISMA v2."""


@dataclass(frozen=True)
class V2Dataset:
    """A dataset. vectorless: how many documents have no vector, by state (`pending`, `error`)."""

    key: int
    name: str
    description: str
    model: str
    embedded_count: int
    vectorless: dict[str, int]


@dataclass(frozen=True)
class V2Document:
    """A document. vector: None where what is stored cannot be read."""

    key: str
    text: str
    vector: list[float] | None


@dataclass(frozen=True)
class V2Run:
    """A completed run. weights: None where its file is not there."""

    key: int
    weights: Path | None


@dataclass(frozen=True)
class V2Label:
    """A label of a feature. model: that wrote it."""

    index: int
    text: str
    description: str
    model: str


class Installation:
    """What is in the folder of an installation."""

    def __init__(self, folder: Path) -> None:
        """folder: that of `manage.py`, or of the installed package, with `db.sqlite3`. Raises NotAnInstallation."""
        self._folder = folder
        path = folder / DATABASE
        if not path.is_file():
            raise NotAnInstallation(f"{folder} has no {DATABASE}: expected the folder of an installation of PRISMA v2")
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            raise NotAnInstallation(f"{path} cannot be read: {error}") from error
        missing = [name for name in _TABLES if name not in tables]
        if missing:
            raise NotAnInstallation(f"{path} is no database of PRISMA v2: it has no table {missing[0]}")

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def datasets(self) -> list[V2Dataset]:
        """All datasets, the oldest first."""
        rows = self._rows("SELECT id, name, description, model_name FROM embeddings_dataset ORDER BY id")
        return [self._dataset(*row) for row in rows]

    def documents(self, dataset: V2Dataset) -> Iterator[V2Document]:
        """Documents that have a vector, the oldest first."""
        query = (
            "SELECT external_id, text, embedding FROM embeddings_document "
            "WHERE dataset_id = ? AND status = ? ORDER BY id"
        )
        for key, text, embedding in self._rows(query, dataset.key, _EMBEDDED):
            yield V2Document(key=key, text=text, vector=_vector(embedding))

    def runs(self, dataset: V2Dataset) -> list[V2Run]:
        """The completed runs of a dataset, the oldest first."""
        query = "SELECT id, weights_file FROM sae_saerun WHERE dataset_id = ? AND status = 'completed' ORDER BY id"
        return [V2Run(key, self._media_file(weights)) for key, weights in self._rows(query, dataset.key)]

    def labels(self, run: V2Run) -> Iterator[V2Label]:
        """The labels of a run: of each feature its history, the oldest first, and then the active one."""
        query = (
            "SELECT feature.feature_index, label.label, label.description, label.llm_model "
            "FROM explorer_saefeature AS feature "
            "JOIN explorer_interpretation AS label ON label.feature_id = feature.id "
            "WHERE feature.run_id = ? "
            "ORDER BY feature.feature_index, label.id = feature.active_interpretation_id, label.created_at, label.id"
        )
        for index, text, description, model in self._rows(query, run.key):
            yield V2Label(index=index, text=text, description=description, model=model)

    def _dataset(self, key: int, name: str, description: str, model: str) -> V2Dataset:
        query = "SELECT status, COUNT(*) FROM embeddings_document WHERE dataset_id = ? GROUP BY status"
        counts: dict[str, int] = dict(self._rows(query, key))
        embedded_count = counts.pop(_EMBEDDED, 0)
        return V2Dataset(
            key=key, name=name, description=description, model=model, embedded_count=embedded_count, vectorless=counts
        )

    def _media_file(self, name: str | None) -> Path | None:
        """A file that the database names, within the folder of such files."""
        media = (self._folder / _MEDIA).resolve()
        path = (media / (name or "")).resolve()
        return path if path.is_file() and path.is_relative_to(media) else None

    def _rows(self, query: str, *parameters: object) -> Iterator[Any]:
        with closing(self._database.execute(query, parameters)) as rows:
            yield from rows


def _vector(embedding: str | None) -> list[float] | None:
    """The vector of a document, from the JSON of one list of numbers, or of one for each part of its text.

    None where it cannot be read.
    """
    try:
        content: Any = json.loads(embedding or "")
        parts: list[list[float]] = content if isinstance(content[0], list) else [content]
        vector = [math.fsum(numbers) / len(parts) for numbers in zip(*parts, strict=True)]
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return None
    return vector if vector and all(map(math.isfinite, vector)) else None
