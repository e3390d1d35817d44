"""Settings of the search service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class SearchSettings(ChassisSettings):
    """What the search service reads at start."""

    search_listen: str = addresses.SEARCH
    """Where it listens."""
    opensearch_url: SecretStr | None = None
    """An OpenSearch cluster, with user and password where it wants them; none for the embedded index."""
    opensearch_prefix: str = Field(default="prisma", pattern=r"^[a-z0-9][a-z0-9.]{0,30}$")
    """What names of our indices in the cluster begin with: another one for each PRISMA that shares it."""
    opensearch_authority: str | None = None
    """Path of the PEM certificate that signs the cluster's; none for those that the system trusts."""
    opensearch_seconds: float = Field(default=30.0, gt=0)
    """How long an answer of the cluster may take."""
