"""Labels and judgements by servers that speak OpenAI's protocol: Ollama's own `/v1`, and servers that misbehave."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from services.interpreter import judge_prompts, prompts
from services.interpreter.errors import LabelModelNotFound, UnusableAnswer
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.labellers import Task
from services.interpreter.labels import Options
from services.interpreter.model_judge import QUESTION_SIZE, ModelJudge
from services.interpreter.model_labeller import ModelLabeller
from services.interpreter.openai import OpenAIChat
from services.providers.client import ProviderRefused, ProviderUnavailable
from services.providers.endpoints import Endpoint
from tests.broken_openai import OUTAGES, BrokenOpenAI, broken_openai
from tests.interpreter.conftest import RUN, Suite
from tests.interpreter.owners import Owners, features_of, owners
from tests.interpreter.test_outage import waiting
from tests.interpreter.test_service import with_statistics
from tests.ollama_server import CHATS, EMBEDS

KEY = "sk-a-secret-of-the-operator"
DOCUMENTS = [prompts.ShownDocument(row, f"The cat number {row} sleeps on the sofa.", 3.0 - row) for row in range(3)]
BESIDE = [prompts.ShownDocument(9, "Interest rates rose by half a percent.", 0.0)]
MESSAGES = prompts.messages(DOCUMENTS, BESIDE, None)


@asynccontextmanager
async def chat(url: str, **changes: Any) -> AsyncGenerator[OpenAIChat]:
    values: dict[str, Any] = {
        "name": "lab", "url": url, "key": None, "embeddings": None, "chat": None, "matryoshka": (), "normalize": False,
        "max_batch": 32, "concurrency": 4, "seconds": 20.0,
    }  # fmt: skip
    opened = OpenAIChat(Endpoint(**{**values, **changes}))
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def broken() -> Iterator[BrokenOpenAI]:
    with broken_openai(key=KEY) as server:
        yield server


@pytest.mark.parametrize(
    ("model", "forms"),
    [
        ("good", ["json_schema", "json_schema"]),
        ("schemas", ["json_schema", "json_schema"]),
        ("objects", ["json_schema", "json_object", "json_object"]),
        ("words", ["json_schema", "json_object", None, None]),
        ("thinks", ["json_schema"] * 4),
        ("template", ["json_schema", "json_schema"]),
    ],
)
async def test_answers_are_asked_for_in_the_strictest_form_that_the_server_takes(
    broken: BrokenOpenAI, model: str, forms: list[str | None]
) -> None:
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        for _ in range(2):
            content = await lab.chat(model, MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
            assert prompts.read(content).label == "Ferries"
    assert [body.get("response_format", {}).get("type") for body in broken.chats] == forms


async def test_a_schema_is_strict(broken: BrokenOpenAI) -> None:
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        await lab.chat("good", MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
    (body,) = broken.chats
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["label", "description", "alternatives"]
    assert schema["properties"] == prompts.SCHEMA["properties"]


@pytest.mark.parametrize("model", OUTAGES)
async def test_an_outage_is_no_answer_and_ends(broken: BrokenOpenAI, model: str) -> None:
    async with chat(broken.url, key=SecretStr(KEY), seconds=1.0) as lab:
        start = time.monotonic()
        with pytest.raises(ProviderUnavailable, match=r"lab at http://127\.0\.0\.1"):
            await lab.chat(model, MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
        assert time.monotonic() - start < 30
        broken.repaired.add(model)
        content = await lab.chat(model, MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
        assert prompts.read(content).label == "Ferries"


async def test_a_server_for_embeddings_alone_is_not_waited_for(broken: BrokenOpenAI) -> None:
    source = owners(latent_count=12, row_count=60)
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        with pytest.raises(UnusableAnswer, match="does not support logits"):
            await labels_of(source, lab, "embeds", range(12))


async def test_an_empty_answer_is_no_label(broken: BrokenOpenAI) -> None:
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        content = await lab.chat("silent", MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
        with pytest.raises(prompts.NotALabel):
            prompts.read(content)


async def test_a_denied_key_is_not_repeated_and_not_shown(broken: BrokenOpenAI) -> None:
    async with chat(broken.url, key=SecretStr("wrong-secret")) as lab:
        for call in (lab.chat("good", MESSAGES, schema=prompts.SCHEMA, temperature=0.0), lab.models()):
            with pytest.raises(ProviderRefused, match=r"Incorrect API key provided: \[key\]"):
                await call


async def test_models_are_those_that_the_operator_lists_or_else_those_that_do_not_embed(broken: BrokenOpenAI) -> None:
    source: Any = owners(latent_count=8, row_count=10)
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        assert await lab.ids() == ["lab/chat-good"]
    async with chat(broken.url, key=SecretStr(KEY), chat=("good", "words")) as lab:
        labeller = ModelLabeller(source, EvidenceReader(source), lab)
        assert [model.id for model in await labeller.models()] == ["lab/good", "lab/words"]
        await labeller.check("lab/words")
        with pytest.raises(LabelModelNotFound, match=r"under `chat` of `providers\.lab`"):
            await labeller.check("lab/objects")
    async with chat(broken.url, key=SecretStr(KEY), embeddings=("good",)) as lab:
        assert await lab.ids() == []


@pytest.mark.parametrize("model", ["good", "throttled", "thinks"])
async def test_a_judges_ratings_are_read(broken: BrokenOpenAI, model: str) -> None:
    texts = [
        f"{animal} number {number} sleeps" for number in range(2) for animal in ("cat", "owl", "eel", "fox", "hen")
    ]
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        ratings = await ModelJudge({"lab": lab}, f"lab/{model}").rate(judge_prompts.detection, "cat", texts)
    assert ratings.values.tolist() == [10.0, 0, 0, 0, 0, 10.0, 0, 0, 0, 0]


async def labels_of(source: Owners, lab: OpenAIChat, model: str, indices: Sequence[int]) -> list[tuple[int, str]]:
    texts: Any = source
    labeller = ModelLabeller(texts, EvidenceReader(texts), lab)
    task = Task(await features_of(source), indices, Options(model=f"lab/{model}"))
    return [(draft.index, draft.text) async for batch in labeller.drafts(task) for draft in batch]


async def test_labels_are_asked_for_as_many_at_a_time_as_the_operator_allows(broken: BrokenOpenAI) -> None:
    source, indices = owners(latent_count=12, row_count=60), [7, 2, 11, 0, 5, 9, 1, 4, 3, 8, 6, 10]
    labels: list[list[tuple[int, str]]] = []
    for concurrency in (1, 3):
        broken.crowd, broken.most_at_once = threading.Barrier(concurrency), 0
        async with chat(broken.url, key=SecretStr(KEY), concurrency=concurrency) as lab:
            labels.append(await labels_of(source, lab, "crowd", indices))
        assert broken.most_at_once == concurrency
    assert labels[0] == labels[1]
    assert [index for index, _ in labels[0]] == indices
    assert len({text for _, text in labels[0]}) == len(indices)


async def test_jobs_share_a_servers_limit(broken: BrokenOpenAI) -> None:
    source = owners(latent_count=12, row_count=60)
    broken.crowd = threading.Barrier(2)
    async with chat(broken.url, key=SecretStr(KEY), concurrency=2) as lab:
        await asyncio.gather(*(labels_of(source, lab, "crowd", range(6)) for _ in range(2)))
    assert broken.most_at_once == 2
    assert len(broken.chats) == 12


async def test_a_server_that_cannot_answer_so_many_in_time_gets_fewer(broken: BrokenOpenAI) -> None:
    source = owners(latent_count=12, row_count=60)
    async with chat(broken.url, key=SecretStr(KEY), concurrency=4, seconds=2.0) as lab:
        for _ in range(10):  # a job tries again
            try:
                labels = await labels_of(source, lab, "narrow", range(12))
                break
            except ProviderUnavailable:
                continue
        else:
            pytest.fail(f"{broken.hang_count} questions were not answered")
    assert [text for _, text in labels] == ["Ferries"] * 12


async def test_a_judges_questions_are_asked_at_a_time_and_rated_as_one_by_one(broken: BrokenOpenAI) -> None:
    animals = ("cat", "owl", "eel", "fox", "hen", "cat")
    texts = [f"{animal} number {number} sleeps" for number in range(5) for animal in animals]
    ratings: list[list[float]] = []
    for concurrency in (1, 3):
        broken.crowd, broken.most_at_once = threading.Barrier(concurrency), 0
        async with chat(broken.url, key=SecretStr(KEY), concurrency=concurrency) as lab:
            judge = ModelJudge({"lab": lab}, "lab/crowd")
            ratings.append((await judge.rate(judge_prompts.detection, "cat", texts)).values.tolist())
        assert (broken.most_at_once, judge.question_count) == (concurrency, 6)
    assert ratings[0] == ratings[1] == [10.0 if text.startswith("cat") else 0.0 for text in texts]


async def test_documents_that_the_server_declines_have_no_rating(broken: BrokenOpenAI) -> None:
    texts = [f"cat number {number}" for number in range(10)]
    texts[3] = "an ODD cat"
    async with chat(broken.url, key=SecretStr(KEY)) as lab:
        ratings = await ModelJudge({"lab": lab}, "lab/filtered").rate(judge_prompts.detection, "cat", texts)
    assert ratings.unusable_count == QUESTION_SIZE
    assert np.isnan(ratings.values[3]) and not ratings.usable
    async with chat(broken.url, key=SecretStr("wrong")) as lab:
        with pytest.raises(ProviderRefused, match="Incorrect API key"):
            await ModelJudge({"lab": lab}, "lab/good").rate(judge_prompts.detection, "cat", texts)


async def test_ollamas_own_v1_writes_labels_and_judges(ollama_url: str) -> None:
    async with chat(f"{ollama_url}/v1", seconds=120.0) as lab:
        assert f"lab/{CHATS}" in await lab.ids()
        assert f"lab/{EMBEDS}" not in await lab.ids()
        content = await lab.chat(CHATS, MESSAGES, schema=prompts.SCHEMA, temperature=0.0)
        assert prompts.read(content).label
        texts = [f"The {animal} sleeps on the sofa." for animal in ("cat", "owl", "eel", "fox", "hen")]
        ratings = await ModelJudge({"lab": lab}, f"lab/{CHATS}").rate(judge_prompts.detection, "cats", texts)
        assert ratings.question_count >= 1
        with pytest.raises(ProviderRefused, match="no-such-model"):
            await lab.chat("no-such-model", MESSAGES, schema=prompts.SCHEMA, temperature=0.0)


@pytest.fixture
def providers_file(broken: BrokenOpenAI, tmp_path: Path) -> str:
    (tmp_path / "key").write_text(KEY)
    file = tmp_path / "providers.toml"
    file.write_text(f'[providers.lab]\nurl = "{broken.url}"\nkey_file = "key"\nchat = ["dead"]\n')
    return str(file)


async def test_a_label_job_waits_for_its_server_and_loses_nothing(suite: Suite, broken: BrokenOpenAI) -> None:
    await with_statistics(suite)
    request = pb2.LabelFeaturesRequest(run=RUN, options={"model": "lab/dead"}, limit=3)
    job = await waiting(suite, await suite.interpreter.LabelFeatures(request), words="EngineCore encountered an issue")
    broken.repaired.add("dead")
    job = await suite.ended(job)
    assert job.state == Job.STATE_SUCCEEDED, job
    interpretation = pb2.GetInterpretationRequest(name=f"{RUN}/interpretation")
    assert (await suite.interpreter.GetInterpretation(interpretation)).labelled_count == 3
    broken.repaired.clear()
    request = pb2.ScoreLabelsRequest(run=RUN, rescore=True, judge={"model": "lab/dead", "document_count": 10})
    job = await waiting(suite, await suite.interpreter.ScoreLabels(request), words="EngineCore encountered an issue")
    broken.repaired.add("dead")
    job = await suite.ended(job)
    assert "3 labels scored" in [line.text for line in job.log], job
    assert KEY not in suite.interpreter_process.log.read_text()
