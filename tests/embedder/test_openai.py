"""Embeddings by servers that speak OpenAI's protocol: Ollama's own `/v1`, and servers that misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from services.chassis.errors import InvalidArgument
from services.embedder.documents import Failure
from services.embedder.errors import EmbeddingModelNotFound
from services.embedder.outcomes import collect
from services.embedder.providers import Embedding, Model, Purpose, openai
from services.embedder.providers.ollama import OllamaProvider
from services.embedder.providers.openai import OpenAIProvider
from services.embedder.providers.prompts import PromptTable
from services.embedder.providers.recipes import PromptedModels
from services.providers import client
from services.providers.client import ProviderRefused, ProviderUnavailable
from services.providers.endpoints import Endpoint, Prompts
from tests.broken_ollama import DIMENSION, vector
from tests.broken_openai import OUTAGES, BrokenOpenAI, broken_openai
from tests.ollama_server import EMBEDS

TEXTS = [f"text {number}" for number in range(100)]


def endpoint(url: str, **changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "name": "lab", "url": url, "key": None, "embeddings": None, "chat": None, "matryoshka": (), "normalize": False,
        "max_batch": 32, "concurrency": 4, "seconds": 20.0,
    }  # fmt: skip
    return Endpoint(**{**values, **changes})


@asynccontextmanager
async def provider(url: str, **changes: Any) -> AsyncGenerator[OpenAIProvider]:
    opened = OpenAIProvider(endpoint(url, **changes))
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def broken() -> Iterator[BrokenOpenAI]:
    with broken_openai() as server:
        yield server


def vectors(answers: Sequence[Embedding | Failure]) -> NDArray[np.float32]:
    """(n, d) the vectors, which all answers must be."""
    embeddings = [answer for answer in answers if isinstance(answer, Embedding)]
    assert len(embeddings) == len(answers), answers
    return np.stack([embedding.vector for embedding in embeddings])


def expected(texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, d) what the stand-in gives for texts."""
    return np.array([vector(text) for text in texts], dtype=np.float32)


def texts_for(broken: BrokenOpenAI, model: str) -> list[str]:
    """The texts of a model's requests, without the embedder's own."""
    return [text for body in broken.embedded if body["model"] == model for text in body["input"] if text != "dimension"]


@pytest.mark.parametrize(
    "model",
    [
        "good",
        "lists",
        "numbers",
        "plain",
        "shuffled",
        "unindexed",
        "short",
        "doubled",
        "unclear",
        "flaky",
        "throttled",
        "small",
    ],
)
async def test_each_text_gets_its_own_vector(broken: BrokenOpenAI, model: str) -> None:
    async with provider(broken.url) as lab:
        for _ in range(2):
            np.testing.assert_array_equal(vectors(await lab.embed(model, TEXTS)), expected(TEXTS))


async def test_vectors_are_asked_for_in_base64_unless_the_server_refuses_it(broken: BrokenOpenAI) -> None:
    async with provider(broken.url) as lab:
        for model in ("good", "numbers", "plain"):
            await lab.embed(model, ["one"])
            await lab.embed(model, ["two"])
    formats = [(body["model"], body.get("encoding_format")) for body in broken.embedded]
    assert formats == [
        ("good", "base64"), ("good", "base64"),
        ("numbers", "base64"), ("numbers", None), ("numbers", None),
        ("plain", "base64"), ("plain", None), ("plain", None),
    ]  # fmt: skip


@pytest.mark.parametrize("model", OUTAGES)
async def test_an_outage_is_no_failure_of_texts_and_ends(broken: BrokenOpenAI, model: str) -> None:
    async with provider(broken.url, seconds=1.0) as lab:
        start = time.monotonic()
        with pytest.raises(ProviderUnavailable, match=r"lab.*127\.0\.0\.1"):
            await lab.embed(model, TEXTS)
        assert time.monotonic() - start < 30
        assert len(broken.embedded) <= 4 * 4, "bounded retries of whole requests, which are not taken apart"
        broken.repaired.add(model)
        np.testing.assert_array_equal(vectors(await lab.embed(model, TEXTS)), expected(TEXTS))


async def test_a_gigantic_response_is_an_outage(broken: BrokenOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_RESPONSE_BYTES", 1000)
    async with provider(broken.url) as lab:
        with pytest.raises(ProviderUnavailable, match="larger than 1,000 bytes"):
            await lab.embed("good", TEXTS)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_pause_that_the_server_asks_for_is_kept_by_all_requests(broken: BrokenOpenAI, concurrency: int) -> None:
    async with provider(broken.url, max_batch=1, concurrency=concurrency) as lab:
        np.testing.assert_array_equal(vectors(await lab.embed("throttled", TEXTS[:8])), expected(TEXTS[:8]))
        assert len(broken.embedded) > 8
        assert concurrency > 1 or not broken.impatient_count, "only requests that were under way come too early"
        with pytest.raises(ProviderUnavailable, match="asks to wait 3,600 s"):
            await lab.embed("patient", ["one"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nan", "NaN or infinity"),
        ("dims", "31 numbers"),
        ("null", "expected a vector"),
        ("bytes", "base64"),
        ("picky", "invalid input"),
    ],
)
async def test_a_text_that_cannot_be_embedded_fails_alone(broken: BrokenOpenAI, model: str, words: str) -> None:
    texts = [*TEXTS[:40], "an ODD text", *TEXTS[40:]]
    async with provider(broken.url) as lab:
        batch = collect(range(len(texts)), await lab.embed(model, texts), DIMENSION)
    failures = {outcome.row: outcome.failure.message for outcome in batch.outcomes if outcome.failure}
    assert set(failures) == {40}
    assert words in failures[40]
    np.testing.assert_array_equal(batch.vectors, expected(TEXTS))


@pytest.mark.parametrize("model", ["long", "llama"])
async def test_a_text_that_is_too_long_is_cut_until_the_model_takes_it(broken: BrokenOpenAI, model: str) -> None:
    texts = ["short", "x" * 1000, "also short"]
    async with provider(broken.url) as lab:
        answers = await lab.embed(model, texts)
    assert [isinstance(answer, Embedding) and answer.truncated for answer in answers] == [False, True, False]
    np.testing.assert_array_equal(vectors(answers), expected(["short", "x" * 62, "also short"]))


async def test_a_server_that_declines_everything_is_not_asked_for_each_text(broken: BrokenOpenAI) -> None:
    async with provider(broken.url) as lab:
        with pytest.raises(EmbeddingModelNotFound, match=r"lab has no embedding model 'gone'.*does not exist"):
            await lab.embed("gone", TEXTS)
        assert len(broken.embedded) <= 4
        for model in ("mute", "chats"):
            with pytest.raises(ProviderRefused, match="does not support embeddings"):
                await lab.embed(model, TEXTS)
        assert sum(body["model"] == "mute" for body in broken.embedded) <= 16
    with broken_openai(key="right") as closed:
        async with provider(closed.url, key=SecretStr("wrong-secret")) as lab:
            for call in (lab.embed("good", TEXTS), lab.models(), lab.find("good")):
                with pytest.raises(ProviderRefused, match=r"Incorrect API key provided: \[key\]") as caught:
                    await call
                assert "wrong-secret" not in str(caught.value)
        async with provider(closed.url, key=SecretStr("right")) as lab:
            assert len(vectors(await lab.embed("good", TEXTS))) == 100


async def test_a_server_that_stops_in_the_middle_fails_no_text(broken: BrokenOpenAI) -> None:
    async with provider(broken.url) as lab:
        vectors(await lab.embed("good", TEXTS))
        broken.unloaded.add("good")
        broken.embedded.clear()
        with pytest.raises(ProviderRefused, match="Model unloaded"):
            await lab.embed("good", TEXTS)
        assert len(broken.embedded) <= 40, "each request is taken apart once, and not down to each text"


async def test_a_model_that_does_not_work_hides_no_other(broken: BrokenOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "_LISTED_SECONDS", 2.0)
    down = ProviderUnavailable("lab does not work: 503")
    async with provider(broken.url, embeddings=("good", "broken", "slow")) as lab:
        probed = lab._probed

        async def broken_probe(model: str) -> Model | None:
            if model == "broken":
                raise down
            if model == "slow":
                await asyncio.sleep(60)
            return await probed(model)

        monkeypatch.setattr(lab, "_probed", broken_probe)
        good, without, slow = await lab.models()
    assert (good.id, good.dimension, good.error) == ("lab/good", DIMENSION, "")
    assert (without.id, without.error) == ("lab/broken", down.message)
    assert (slow.id, "within 2 s" in slow.error) == ("lab/slow", True)


async def test_requests_grow_side_by_side_within_bounds() -> None:
    texts = [f"text {number}" for number in range(1000)]
    with broken_openai(request_seconds=0.1) as server:
        async with provider(server.url, max_batch=64, concurrency=3) as lab:
            vectors(await lab.embed("good", texts))
            sizes = [len(body["input"]) for body in server.embedded]
            assert sizes[0] == 32
            assert max(sizes) == 64
            assert len(sizes) < 20
            assert 1 < server.most_at_once <= 3
            server.embedded.clear()
            vectors(await lab.embed("good", ["x" * 50_000] * 10))
            assert max(sum(map(len, body["input"])) for body in server.embedded) <= 200_000


async def test_requests_shrink_where_the_server_declines_their_size(broken: BrokenOpenAI) -> None:
    async with provider(broken.url, max_batch=64) as lab:
        for _ in range(6):
            np.testing.assert_array_equal(vectors(await lab.embed("small", TEXTS)), expected(TEXTS))
    assert sum(len(body["input"]) > 8 for body in broken.embedded) < 45


async def test_a_request_that_takes_too_long_is_followed_by_smaller_ones(broken: BrokenOpenAI) -> None:
    async with provider(broken.url, max_batch=16, concurrency=1, seconds=1.0) as lab:
        np.testing.assert_array_equal(vectors(await lab.embed("sluggish", TEXTS[:20])), expected(TEXTS[:20]))
    assert broken.hang_count <= 4
    assert sorted(texts_for(broken, "sluggish")) == sorted(TEXTS[:20])


async def test_models_are_those_that_the_operator_lists_or_else_those_of_the_server(broken: BrokenOpenAI) -> None:
    async with provider(broken.url) as lab:
        models = await lab.models()
        assert [(model.id, model.dimension) for model in models] == [("lab/text-embedding-good", DIMENSION)]
    async with provider(broken.url, embeddings=("good", "cuts")) as lab:
        assert [model.id for model in await lab.models()] == ["lab/good", "lab/cuts"]
        assert await lab.find("lists") is None
        with pytest.raises(EmbeddingModelNotFound, match="the operator lists good, cuts"):
            await lab.embed("lists", ["one"])
    assert texts_for(broken, "lists") == []


@pytest.mark.parametrize("model", ["cuts", "fixed", "curt", "good"])
async def test_vectors_are_cut_by_the_server_or_here_and_have_unit_norm(broken: BrokenOpenAI, model: str) -> None:
    async with provider(broken.url, matryoshka=(model,)) as lab:
        models = PromptedModels(lab, PromptTable())
        cut_model = await models.find(f"{model}@8")
        assert cut_model is not None
        assert (cut_model.id, cut_model.dimension) == (f"lab/{model}@8", 8)
        cut = vectors(await models.embed(f"{model}@8", TEXTS))
        whole = expected(TEXTS)[:, :8]
        np.testing.assert_allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), rtol=1e-6)
        with pytest.raises(InvalidArgument, match="have 32 numbers, fewer than 64"):
            await models.find(f"{model}@64")
        for call in (models.find("lists@8"), models.embed("lists@8", ["one"])):
            with pytest.raises(InvalidArgument, match="not known for vectors that may be cut"):
                await call
    assert any(body.get("dimensions") == 8 for body in broken.embedded)


async def test_a_model_that_another_one_replaced_is_named_with_what_to_do(broken: BrokenOpenAI) -> None:
    async with provider(broken.url, matryoshka=("good",)) as lab:
        with pytest.raises(
            ProviderUnavailable, match=r"lab/good@64 needs vectors of 64 .* gave one of 32: start the model"
        ):
            await PromptedModels(lab, PromptTable()).embed("good@64", TEXTS)


async def test_vectors_are_scaled_only_where_the_operator_wants_it(broken: BrokenOpenAI) -> None:
    for normalize in (False, True):
        async with provider(broken.url, normalize=normalize) as lab:
            norms = np.linalg.norm(vectors(await PromptedModels(lab, PromptTable()).embed("good", TEXTS)), axis=1)
            assert np.allclose(norms, 1.0, atol=1e-6) is normalize


async def test_queries_and_documents_get_the_prompts_that_the_models_id_names(broken: BrokenOpenAI) -> None:
    own = Prompts("legal", "Q: ", "D: ", ("acme-",))
    async with provider(broken.url, embeddings=("nomic-embed-text", "acme-1", "good")) as lab:
        models = PromptedModels(lab, PromptTable([own]))
        assert [model.id for model in await models.models()] == [
            "lab/nomic-embed-text#nomic", "lab/acme-1#legal", "lab/good",
        ]  # fmt: skip
        assert models.complete("nomic-embed-text") == "nomic-embed-text#nomic"
        assert models.complete("nomic-embed-text@256") == "nomic-embed-text@256#nomic"
        assert models.complete("nomic-embed-text#none") == "nomic-embed-text#none"
        assert models.complete("good") == "good"
        broken.embedded.clear()
        for name in ("nomic-embed-text#nomic", "nomic-embed-text", "nomic-embed-text#none", "acme-1#legal"):
            await models.embed(name, ["text"])
            await models.embed(name, ["text"], purpose=Purpose.QUERY)
        texts = [text for body in broken.embedded for text in body["input"]]
        assert texts == [
            "search_document: text", "search_query: text", "text", "text", "text", "text", "D: text", "Q: text",
        ]  # fmt: skip
        with pytest.raises(EmbeddingModelNotFound, match=r"no prompts are named 'nomics'; there are .*nomic"):
            await models.embed("good#nomics", ["text"])


async def test_ollamas_own_v1_gives_the_vectors_of_its_api(ollama_url: str) -> None:
    texts = ["a short text", "word " * 3000, "another short text"]
    ollama = OllamaProvider(ollama_url)
    async with provider(f"{ollama_url}/v1", seconds=60.0) as lab:
        assert f"lab/{EMBEDS}" in [model.id for model in await lab.models()]
        model = await lab.find(EMBEDS)
        assert model is not None
        assert model.dimension == 384
        np.testing.assert_allclose(
            vectors(await lab.embed(EMBEDS, texts))[::2], vectors(await ollama.embed(EMBEDS, texts))[::2], atol=1e-3
        )
        assert len(vectors(await lab.embed(EMBEDS, TEXTS))) == 100
        with pytest.raises(EmbeddingModelNotFound, match="no-such-model"):
            await lab.embed("no-such-model", ["a"])
    await ollama.close()
