"""Archives that tests make."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping


def zipped(files: Mapping[str, bytes], folder: str = "", *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of files, below a folder that ends in `/`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)
    return buffer.getvalue()
