"""A server that speaks OpenAI's protocol: which models it has, and its status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from services.chassis.dependency import Dependency
from services.providers.client import ProviderClient, ProviderRefused
from services.providers.endpoints import Endpoint

TOO_LONG = ("context length", "context size", "too large to process", "too long", "maximum input length")
"""Parts of the errors for an input that is longer than the model reads: of OpenAI and vLLM, llama.cpp, and others."""
_INPUT_ERRORS = ("too large to process", "exceeds the available context size", "does not support logits")
"""Error texts that llama.cpp sends with status 500 although the request is the cause; the last one to questions, by a
server for embeddings alone."""
_NOT_FOUND = 404
_EMBEDS = re.compile(r"embed|minilm|mpnet|(^|[^a-z])(bge|gte|e5)[-_]", re.IGNORECASE)
"""Names of embedding models: lists of models do not say what they can do."""

Use = Literal["embeddings", "chat"]


class OpenAIServer(ProviderClient):
    """Sends requests to one endpoint. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(self, endpoint: Endpoint) -> None:
        key = endpoint.key.get_secret_value() if endpoint.key else ""
        super().__init__(endpoint.name, endpoint.url, key=key, seconds=endpoint.seconds, input_errors=_INPUT_ERRORS)
        self.endpoint = endpoint

    async def model_names(self, use: Use) -> list[str]:
        """The models that the operator lists for a use; else those of the server whose names are of this kind."""
        configured = self.endpoint.embeddings if use == "embeddings" else self.endpoint.chat
        if configured is not None:
            return list(configured)
        if self.endpoint.embeddings is not None or self.endpoint.chat is not None:
            return []  # who lists models for one use wants no others
        entries = (await self.get("/models", attempts=1)).get("data")
        if not isinstance(entries, list):
            raise self.unavailable("its list of models is not OpenAI's")
        names = {entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
        return sorted(name for name in names if bool(_EMBEDS.search(name)) == (use == "embeddings"))

    def dependency(self, use: Use) -> Dependency:
        """The server's entry in this process's status, with the models for its use. No model is started for it."""

        async def facts() -> Mapping[str, str]:
            await self._check()
            return {"models": ", ".join(await self.model_names(use))}

        return Dependency(self.name, self.url, facts, essential=False)

    async def _check(self) -> None:
        """Raises what is wrong with the server. A server without a list of models works, too."""
        try:
            await self.get("/models", attempts=1)
        except ProviderRefused as error:
            if error.status != _NOT_FOUND:
                raise
