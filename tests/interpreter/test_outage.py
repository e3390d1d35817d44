"""While a label provider does not work, its job waits; nothing is labelled wrongly, and it completes afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from tests.broken_ollama import BrokenOllama, broken_ollama
from tests.interpreter.conftest import RUN, Suite
from tests.interpreter.test_service import with_statistics


@pytest.fixture
def provider() -> Iterator[BrokenOllama]:
    with broken_ollama() as server:
        yield server


@pytest.fixture
def ollama_address(provider: BrokenOllama) -> str:
    return provider.url


async def test_a_label_job_waits_for_its_provider_and_completes(suite: Suite, provider: BrokenOllama) -> None:
    await with_statistics(suite)
    request = pb2.LabelFeaturesRequest(run=RUN, options={"model": "ollama/dead:latest"}, limit=3)
    job = await waiting(suite, await suite.interpreter.LabelFeatures(request))
    interpretation = pb2.GetInterpretationRequest(name=f"{RUN}/interpretation")
    assert (await suite.interpreter.GetInterpretation(interpretation)).labelled_count == 0
    provider.repaired.add("dead")
    job = await suite.ended(job)
    assert job.state == Job.STATE_SUCCEEDED
    assert (await suite.interpreter.GetInterpretation(interpretation)).labelled_count == 3
    provider.repaired.clear()
    request = pb2.ScoreLabelsRequest(run=RUN, rescore=True, judge={"model": "ollama/dead:latest", "document_count": 10})
    job = await waiting(suite, await suite.interpreter.ScoreLabels(request))
    labelled = (
        await suite.interpreter.ListFeatures(pb2.ListFeaturesRequest(parent=RUN, filter="labelled = true"))
    ).features
    assert [await judges(suite, feature.name) for feature in labelled] == [set()] * 3, "nothing is claimed meanwhile"
    provider.repaired.add("dead")
    job = await suite.ended(job)
    assert job.state == Job.STATE_SUCCEEDED, job
    assert "3 labels scored" in [line.text for line in job.log]
    assert [await judges(suite, feature.name) for feature in labelled] == [{"ollama/dead:latest"}] * 3


async def waiting(suite: Suite, job: Job, words: str = "runner process has terminated") -> Job:
    """The job once it waits for its provider, whose error has some words."""
    for _ in range(600):
        job = await suite.jobs.GetJob(GetJobRequest(name=job.name))
        if job.state == Job.STATE_WAITING and job.error.message:
            break
        await asyncio.sleep(0.1)
    assert job.state == Job.STATE_WAITING
    assert words in job.error.message
    return job


async def judges(suite: Suite, feature: str) -> set[str]:
    """The language models that have measured a feature's label."""
    labels = (await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=feature))).labels
    return {measured.model for label in labels for measured in label.test.measurements if measured.model}
