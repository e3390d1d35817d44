"""Statistics as files: one array each, mapped when read, never a pickle."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.chassis.blobs import Blobs
from services.interpreter.neighbors import Neighbors
from services.interpreter.statistics import Statistics


def save(statistics: Statistics, blobs: Blobs, path: str) -> None:
    """Writes statistics below `path`. Raises StorageFull."""
    for name, array in _arrays(statistics).items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        blobs.put(f"{path}/{name}.npy", [buffer.getbuffer()])


def load(blobs: Blobs, path: str) -> Statistics:
    """Statistics below `path`, mapped. Raises FileNotFoundError."""

    def array(name: str) -> Any:
        return np.load(blobs.local(f"{path}/{name}.npy"), mmap_mode="r", allow_pickle=False)

    n = len(array("active_count"))
    counts = (array("cooccurrence_data"), array("cooccurrence_indices"), array("cooccurrence_indptr"))
    plain = {field.name: array(field.name) for field in fields(Statistics) if field.name not in _COMPOSED}
    return Statistics(
        row_count=int(array("row_count")),
        decoder=Neighbors(array("decoder_indices"), array("decoder_scores")),
        coactive=Neighbors(array("coactive_indices"), array("coactive_scores")),
        cooccurrence=sparse.csr_array(counts, shape=(n, n)),
        **plain,
    )


_COMPOSED = ("row_count", "decoder", "coactive", "cooccurrence")


def _arrays(statistics: Statistics) -> dict[str, NDArray[np.generic]]:
    arrays = {
        field.name: getattr(statistics, field.name) for field in fields(statistics) if field.name not in _COMPOSED
    }
    return {
        **arrays,
        "row_count": np.array(statistics.row_count),
        "decoder_indices": statistics.decoder.indices,
        "decoder_scores": statistics.decoder.scores,
        "coactive_indices": statistics.coactive.indices,
        "coactive_scores": statistics.coactive.scores,
        "cooccurrence_data": statistics.cooccurrence.data,
        "cooccurrence_indices": statistics.cooccurrence.indices,
        "cooccurrence_indptr": statistics.cooccurrence.indptr,
    }
