"""Labels by Ollama: `/api/chat` with a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.chassis.providers.ollama import NAME, OllamaServer
from services.interpreter.errors import LabelModelNotFound
from services.interpreter.settings import InterpreterSettings

PREFIX = f"{NAME}/"
_MAX_TOKENS = 400
_CONTEXT = 8192


class Ollama:
    """The operator's Ollama server. All methods raise ProviderUnavailable, ProviderRefused."""

    def __init__(self, settings: InterpreterSettings) -> None:
        self.server = OllamaServer(settings.ollama_url)

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[str]:
        """Names of the models that can chat."""
        return sorted(model.name for model in await self.server.models("completion"))

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound for a model that it does not have, or that can't chat. `model` is `ollama/…`."""
        name = model.removeprefix(PREFIX)
        able = await self.models()
        if name not in able and f"{name}:latest" not in able:
            raise LabelModelNotFound(
                f"Ollama has no model {name!r} that can chat; it has: {', '.join(able) or 'none'}. "
                f"`ollama pull {name}` fetches one",
                metadata={"model": model},
            )

    async def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float
    ) -> str:
        """The content of its answer, which follows the schema unless it was cut off."""
        answer = await self.server.post(
            "/api/chat",
            {
                "model": model.removeprefix(PREFIX),
                "messages": list(messages),
                "format": schema,
                "stream": False,
                "options": {"temperature": temperature, "num_predict": _MAX_TOKENS, "num_ctx": _CONTEXT, "seed": 0},
            },
        )
        return str(answer.get("message", {}).get("content", ""))
