"""Embeddings over a real Ollama, and over servers that behave badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from services.chassis.provider import ProviderUnavailable
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.providers import Embedding, Providers
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.ollama import OllamaProvider
from tests.ollama_server import CHATS, EMBEDS


@asynccontextmanager
async def provider(url: str) -> AsyncIterator[OllamaProvider]:
    opened = OllamaProvider(url)
    try:
        yield opened
    finally:
        await opened.close()


async def test_models_that_embed_are_found_and_probed(ollama_url: str) -> None:
    async with provider(ollama_url) as ollama:
        found = {each.id: each for each in await ollama.models()}
        assert found[f"ollama/{EMBEDS}"].dimension == 384
        assert found[f"ollama/{EMBEDS}"].max_tokens > 0
        assert f"ollama/{CHATS}" not in found


async def test_texts_become_vectors_and_a_long_one_is_cut_alone(ollama_url: str) -> None:
    async with provider(ollama_url) as ollama:
        texts = ["a short text", "word " * 3000, "another short text"]
        answers = await ollama.embed(EMBEDS, texts)
        assert all(isinstance(each, Embedding) for each in answers), answers
        assert [each.truncated for each in answers if isinstance(each, Embedding)] == [False, True, False]
        (alone,) = await ollama.embed(EMBEDS, ["a short text"])
        assert isinstance(alone, Embedding)
        assert isinstance(answers[0], Embedding)
        np.testing.assert_allclose(alone.vector, answers[0].vector, atol=1e-3)
        with pytest.raises(EmbeddingModelNotFound, match="ollama pull"):
            await ollama.embed("no-such-model", ["a"])


async def test_an_outage_is_told_and_the_other_providers_go_on() -> None:
    async with provider("http://127.0.0.1:9") as ollama:
        with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1:9"):
            await ollama.embed("m", ["a"])
        found, away = await Providers({"builtin": BuiltinProvider(), "ollama": ollama}).list()
        assert [each.id for each in found] == ["builtin/wordllama-256"]
        assert "127.0.0.1:9" in away["ollama"]


Answer = Callable[[str, Any], tuple[int, Any]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """A server that answers as it is told: what a real Ollama does only rarely."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
        body = json.loads(await reader.readexactly(length)) if length else None
        status, answered = answer(head.split()[1], body)
        data = answered.encode() if isinstance(answered, str) else json.dumps(answered).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(data)) + data)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_an_older_server_is_asked_text_by_text() -> None:
    def old(path: str, body: Any) -> tuple[int, Any]:
        return (404, "404 page not found") if path == "/api/embed" else (200, {"embedding": [len(body["prompt"]), 0]})

    async with server(old) as url, provider(url) as ollama:
        answers = await ollama.embed("m", ["a", "bcd"])
        assert [each.vector.tolist() for each in answers if isinstance(each, Embedding)] == [[1, 0], [3, 0]]


async def test_a_text_that_can_not_be_embedded_fails_alone() -> None:
    def picky(_path: str, body: Any) -> tuple[int, Any]:
        if "bad" in body["input"]:
            return 400, {"error": "this text is not taken"}
        return 200, {"embeddings": [[1, 2] for _ in body["input"]]}

    async with server(picky) as url, provider(url) as ollama:
        answers = await ollama.embed("m", ["a", "b", "bad", "c", "d"])
        assert [isinstance(each, Failure) for each in answers] == [False, False, True, False, False]
        assert isinstance(answers[2], Failure)
        assert "this text is not taken" in answers[2].message


async def test_an_overloaded_server_is_asked_again() -> None:
    asked = 0

    def busy(_path: str, body: Any) -> tuple[int, Any]:
        nonlocal asked
        asked += 1
        return (503, {"error": "busy"}) if asked < 3 else (200, {"embeddings": [[1, 2] for _ in body["input"]]})

    async with server(busy) as url, provider(url) as ollama:
        assert isinstance((await ollama.embed("m", ["a"]))[0], Embedding)
    assert asked == 3


@pytest.mark.parametrize("answer", ["no JSON", {"embeddings": []}, {"embeddings": ["x"]}, {"embeddings": [[]]}, {}])
async def test_answers_that_are_no_vectors_are_failures(answer: Any) -> None:
    async with server(lambda _path, _body: (200, answer)) as url, provider(url) as ollama:
        (told,) = await ollama.embed("m", ["a"])
        assert isinstance(told, Failure)
