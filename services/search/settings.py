"""Settings of the search service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class SearchSettings(ChassisSettings):
    """What the search service reads at start."""

    search_listen: str = addresses.SEARCH
    """Address that it listens on."""
    opensearch_url: SecretStr | None = None
    """Addresses of the nodes of an OpenSearch cluster, separated by commas; none for the embedded index."""
    opensearch_user: str | None = None
    """User of the cluster, with `opensearch_password`; the address may hold both instead."""
    opensearch_password: SecretStr = SecretStr("")
    """Password of the user."""
    opensearch_api_key: SecretStr | None = None
    """Key that the cluster takes instead of user and password."""
    opensearch_prefix: str = Field(default="prisma", pattern=r"^[a-z0-9][a-z0-9.]{0,30}$")
    """Prefix of the names of our indices in the cluster: a different one for each PRISMA that shares it."""
    opensearch_authority: str | None = None
    """Path of the PEM certificate of the authority that signed the cluster's; none for those that the system trusts."""
    opensearch_certificate: str | None = None
    """Path of our own PEM certificate, where the cluster asks for one; with `opensearch_key`."""
    opensearch_key: str | None = None
    """Path of the PEM key of the certificate."""
    opensearch_shards: int | None = Field(default=None, ge=1, le=1024)
    """Primary shards of each new index; none for what index templates of the cluster say, else 1."""
    opensearch_replicas: str | None = Field(default=None, pattern=r"^(\d{1,3}|0-(\d{1,3}|all))$")
    """Copies of each shard of a new index: a number, or a range such as `0-2` that follows the number of nodes; none
    for what index templates of the cluster say, else `0-1`."""
    opensearch_seconds: float = Field(default=30.0, gt=0)
    """Seconds that the cluster may take to answer."""

    @model_validator(mode="after")
    def _check(self) -> SearchSettings:
        if self.opensearch_api_key is not None and self.opensearch_user is not None:
            raise ValueError("expected PRISMA_OPENSEARCH_API_KEY or PRISMA_OPENSEARCH_USER; got both")
        if (self.opensearch_certificate is None) != (self.opensearch_key is None):
            raise ValueError("expected both PRISMA_OPENSEARCH_CERTIFICATE and PRISMA_OPENSEARCH_KEY, or none; got one")
        for name in ("authority", "certificate", "key"):
            path = getattr(self, f"opensearch_{name}")
            if path is not None and not Path(path).is_file():
                raise ValueError(f"expected a PEM file as PRISMA_OPENSEARCH_{name.upper()}; there is none at {path}")
        return self

    @property
    def shares_data(self) -> bool:
        """Whether several processes may use one data folder: with an OpenSearch cluster."""
        return self.opensearch_url is not None
