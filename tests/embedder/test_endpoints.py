"""The operator's file of model servers, and an embedder that uses it."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import numpy as np
import pytest

from prisma.common.v1 import job_pb2_grpc, status_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.common.v1.status_pb2 import GetStatusRequest, ServiceStatus
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2
from prisma_common import wire
from services.chassis.startup import StartRefused
from services.embedder.providers.prompts import TABLE, PromptTable, may_be_cut
from services.providers.endpoints import Providers, read_providers
from services.providers.rate_limits import pause_after
from tests import calls
from tests.broken_ollama import vector
from tests.broken_openai import broken_openai
from tests.nats_server import NatsServer
from tests.process import ROOT, ServiceProcess

KEY = "sk-a-secret-of-the-operator"
DOCS = ROOT / "docs" / "reference" / "embedding-models.md"


def written(folder: Path, text: str) -> Path:
    file = folder / "providers.toml"
    file.write_text(text)
    return file


def test_no_file_declares_nothing() -> None:
    assert read_providers(None) == Providers()


def test_servers_and_prompts_are_read_with_their_keys(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    declared = read_providers(
        written(
            tmp_path,
            '[providers.lab]\nurl = "http://gpu:8000"\nkey_file = "key"\nembeddings = ["m"]\nmax_batch = 7\n'
            '[providers.openai]\nurl = "https://api.openai.com/v1/"\n'
            '[prompts.legal]\nquery = "Q: "\nmodels = ["acme"]\n',
        )
    )
    lab, openai = declared.endpoints
    assert (lab.url, openai.url) == ("http://gpu:8000/v1", "https://api.openai.com/v1")
    assert lab.key is not None
    assert lab.key.get_secret_value() == KEY
    assert KEY not in repr(declared)
    assert (lab.embeddings, lab.chat, lab.max_batch) == (("m",), None, 7)
    assert (declared.prompts[0].query, declared.prompts[0].document) == ("Q: ", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[providers.lab", "no valid TOML"),
        ('[providers.lab]\nurl = "http://x"\nkey = "k"', r"providers\.lab\.key: Extra inputs"),
        ("[providers.lab]\n", r"providers\.lab\.url: Field required"),
        ('[providers.lab]\nurl = "ftp://x"', r"providers\.lab\.url: expected http"),
        ('[providers.lab]\nurl = "http://me:secret@x/v1"', r"providers\.lab\.url: expected an address without user"),
        ('[providers.lab]\nurl = "http://x"\nkey_file = "none"', "none cannot be read: No such file"),
        ('[providers.lab]\nurl = "http://x"\nkey_file = "two"', r"key_file: expected a file with one key"),
        ('[providers.lab]\nurl = "http://x"\nmax_batch = 0', r"max_batch: Input should be greater"),
        ('[providers.ollama]\nurl = "http://x"', "'ollama', a name that PRISMA uses itself"),
        ('[providers."Lab/1"]\nurl = "http://x"', "a name is lower-case letters"),
        ("[lab]\n", "lab: Extra inputs"),
    ],
)
def test_a_wrong_file_refuses_the_start_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "two").write_text("one\ntwo\n")
    with pytest.raises(StartRefused, match=words) as caught:
        read_providers(written(tmp_path, text))
    assert caught.value.message.startswith("PRISMA_PROVIDERS: ")
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message.removeprefix(str(tmp_path))


def test_a_missing_file_and_a_taken_name_refuse_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be read"):
        read_providers(tmp_path / "none.toml")
    with pytest.raises(StartRefused, match="prompts named 'e5'"):
        PromptTable(read_providers(written(tmp_path, '[prompts.e5]\nquery = "x"')).prompts)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("nomic-embed-text:latest", "nomic"),
        ("text-embedding-nomic-embed-text-v1.5", "nomic"),
        ("intfloat/multilingual-e5-large", "e5"),
        ("intfloat/multilingual-e5-large-instruct", "e5-instruct"),
        ("BAAI/bge-large-en-v1.5", "bge"),
        ("bge-large:latest", "bge"),
        ("BAAI/bge-small-zh-v1.5", "bge-zh"),
        ("bge-m3:latest", None),
        ("mxbai-embed-large:latest", "mxbai"),
        ("snowflake-arctic-embed:110m", "arctic"),
        ("snowflake-arctic-embed2:latest", "arctic2"),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "arctic2"),
        ("Snowflake/snowflake-arctic-embed-m-v1.5", "arctic"),
        ("Qwen/Qwen3-Embedding-0.6B", "qwen3"),
        ("embeddinggemma:300m", "embeddinggemma"),
        ("all-minilm:latest", None),
        ("text-embedding-3-small", None),
    ],
)
def test_prompts_are_found_by_a_models_name(model: str, name: str | None) -> None:
    prompts = PromptTable().of_model(model)
    assert (prompts.name if prompts else None) == name


def test_only_models_that_are_trained_for_it_may_be_cut() -> None:
    cut = ("nomic-embed-text:latest", "text-embedding-3-large", "qwen3-embedding:8b", "embeddinggemma")
    assert all(map(may_be_cut, cut))
    assert not any(map(may_be_cut, ("nomic-embed-text-v1", "bge-m3", "multilingual-e5-large", "all-minilm:latest")))


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {}, None),
        (429, {"Retry-After": "7"}, 7.0),
        (503, {"Retry-After": "0"}, 0.0),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (429, {"Retry-After": "soon"}, None),
        (429, {"Retry-After": "nan"}, None),
        (429, {"Retry-After": "1e300"}, 86_400.0),
        (429, {"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        (429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
        (429, {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1s"}, None),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        (200, {"Retry-After": "7"}, None),
    ],
)
def test_limits_are_read_from_the_headers(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert pause_after(status, httpx.Headers(headers)) == (seconds if seconds is None else pytest.approx(seconds))


def test_the_documented_file_is_valid_and_the_documented_prompts_are_the_tables(tmp_path: Path) -> None:
    text = DOCS.read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    for key_file in re.findall(r'key_file = "(.*?)"', example):
        (tmp_path / Path(key_file).name).write_text(KEY)
        example = example.replace(key_file, str(tmp_path / Path(key_file).name))
    declared = read_providers(written(tmp_path, example))
    assert {"vllm", "lmstudio", "llamacpp", "openai"} <= {endpoint.name for endpoint in declared.endpoints}
    assert len(tomllib.loads(example)["prompts"]) == len(declared.prompts)
    rows = dict(re.findall(r"^\| `#([a-z0-9-]+)` \| (.*) \|$", text.replace("\\|", "|"), re.MULTILINE))
    assert set(rows) == {prompts.name for prompts in TABLE}
    for prompts in TABLE:
        assert json.dumps(prompts.query, ensure_ascii=False)[1:-1].strip() in rows[prompts.name], prompts.name
        assert prompts.document.strip() in rows[prompts.name]


async def test_a_job_waits_for_its_server_and_no_text_or_vector_is_lost(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    with broken_openai(key=KEY) as server:
        file = written(
            tmp_path,
            f'[providers.lab]\nurl = "{server.url}"\nkey_file = "key"\nembeddings = ["dead", "nomic-embed-text"]',
        )
        environment = {
            "PRISMA_NATS_URL": nats_server.url, "PRISMA_PROVIDERS": str(file), "PRISMA_LOG_LEVEL": "debug",
        }  # fmt: skip
        process = ServiceProcess("embedder", tmp_path, environment)
        process.start()
        try:
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
                jobs = job_pb2_grpc.JobServiceStub(channel)
                listed = await stub.ListEmbeddingModels(pb2.ListEmbeddingModelsRequest())
                assert "lab/nomic-embed-text#nomic" in [model.id for model in listed.embedding_models]
                dataset = resources_pb2.Dataset(embedding_model="lab/dead")
                await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))
                await calls.add(stub, [{"id": str(number), "text": f"text {number}"} for number in range(700)])
                job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
                while not job.error.message:
                    await asyncio.sleep(0.1)
                    job = await jobs.GetJob(GetJobRequest(name=job.name))
                assert job.state == Job.STATE_WAITING
                assert "lab at http://127.0.0.1" in job.error.message and "EngineCore" in job.error.message
                server.repaired.add("dead")
                assert (await calls.ended(jobs, job)).state == Job.STATE_SUCCEEDED
                stored: dict[int, list[float]] = {}
                async for block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset="datasets/d")):
                    rows, vectors = wire.unpack_vectors(block.vectors)
                    stored |= dict(zip(rows.tolist(), vectors.tolist(), strict=True))
                expected = [np.array(vector(f"text {number}"), np.float32).tolist() for number in range(700)]
                assert stored == dict(enumerate(expected))
                await _prompts_are_kept(stub)
                status = await status_pb2_grpc.StatusServiceStub(channel).GetStatus(GetStatusRequest())
                (lab,) = [entry for entry in status.dependencies if entry.name == "lab"]
                assert (lab.health, lab.address) == (ServiceStatus.HEALTH_OK, server.url)
                assert lab.details["models"] == "dead, nomic-embed-text"
                server.key = "another"
                status = await status_pb2_grpc.StatusServiceStub(channel).GetStatus(GetStatusRequest())
                assert status.health == ServiceStatus.HEALTH_DEGRADED
                assert "Incorrect API key provided: [key]" in status.message
        finally:
            process.kill()
    assert all(body.get("input") for body in server.embedded)
    assert KEY not in process.log.read_text()


async def _prompts_are_kept(stub: Any) -> None:
    """A new dataset keeps the prompts of its model in the model's id; an id without prompts stays without."""
    dataset = resources_pb2.Dataset(embedding_model="lab/nomic-embed-text")
    created = await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="prompted", dataset=dataset))
    assert created.embedding_model == "lab/nomic-embed-text#nomic"
    for model, prompt in (("lab/nomic-embed-text", ""), (created.embedding_model, "search_query: ")):
        answer = await stub.EmbedTexts(
            pb2.EmbedTextsRequest(embedding_model=model, texts=["ferries"], purpose=pb2.EmbedTextsRequest.PURPOSE_QUERY)
        )
        expected = np.array([vector(f"{prompt}ferries")], np.float32)
        np.testing.assert_array_equal(wire.unpack_vectors(answer.vectors)[1], expected)


async def test_a_dataset_keeps_its_model_when_the_operator_declares_prompts_for_it(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    with broken_openai() as server:
        declared = f'[providers.lab]\nurl = "{server.url}"\nembeddings = ["good"]\n'
        environment = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_PROVIDERS": str(written(tmp_path, declared))}
        process = ServiceProcess("embedder", tmp_path, environment)
        process.start()
        try:
            async with grpc.aio.insecure_channel(process.address) as channel:
                await _with_one_vector(channel, "before")
            process.stop()
            written(tmp_path, f'{declared}[prompts.own]\ndocument = "D: "\nmodels = ["good"]\n')
            process.start()
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub: Any = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
                assert await _with_one_vector(channel, "after") == "lab/good#own"
                unchanged = resources_pb2.Dataset(name="datasets/before", embedding_model="lab/good")
                updated = await stub.UpdateDataset(pb2.UpdateDatasetRequest(dataset=unchanged))
                assert updated.embedding_model == "lab/good"
                await calls.add(stub, [{"id": "2", "text": "two"}], "before")
                job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/before"))
                await calls.ended(job_pb2_grpc.JobServiceStub(channel), job)
        finally:
            process.kill()
    texts = [text for body in server.embedded for text in body["input"]]
    assert [text for text in texts if text != "dimension"] == ["one", "D: one", "two"]


async def _with_one_vector(channel: grpc.aio.Channel, dataset_id: str) -> str:
    """Creates a dataset with one embedded document; returns its embedding model."""
    stub: Any = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    dataset = resources_pb2.Dataset(embedding_model="lab/good")
    created = await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id=dataset_id, dataset=dataset))
    await calls.add(stub, [{"id": "1", "text": "one"}], dataset_id)
    job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name=created.name))
    assert (await calls.ended(job_pb2_grpc.JobServiceStub(channel), job)).state == Job.STATE_SUCCEEDED
    return created.embedding_model
