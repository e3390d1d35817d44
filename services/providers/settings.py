"""Settings of the services that use providers' models."""

from __future__ import annotations

from pathlib import Path

from prisma_common import addresses
from services.chassis.settings import ChassisSettings
from services.providers.endpoints import Providers, read_providers


class ProviderSettings(ChassisSettings):
    """Where providers are reached; each field is an environment variable with the prefix PRISMA_."""

    ollama_url: str = addresses.OLLAMA_URL
    """Where Ollama is reached; it offers models for embeddings and labels."""
    providers: Path | None = None
    """A TOML file of the servers that speak OpenAI's protocol (vLLM, llama.cpp, LM Studio, OpenAI), and of prompts."""

    @property
    def unconfigured_providers(self) -> frozenset[str]:
        """Providers that are looked for at their default address, so that their absence is no fault."""
        return frozenset() if "ollama_url" in self.model_fields_set else frozenset({"ollama"})

    def read_providers(self) -> Providers:
        """The servers and prompts of the file. Raises StartRefused."""
        return read_providers(self.providers)
