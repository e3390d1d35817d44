"""Training processes: what they report, and that none is left behind. Several, which need torch: tests/gpu."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.chassis.errors import StorageFull
from services.trainer.errors import TrainingDiverged, TrainingFailed
from services.trainer.group import Group
from services.trainer.sae import checkpoint, stability
from services.trainer.sae.codes import CodeShard, load_codes
from services.trainer.sae.config import Config
from services.trainer.sae.stability import Stability
from services.trainer.sae.weights import Weights
from services.trainer.training import launch, protocol
from services.trainer.training.protocol import (
    CheckpointWritten,
    Failed,
    Finished,
    Message,
    PatienceExhausted,
    Quality,
    Resumed,
    RowsEncoded,
    SiblingTrained,
    StepMeasured,
    StepMetrics,
    Task,
)
from tests.trainer.examples import clusters

METRICS = StepMetrics(
    step=3,
    total_steps=9,
    epoch=0.5,
    loss=1.5,
    fvu=0.5,
    held_out_fvu=None,
    l0=4.0,
    silent_count=2,
    silent_share=0.5,
    gradient_norm=1.0,
    learning_rate=0.01,
    samples_per_second=10.0,
    elapsed_seconds=1.0,
    peak_memory_bytes=1 << 20,
    time=1.0,
)
QUALITY = Quality(
    train_fvu=0.2,
    held_out_fvu=None,
    sibling_count=2,
    live_count=60,
    reproduced_count=40,
    closely_reproduced_count=20,
)
MESSAGES: Sequence[Message] = [
    Resumed(4),
    StepMeasured(METRICS),
    SiblingTrained(sibling=1, step=3, total_steps=9),
    CheckpointWritten(5),
    PatienceExhausted(7),
    RowsEncoded(done=1, total=2),
    Finished([CodeShard(name="codes-00000.npz", first_row=3, last_row=9, row_count=4)], dead_count=3, quality=QUALITY),
    Failed(cause="diverged", message="the loss is nan"),
]


def task_for(folder: Path, vectors: np.ndarray, attempt: str, resume: Path | None = None, **config: object) -> Task:
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        np.save(data / "vectors-00000.npy", vectors)
        np.save(data / "rows.npy", np.arange(len(vectors), dtype=np.uint64))
    settings = {"expansion": 4, "k": 4, "batch_size": 64, **config}
    resolved = Config.resolve(len(vectors), vectors.shape[1], 2, **settings)
    (folder / attempt).mkdir()
    return Task(vectors=data, config=resolved, folder=folder / attempt, checkpoints=[resume], checkpoint_seconds=0.2)


async def reports(task: Task, processes: int = 1) -> list[Message]:
    async with aclosing(launch.train(task, Group(processes))) as messages:
        return [message async for message in messages]


async def train(task: Task, processes: int) -> tuple[list[StepMetrics], Weights]:
    messages = await reports(task, processes)
    metrics = [message.metrics for message in messages if isinstance(message, StepMeasured)]
    return metrics, Weights.load(task.folder / "weights.safetensors")


def processes_of(pattern: str) -> list[int]:
    listing = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(line) for line in listing.stdout.split()]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    line = protocol.encode(message)
    assert line.count("\n") == 1
    assert protocol.decode(line.encode()) == message


def test_a_task_is_read_as_it_was_written(tmp_path: Path) -> None:
    task = Task(
        vectors=tmp_path,
        config=Config.resolve(100, 4, 1, k=3, seed=7),
        folder=tmp_path / "a",
        checkpoints=[tmp_path / "c", None],
    )
    assert Task.from_json(task.to_json()) == task


def test_a_line_that_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a message"):
        protocol.decode('{"type": "Unheard"}')


def test_reading_the_settings_loads_neither_numba_nor_scipy_nor_torch() -> None:
    code = (
        "import sys, services.trainer.settings\n"
        "print([name for name in ('numba', 'scipy', 'torch', 'numpy') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


async def test_a_training_reports_metrics_checkpoints_and_the_encoding_of_all_rows(tmp_path: Path) -> None:
    messages = await reports(task_for(tmp_path, clusters(1000, 16), "one", epochs=2))
    kinds = {type(message) for message in messages}
    assert {StepMeasured, SiblingTrained, CheckpointWritten, RowsEncoded, Finished} <= kinds
    encoded = [message for message in messages if isinstance(message, RowsEncoded)]
    assert (encoded[-1].done, encoded[-1].total) == (1000, 1000)
    finished = messages[-1]
    assert isinstance(finished, Finished)
    assert finished.shards == [CodeShard(name="codes-00000.npz", first_row=0, last_row=999, row_count=1000)]
    np.testing.assert_array_equal(load_codes(tmp_path / "one/codes-00000.npz").rows, np.arange(1000))


async def test_siblings_tell_how_well_latents_are_found_again_also_after_a_restart(tmp_path: Path) -> None:
    task = task_for(tmp_path, clusters(2000, 16), "one", epochs=20, siblings=2)
    finished = (await reports(task))[-1]
    assert isinstance(finished, Finished) and finished.quality is not None
    quality = finished.quality
    assert quality.sibling_count == 2
    assert 0 < quality.closely_reproduced_count <= quality.reproduced_count <= quality.live_count <= 64
    assert quality.train_fvu is not None and quality.held_out_fvu is not None
    assert quality.train_fvu < quality.held_out_fvu < 1
    measured = Stability.load(tmp_path / "one" / stability.NAME)
    assert measured.cosine.shape == measured.agreement.shape == (2, 64)
    assert (measured.cosine <= 1 + 1e-6).all() and (measured.agreement <= 1 + 1e-6).all()

    # A process that finds the run and its first sibling trained only trains the second: with the same result.
    (tmp_path / "two").mkdir()
    checkpoints = [tmp_path / "one" / checkpoint.name(0), tmp_path / "one" / checkpoint.name(1), None]
    messages = await reports(replace(task, folder=tmp_path / "two", checkpoints=checkpoints))
    assert {message.sibling for message in messages if isinstance(message, SiblingTrained)} == {2}
    assert messages[-1] == finished
    again = Stability.load(tmp_path / "two" / stability.NAME)
    assert again.cosine.tobytes() == measured.cosine.tobytes()


async def test_a_run_without_siblings_says_nothing_about_stability(tmp_path: Path) -> None:
    finished = (await reports(task_for(tmp_path, clusters(1000, 16), "one", epochs=2, siblings=0)))[-1]
    assert isinstance(finished, Finished) and finished.quality is not None
    assert (finished.quality.sibling_count, finished.quality.reproduced_count) == (0, 0)
    assert not (tmp_path / "one" / stability.NAME).exists()


async def test_codes_of_imported_weights_are_written_with_progress(tmp_path: Path) -> None:
    first = task_for(tmp_path, clusters(1000, 16), "one", epochs=2)
    await reports(first)
    (tmp_path / "two").mkdir()
    imported = replace(first, folder=tmp_path / "two", imported_weights=tmp_path / "one/weights.safetensors")
    messages = await reports(imported)
    assert [type(message) for message in messages] == [RowsEncoded, Finished]
    one, two = (load_codes(tmp_path / name / "codes-00000.npz") for name in ("one", "two"))
    assert one.values.tobytes() == two.values.tobytes()


async def test_a_training_that_diverges_says_so_instead_of_printing_a_traceback(tmp_path: Path) -> None:
    task = task_for(tmp_path, clusters(1000, 16) * np.float32(1e18), "one", normalization="none", epochs=2)
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        await reports(task)


@pytest.fixture
def storage_limit() -> Iterator[None]:
    """Files of this process and of those it starts can't grow beyond 100 kB: the same error path as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_ends_a_training_with_storage_full(tmp_path: Path, storage_limit: None) -> None:
    task = task_for(tmp_path, clusters(1000, 16), "one", epochs=1, expansion=64)
    with pytest.raises(StorageFull):
        await reports(task)


@pytest.mark.parametrize(("own", "used"), [(None, "10000"), ("7", "7")])
def test_threads_wait_awake_for_a_moment_unless_the_operator_says_how_long(
    own: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if own is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", own)
    assert launch.environment()["GOMP_SPINCOUNT"] == used


async def test_cancelling_while_a_process_ends_still_waits_for_its_end(tmp_path: Path) -> None:
    leaving = asyncio.Event()

    async def follow() -> None:
        task = task_for(tmp_path, clusters(1000, 16), "long", epochs=1_000_000)
        async with aclosing(launch.train(task, keep_progress=lambda: True)) as messages:
            async for message in messages:
                if isinstance(message, StepMeasured):
                    leaving.set()
                    raise RuntimeError

    following = asyncio.create_task(follow())
    await leaving.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert processes_of(f"services.trainer.training.*{tmp_path}") == []
    assert (tmp_path / "long" / checkpoint.name()).exists()


async def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    task = task_for(tmp_path, clusters(1000, 16), "one", epochs=1)
    with pytest.raises(TrainingFailed, match="a batch size that 3 processes can share, got 64"):
        await train(task, 3)


async def test_no_process_is_left_when_the_holder_of_its_pipe_dies(tmp_path: Path) -> None:
    await assert_none_left(tmp_path, processes=1)


async def assert_none_left(tmp_path: Path, processes: int) -> None:
    """Kills the process that started so many training processes, and waits until these have ended too."""
    task = task_for(tmp_path, clusters(1000, 16), "one", epochs=100_000)
    code = (
        "import asyncio, sys; from services.trainer.group import Group\n"
        "from services.trainer.training import launch; from services.trainer.training.protocol import Task\n"
        "async def main():\n"
        "    task = Task.from_json(sys.argv[1])\n"
        "    async for message in launch.train(task, Group(int(sys.argv[2]))): print(message, flush=True)\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, task.to_json(), str(processes), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    holder.kill()
    await holder.wait()
    remaining: list[int] = []
    for _ in range(200):
        remaining = processes_of(str(tmp_path))
        if not remaining:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"left alive: {remaining}")


async def test_kernels_that_a_training_waits_for_are_compiled_without_delay() -> None:
    compilation = launch.KernelCompilation()
    running = asyncio.create_task(compilation.run())
    while not compilation.finished:
        await compilation.wait(seconds=60)
    await running


async def test_the_compilation_of_kernels_shows_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # an empty one
    monkeypatch.setattr(launch.compiling, "all_are_cached", lambda: False)
    compilation = launch.KernelCompilation()
    running = asyncio.create_task(compilation.run())
    while not compilation.progress[0]:
        await asyncio.sleep(0.05)
        assert not running.done()
    assert compilation.progress[0] <= compilation.progress[1]
    running.cancel()
    await asyncio.wait([running])
