"""Which sentences of a text carry its features.

What a feature loses when a sentence is left out is the sentence's contribution; what a sentence activates on its own is
compared with it. Contributions and a remainder add up to the activation in the whole text:

    activation(text) = Σ_s (activation(text) − activation(text without s)) + remainder
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common import sentences, wire
from prisma_common.sentences import Sentence
from services.interpreter.documents import Passage
from services.interpreter.runs import Run
from services.interpreter.selection import SelectedFeatures
from services.interpreter.upstream import Encoded

MAX_SENTENCES = 64

Floats = NDArray[np.float64]


class TextSource(Protocol):
    """What texts are encoded by."""

    async def encode_text(self, run: Run, text: str) -> Encoded:
        """A text as the run sees it."""
        ...

    async def codes_of_texts(self, run: Run, texts: Sequence[str]) -> wire.Codes:
        """Codes of texts; without activations for a text that has no embedding."""
        ...


@dataclass(frozen=True)
class Attribution:
    """How S sentences carry one feature."""

    index: int
    activation: float
    """In the whole text."""
    contributions: Floats
    """(S,) what it loses without each sentence."""
    alone: Floats
    """(S,) its activation in each sentence alone."""

    @property
    def remainder(self) -> float:
        """The activation less all contributions."""
        return self.activation - float(self.contributions.sum())

    @property
    def strongest(self) -> int | None:
        """The sentence with the largest contribution, of equal ones the stronger alone; None where none has any."""
        if not len(self.alone) or max(self.contributions.max(), self.alone.max()) <= 0:
            return None
        return int(np.lexsort((-self.alone, -self.contributions))[0])


@dataclass(frozen=True)
class SentenceAttribution:
    """How the sentences of a text carry features."""

    selected: SelectedFeatures
    text: str
    sentences: Sequence[Sentence]
    attributions: Sequence[Attribution]
    truncated: bool
    """Whether the embedding model read only the start of the text."""
    passage: Passage | None = None
    """Of a passage, where it stands."""


async def attribute(
    selected: SelectedFeatures,
    source: TextSource,
    text: str,
    *,
    whole: Encoded | None = None,
    indices: Sequence[int] = (),
    limit: int,
) -> SentenceAttribution:
    """Attributes the strongest of the selected features that are active, or those of `indices`, to sentences.

    whole: the text as the run sees it, where that is known.
    """
    run = selected.features.run
    parts = sentences.split(text, MAX_SENTENCES)
    if whole is None:
        whole = await source.encode_text(run, text)
    alone = [text[part.start : part.end] for part in parts]
    starts = [0, *(part.next_start for part in parts)]
    without = [text[:start] + text[part.next_start :] for start, part in zip(starts, parts, strict=False)]
    features = list(indices) or _strongest(selected, whole, limit)
    activations = _table(await source.codes_of_texts(run, [*alone, *without]), features)
    in_whole = dict(zip(whole.indices.tolist(), whole.values.tolist(), strict=True))
    return SentenceAttribution(
        selected=selected,
        text=text,
        sentences=parts,
        attributions=[
            Attribution(
                index=index,
                activation=in_whole.get(index, 0.0),
                contributions=in_whole.get(index, 0.0) - activations[len(parts) :, column],
                alone=activations[: len(parts), column],
            )
            for column, index in enumerate(features)
        ],
        truncated=whole.truncated,
    )


def _strongest(selected: SelectedFeatures, encoded: Encoded, limit: int) -> list[int]:
    """Indices of the selected features that are active, the strongest first, ties by index."""
    columns = selected.columns[encoded.indices.astype(np.intp)]
    counts = columns >= 0
    counts[counts] = encoded.values[counts] >= selected.thresholds[columns[counts]]
    indices, values = encoded.indices[counts], encoded.values[counts]
    return indices[np.lexsort((indices, -values))][:limit].tolist()


def _table(codes: wire.Codes, features: Sequence[int]) -> Floats:
    """(texts, features) activations of some features."""
    table = np.zeros((len(codes), len(features)))
    for row in range(len(codes)):
        values = dict(zip(*(array.tolist() for array in codes.row(row)), strict=True))
        table[row] = [values.get(index, 0.0) for index in features]
    return table
