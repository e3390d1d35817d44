"""Settings of the embedder."""

from __future__ import annotations

from pydantic import Field

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class EmbedderSettings(ChassisSettings):
    """The embedder's settings, read at start."""

    embedder_listen: str = addresses.EMBEDDER
    """The address to listen on, `host:port`."""
    max_text_bytes: int = Field(default=1 << 20, gt=0)
    """Bytes of the longest text that is accepted."""
    max_import_bytes: int = Field(default=4 << 30, gt=0)
    """Bytes of the largest file that is accepted."""
    embed_batch: int = Field(default=512, gt=0)
    """Documents that an embedding job embeds and commits at once."""
