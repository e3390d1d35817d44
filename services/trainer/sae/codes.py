"""Shards of codes on disk: NumPy archives of plain arrays, without pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prisma_common.wire import Codes
from services.chassis.files import whole


def save_codes(path: Path, codes: Codes) -> None:
    """Writes a shard, whole or not at all."""
    with whole(path) as file:
        np.savez(
            file,
            rows=codes.rows,
            indptr=codes.indptr,
            indices=codes.indices,
            values=codes.values,
            latent_count=np.array([codes.latent_count]),
        )


def load_codes(path: Path) -> Codes:
    """Reads a shard."""
    with np.load(path, allow_pickle=False) as arrays:
        return Codes(
            arrays["rows"], arrays["indptr"], arrays["indices"], arrays["values"], int(arrays["latent_count"][0])
        )
