"""Whatever is sent to whichever RPC, the answer is a message, or an error with a reason that is no defect."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from prisma_client import Prisma
from prisma_common import contract
from tests import hostile
from tests.calls import reason
from tests.stack import Stack

SEED, CALLS = 20261126, 1500
SECONDS = 60.0
SERVICES = ("embedder", "trainer", "interpreter", "search")
WATCHES = ("WatchJob", "WatchMetrics")
"""Streams that wait for what happens later: their deadline is no fault."""
SKIPPED = ("DeleteDataset", "DeleteRun", "PushRun")
"""What would take away the resources that the other requests need."""


@pytest.fixture
def requests(stack: Stack) -> Iterator[hostile.Requests]:
    """Requests about a dataset and a trained run of their own; afterwards, all that they created is deleted."""
    with Prisma(stack.url) as prisma:
        before = {dataset.name for dataset in prisma.datasets.list()}
        documents = [{"id": str(number), "text": f"open file {number} of topic {number % 4}"} for number in range(40)]
        data = prisma.datasets.create("hostile", documents, dataset_id="hostile")
        data.embed()
        run = data.train(run_id="hostile", expansion=1, k=4, epochs=1)
        run.compute_statistics()
        yield hostile.Requests(random.Random(SEED), dataset=data.name, run=run.name)
        for dataset in list(prisma.datasets.list()):
            if dataset.name not in before:
                dataset.delete()


@pytest.mark.timeout(600)
def test_no_request_ends_in_an_internal_error(stack: Stack, requests: hostile.Requests) -> None:
    """Sent to the services themselves: on the gateway's port an early refusal of a stream may be lost (grpc.aio)."""
    methods = [method for method in contract.methods() if method.name not in SKIPPED]
    chance = random.Random(SEED)
    defects: list[str] = []
    answered: set[str] = set()
    with ExitStack() as opened:
        channels = {
            service: opened.enter_context(grpc.insecure_channel(stack.environment[f"PRISMA_{service.upper()}_LISTEN"]))
            for service in SERVICES
        }
        for _ in range(CALLS):
            method = chance.choice(methods)
            messages = requests.stream(method)
            owner = method.containing_service.file.package.split(".")[1]
            service = chance.choice(SERVICES) if owner == "common" else owner
            call: Any = channels[service].stream_stream(contract.full_name(method))
            try:
                for _ in call(iter(messages), timeout=2.0 if method.name in WATCHES else SECONDS):
                    answered.add(method.name)
            except grpc.RpcError as error:
                status: Any = error
                is_watch = method.name in WATCHES and status.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                if not is_watch and reason(status) in ("", "INTERNAL", "DEADLINE_EXCEEDED"):
                    defects.append(f"{method.name}: {status.code().name} {status.details()} for {messages}"[:2000])
    assert not defects, "\n".join(defects)
    assert len(answered) > len(methods) / 2, "most RPCs are reached beyond their first checks"
