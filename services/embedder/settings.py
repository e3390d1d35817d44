"""Settings of the embedder."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from prisma_common import addresses
from services.chassis.startup import StartRefused
from services.providers.settings import ProviderSettings


class EmbedderSettings(ProviderSettings):
    """The embedder's settings, read at start."""

    embedder_listen: str = addresses.EMBEDDER
    """The address to listen on, `host:port`."""
    max_text_bytes: int = Field(default=1 << 20, gt=0)
    """Bytes of the longest text that is accepted."""
    max_import_bytes: int = Field(default=4 << 30, gt=0)
    """Bytes of the largest file that is accepted."""
    embed_batch: int = Field(default=512, gt=0)
    """Documents that an embedding job embeds and commits at once."""
    embed_part: int = Field(default=8192, gt=0)
    """The fewest documents that a part of an embedding job has. Embedders that share their data divide jobs of at least
    two parts among them."""
    onnx_models: str | None = None
    """Folders of sentence encoders in the layout of sentence-transformers, with `:` between them (`;` on Windows). Each
    is the embedding model `onnx/<name of the folder>`."""

    @property
    def onnx_folders(self) -> tuple[Path, ...]:
        """The folders of sentence encoders. Raises StartRefused where two have one name."""
        paths = (self.onnx_models or "").split(os.pathsep)
        folders = tuple(Path(path.strip()).expanduser().absolute() for path in paths if path.strip())
        if len({folder.name for folder in folders}) < len(folders):
            raise StartRefused(
                f"PRISMA_ONNX_MODELS has two folders of one name: {self.onnx_models}. Models are named after their "
                "folders: rename one, or give it a symbolic link of another name."
            )
        return folders
