"""Codes in files: shards in compressed sparse row form, arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prisma_common.wire import Codes
from services.chassis.files import whole


@dataclass(frozen=True)
class CodeShard:
    """One file of codes."""

    name: str
    """File name within the folder of the weights that encoded it."""
    first_row: int | None = None
    """Smallest row number in the file; None for a file of an older version, which has to be opened to know."""
    last_row: int | None = None
    """Largest row number in the file; None as above."""
    row_count: int | None = None
    """Rows in the file; None as above."""

    def may_hold(self, start: int, end: int) -> bool:
        """Whether the file may have rows of the half-open range."""
        if self.first_row is None or self.last_row is None:
            return True
        return self.first_row < end and start <= self.last_row


def save_codes(path: Path, codes: Codes) -> None:
    """Writes codes to a file, completely or not at all. Raises OSError."""
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
    """Reads a file of codes. Raises OSError, ValueError and zipfile.BadZipFile for a damaged one."""
    with np.load(path, allow_pickle=False) as arrays:
        return Codes(
            rows=arrays["rows"],
            indptr=arrays["indptr"],
            indices=arrays["indices"],
            values=arrays["values"],
            latent_count=int(arrays["latent_count"][0]),
        )
