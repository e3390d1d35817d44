"""How models cut texts into tokens: by their own tokenizers, or by an estimate for models on a server.

The estimate is on the side of more tokens: three letters of ASCII are one, each other visible character of ASCII is
one, and all others are as many as their bytes in UTF-8, which no tokenizer that falls back to bytes exceeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as FastTokenizer

from services.embedder.passages import Tokenizer

_PIECES = re.compile(r" ?[A-Za-z]{1,3}|[^A-Za-z]")
_ESTIMATE_RESERVE = 8
"""Tokens that a server may put around a text."""


@dataclass(frozen=True)
class TokenLimit:
    """How a model cuts texts, and how many tokens of a text it reads, without its own around it.

    max_tokens: 0 for no limit, or an unknown one.
    """

    tokenizer: Tokenizer
    max_tokens: int


@runtime_checkable
class TokenizingProvider(Protocol):
    """A provider that has its models' tokenizers."""

    async def token_limit(self, model: str) -> TokenLimit:
        """A model's tokens of documents. Raises EmbeddingModelNotFound, ProviderUnavailable."""
        ...


class ModelTokenizer:
    """A model's own tokenizer, without the tokens that it puts around a text."""

    def __init__(self, tokenizer: FastTokenizer, *, lower_case: bool = False) -> None:
        """lower_case: whether texts are put into lower case first."""
        self._tokenizer = FastTokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._lower_case = lower_case

    def token_starts(self, text: str) -> NDArray[np.intp]:
        """Where the tokens of a text start, in characters, ascending, (T,)."""
        encoding = self._tokenizer.encode(text.lower() if self._lower_case else text, add_special_tokens=False)
        starts = np.array([start for start, _end in encoding.offsets], dtype=np.intp)
        return np.minimum(starts, len(text))  # a few characters become two in lower case


class EstimatedTokenizer:
    """Stands for a tokenizer that is not known."""

    def token_starts(self, text: str) -> NDArray[np.intp]:
        """Where the tokens of a text may start, in characters, ascending, (T,)."""
        matches = list(_PIECES.finditer(text))
        starts = np.array([match.start() for match in matches], dtype=np.intp)
        counts = [1 if match[0].isascii() else len(match[0].encode()) for match in matches]
        return np.repeat(starts, counts)


def estimated_limit(max_tokens: int) -> TokenLimit:
    """The limit of a model on a server that reads `max_tokens`; 0 if that is unknown."""
    return TokenLimit(EstimatedTokenizer(), max(1, max_tokens - _ESTIMATE_RESERVE) if max_tokens else 0)
