"""Settings of the embedder."""

from __future__ import annotations

from pydantic import Field

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class EmbedderSettings(ChassisSettings):
    """What the embedder reads at start."""

    embedder_listen: str = addresses.EMBEDDER
    """Where it listens."""
    max_text_bytes: int = Field(default=1 << 20, gt=0)
    """Bytes of the longest text it takes."""
    max_import_bytes: int = Field(default=4 << 30, gt=0)
    """Bytes of the largest file it takes."""
    embed_batch: int = Field(default=512, gt=0)
    """Documents that an embedding job commits at once."""
