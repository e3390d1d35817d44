"""The built-in provider: static 256-d word vectors from the wordllama package, read from its own files.

A text's vector is the mean of its tokens' vectors, scaled to unit norm. Each text is summed in float64 on its own, so
that its vector has the same bits in every batch. (Nothing of wordllama's code is imported.)
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from services.chassis.errors import Code, Internal
from services.embedder.documents import DEFAULT_MODEL, Failure
from services.embedder.providers import Embedding, Model, Purpose
from services.embedder.providers.tokens import ModelTokenizer, TokenLimit

DIMENSION = 256
_DESCRIPTION = (
    "Spelling level: the mean of static vectors of word pieces. Texts are close when they share words or spellings "
    "(macro and macaroon), not when they say the same in other words."
)
_SHORT_CHARACTERS = 1000
"""Texts of at most this length in total, as most queries are, take less time than a switch to a thread and back."""
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class BuiltinProvider:
    """The embedding model of the wordllama package."""

    async def models(self) -> list[Model]:
        """The single model."""
        return [
            Model(
                id=DEFAULT_MODEL,
                display_name="WordLlama 256 (built in, spelling level)",
                dimension=DIMENSION,
                max_tokens=0,
                description=_DESCRIPTION,
            )
        ]

    async def find(self, model: str) -> Model | None:
        """A model by its name."""
        return next((entry for entry in await self.models() if entry.id == f"builtin/{model}"), None)

    def complete(self, model: str) -> str:
        """The name as it is."""
        return model

    async def embed(
        self, model: str, texts: Sequence[str], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> list[Embedding | Failure]:
        """For each text its vector; a text without a known token fails."""
        if sum(map(len, texts)) <= _SHORT_CHARACTERS and self._is_loaded:
            return self.embed_now(texts)
        return await asyncio.to_thread(self.embed_now, texts)

    async def token_limit(self, model: str) -> TokenLimit:
        """The tokens of a text; the model reads all of them."""
        return TokenLimit(await asyncio.to_thread(lambda: ModelTokenizer(self._tokenizer)), max_tokens=0)

    def embed_now(self, texts: Sequence[str]) -> list[Embedding | Failure]:
        """As `embed`, in this thread."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [self._mean(np.asarray(encoding.ids, dtype=np.intp)) for encoding in encodings]

    def _mean(self, tokens: NDArray[np.intp]) -> Embedding | Failure:
        if not len(tokens):
            return Failure(Code.INVALID_ARGUMENT, "INVALID_ARGUMENT", "the model knows no word of the text")
        mean = self._table[tokens].sum(axis=0, dtype=np.float64)
        norm = np.sqrt(np.square(mean).sum())
        if norm == 0.0:
            return Failure(Code.INVALID_ARGUMENT, "INVALID_ARGUMENT", "the text has a vector of zeros in this model")
        return Embedding((mean / norm).astype(np.float32))

    @property
    def _is_loaded(self) -> bool:
        return {"_table", "_tokenizer"} <= vars(self).keys()

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """(tokens, 256) float32."""
        return load_file(_package() / _WEIGHTS)["embedding.weight"].astype(np.float32)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(_package() / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def _package() -> Path:
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise Internal("the package wordllama is not installed: `pip install wordllama`")
    return Path(spec.origin).parent
