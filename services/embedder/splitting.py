"""How the texts of a dataset are split: its option, and the limit of its model."""

from __future__ import annotations

from prisma_common.names import is_given
from services.chassis.errors import InvalidArgument
from services.embedder.documents import Passages
from services.embedder.passages import DEFAULT_TOKENS, MIN_TOKENS, Splitter
from services.embedder.providers import EmbeddingModels


async def make_splitter(models: EmbeddingModels, model: str, passages: Passages) -> Splitter:
    """Splits the texts of a dataset of a model. Raises EmbeddingModelNotFound, InvalidArgument, ProviderUnavailable."""
    if is_given(model):
        raise InvalidArgument.field("dataset.passages", "expected none: given vectors are of whole documents")
    limit = await models.token_limit(model)
    max_tokens = passages.max_tokens or max(MIN_TOKENS, limit.max_tokens or DEFAULT_TOKENS)
    if limit.max_tokens and max_tokens > max(MIN_TOKENS, limit.max_tokens):
        raise InvalidArgument.field(
            "dataset.passages.max_tokens",
            f"{model} reads {limit.max_tokens:,} tokens of a text beside its own; got {max_tokens:,}",
        )
    if passages.overlap_tokens > max_tokens // 2:
        raise InvalidArgument.field(
            "dataset.passages.overlap_tokens",
            f"expected at most half of a passage's {max_tokens:,} tokens; got {passages.overlap_tokens:,}",
        )
    return Splitter(limit.tokenizer, max_tokens, passages.overlap_tokens)
