"""Chat models of servers that speak OpenAI's protocol: `/v1/chat/completions`.

An answer's form is asked for by a JSON schema; where a server refuses that, as a JSON object; else in words alone, as
the questions do anyway. Options that a model refuses are left out from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from services.interpreter.labellers import LabelModel
from services.providers.client import ProviderRefused
from services.providers.endpoints import Endpoint
from services.providers.openai import OpenAIServer
from services.providers.places import Places

_MAX_TOKENS = 400
"""Of an answer."""
_MAX_REASONING_TOKENS = 4000
"""Of an answer of a model that thinks first, which those are that want `max_completion_tokens`."""
_BLAMES_REQUEST = frozenset({400, 415, 422, 500, 501})
_MAX_KNOWN_MODELS = 256
_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_THOUGHTS_END = "</think>"
"""Some templates put the opening tag into the question, so that an answer has only this one."""


class _Format(IntEnum):
    """How an answer's form is asked for."""

    SCHEMA = 0
    OBJECT = 1
    WORDS = 2


@dataclass(frozen=True)
class _Dialect:
    """What a model takes."""

    format: _Format = _Format.SCHEMA
    limit: str = "max_tokens"
    options: frozenset[str] = frozenset({"temperature", "seed"})

    def simpler(self, detail: str) -> _Dialect | None:
        """What to try after a refusal; None where nothing is left to try."""
        if self.limit == "max_tokens" and "max_completion_tokens" in detail:
            return replace(self, limit="max_completion_tokens")
        for option in sorted(self.options):
            if option in detail:
                return replace(self, options=self.options - {option})
        return replace(self, format=_Format(self.format + 1)) if self.format < _Format.WORDS else None

    def body(
        self, model: str, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float
    ) -> dict[str, Any]:
        """The request."""
        options = {"temperature": temperature, "seed": 0}
        body: dict[str, Any] = {"model": model, "messages": list(messages), "stream": False}
        body[self.limit] = _MAX_TOKENS if self.limit == "max_tokens" else _MAX_REASONING_TOKENS
        body |= {name: value for name, value in options.items() if name in self.options}
        if self.format is _Format.SCHEMA:
            strict = {"name": "answer", "strict": True, "schema": _strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif self.format is _Format.OBJECT:
            body["response_format"] = {"type": "json_object"}
        return body


class OpenAIChat:
    """The chat models of one endpoint. All methods raise ProviderUnavailable, ProviderRefused."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.server = OpenAIServer(endpoint)
        self.name = endpoint.name
        self.concurrency = endpoint.concurrency
        self._places = Places(endpoint.concurrency)
        self._dialects: dict[str, _Dialect] = {}

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    async def models(self) -> list[LabelModel]:
        """The models that can chat, by id."""
        names = await self.server.model_names("chat")
        return [LabelModel(f"{self.name}/{name}", f"{name} ({self.name})") for name in names]

    async def ids(self) -> list[str]:
        """The ids of the models that can chat."""
        return [model.id for model in await self.models()]

    def how_to_add(self, model: str) -> str:
        """A sentence that says how the operator adds a model."""
        return f"The operator lists it under `chat` of `providers.{self.name}` in the file of PRISMA_PROVIDERS"

    async def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any], temperature: float
    ) -> str:
        """The text of a model's answer, which follows the JSON schema where the server knows schemas."""
        dialect = self._dialects.get(model, _Dialect())
        first_refusal: ProviderRefused | None = None
        while True:
            try:
                async with self._places.take():
                    answer = await self.server.post(
                        "/chat/completions", dialect.body(model, messages, schema, temperature)
                    )
            except ProviderRefused as refusal:
                first_refusal = first_refusal or refusal
                simpler = dialect.simpler(refusal.detail) if refusal.status in _BLAMES_REQUEST else None
                if simpler is None:
                    raise first_refusal from None
                dialect = simpler
                continue
            if len(self._dialects) >= _MAX_KNOWN_MODELS:
                self._dialects.clear()  # names come from requests
            self._dialects[model] = dialect
            return self._content(answer)

    def _content(self, answer: Mapping[str, Any]) -> str:
        """The text of an answer, without a model's thoughts. Raises ProviderUnavailable for no answer."""
        try:
            content = answer["choices"][0]["message"].get("content")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self.server.unavailable("its answer has no message") from None
        if not isinstance(content, str):
            return ""
        return _THOUGHTS.sub("", content).rpartition(_THOUGHTS_END)[2]


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as OpenAI's strict mode wants it: all fields are required, and there are no others."""
    return {**schema, "required": list(schema["properties"]), "additionalProperties": False}
