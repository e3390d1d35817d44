"""Labels without a language model: built in, and the same each time.

A label is the best of several candidates, is tested on documents that played no part in its making, and is not given
where none of them passes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.interpreter import naming, topics
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.labellers import LabelModel, LabelSource, Task
from services.interpreter.labels import KEYWORDS, Draft, Source
from services.interpreter.naming import Verdict
from services.interpreter.phrase_vectors import PhraseVectors
from services.interpreter.topics import Topic

BATCH = 128
"""Features that are named, and stored, at once."""

Floats = NDArray[np.float32]


class KeywordLabeller:
    """Labels by keywords. Raises what the source raises."""

    def __init__(self, source: LabelSource, reader: EvidenceReader) -> None:
        self._source = source
        self._reader = reader

    async def models(self) -> Sequence[LabelModel]:
        """The one built-in model."""
        return [LabelModel(KEYWORDS, "Keywords (built in)", is_default=True)]

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound."""
        if model != KEYWORDS:
            raise LabelModelNotFound(
                f"no label model {model!r}: the built-in one is `{KEYWORDS}`", metadata={"model": model}
            )

    async def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels of 128 features at a time."""
        vectors = PhraseVectors(self._source, task.features.run)
        texts_in_use = _remaining_texts(task)
        for start in range(0, len(task.indices), BATCH):
            verdicts = await self._verdicts(task, task.indices[start : start + BATCH], vectors, texts_in_use)
            drafts = [naming.draft(verdict, task.options) for verdict in verdicts]
            texts_in_use.update(draft.text for draft in drafts)
            yield drafts

    async def _verdicts(
        self, task: Task, indices: Sequence[int], vectors: PhraseVectors, texts_in_use: set[str]
    ) -> list[Verdict]:
        judge, evidence = await self._reader.read(task.features, indices)
        decoder = await self._source.decoder(task.features.run, sorted(indices))
        direction_of = dict(zip(sorted(indices), decoder.detectors, strict=True))
        named = [Topic(evidence=own, latents=[own.latent], direction=direction_of[own.latent]) for own in evidence]
        return await topics.verdicts(named, judge, vectors, texts_in_use, stop_words=task.options.stop_words)


def _remaining_texts(task: Task) -> set[str]:
    """The labels that stay active: those of other features, and people's."""
    renamed = set(task.indices)
    return {
        label.draft.text
        for index, label in task.features.labels.items()
        if index not in renamed or label.draft.source is Source.HUMAN
    }
