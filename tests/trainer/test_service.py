"""The trainer as its clients see it: real processes that share nothing but addresses, real NATS and SQLite."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc.aio
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from safetensors.numpy import save

from prisma.common.v1.block_pb2 import CodeBlock, RowRange, VectorBlock
from prisma.common.v1.job_pb2 import CancelJobRequest, Job, RetryJobRequest
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.trainer.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma.trainer.v1.resources_pb2 import Config, Run
from prisma_common import wire
from prisma_sae import SparseAutoencoder
from services.chassis.errors import reason_of
from services.trainer.sae.config import Config as SaeConfig
from services.trainer.sae.exchange import read as read_weights
from services.trainer.sae.weights import Weights
from services.trainer.training.protocol import Task
from tests import calls
from tests.calls import assert_resource_is_named, reason
from tests.trainer.conftest import DATASET, Suite

RUN = "runs/r"
SMALL = Config(expansion=2, k=8, batch_size=64, epochs=3, siblings=0)
LONG = Config(expansion=8, k=16, batch_size=32, epochs=120, threads=1, siblings=0)


async def created(suite: Suite, config: Config, run_id: str = "r") -> Run:
    return await suite.trainer.CreateRun(pb2.CreateRunRequest(run_id=run_id, run=Run(dataset=DATASET, config=config)))


async def trained(suite: Suite, config: Config, run_id: str = "r") -> Run:
    run = await created(suite, config, run_id)
    job = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=run.name)))
    assert job.state == Job.STATE_SUCCEEDED, job
    return await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))


async def weights_digest(suite: Suite, run: str) -> str:
    digest = hashlib.sha256()
    async for part in suite.trainer.ExportWeights(pb2.ExportWeightsRequest(run=run)):
        digest.update(part.data)
    return digest.hexdigest()


async def codes_of(suite: Suite, run: str = RUN, **request: Any) -> wire.Codes:
    parts = [
        wire.unpack_codes(block.codes)
        async for block in suite.trainer.ReadCodes(pb2.ReadCodesRequest(run=run, **request))
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


async def until(suite: Suite, condition: Callable[[Run], bool]) -> Run:
    """The run once the condition is true."""
    run = Run()
    for _ in range(600):
        run = await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))
        if condition(run):
            return run
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came true: {run}")


def children(folder: Path) -> str:
    return subprocess.run(
        ["pgrep", "-f", f"services.trainer.training.*{folder}"], capture_output=True, text=True, check=False
    ).stdout


async def assert_decoding_undoes_encoding(suite: Suite, vectors: np.ndarray) -> None:
    """What a code leaves unexplained is the distance to its reconstruction, which is linear in the activations."""
    encoded = await suite.trainer.Encode(pb2.EncodeRequest(run=RUN, vectors=wire.pack_vectors(vectors)))
    codes = wire.unpack_codes(encoded.codes)
    empty = replace(codes, indptr=np.zeros_like(codes.indptr), indices=codes.indices[:0], values=codes.values[:0])
    whole, half, nothing = [
        wire.unpack_vectors(
            (await suite.trainer.Decode(pb2.DecodeRequest(run=RUN, codes=wire.pack_codes(some)))).vectors
        )[1]
        for some in (codes, replace(codes, values=codes.values / 2), empty)
    ]
    np.testing.assert_allclose(half, (whole + nothing) / 2, atol=1e-5)
    run = await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))
    call = suite.embedder.ReadVectors(embedder_pb2.ReadVectorsRequest(dataset=run.dataset))
    training = np.concatenate([wire.unpack_vectors(block.vectors)[1] async for block in call])
    total = np.square(vectors - training.mean(axis=0)).sum(axis=1)
    np.testing.assert_allclose(
        np.square(vectors - whole).sum(axis=1) / total, list(encoded.unexplained_fractions), rtol=0.05
    )


async def test_a_run_is_trained_and_its_codes_have_the_same_bits_everywhere(suite: Suite) -> None:
    await suite.fill(1000)
    run = await trained(suite, SMALL)
    assert (run.state, run.row_count, run.code_count) == (Run.STATE_TRAINED, 1000, 1000)
    assert (run.pending_count, run.uncoded_count) == (0, 0)
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
            encoded, stored = wire.unpack_codes(answer.codes), codes.slice(start, min(start + size, 1000))
            assert encoded.values.tobytes() == stored.values.tobytes()
            assert encoded.indices.tobytes() == stored.indices.tobytes()
            assert len(answer.unexplained_fractions) == len(encoded)
    await assert_decoding_undoes_encoding(suite, vectors[:20])
    assert run.dead_count == len(set(range(512)) - set(codes.indices.tolist()))
    some = await codes_of(suite, row_ranges=[RowRange(start=10, end=20)], start_row=15)
    np.testing.assert_array_equal(some.rows, np.arange(15, 20))
    assert len(await codes_of(suite, since_revision=run.revision, history=run.history)) == 0
    held_out = await codes_of(suite, held_out=True)
    assert len(held_out) == 100
    assert held_out.values.tobytes() == codes.take(held_out.rows.astype(np.int64)).values.tobytes()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await codes_of(suite, since_revision=run.revision, history="of another data folder")
    assert reason(caught.value) == "HISTORY_CHANGED"
    await assert_the_decoder_is_in_the_space_of_the_vectors(suite)
    steps = [metrics.step async for metrics in suite.trainer.WatchMetrics(pb2.WatchMetricsRequest(name=RUN))]
    assert steps == sorted(set(steps))
    assert steps[-1] == run.metrics.total_steps


async def assert_the_decoder_is_in_the_space_of_the_vectors(suite: Suite) -> None:
    """Directions are what decoding adds; divided by the squares of the scales, they are what encoding measures."""
    blocks = [block async for block in suite.trainer.ReadDecoder(pb2.ReadDecoderRequest(run=RUN))]
    directions = np.concatenate([wire.unpack_vectors(block.directions)[1] for block in blocks])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    [file] = suite.folder.glob("runs/*/*/weights.safetensors")
    weights = Weights.load(file)
    assert weights.scale.std() > 0.01 * weights.scale.mean()
    added = weights.W_dec * weights.scale
    np.testing.assert_allclose(directions, added / np.linalg.norm(added, axis=1, keepdims=True), atol=1e-6)
    assert all(list(block.scales) == weights.scale.tolist() for block in blocks)
    assert {block.weights_digest for block in blocks} == {weights.digest}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (
            Config(latent_count=128, k=4, batch_size=64, epochs=3, seed=7, siblings=0),
            {"n_latents": 128, "k": 4, "batch_size": 64, "epochs": 3, "random_state": 7},
        ),
        (
            Config(
                architecture="ARCHITECTURE_BATCH_TOP_K",
                latent_count=64,
                k=4,
                batch_size=64,
                epochs=6,
                patience=1,
                normalization="NORMALIZATION_SCALE",
                siblings=0,
            ),
            {
                "architecture": "batch_top_k",
                "n_latents": 64,
                "k": 4,
                "batch_size": 64,
                "epochs": 6,
                "patience": 1,
                "normalization": "scale",
            },
        ),
        (Config(auto=True, siblings=2), {}),
    ],
    ids=["top-k", "batch-top-k", "auto"],
)
async def test_a_training_without_a_server_has_the_same_bits(
    suite: Suite, config: Config, parameters: dict[str, Any], tmp_path: Path
) -> None:
    await suite.fill(600)
    run = await trained(suite, config)
    call = suite.embedder.ReadVectors(embedder_pb2.ReadVectorsRequest(dataset=DATASET))
    vectors = np.concatenate([wire.unpack_vectors(block.vectors)[1] async for block in call])
    local = SparseAutoencoder(**parameters)
    codes, of_service = local.fit_transform(vectors), await codes_of(suite)
    assert_same_bits(codes, of_service)
    assert local.fvu_ == run.metrics.held_out_fvu
    assert len(local.dead_latents_) == run.dead_count
    file = tmp_path / "weights.safetensors"
    data = await exported(suite, pb2.ExportWeightsRequest.LAYOUT_PRISMA)
    file.write_bytes(data)
    loaded = SparseAutoencoder.load(file)
    assert loaded.components_.tobytes() == local.components_.tobytes()
    assert_same_bits(loaded.transform(vectors), of_service)
    assert {**loaded.config_, "siblings": 0} == local.config_
    local.save(file)
    assert (await imported(suite, file.read_bytes())).imported_from == "prisma"
    assert read_weights(file.read_bytes())[0].to_bytes({}) == read_weights(data)[0].to_bytes({})


def assert_same_bits(codes: Any, of_service: wire.Codes) -> None:
    """Codes of the estimator, and those that the service stores."""
    assert codes.shape == (len(of_service), of_service.latent_count)
    assert codes.data.tobytes() == of_service.values.tobytes()
    np.testing.assert_array_equal(codes.indices, of_service.indices)
    np.testing.assert_array_equal(codes.indptr, of_service.indptr)


async def test_kill_9_of_trainer_and_message_server_and_a_lost_lease_leave_the_weights_as_if_nothing_had_been(
    suite: Suite,
) -> None:
    await suite.fill(600)
    undisturbed = await trained(suite, LONG, "undisturbed")
    await created(suite, LONG)
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
    await created(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 20)
    again = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    assert again.name == job.name
    with pytest.raises(grpc.aio.AioRpcError, match=f"is in training .{job.name}"):
        await suite.trainer.EvaluateRun(pb2.EvaluateRunRequest(name=RUN))
    await suite.jobs.CancelJob(CancelJobRequest(name=job.name))
    assert (await suite.ended(job)).state == Job.STATE_CANCELLED
    assert children(suite.folder) == ""
    with pytest.raises(grpc.aio.AioRpcError, match="train it first"):
        await suite.trainer.EvaluateRun(pb2.EvaluateRunRequest(name=RUN))
    await suite.jobs.RetryJob(RetryJobRequest(name=job.name))
    assert (await suite.ended(job)).state == Job.STATE_SUCCEEDED


async def test_deleting_the_dataset_deletes_runs_and_files_and_stops_the_training(suite: Suite) -> None:
    await suite.fill(600)
    await trained(suite, SMALL, "done")
    run = await created(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 10)
    await suite.embedder.DeleteDataset(embedder_pb2.DeleteDatasetRequest(name=DATASET))
    assert (await suite.ended(job)).state in (Job.STATE_CANCELLED, Job.STATE_FAILED)
    listed = pb2.ListRunsResponse()
    for _ in range(100):
        listed = await suite.trainer.ListRuns(pb2.ListRunsRequest())
        if not listed.runs and not list((suite.folder / "runs").glob("*")):
            break
        await asyncio.sleep(0.1)
    assert not listed.runs
    assert not list((suite.folder / "runs").glob("*"))
    assert children(suite.folder) == ""
    all_runs = await suite.trainer.ListRuns(pb2.ListRunsRequest(show_deleted=True))
    assert run.uid in {other.uid for other in all_runs.runs}


def test_the_training_process_imports_neither_grpc_nor_nats() -> None:
    code = (
        "import sys, services.trainer.training; print([m for m in ('grpc', 'nats', 'sqlalchemy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_the_training_process_ends_when_its_parents_pipe_does(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors-00000.npy", np.random.default_rng(0).standard_normal((500, 16), dtype=np.float32))
    np.save(tmp_path / "rows.npy", np.arange(500, dtype=np.uint64))
    config = SaeConfig.resolve(500, 16, 1, batch_size=8, epochs=1_000_000)
    task = Task(vectors=tmp_path, config=config, folder=tmp_path / "attempt")
    with (tmp_path / "output").open("wb") as output:  # a file: only the pipe can end the process
        child = subprocess.Popen(
            [sys.executable, "-m", "services.trainer.training", task.to_json()],
            stdin=subprocess.PIPE,
            stdout=output,
        )
    try:
        while not (tmp_path / "output").stat().st_size:
            assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == 1
    finally:
        child.kill()


def vectors(numbers: np.ndarray) -> VectorBlock:
    return wire.pack_vectors(numbers.astype(np.float32))


async def test_a_paused_training_goes_on_where_it_was_and_ends_as_if_it_had_not_been(suite: Suite) -> None:
    await suite.fill(600)
    undisturbed = await trained(suite, LONG, "undisturbed")
    await created(suite, LONG)
    job = await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN))
    await stepped(suite, 40)
    await suite.trainer.PauseRun(pb2.PauseRunRequest(name=RUN))
    assert (await suite.ended(job)).state == Job.STATE_CANCELLED
    assert children(suite.folder) == ""
    paused_at = (await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))).metrics.step
    done = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN)))
    assert done.state == Job.STATE_SUCCEEDED
    resumed = next(int(line.text.split()[-1]) for line in done.log if "resumed" in line.text)
    assert resumed >= paused_at  # nothing is trained twice: it wrote a checkpoint when it was told to stop
    assert await weights_digest(suite, RUN) == await weights_digest(suite, undisturbed.name)
    await suite.trainer.PauseRun(pb2.PauseRunRequest(name=RUN))  # without a training it changes nothing


async def test_a_clone_has_the_rows_and_the_recipe_but_for_what_is_changed(suite: Suite) -> None:
    await suite.fill(300)
    described = Run(dataset=DATASET, config=SMALL, tags=["a", "b"], description="why")
    await suite.trainer.CreateRun(pb2.CreateRunRequest(run_id="r", run=described))
    job = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    first = await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))
    clone = await suite.trainer.CloneRun(pb2.CloneRunRequest(name=RUN, run_id="c", config=Config(k=4)))
    assert (clone.row_count, clone.row_ranges) == (first.row_count, first.row_ranges)
    assert (list(clone.tags), clone.description) == (["a", "b"], "why")
    changed = {
        field.name
        for field, value in clone.config.ListFields()
        if getattr(first.config, field.name) != value and field.name != "learning_rate"
    }
    assert changed == {"k", "k_aux"}
    mask = FieldMask(paths=["tags"])
    tagged = await suite.trainer.UpdateRun(
        pb2.UpdateRunRequest(run=Run(name=clone.name, tags=["kept"]), update_mask=mask)
    )
    assert list(tagged.tags) == ["kept"]


async def test_a_sweep_trains_and_evaluates_a_run_for_each_combination(suite: Suite) -> None:
    await suite.fill(400)
    request = pb2.SweepRunsRequest(dataset=DATASET, config=SMALL, ks=[4, 8], seeds=[0, 1])
    job = await suite.ended(await suite.trainer.SweepRuns(request))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert (job.progress.done, job.progress.total, job.progress.unit) == (4, 4, "runs")
    assert job.progress.rate >= 0
    runs = (await suite.trainer.ListRuns(pb2.ListRunsRequest())).runs
    assert {(run.config.k, run.config.seed) for run in runs} == {(4, 0), (4, 1), (8, 0), (8, 1)}
    assert {tuple(run.tags) for run in runs} == {(f"sweep/{job.name.removeprefix('jobs/')}",)}
    assert {run.display_name for run in runs} == {f"k {k} · seed {seed}" for k in (4, 8) for seed in (0, 1)}
    fvu = {(run.config.k, run.config.seed): run.evaluation.fvu for run in runs}
    assert fvu[8, 0] < fvu[4, 0]
    second = next(run for run in runs if run.config.k == 8 and run.config.seed == 1)
    assert second.evaluation.row_count == 40
    assert second.evaluation.fvu == pytest.approx(second.metrics.held_out_fvu, rel=1e-3)
    assert 0.2 < second.evaluation.stability < 1
    assert sum(second.evaluation.density_histogram) == second.latent_count == 512
    silent = set(range(512)) - set((await codes_of(suite, run=second.name)).indices.tolist())
    assert second.evaluation.dead_share == pytest.approx(len(silent) / 512)  # of all rows, not the 40 held out
    seeds = sorted((run for run in runs if run.config.k == 8), key=lambda run: run.config.seed)
    comparison = await suite.trainer.CompareRuns(pb2.CompareRunsRequest(first=seeds[0].name, second=seeds[1].name))
    assert 0.2 < comparison.mean_max_cosine < 1
    matched = {match.first for match in comparison.matches}
    assert all(match.cosine >= 0.7 for match in comparison.matches)
    assert not matched & set(comparison.lost)
    same = await suite.trainer.CompareRuns(pb2.CompareRunsRequest(first=seeds[0].name, second=seeds[0].name))
    assert [(match.first, match.second) for match in same.matches] == [(i, i) for i in range(512)]


async def exported(suite: Suite, layout: pb2.ExportWeightsRequest.Layout) -> bytes:
    request = pb2.ExportWeightsRequest(run=RUN, layout=layout)
    return b"".join([part.data async for part in suite.trainer.ExportWeights(request)])


async def imported(suite: Suite, data: bytes) -> Run:
    """The run `back` with the weights of a file."""

    async def messages() -> AsyncIterator[pb2.ImportWeightsRequest]:
        yield pb2.ImportWeightsRequest(config={"dataset": DATASET, "run_id": "back"})
        for start in range(0, len(data), 1 << 20):
            yield pb2.ImportWeightsRequest(chunk=data[start : start + (1 << 20)])

    return await suite.trainer.ImportWeights(messages())


@pytest.mark.parametrize("layout", ["LAYOUT_PRISMA", "LAYOUT_SAE_LENS"])
async def test_weights_that_went_out_come_in_as_a_run_with_the_same_codes(suite: Suite, layout: str) -> None:
    await suite.fill(300)
    original = await trained(suite, SMALL)
    data = await exported(suite, getattr(pb2.ExportWeightsRequest, layout))
    if layout == "LAYOUT_SAE_LENS":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            card = archive.read("r/README.md").decode()
        assert original.fingerprint in card
        assert f"{original.metrics.held_out_fvu:.4g}" in card
    run = await imported(suite, data)
    assert run.imported_from == ("prisma" if layout == "LAYOUT_PRISMA" else "sae-lens")
    assert (run.latent_count, run.config.k) == (512, 8)
    job = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=run.name)))
    assert job.state == Job.STATE_SUCCEEDED, job
    first, second = await codes_of(suite), await codes_of(suite, run="runs/back")
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_allclose(first.values, second.values, rtol=1e-4, atol=1e-5)
    job = await suite.ended(await suite.trainer.EvaluateRun(pb2.EvaluateRunRequest(name=run.name)))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert (await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))).evaluation.row_count == 300


async def test_a_run_encodes_another_dataset_of_its_model(suite: Suite) -> None:
    await suite.fill(300)
    await trained(suite, SMALL)
    await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="other"))
    request = pb2.EncodeDatasetRequest(name=RUN, dataset="datasets/other", run_id="encoded", request_id="once")
    with pytest.raises(grpc.aio.AioRpcError) as empty:
        await suite.trainer.EncodeDataset(request)
    assert reason(empty.value) == "DATASET_NOT_EMBEDDED"
    shared = calls.texts(300)[100:200]
    await calls.add(suite.embedder, [*shared, {"id": "new", "text": "a text that no run has seen"}], "other")
    await suite.ended(await suite.embedder.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name="datasets/other")))

    job = await suite.ended(await suite.trainer.EncodeDataset(request))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert list(job.resources) == ["runs/encoded", "datasets/other"]
    assert (await suite.trainer.EncodeDataset(request)).name == job.name
    run = await suite.trainer.GetRun(pb2.GetRunRequest(name="runs/encoded"))
    assert (run.imported_from, run.dataset, run.code_count) == (RUN, "datasets/other", 101)
    codes, original = await codes_of(suite, run.name), await codes_of(suite)
    np.testing.assert_array_equal(codes.take(np.arange(100)).indices, original.take(np.arange(100, 200)).indices)
    np.testing.assert_array_equal(codes.take(np.arange(100)).values, original.take(np.arange(100, 200)).values)

    # After the copy was deleted, the same request makes another one, with codes.
    await suite.trainer.DeleteRun(pb2.DeleteRunRequest(name=run.name))
    second = await suite.ended(await suite.trainer.EncodeDataset(request))
    assert (second.state, second.name == job.name) == (Job.STATE_SUCCEEDED, False)
    run = await suite.trainer.GetRun(pb2.GetRunRequest(name="runs/encoded"))
    assert run.code_count == 101

    # Without a dataset, the run's own: nothing is new.
    job = await suite.ended(await suite.trainer.EncodeDataset(pb2.EncodeDatasetRequest(name=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert (await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))).code_count == 300


async def test_a_run_is_pushed_to_the_operators_store_as_it_is_exported(suite: Suite) -> None:
    await suite.fill(300)
    await trained(suite, SMALL)
    job = await suite.ended(await suite.trainer.PushRun(pb2.PushRunRequest(name=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert job.log[-1].text == f"{RUN} is at {suite.pushed.as_uri()}/r/"
    data = await exported(suite, pb2.ExportWeightsRequest.LAYOUT_SAE_LENS)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            file.relative_to(suite.pushed).as_posix(): file.read_bytes() for file in suite.pushed.glob("r/*")
        }
    shutil.rmtree(suite.pushed)
    suite.pushed.touch()
    job = await suite.ended(await suite.trainer.PushRun(pb2.PushRunRequest(name=RUN)))
    assert (job.state, reason_of(job.error)) == (Job.STATE_FAILED, "PUSH_FAILED")


async def test_rows_and_automatic_settings_are_those_of_the_moment_when_the_training_starts(suite: Suite) -> None:
    await suite.fill(300)
    run = await created(suite, Config(auto=True, k=12, architecture=Config.ARCHITECTURE_BATCH_TOP_K, siblings=0))
    assert (run.row_count, run.latent_count, run.config.auto) == (0, 0, True)
    assert (run.config.k, run.config.HasField("expansion")) == (12, False)
    await suite.fill(1200)
    job = await suite.ended(await suite.trainer.TrainRun(pb2.TrainRunRequest(name=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert any("1,200 documents" in line.text for line in job.log)
    run = await suite.trainer.GetRun(pb2.GetRunRequest(name=RUN))
    assert (run.row_count, run.code_count, run.config.auto) == (1200, 1200, False)
    assert (run.config.k, run.config.architecture) == (12, Config.ARCHITECTURE_BATCH_TOP_K)
    assert run.latent_count == run.config.latent_count
    assert run.display_name == f"n{run.latent_count}-k12"
    assert run.config.epochs == 60
    sizing = run.sizing
    assert sizing.goal == Config.GOAL_INTERPRETABLE
    assert run.latent_count in [pilot.latent_count for pilot in sizing.pilots]
    assert all(pilot.k == 12 and 0 < pilot.held_out_fvu < 1.5 for pilot in sizing.pilots)
    assert f"{run.latent_count:,} latents" in sizing.reason
    assert sizing.reason in [line.text for line in job.log]
    assert run.config.learning_rate > 0


async def test_documents_that_are_not_embedded_yet_are_not_left_out_unnoticed(suite: Suite) -> None:
    await suite.fill(100)
    run = await created(suite, SMALL)
    await suite.add(40)
    calls: list[Awaitable[Any]] = [
        suite.trainer.CreateRun(pb2.CreateRunRequest(run=Run(dataset=DATASET))),
        suite.trainer.TrainRun(pb2.TrainRunRequest(name=run.name)),
        suite.trainer.SweepRuns(pb2.SweepRunsRequest(dataset=DATASET, ks=[4])),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError, match="40 of 140 documents") as caught:
            await call
        assert reason(caught.value) == "DOCUMENTS_PENDING"
    request = pb2.TrainRunRequest(name=run.name, allow_pending_documents=True)
    job = await suite.ended(await suite.trainer.TrainRun(request))
    assert job.state == Job.STATE_SUCCEEDED, job
    assert any("100 of 140 documents" in line.text for line in job.log)
    run = await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))
    assert (run.row_count, run.pending_count) == (100, 40)
    assert any("the others were not embedded yet" in warning for warning in run.warnings)
    assert any("Too little data" in warning for warning in run.warnings)


async def test_a_run_on_few_documents_says_that_they_are_too_few(suite: Suite) -> None:
    await suite.fill(40)
    run = await trained(suite, Config())
    assert any("Too little data: 40 documents" in warning for warning in run.warnings)


async def test_codes_follow_the_documents(suite: Suite) -> None:
    await suite.fill(200)
    trained_run = await trained(suite, SMALL)
    before = await codes_of(suite)
    await suite.fill(230)
    run = await until(suite, lambda run: run.code_count == 230)
    assert run.revision > trained_run.revision
    assert run.row_count == 200
    after = await codes_of(suite)
    np.testing.assert_array_equal(after.rows, np.arange(230))
    assert after.slice(0, 200).values.tobytes() == before.values.tobytes()
    new = await codes_of(suite, since_revision=trained_run.revision, history=trained_run.history)
    np.testing.assert_array_equal(new.rows, np.arange(200, 230))
    # What came after the training, it has not seen; nor what it held out.
    unseen = (await codes_of(suite, held_out=True)).rows
    assert len(unseen) == 20 + 30
    assert set(range(200, 230)) < set(unseen.tolist())
    listed = await suite.embedder.ListDocuments(embedder_pb2.ListDocumentsRequest(parent=DATASET, page_size=1000))
    doomed = next(document for document in listed.documents if document.row == 7)
    await suite.embedder.DeleteDocument(embedder_pb2.DeleteDocumentRequest(name=doomed.name))
    later = await until(suite, lambda run: run.code_count == 229)
    assert 7 not in (await codes_of(suite)).rows
    deleted = [
        row
        async for block in suite.trainer.ReadCodes(
            pb2.ReadCodesRequest(run=RUN, since_revision=run.revision, history=run.history)
        )
        for row in block.deleted_rows
    ]
    assert deleted == [7]
    assert later.dead_count == len(set(range(512)) - set((await codes_of(suite)).indices.tolist()))


async def test_a_repeated_request_returns_the_same_run_and_another_one_is_refused(suite: Suite) -> None:
    await suite.fill(60)
    request = pb2.CreateRunRequest(run=Run(dataset=DATASET, config=SMALL), request_id="one")
    first = await suite.trainer.CreateRun(request)
    await suite.add(5)  # that documents are pending now does not matter any more
    assert (await suite.trainer.CreateRun(request)).uid == first.uid
    changed = pb2.CreateRunRequest(run_id="other", run=Run(dataset=DATASET, config=SMALL), request_id="one")
    clone = pb2.CloneRunRequest(name=first.name, request_id="one")
    for call in (suite.trainer.CreateRun(changed), suite.trainer.CloneRun(clone)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert reason(caught.value) == "REQUEST_ID_REUSED"
    assert len((await suite.trainer.ListRuns(pb2.ListRunsRequest())).runs) == 1


async def test_damaged_weights_and_codes_are_reported_and_never_sent(suite: Suite) -> None:
    await suite.fill(60)
    await trained(suite, SMALL)
    [weights] = suite.folder.glob("runs/*/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    [codes] = suite.folder.glob("runs/*/*/codes-*.npz")
    data = bytearray(codes.read_bytes())
    data[len(data) // 2] ^= 1
    codes.write_bytes(data)
    calls = [
        suite.trainer.ExportWeights(pb2.ExportWeightsRequest(run=RUN)),
        suite.trainer.ReadCodes(pb2.ReadCodesRequest(run=RUN)),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            assert [part async for part in call] == []
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.DATA_LOSS, "BLOB_DAMAGED")


async def test_a_file_that_is_no_autoencoder_or_not_of_the_datasets_dimension_makes_no_run(suite: Suite) -> None:
    await suite.fill(50)
    other = {"W_enc": (8, 4), "b_enc": (8,), "W_dec": (8, 4), "b_dec": (4,), "mean": (4,), "scale": (4,)}
    tensors = {name: np.ones(shape, np.float32) for name, shape in other.items()}
    files = {b"no weights": "safetensors", save(tensors, metadata={"prisma": '{"k": 2}'}): "4 numbers"}
    for data, message in files.items():

        async def messages(chunk: bytes = data) -> AsyncIterator[pb2.ImportWeightsRequest]:
            yield pb2.ImportWeightsRequest(config={"dataset": DATASET})
            yield pb2.ImportWeightsRequest(chunk=chunk)

        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await suite.trainer.ImportWeights(messages())
        assert reason(caught.value) == "INVALID_WEIGHTS"
    assert not (await suite.trainer.ListRuns(pb2.ListRunsRequest())).runs


BAD = [
    ("GetRun", pb2.GetRunRequest(name="r"), "INVALID_ARGUMENT"),
    ("CloneRun", pb2.CloneRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
    ("CloneRun", pb2.CloneRunRequest(name=RUN, config=Config(epochs=0)), "INVALID_ARGUMENT"),
    ("PauseRun", pb2.PauseRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
    ("EvaluateRun", pb2.EvaluateRunRequest(name="runs/untrained"), "RUN_NOT_TRAINED"),
    ("CompareRuns", pb2.CompareRunsRequest(first=RUN, second="runs/untrained"), "RUN_NOT_TRAINED"),
    ("CompareRuns", pb2.CompareRunsRequest(first=RUN, second=RUN, min_cosine=2), "INVALID_ARGUMENT"),
    ("SweepRuns", pb2.SweepRunsRequest(dataset="datasets/none"), "DATASET_NOT_FOUND"),
    ("SweepRuns", pb2.SweepRunsRequest(dataset=DATASET, ks=[0]), "INVALID_ARGUMENT"),
    ("SweepRuns", pb2.SweepRunsRequest(dataset=DATASET, seeds=range(101)), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, tags=["x" * 65])), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, display_name="a\0b")), "INVALID_ARGUMENT"),
    (
        "CreateRun",
        pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(architecture=cast("Any", 9)))),
        "INVALID_ARGUMENT",
    ),
    ("GetRun", pb2.GetRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="datasets/none")), "DATASET_NOT_FOUND"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="datasets/empty")), "DATASET_NOT_EMBEDDED"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset="d")), "INVALID_ARGUMENT"),
    ("CreateRun", pb2.CreateRunRequest(run_id="r", run=Run(dataset=DATASET)), "RUN_ALREADY_EXISTS"),
    ("CreateRun", pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(k=0))), "INVALID_ARGUMENT"),
    (
        "CreateRun",
        pb2.CreateRunRequest(run=Run(dataset=DATASET, config=Config(k=2000, expansion=4))),
        "INVALID_ARGUMENT",
    ),
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
    ("Decode", pb2.DecodeRequest(run="runs/untrained", codes=CodeBlock(latent_count=512)), "RUN_NOT_TRAINED"),
    ("Decode", pb2.DecodeRequest(run=RUN, codes=CodeBlock(latent_count=7)), "INVALID_ARGUMENT"),
    ("Decode", pb2.DecodeRequest(run=RUN, codes=CodeBlock(latent_count=512, values=b"1")), "INVALID_ARGUMENT"),
    ("ReadCodes", pb2.ReadCodesRequest(run=RUN, since_revision=1), "INVALID_ARGUMENT"),
    ("TrainRun", pb2.TrainRunRequest(name=RUN), "RUN_ALREADY_TRAINED"),
    ("DeleteRun", pb2.DeleteRunRequest(name="runs/none"), "RUN_NOT_FOUND"),
]


async def test_bad_input_gets_an_error_with_its_reason(suite: Suite) -> None:
    await suite.fill(100)
    await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="empty"))
    await trained(suite, SMALL)
    await created(suite, SMALL, "untrained")
    for method, request, expected in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            call = getattr(suite.trainer, method)(request)
            await (call.read() if method.startswith("Read") else call)
        assert reason(caught.value) == expected, (method, request)
        assert_resource_is_named(caught.value)
    with pytest.raises(grpc.aio.AioRpcError, match="import documents"):
        await suite.trainer.CreateRun(pb2.CreateRunRequest(run=Run(dataset="datasets/empty")))


async def test_without_the_embedder_the_trainer_says_so_and_goes_on_with_what_it_has(suite: Suite) -> None:
    await suite.fill(100)
    await trained(suite, SMALL)
    suite.embedder_process.kill()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await created(suite, SMALL, "other")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "SERVICE_UNAVAILABLE"
    assert len(await codes_of(suite)) == 100
    renamed = resources_pb2.Run(name=RUN, display_name="first")
    assert (await suite.trainer.UpdateRun(pb2.UpdateRunRequest(run=renamed))).display_name == "first"
