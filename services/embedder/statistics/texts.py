"""Statistics of texts: lengths, languages, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from prisma_common.words import is_blank, word_count
from services.chassis.near_duplicates import mixed
from services.embedder.statistics.distributions import Distribution, LengthCounts
from services.embedder.statistics.duplicates import DuplicateStatistics, EqualScan, NearScan, normal_text
from services.embedder.statistics.languages import MAX_DOCUMENTS, LanguageScan, LanguageStatistics


class StoredText(NamedTuple):
    """A document's text. row: or, of a document with passages, its number."""

    row: int
    text: str
    is_truncated: bool
    """Whether the model read only the beginning."""


@dataclass(frozen=True)
class TextStatistics:
    """Statistics of a dataset's texts. empty: texts with nothing to read. truncated: those read in part."""

    count: int
    empty: int
    truncated: int
    characters: Distribution
    words: Distribution
    languages: LanguageStatistics
    equal: DuplicateStatistics
    near: DuplicateStatistics


class TextScan:
    """Reads a dataset's texts once, in the order of their rows."""

    def __init__(self, expected: int) -> None:
        """expected: how many documents there are, about."""
        self._expected = expected
        self._count = self._empty = self._truncated = 0
        self._characters, self._words = LengthCounts(), LengthCounts()
        self._languages = LanguageScan()
        self._equal, self._near = EqualScan(expected), NearScan(expected)

    @property
    def count(self) -> int:
        """Texts that were read."""
        return self._count

    def add(self, texts: Sequence[StoredText]) -> None:
        """Reads some texts."""
        self._count += len(texts)
        self._truncated += sum(text.is_truncated for text in texts)
        self._characters.add([len(text.text) for text in texts])
        self._words.add([word_count(text.text) for text in texts])
        self._languages.add(text.text for text in self._sample(texts))
        filled = [text for text in texts if not is_blank(text.text)]
        self._empty += len(texts) - len(filled)
        rows = [text.row for text in filled]
        normal_texts = [normal_text(text.text) for text in filled]
        self._equal.add(rows, (text.encode("utf-8", "surrogatepass") for text in normal_texts))
        self._near.add(rows, normal_texts)

    def statistics(self) -> TextStatistics:
        """The statistics of all texts that were read."""
        return TextStatistics(
            count=self._count,
            empty=self._empty,
            truncated=self._truncated,
            characters=self._characters.distribution(),
            words=self._words.distribution(),
            languages=self._languages.statistics(),
            equal=self._equal.statistics(),
            near=self._near.statistics(),
        )

    def _sample(self, texts: Sequence[StoredText]) -> Sequence[StoredText]:
        """Those whose language is identified: which ones depends on their rows alone."""
        if self._expected <= MAX_DOCUMENTS:
            return texts
        chances = mixed(np.array([text.row for text in texts], np.uint64)) / 2.0**64
        return [text for text, chance in zip(texts, chances, strict=True) if chance < MAX_DOCUMENTS / self._expected]
