"""Labels from words alone: built in, instant, the same each time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

import numpy as np

from services.chassis.threads import in_thread
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.features import Features
from services.interpreter.keywords import Keywords, Name, UniqueNames
from services.interpreter.labellers import LabelModel, Task
from services.interpreter.labels import KEYWORDS, Draft, Options, Source
from services.interpreter.runs import Run, rows_at

BACKGROUND_ROWS = 50_000
"""Documents that keywords are compared with: all, or a sample of so many, the same each time."""
BATCH = 128
"""Features that are named, and stored, at once."""
_CACHED = 2
"""Datasets whose words stay counted."""
_SHOWN_ROWS = 50
"""Rows that a label names as its positives."""


class TextSource(Protocol):
    """What is read from the embedder."""

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        """Texts by row, without those of deleted documents."""
        ...


class KeywordLabeller:
    """Labels by keywords. Raises what the source raises."""

    def __init__(self, source: TextSource) -> None:
        self._source = source
        self._counted: OrderedDict[object, Keywords] = OrderedDict()
        self._counting = asyncio.Lock()

    async def models(self) -> Sequence[LabelModel]:
        """The one built-in model."""
        return [LabelModel(KEYWORDS, "Keywords (built in)", is_default=True)]

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound."""
        if model != KEYWORDS:
            raise LabelModelNotFound(f"no label model {model!r}: the built-in one is `{KEYWORDS}`")

    async def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels of 128 features at a time. No two active labels of the run become equal."""
        features = task.features
        keywords = await self._keywords(features.run)
        unique = UniqueNames(_remaining_texts(task))
        for start in range(0, len(task.indices), BATCH):
            evidence = [features.evidence(index) for index in task.indices[start : start + BATCH]]
            rows = sorted({int(row) for latent in evidence for row in latent.rows})
            texts = await self._source.texts(features.run.dataset, rows)
            names = await in_thread(keywords.names, evidence, texts)
            yield [
                _draft(latent.latent, unique.unique(latent.latent, name), features, task.options)
                for latent, name in zip(evidence, names, strict=True)
            ]

    async def _keywords(self, run: Run) -> Keywords:
        """The counted words of the run's rows; runs of the same rows share them."""
        rows_key = (run.dataset_uid, tuple(run.ranges))
        async with self._counting:
            keywords = self._counted.get(rows_key)
            if keywords is None:
                texts = await self._source.texts(run.dataset, _sample(run.ranges))
                keywords = await in_thread(Keywords, texts)
                self._counted[rows_key] = keywords
                while len(self._counted) > _CACHED:
                    self._counted.popitem(last=False)
            self._counted.move_to_end(rows_key)
            return keywords


def _remaining_texts(task: Task) -> list[str]:
    """The labels that stay active: those of other features, and people's."""
    renamed = set(task.indices)
    return [
        label.draft.text
        for index, label in task.features.labels.items()
        if index not in renamed or label.draft.source is Source.HUMAN
    ]


def _draft(index: int, name: Name, features: Features, options: Options) -> Draft:
    rows, _activations = features.top(index, _SHOWN_ROWS)
    return Draft(
        index=index,
        text=name.text,
        description=name.description,
        source=Source.KEYWORDS,
        model=KEYWORDS,
        keywords=tuple(name.keywords),
        options=options,
        positive_rows=tuple(rows.tolist()),
    )


def _sample(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The rows of the background, rising."""
    total = sum(end - start for start, end in ranges)
    if total <= BACKGROUND_ROWS:
        return [row for start, end in ranges for row in range(start, end)]
    places = np.sort(np.random.default_rng(0).choice(total, BACKGROUND_ROWS, replace=False))
    return rows_at(ranges, places).tolist()
