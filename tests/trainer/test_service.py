"""The trainer as its clients see it: real processes that share nothing but addresses, real NATS and SQLite."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from prisma.common.v1.block_pb2 import RowRange, VectorBlock
from prisma.common.v1.job_pb2 import CancelJobRequest, Job, RetryJobRequest
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.trainer.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma.trainer.v1.resources_pb2 import Config, Run
from prisma_client import wire
from services.trainer.child import Spec
from services.trainer.sae.config import Config as SaeConfig
from tests.calls import reason
from tests.trainer.conftest import DATASET, Suite

RUN = "runs/r"
SMALL = Config(expansion=2, k=8, batch_size=64, epochs=3)
LONG = Config(expansion=8, k=16, batch_size=32, epochs=60)


async def made(suite: Suite, config: Config, run_id: str = "r") -> Run:
    return await suite.trainer.CreateRun(pb2.CreateRunRequest(run_id=run_id, run=Run(dataset=DATASET, config=config)))


async def trained(suite: Suite, config: Config, run_id: str = "r") -> Run:
    run = await made(suite, config, run_id)
    job = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=run.name)))
    assert job.state == Job.STATE_SUCCEEDED, job
    return await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))


async def weights_digest(suite: Suite, run: str) -> str:
    digest = hashlib.sha256()
    async for part in suite.trainer.ExportWeights(pb2.ExportWeightsRequest(run=run)):
        digest.update(part.data)
    return digest.hexdigest()


async def codes_of(suite: Suite, **request: object) -> wire.Codes:
    parts = [
        wire.unpack_codes(block.codes)
        async for block in suite.trainer.ReadCodes(pb2.ReadCodesRequest(run=RUN, **request))
        if block.HasField("codes")
    ]
    return wire.concatenate(parts, parts[0].latent_count if parts else 0)


async def stepped(suite: Suite, steps: int) -> None:
    """Returns once the training has told of so many steps."""
    for _ in range(600):
        run = await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))
        if run.metrics.step >= steps:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the training did not begin")


def children(folder: Path) -> str:
    return subprocess.run(
        ["pgrep", "-f", f"services.trainer.child.*{folder}"], capture_output=True, text=True, check=False
    ).stdout


async def test_a_run_is_trained_and_its_codes_have_the_same_bits_everywhere(suite: Suite) -> None:
    await suite.fill(1000)
    run = await trained(suite, SMALL)
    assert (run.state, run.row_count, run.code_count) == (Run.STATE_TRAINED, 1000, 1000)
    assert run.dimension * 2 == 512
    assert 0 < run.metrics.held_out_fvu < 1
    codes = await codes_of(suite)
    np.testing.assert_array_equal(codes.rows, np.arange(1000))
    rows: list[wire.Rows] = []
    parts: list[wire.Vectors] = []
    async for block in suite.embedder.ReadVectors(embedder_pb2.ReadVectorsRequest(dataset=DATASET)):
        some, vectors = wire.unpack_vectors(block.vectors)
        rows.append(some)
        parts.append(vectors)
    vectors = np.concatenate(parts)
    for size in (1, 7, 1000):
        for start in range(0, 1000 if size > 1 else 60, size):
            part = slice(start, start + size)
            packed = wire.pack_vectors(vectors[part], np.concatenate(rows)[part])
            answer = await suite.trainer.Encode(pb2.EncodeRequest(run=RUN, vectors=packed))
            found, stored = wire.unpack_codes(answer.codes), codes.slice(start, min(start + size, 1000))
            assert found.values.tobytes() == stored.values.tobytes()
            assert found.indices.tobytes() == stored.indices.tobytes()
            assert len(answer.unexplained_fractions) == len(found)
    some = await codes_of(suite, row_ranges=[RowRange(start=10, end=20)], start_row=15)
    np.testing.assert_array_equal(some.rows, np.arange(15, 20))
    assert len(await codes_of(suite, since_revision=run.revision)) == 0
    directions = [
        wire.unpack_vectors(block.directions)[1]
        async for block in suite.trainer.ReadDecoder(pb2.ReadDecoderRequest(run=RUN))
    ]
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(directions), axis=1), 1, rtol=1e-5)
    steps = [each.step async for each in suite.trainer.WatchMetrics(pb2.WatchMetricsRequest(name=RUN))]
    assert steps == sorted(set(steps))
    assert steps[-1] == run.metrics.total_steps


async def test_kill_9_of_trainer_and_message_server_and_a_lost_lease_leave_the_weights_as_if_nothing_had_been(
    suite: Suite,
) -> None:
    await suite.fill(600)
    undisturbed = await trained(suite, LONG, "undisturbed")
    await made(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 50)
    suite.trainer_process.kill()
    for _ in range(100):
        if not children(suite.folder):
            break
        await asyncio.sleep(0.05)
    assert children(suite.folder) == ""
    suite.nats.kill()
    suite.nats.start()
    suite.trainer_process.start()
    await stepped(suite, 100)
    suite.trainer_process.pause()
    await asyncio.sleep(4)  # longer than the lease of 3 s
    suite.trainer_process.resume()
    done = await suite.ended(job)
    assert done.state == Job.STATE_SUCCEEDED, done
    assert done.attempt >= 2
    assert await weights_digest(suite, RUN) == await weights_digest(suite, undisturbed.name)
    assert children(suite.folder) == ""


async def test_a_cancelled_training_leaves_no_process_and_can_be_taken_up_again(suite: Suite) -> None:
    await suite.fill(600)
    await made(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 20)
    again = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    assert again.name == job.name
    await suite.jobs.CancelJob(CancelJobRequest(name=job.name))
    assert (await suite.ended(job)).state == Job.STATE_CANCELLED
    assert children(suite.folder) == ""
    await suite.jobs.RetryJob(RetryJobRequest(name=job.name))
    assert (await suite.ended(job)).state == Job.STATE_SUCCEEDED


async def test_deleting_the_dataset_deletes_runs_and_files_and_stops_the_training(suite: Suite) -> None:
    await suite.fill(600)
    await trained(suite, SMALL, "done")
    run = await made(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 10)
    await suite.embedder.DeleteDataset(embedder_pb2.DeleteDatasetRequest(name=DATASET))
    assert (await suite.ended(job)).state in (Job.STATE_CANCELLED, Job.STATE_FAILED)
    for _ in range(100):
        listed = await suite.trainer.ListRuns(pb2.ListRunsRequest())
        if not listed.runs and not list((suite.folder / "runs").glob("*")):
            break
        await asyncio.sleep(0.1)
    assert not listed.runs
    assert not list((suite.folder / "runs").glob("*"))
    assert children(suite.folder) == ""
    gone = await suite.trainer.ListRuns(pb2.ListRunsRequest(show_deleted=True))
    assert run.uid in {each.uid for each in gone.runs}


def test_the_training_process_imports_neither_grpc_nor_nats() -> None:
    code = "import sys, services.trainer.child; print([m for m in ('grpc', 'nats', 'sqlalchemy') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_training_process_ends_when_its_parents_pipe_does(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors-00000.npy", np.random.default_rng(0).standard_normal((500, 16), dtype=np.float32))
    np.save(tmp_path / "rows.npy", np.arange(500, dtype=np.uint64))
    config = SaeConfig(batch_size=8, epochs=1_000_000).resolved(500, 16, 1)
    spec = Spec(str(tmp_path), config.to_dict(), str(tmp_path / "attempt"), "")
    with (tmp_path / "said").open("wb") as said:  # a file: what it says can't end it, only the pipe can
        child = subprocess.Popen(
            [sys.executable, "-m", "services.trainer.child", json.dumps(asdict(spec))],
            stdin=subprocess.PIPE,
            stdout=said,
        )
    try:
        while not (tmp_path / "said").stat().st_size:
            assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == 1
    finally:
        child.kill()


def vectors(numbers: np.ndarray) -> VectorBlock:
    return wire.pack_vectors(numbers.astype(np.float32))


BAD = [
    ("GetRun", pb2.GetRunRequest(name="r"), "INVALID_ARGUMENT"),
    ("GetRun", pb2.GetRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="datasets/none")), "DATASET_NOT_FOUND"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="datasets/empty")), "DATASET_NOT_EMBEDDED"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="d")), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run_id="r", run=Run(dataset=DATASET)), "RUN_ALREADY_EXISTS"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(k=0))), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(k=2000))), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(learning_rate=-1))), "INVALID_ARGUMENT"),
    ("ListRuns", pb2.ListRunsRequest(filter="state = BUSY"), "INVALID_FILTER"),
    ("ListRuns", pb2.ListRunsRequest(page_token="???"), "INVALID_PAGE_TOKEN"),
    (
        "UpdateRun",
        pb2.UpdateRunRequest(run=Run(name=RUN), update_mask=FieldMask(paths=["config"])),
        "INVALID_ARGUMENT",
    ),
    ("Encode", pb2.EncodeRequest(run="runs/untrained", vectors=vectors(np.ones((1, 256)))), "RUN_NOT_TRAINED"),
    ("Encode", pb2.EncodeRequest(run=RUN, vectors=vectors(np.ones((1, 7)))), "INVALID_VECTOR"),
    ("Encode", pb2.EncodeRequest(run=RUN, vectors=vectors(np.full((2, 256), np.nan))), "INVALID_VECTOR"),
    ("Encode", pb2.EncodeRequest(run=RUN), "INVALID_ARGUMENT"),
    ("Encode", pb2.EncodeRequest(run=RUN, vectors=VectorBlock(dimension=256, data=b"123")), "INVALID_ARGUMENT"),
    ("TrainRun", pb2.TrainRunRequest(name=RUN), "RUN_ALREADY_TRAINED"),
    ("DeleteRun", pb2.DeleteRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
]


async def test_bad_input_gets_an_error_with_its_reason(suite: Suite) -> None:
    await suite.fill(100)
    await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="empty"))
    await trained(suite, SMALL)
    await made(suite, SMALL, "untrained")
    for method, request, expected in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(suite.trainer, method)(request)
        assert reason(caught.value) == expected, (method, request)


async def test_without_the_embedder_the_trainer_says_so_and_goes_on_with_what_it_has(suite: Suite) -> None:
    await suite.fill(100)
    await trained(suite, SMALL)
    suite.embedder_process.kill()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await made(suite, SMALL, "other")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "SERVICE_UNAVAILABLE"
    assert len(await codes_of(suite)) == 100
    renamed = resources_pb2.Run(name=RUN, display_name="first")
    assert (await suite.trainer.UpdateRun(pb2.UpdateRunRequest(run=renamed))).display_name == "first"
