"""Settings of the services that use providers' models."""

from __future__ import annotations

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class ProviderSettings(ChassisSettings):
    """Where providers are reached; each field is an environment variable with the prefix PRISMA_."""

    ollama_url: str = addresses.OLLAMA_URL
    """Where Ollama is reached; it offers models for embeddings and labels."""

    @property
    def unconfigured_providers(self) -> frozenset[str]:
        """Providers that are looked for at their default address, so that their absence is no fault."""
        return frozenset() if "ollama_url" in self.model_fields_set else frozenset({"ollama"})
