"""`prisma train` waits for the documents that are being embedded, and says what to do about those that are not."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.client.scripted_gateway import error, reply, scripted, stream
from tests.stack import PRISMA

PENDING = error(400, "FAILED_PRECONDITION", "DOCUMENTS_PENDING", "50 documents are not embedded yet")
EMBEDDING: dict[str, Any] = {"name": "jobs/e", "kind": "embed-dataset", "state": "STATE_RUNNING"}
TRAINING: dict[str, Any] = {"name": "jobs/t", "kind": "train-run", "state": "STATE_SUCCEEDED"}


def train(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PRISMA, "train", "d", *options],
        env={**os.environ, "PRISMA_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_train_waits_for_a_running_embedding_job() -> None:
    answers = [
        PENDING,
        reply(200, {"jobs": [EMBEDDING]}),
        stream(EMBEDDING, {**EMBEDDING, "state": "STATE_SUCCEEDED"}),
        reply(200, {"name": "runs/r"}),
        reply(200, TRAINING),
        stream(TRAINING),
        reply(200, {"name": "runs/r"}),
    ]
    with scripted(answers) as gateway:
        ended = train(gateway.url)
    assert ended.returncode == 0, ended.stderr
    assert "waiting for documents to be embedded" in ended.stderr
    paths = [request.partition("?")[0] for request in gateway.requests]
    assert paths == [
        "POST /v1/runs",
        "GET /v1/jobs",
        "GET /v1/jobs/e:watch",
        "POST /v1/runs",
        "POST /v1/runs/r:train",
        "GET /v1/jobs/t:watch",
        "GET /v1/runs/r",
    ]


def test_the_passages_that_are_waited_for_are_counted_as_passages() -> None:
    pending = error(400, "FAILED_PRECONDITION", "DOCUMENTS_PENDING", metadata={"pending_count": "1200"})
    answers = [
        pending,
        reply(200, {"jobs": [EMBEDDING]}),
        reply(200, {"name": "datasets/d", "passages": {"maxTokens": 64}}),
        stream({**EMBEDDING, "state": "STATE_SUCCEEDED"}),
        pending,
    ]
    with scripted(answers) as gateway:
        ended = train(gateway.url)
    assert "waiting for 1,200 passages to be embedded before training" in ended.stderr


def test_train_says_what_to_do_where_nothing_embeds_the_documents() -> None:
    with scripted([PENDING, reply(200, {})]) as gateway:
        ended = train(gateway.url)
    assert ended.returncode == 4
    assert "50 documents are not embedded yet" in ended.stderr
    assert "prisma embed d" in ended.stderr
    assert "--allow-pending" in ended.stderr


def test_pending_documents_are_left_out_on_request() -> None:
    run = reply(200, {"name": "runs/r"})
    answers = [run, reply(200, TRAINING), stream(TRAINING), run]
    with scripted(answers) as gateway:
        ended = train(gateway.url, "--allow-pending")
    assert ended.returncode == 0, ended.stderr
    create, start, *_ = gateway.bodies
    assert '"allow_pending_documents": true' in start
    assert "allow_pending_documents=true" in gateway.requests[0] or '"allow_pending_documents": true' in create
