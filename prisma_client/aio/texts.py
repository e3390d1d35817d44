"""Vectors of texts that are in no dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2
from prisma_client.aio.transport import Transport
from prisma_client.errors import FailedPrecondition
from prisma_common import wire
from prisma_common.names import is_given

_TEXTS = 256
"""In one request."""


async def embed(transport: Transport, dataset: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """(R, d) vectors, as the documents of a dataset have them. Raises FailedPrecondition where no model makes them."""
    request = pb2.GetDatasetRequest(name=dataset)
    message = await transport.call("EmbedderService/GetDataset", request, resources_pb2.Dataset)
    model = message.query_model if is_given(message.embedding_model) else message.embedding_model
    if not model:
        raise FailedPrecondition(
            f"the vectors of {dataset} are given, and no model embeds texts for it: set its query_model, or pass "
            "vectors",
            code="FAILED_PRECONDITION",
            reason="NO_QUERY_MODEL",
        )
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), _TEXTS):
        request = pb2.EmbedTextsRequest(embedding_model=model, texts=texts[start : start + _TEXTS])
        response = await transport.call("EmbedderService/EmbedTexts", request, pb2.EmbedTextsResponse)
        parts.append(wire.unpack_vectors(response.vectors)[1])
    return np.concatenate(parts)
