"""The operator's Ollama server: which models it has for which purpose, and its status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.chassis.dependency import Dependency
from services.providers.client import ProviderClient, ProviderRefused
from services.providers.settings import ProviderSettings

NAME = "ollama"
TOO_LONG = "input length exceeds"
"""Part of the error text for an input that is longer than the model's context."""
_INPUT_ERRORS = (TOO_LONG, "unsupported value: NaN", "unsupported value: +Inf", "unsupported value: -Inf")
"""Error texts that Ollama sends with status 500 although the input is the cause."""

Capability = Literal["embedding", "completion"]


@dataclass(frozen=True)
class OllamaModel:
    """A model that the server has.

    name: as Ollama lists it, with its tag.
    digest: changes when the model is pulled again.
    details: Ollama's `model_info`, by key.
    """

    name: str
    digest: str
    details: Mapping[str, Any]


class OllamaServer(ProviderClient):
    """Sends requests to Ollama. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(self, url: str) -> None:
        super().__init__(NAME, url, input_errors=_INPUT_ERRORS)

    async def models(self, capability: Capability) -> list[OllamaModel]:
        """The models with a capability, in the server's order."""
        listing = await self.get("/api/tags", attempts=1)
        models: list[OllamaModel] = []
        for entry in listing.get("models") or ():
            try:
                model = await self._details(str(entry["name"]), str(entry.get("digest", "")), capability)
            except ProviderRefused:
                continue  # deleted since it was listed
            except (KeyError, TypeError, AttributeError):
                raise self.unavailable("its list of models is not Ollama's") from None
            if model is not None:
                models.append(model)
        return models

    def dependency(self, settings: ProviderSettings, names: Callable[[], Awaitable[Iterable[str]]]) -> Dependency:
        """The server's entry in this process's status; `names` lists the models that this process uses.

        An unreachable server is a fault only where the operator configured one.
        """

        async def facts() -> Mapping[str, str]:
            version = (await self.get("/api/version", attempts=1)).get("version", "")
            return {"version": str(version), "models": ", ".join(await names())}

        configured = NAME not in settings.unconfigured_providers
        return Dependency(NAME, settings.ollama_url, facts, essential=False, configured=configured)

    async def _details(self, name: str, digest: str, capability: Capability) -> OllamaModel | None:
        description = await self.post("/api/show", {"model": name}, attempts=1)
        if capability not in (description.get("capabilities") or ()):
            return None
        return OllamaModel(name=name, digest=digest, details=description.get("model_info") or {})
