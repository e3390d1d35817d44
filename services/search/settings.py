"""Settings of the search service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class SearchSettings(ChassisSettings):
    """What the search service reads at start."""

    search_listen: str = addresses.SEARCH
    """Address that it listens on."""
    opensearch_url: SecretStr | None = None
    """Address of an OpenSearch cluster, with user and password if it needs them; none for the embedded index."""
    opensearch_prefix: str = Field(default="prisma", pattern=r"^[a-z0-9][a-z0-9.]{0,30}$")
    """Prefix of the names of our indices in the cluster: a different one for each PRISMA that shares it."""
    opensearch_authority: str | None = None
    """Path of the PEM certificate of the authority that signed the cluster's; none for those that the system trusts."""
    opensearch_seconds: float = Field(default=30.0, gt=0)
    """Seconds that the cluster may take to answer."""

    @property
    def shares_data(self) -> bool:
        """Whether several processes may use one data folder: with an OpenSearch cluster."""
        return self.opensearch_url is not None
