"""The languages of texts, by py3langid: 97 languages, its model is in the package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from prisma_common.words import is_blank

MAX_DOCUMENTS = 50_000
"""Documents whose language is identified; of more, a sample."""
MAX_CHARACTERS = 1000
"""Only the start of a text is read."""
MIN_PROBABILITY = 0.5
"""Of the most likely language; the text is undetermined below it."""
NOT_INSTALLED = "py3langid is not installed: pip install 'prisma-suite[embedder-languages]', then compute them again"
_NOT_A_LANGUAGE = "zxx"


@dataclass(frozen=True)
class LanguageStatistics:
    """Languages of texts, the most frequent first, by their ISO code.

    method: empty where nothing could identify them. sampled: texts that were looked at; undetermined: those of them
    without a clear language.
    """

    method: str
    sampled: int = 0
    undetermined: int = 0
    counts: Sequence[tuple[str, int]] = ()


class LanguageScan:
    """Counts languages. While it lives it takes about 100 MB for the model."""

    def __init__(self) -> None:
        self._identifier = _load()
        self._counts: Counter[str] = Counter()
        self._sampled = 0

    def add(self, texts: Iterable[str]) -> None:
        """Counts the languages of some texts."""
        if self._identifier is None:
            return
        for text in texts:
            self._sampled += 1
            language = self._language(text[:MAX_CHARACTERS])
            if language is not None:
                self._counts[language] += 1

    def statistics(self) -> LanguageStatistics:
        """What was counted."""
        if self._identifier is None:
            return LanguageStatistics("")
        return LanguageStatistics(
            method=method(),
            sampled=self._sampled,
            undetermined=self._sampled - self._counts.total(),
            counts=sorted(self._counts.items(), key=lambda item: (-item[1], item[0])),
        )

    def _language(self, text: str) -> str | None:
        """The language of a text; None where it is not clear."""
        if is_blank(text) or not any(character.isalpha() for character in text):
            return None
        language, probability = self._identifier.classify(text)
        return language if probability >= MIN_PROBABILITY and language != _NOT_A_LANGUAGE else None


def method() -> str:
    """What identifies languages, with its version; empty where it is not installed."""
    try:
        return f"py3langid {metadata.version('py3langid')}"
    except metadata.PackageNotFoundError:
        return ""


def _load() -> Any:
    """The identifier, which gives a text's language with a probability; None where it is not installed."""
    if not method():
        return None
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes half a second and 100 MB

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
