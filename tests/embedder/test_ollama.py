"""Embeddings by a real Ollama, and by servers that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from services.embedder import providers
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.outcomes import collect
from services.embedder.providers import Embedding, EmbeddingModels, Model
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.ollama import OllamaProvider
from services.providers.client import ProviderRefused, ProviderUnavailable
from tests.broken_ollama import DIMENSION, EMBEDDING_MODELS, BrokenOllama, broken_ollama
from tests.ollama_server import CHATS, EMBEDS


@asynccontextmanager
async def provider(url: str) -> AsyncGenerator[OllamaProvider]:
    opened = OllamaProvider(url)
    try:
        yield opened
    finally:
        await opened.close()


def embeddings(answers: Sequence[Embedding | Failure]) -> list[Embedding]:
    """The answers, all of which must be vectors."""
    result = [answer for answer in answers if isinstance(answer, Embedding)]
    assert len(result) == len(answers), answers
    return result


async def test_models_that_embed_are_found_and_probed(ollama_url: str) -> None:
    async with provider(ollama_url) as ollama:
        models = {model.id: model for model in await ollama.models()}
        assert models[f"ollama/{EMBEDS}"].dimension == 384
        assert models[f"ollama/{EMBEDS}"].max_tokens > 0
        assert f"ollama/{CHATS}" not in models


async def test_a_text_beyond_the_models_limit_is_truncated_alone(ollama_url: str) -> None:
    async with provider(ollama_url) as ollama:
        texts = ["a short text", "word " * 3000, "another short text"]
        answers = await ollama.embed(EMBEDS, texts)
        assert [embedding.truncated for embedding in embeddings(answers)] == [False, True, False]
        (alone,) = embeddings(await ollama.embed(EMBEDS, ["a short text"]))
        np.testing.assert_allclose(alone.vector, embeddings(answers)[0].vector, atol=1e-3)
        with pytest.raises(EmbeddingModelNotFound, match="ollama pull"):
            await ollama.embed("no-such-model", ["a"])


async def test_an_unreachable_provider_is_named_and_the_others_keep_working() -> None:
    async with provider("http://127.0.0.1:9") as ollama:
        with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1:9"):
            await ollama.embed("m", ["a"])
        models, unreachable = await EmbeddingModels({"builtin": BuiltinProvider(), "ollama": ollama}).list()
        assert [model.id for model in models] == ["builtin/wordllama-256"]
        assert "127.0.0.1:9" in unreachable["ollama"]


async def test_a_slow_provider_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(BuiltinProvider):
        async def models(self) -> list[Model]:
            await asyncio.sleep(60)
            return []

    monkeypatch.setattr(providers, "LISTING_SECONDS", 0.1)
    models, unreachable = await EmbeddingModels({"slow": Slow(), "builtin": BuiltinProvider()}).list()
    assert [model.id for model in models] == ["builtin/wordllama-256"]
    assert unreachable == {"slow": "no list of its models within 0.1 s"}


@pytest.fixture
def broken() -> Iterator[BrokenOllama]:
    with broken_ollama() as server:
        yield server


async def test_a_model_that_does_not_run_is_listed_beside_the_others(broken: BrokenOllama) -> None:
    async with provider(broken.url) as ollama:
        models = {model.id: model for model in await ollama.models()}
    assert set(models) == {f"ollama/{name}:latest" for name in EMBEDDING_MODELS}
    assert models["ollama/good:latest"].dimension == DIMENSION


@pytest.mark.parametrize("model", ["dead", "busy", "html", "list"])
async def test_a_broken_server_is_an_outage_and_never_a_failure_of_texts(broken: BrokenOllama, model: str) -> None:
    async with provider(broken.url) as ollama:
        with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1"):
            await ollama.embed(model, ["one", "two", "three"])
        assert broken.embed_requests <= 4  # bounded retries of the whole batch, which is not taken apart
        broken.repaired.add(model)
        assert len(embeddings(await ollama.embed(model, ["one", "two", "three"]))) == 3


async def test_a_server_error_is_retried(broken: BrokenOllama) -> None:
    async with provider(broken.url) as ollama:
        for _ in range(4):
            assert len(embeddings(await ollama.embed("flaky", ["one", "two"]))) == 2


async def test_a_server_that_denies_access_fails_the_request_and_no_text(broken: BrokenOllama) -> None:
    async with provider(broken.url) as ollama:
        with pytest.raises(ProviderRefused, match="unauthorized"):
            await ollama.embed("denied", ["one", "two"])
    assert broken.embed_requests == 1


async def test_a_model_that_is_gone_is_named_with_the_command_that_downloads_it(broken: BrokenOllama) -> None:
    async with provider(broken.url) as ollama:
        with pytest.raises(EmbeddingModelNotFound, match="ollama pull gone"):
            await ollama.embed("gone", ["one", "two"])


@pytest.mark.parametrize(
    ("model", "words"),
    [("nan", "unsupported value"), ("dims", "31 numbers"), ("null", "NaN or infinity"), ("huge", "NaN or infinity")],
)
async def test_a_text_that_cannot_be_embedded_fails_alone(broken: BrokenOllama, model: str, words: str) -> None:
    texts = [f"text {number}" for number in range(10)]
    texts[3] = "an ODD text"
    texts[7] = "a ZERO text"
    async with provider(broken.url) as ollama:
        batch = collect(range(10), await ollama.embed(model, texts), DIMENSION)
    failures = {outcome.row: outcome.failure.message for outcome in batch.outcomes if outcome.failure}
    assert set(failures) == {3, 7}
    assert words in failures[3]
    assert "zeros" in failures[7]
    assert batch.vectors.shape == (8, DIMENSION)
    assert batch.failure_count == 2


async def test_a_response_with_fewer_vectors_than_texts_is_not_assigned_to_the_wrong_texts(
    broken: BrokenOllama,
) -> None:
    texts = ["one", "two", "three", "four", "five"]
    async with provider(broken.url) as ollama:
        short = embeddings(await ollama.embed("short", texts))
        good = embeddings(await ollama.embed("good", texts))
    assert [embedding.vector.tolist() for embedding in short] == [embedding.vector.tolist() for embedding in good]


Answer = Callable[[str, Any], tuple[int, Any]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncGenerator[str]:
    """A server with one given answer for each path and body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
        body = json.loads(await reader.readexactly(length)) if length else None
        status, value = answer(head.split()[1], body)
        data = json.dumps(value).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(data)) + data)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_an_older_server_embeds_text_by_text() -> None:
    def old(path: str, body: Any) -> tuple[int, Any]:
        if path == "/api/embed":
            return 404, {"error": "404 page not found"}
        return 200, {"embedding": [len(body["prompt"]), 0]}

    async with server(old) as url, provider(url) as ollama:
        answers = embeddings(await ollama.embed("m", ["a", "bcd"]))
        assert [embedding.vector.tolist() for embedding in answers] == [[1, 0], [3, 0]]


@pytest.mark.parametrize("vectors", [[], ["x"], [[]], [[True, False]], [["a"]], [{}]])
async def test_an_answer_without_a_vector_is_a_failure_of_its_text(vectors: Any) -> None:
    async with server(lambda _path, _body: (200, {"embeddings": vectors})) as url, provider(url) as ollama:
        (failure,) = await ollama.embed("m", ["a"])
        assert isinstance(failure, Failure)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}),
        (200, {"embeddings": None}),
        (200, {"embeddings": "x"}),
        (200, {"embeddings": [[1.0], [2.0]]}),
        (200, {"error": "the model runner has crashed"}),
        (302, {}),
        (502, {"error": {"message": "bad gateway"}}),
    ],
)
async def test_a_response_that_no_text_explains_is_an_outage(answer: tuple[int, Any]) -> None:
    async with server(lambda _path, _body: answer) as url, provider(url) as ollama:
        with pytest.raises(ProviderUnavailable):
            await ollama.embed("m", ["a"])
