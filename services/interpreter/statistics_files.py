"""Statistics as files: one array each, memory-mapped when read."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.chassis.blobs import Blob, BlobDamaged, Blobs
from services.interpreter.familiarity import Calibration, CorpusSample, Reference
from services.interpreter.near_misses import HARD_COUNT, NEAR_COUNT, RANDOM_COUNT
from services.interpreter.neighbors import Neighbors
from services.interpreter.statistics import NO_ROW, SAMPLE_COUNT, Statistics

_COMPOSED = ("row_count", "decoder", "coactive", "cooccurrence", "reference")
"""Fields of Statistics that are not one array each."""
_WHOLE = [field.name for field in fields(Statistics) if field.name not in _COMPOSED]
_ATTRIBUTES = {
    **{name: name for name in _WHOLE},
    "row_count": "row_count",
    "decoder_indices": "decoder.indices",
    "decoder_scores": "decoder.scores",
    "coactive_indices": "coactive.indices",
    "coactive_scores": "coactive.scores",
    "cooccurrence_data": "cooccurrence.data",
    "cooccurrence_indices": "cooccurrence.indices",
    "cooccurrence_indptr": "cooccurrence.indptr",
    "corpus_vectors": "reference.corpus.vectors",
    "corpus_letter_runs": "reference.corpus.letter_runs",
    "calibration_lengths": "reference.calibration.lengths",
    "calibration_unexplained": "reference.calibration.unexplained",
    "calibration_similarities": "reference.calibration.similarities",
    "calibration_unknown_shares": "reference.calibration.unknown_shares",
    "calibration_held_out": "reference.calibration.held_out",
}
"""What each file holds: the attribute of Statistics, by the file's name."""
FORMAT = 2
"""Of the files that `save` writes. Format 0 lacks the rows that labels are tested on, and the stability; format 1 what
texts are compared with, and the silent rows nearest to the decoder."""
_WIDTHS = {
    "sample_rows": SAMPLE_COUNT,
    "sample_values": SAMPLE_COUNT,
    "hard_rows": HARD_COUNT,
    "random_rows": RANDOM_COUNT,
    "near_rows": NEAR_COUNT,
}
"""Columns of the tables that older formats lack."""
_ADDED = {**dict.fromkeys(_WIDTHS, 1), "stability": 1, "near_rows": 2}
"""The first format that has an array which older ones lack."""


def folder_of(uid: str, attempt: str) -> str:
    """The folder of one computation of a run's statistics."""
    return f"{run_folder(uid)}/{attempt}"


def run_folder(uid: str) -> str:
    """The folder of all statistics of a run."""
    return f"statistics/{uid}"


def paths_of(uid: str, attempt: str) -> list[str]:
    """The paths of all files of one computation."""
    return [_path(folder_of(uid, attempt), name) for name in _ATTRIBUTES]


def save(statistics: Statistics, blobs: Blobs, folder: str) -> list[Blob]:
    """Writes statistics to a folder; record the result in the transaction that names it. Raises StorageFull."""
    saved: list[Blob] = []
    for name, attribute in _ATTRIBUTES.items():
        buffer = io.BytesIO()
        np.save(buffer, attrgetter(attribute)(statistics), allow_pickle=False)
        saved.append(blobs.put(_path(folder, name), [buffer.getbuffer()]))
    return saved


def load(blobs: Blobs, folder: str, file_format: int = FORMAT) -> Statistics:
    """Statistics of a folder, memory-mapped. What an older format lacks is empty. Raises BlobDamaged."""

    def array(name: str) -> Any:
        if file_format < _ADDED.get(name, 0):
            return _empty(name, len(array("active_count")))
        return _array(blobs, _path(folder, name))

    n = len(array("active_count"))
    counts = (array("cooccurrence_data"), array("cooccurrence_indices"), array("cooccurrence_indptr"))
    return Statistics(
        row_count=int(array("row_count")),
        decoder=Neighbors(array("decoder_indices"), array("decoder_scores")),
        coactive=Neighbors(array("coactive_indices"), array("coactive_scores")),
        cooccurrence=sparse.csr_array(counts, shape=(n, n)),
        reference=_reference(array) if file_format >= 2 else Reference.empty(),
        **{name: array(name) for name in _WHOLE},
    )


def load_stability(blobs: Blobs, folder: str, file_format: int = FORMAT) -> NDArray[np.float32] | None:
    """That of statistics of a folder, (n,); None where there is none that can be read."""
    if file_format < _ADDED["stability"]:
        return None
    try:
        return _array(blobs, _path(folder, "stability"))
    except BlobDamaged:
        return None


def _array(blobs: Blobs, path: str) -> Any:
    """The array of a file, memory-mapped. Raises BlobDamaged."""
    try:
        return np.load(blobs.local(path), mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError) as error:  # deleted since, or no array any more
        raise BlobDamaged(path, f"cannot be read ({error})") from error


def _reference(array: Callable[[str], Any]) -> Reference:
    calibration = Calibration(
        lengths=array("calibration_lengths"),
        unexplained=array("calibration_unexplained"),
        similarities=array("calibration_similarities"),
        unknown_shares=array("calibration_unknown_shares"),
        held_out=bool(array("calibration_held_out")),
    )
    return Reference(CorpusSample(array("corpus_vectors"), array("corpus_letter_runs")), calibration)


def _empty(name: str, latent_count: int) -> Any:
    """The array of a name for latents of which nothing is known."""
    if name == "stability":
        return np.full(latent_count, np.nan, np.float32)
    shape = (latent_count, _WIDTHS[name])
    return np.zeros(shape, np.float32) if name == "sample_values" else np.full(shape, NO_ROW)


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}.npy"
