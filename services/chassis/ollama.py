"""The operator's Ollama server: its models by what they can do, and how it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.provider import ProviderClient, ProviderRefused
from services.chassis.settings import ChassisSettings
from services.chassis.status import Dependency

NAME = "ollama"


@dataclass(frozen=True)
class Offered:
    """A model that it has. about: what it says of the model's build (`model_info`)."""

    name: str
    digest: str
    about: Mapping[str, Any]


class OllamaServer(ProviderClient):
    """Asks it. All methods raise ProviderUnavailable, ProviderRefused."""

    def __init__(self, url: str) -> None:
        super().__init__(NAME, url)

    async def offered(self, capability: str) -> list[Offered]:
        """The models that can `embedding` or `completion`, as listed."""
        listed = await self.get("/api/tags", attempts=1)
        found: list[Offered] = []
        for each in listed.get("models") or ():
            try:
                shown = await self.post("/api/show", {"model": str(each["name"])}, attempts=1)
            except ProviderRefused:
                continue  # deleted between list and look
            if capability in (shown.get("capabilities") or ()):
                found.append(Offered(str(each["name"]), str(each.get("digest", "")), shown.get("model_info") or {}))
        return found

    def dependency(self, settings: ChassisSettings, names: Callable[[], Awaitable[Iterable[str]]]) -> Dependency:
        """How it is, for people, with its models' names; that it is away is a fault only where it was set up."""

        async def facts() -> Mapping[str, str]:
            version = (await self.get("/api/version", attempts=1)).get("version", "")
            return {"version": str(version), "models": ", ".join(await names())}

        wanted = "ollama_url" in settings.model_fields_set
        return Dependency(NAME, settings.ollama_url, facts, essential=False, wanted=wanted)
