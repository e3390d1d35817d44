"""Statistics as files: one array each, memory-mapped when read."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.chassis.blobs import Blob, BlobDamaged, Blobs
from services.interpreter.neighbors import Neighbors
from services.interpreter.statistics import Statistics

_COMPOSED = ("row_count", "decoder", "coactive", "cooccurrence")
"""Fields of Statistics that are not one array each."""


def folder_of(uid: str, attempt: str) -> str:
    """The folder of one computation of a run's statistics."""
    return f"{run_folder(uid)}/{attempt}"


def run_folder(uid: str) -> str:
    """The folder of all statistics of a run."""
    return f"statistics/{uid}"


def paths_of(uid: str, attempt: str) -> list[str]:
    """The paths of all files of one computation."""
    return [_path(folder_of(uid, attempt), name) for name in _NAMES]


def save(statistics: Statistics, blobs: Blobs, folder: str) -> list[Blob]:
    """Writes statistics to a folder; record the result in the transaction that names it. Raises StorageFull."""
    saved: list[Blob] = []
    for name, array in _arrays(statistics).items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        saved.append(blobs.put(_path(folder, name), [buffer.getbuffer()]))
    return saved


def load(blobs: Blobs, folder: str) -> Statistics:
    """Statistics of a folder, memory-mapped. Raises BlobDamaged."""

    def array(name: str) -> Any:
        path = _path(folder, name)
        try:
            return np.load(blobs.local(path), mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError) as error:  # deleted since, or no array any more
            raise BlobDamaged(path, f"cannot be read ({error})") from error

    n = len(array("active_count"))
    counts = (array("cooccurrence_data"), array("cooccurrence_indices"), array("cooccurrence_indptr"))
    arrays = {field.name: array(field.name) for field in fields(Statistics) if field.name not in _COMPOSED}
    return Statistics(
        row_count=int(array("row_count")),
        decoder=Neighbors(array("decoder_indices"), array("decoder_scores")),
        coactive=Neighbors(array("coactive_indices"), array("coactive_scores")),
        cooccurrence=sparse.csr_array(counts, shape=(n, n)),
        **arrays,
    )


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}.npy"


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


_NAMES = (
    *(field.name for field in fields(Statistics) if field.name not in _COMPOSED),
    "row_count",
    "decoder_indices",
    "decoder_scores",
    "coactive_indices",
    "coactive_scores",
    "cooccurrence_data",
    "cooccurrence_indices",
    "cooccurrence_indptr",
)
