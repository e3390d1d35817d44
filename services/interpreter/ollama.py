"""Chat models of Ollama: `/api/chat` with a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.interpreter.labellers import LabelModel
from services.providers.ollama import NAME, OllamaServer

_MAX_TOKENS = 400
"""Of an answer."""
_CONTEXT_TOKENS = 8192


class OllamaChat:
    """The chat models of the operator's Ollama server. All methods raise ProviderUnavailable, ProviderRefused."""

    name = NAME
    concurrency = 1

    def __init__(self, url: str) -> None:
        self.server = OllamaServer(url)

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[LabelModel]:
        """The models that can chat, by id."""
        names = sorted(model.name for model in await self.server.models("completion"))
        return [LabelModel(f"{NAME}/{name}", f"{name} (Ollama)") for name in names]

    async def ids(self) -> list[str]:
        """The ids of the models that can chat."""
        return [model.id for model in await self.models()]

    def how_to_add(self, model: str) -> str:
        """A sentence that says how the operator adds a model."""
        return f"`ollama pull {model}` downloads it"

    async def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any], temperature: float
    ) -> str:
        """The text of a model's answer, which follows the JSON schema unless it was cut."""
        body = {
            "model": model,
            "messages": list(messages),
            "format": schema,
            "stream": False,
            "options": {
                "temperature": temperature,
                "num_predict": _MAX_TOKENS,
                "num_ctx": _CONTEXT_TOKENS,
                "seed": 0,
            },
        }
        answer = await self.server.post("/api/chat", body)
        message = answer.get("message")
        if not isinstance(message, dict):
            raise self.server.unavailable("its answer has no message")
        return str(message.get("content", ""))
