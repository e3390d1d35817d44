"""One service is put back to an older state while the others keep theirs: they notice, and read it again."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import grpc.aio
import httpx
import pytest

from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import Prisma, sample
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from tests import calls
from tests import stack as stacks
from tests.process import ServiceProcess
from tests.system.test_backup import start

COUNT = 200
LATER = 3


def add(data: Dataset, word: str) -> None:
    """Adds LATER documents about a word and embeds them."""
    data.add([{"id": f"{word}-{number}", "text": f"A {word} of this history, {number}."} for number in range(LATER)])
    data.embed()


async def add_alone(folder: Path) -> None:
    """Adds other documents while nobody follows: no revision is lower than before when the others look again."""
    embedder = ServiceProcess("embedder", folder, {"PRISMA_NATS_URL": "nats://127.0.0.1:9"})
    embedder.start()
    try:
        async with grpc.aio.insecure_channel(embedder.address) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            for number in range(LATER):
                await calls.add(stub, [{"id": f"quokka-{number}", "text": f"A quokka of this history, {number}."}])
    finally:
        embedder.kill()


def keys(data: Dataset, query: str) -> set[str]:
    """Keys of the documents that have a word of the query."""
    return {hit.key for hit in data.search(query, mode="full_text").hits}


def coded_keys(run: Run, folder: Path) -> list[str]:
    """Keys of the documents that have codes."""
    run.export_activations(folder / "activations.jsonl")
    return [json.loads(line)["key"] for line in (folder / "activations.jsonl").read_text().splitlines()]


def follow(data: Dataset, run: Run, *, count: int) -> None:
    """Waits until index and codes are current, and checks that the index never says so of another history's data."""
    for _ in range(600):
        status = data.index_status()
        if status.current:
            assert status.streams[0].item_count == count
            if run.refresh().message.code_count == count and not run.message.uncoded_count:
                return
        time.sleep(0.1)
    raise AssertionError((data.index_status(), run.message))


@pytest.mark.timeout(600)
def test_search_and_trainer_read_a_restored_embedder_again(tmp_path: Path) -> None:
    environment = stacks.environment(tmp_path)
    process = start(environment, tmp_path)
    try:
        with Prisma(environment["PRISMA_URL"]) as prisma:
            documents = list(itertools.islice(sample.documents(), COUNT))
            data = prisma.datasets.create("Restored", documents, dataset_id="d")
            data.embed()
            run = data.train(run_id="r", expansion=1, k=8, epochs=1)
            follow(data, run, count=COUNT)
            subprocess.run([stacks.PRISMA, "backup", tmp_path / "backup"], env=environment, check=True, timeout=120)
            add(data, "zebra")
            # Its row has a revision that the followers have passed: only another history makes them read it again.
            removed = documents[0]["id"]
            httpx.delete(f"{environment['PRISMA_URL']}/v1/{data.name}/documents/{removed}").raise_for_status()
            follow(data, run, count=COUNT + LATER - 1)
    finally:
        process.terminate()
        process.wait(30)
    apart = {**environment, "PRISMA_DATA_DIR": str(tmp_path / "apart")}
    subprocess.run([stacks.PRISMA, "restore", tmp_path / "backup"], env=apart, check=True, timeout=120)
    shutil.rmtree(tmp_path / "data/embedder")
    shutil.move(tmp_path / "apart/embedder", tmp_path / "data/embedder")
    asyncio.run(add_alone(tmp_path))
    process = start(environment, tmp_path)
    try:
        with Prisma(environment["PRISMA_URL"]) as prisma:
            data, run = prisma.datasets.get("d"), prisma.runs.get("r")
            data.embed()
            follow(data, run, count=COUNT + LATER)
            quokkas = {f"quokka-{number}" for number in range(LATER)}
            assert keys(data, "zebra quokka") == quokkas
            coded = coded_keys(run, tmp_path)
            assert len(coded) == COUNT + LATER
            assert quokkas | {removed} <= set(coded)
            assert removed in keys(data, documents[0]["text"])
    finally:
        process.terminate()
        process.wait(30)
