"""The training process: `python -P -m services.trainer.training TASK`. Imports neither grpc nor NATS.

It reads vectors from files, resumes from a checkpoint if there is one, and writes into its own attempt's folder.
`protocol` describes what it reads and reports.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prisma_common.cores import core_count
from prisma_common.wire import concatenate
from services.chassis.files import is_full_disk, whole
from services.trainer.sae import checkpoint, distributed, sizing, stability
from services.trainer.sae.codes import CodeShard, save_codes
from services.trainer.sae.stability import Stability
from services.trainer.sae.training import Diverged, StepResult, Training
from services.trainer.sae.vectors import InvalidVectors, Vectors
from services.trainer.sae.weights import Weights
from services.trainer.training.protocol import (
    STOP,
    Cause,
    CheckpointWritten,
    Failed,
    Finished,
    Message,
    PatienceExhausted,
    PilotTrained,
    Quality,
    Resumed,
    RowsEncoded,
    SiblingTrained,
    Sized,
    StepMeasured,
    StepMetrics,
    Task,
    encode,
)

REPORT_SECONDS = 0.5
SHARD_ROWS = 1 << 16
_PROGRESS_ROWS = 1 << 13
"""Rows that are encoded between two reports; a multiple of the encoder's block."""

_stop_requested = threading.Event()


def main(arguments: list[str]) -> None:
    """Runs the task, and reports an expected failure instead of a traceback.

    Under torchrun every process calls this, on several hosts too. Only the processes of the trainer's own host get the
    task as an argument; one of them sends it to all others, and alone writes files and reports.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = Task.from_json(arguments[0]) if arguments else None
    reports = task is not None and os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        if task is not None and reports:
            task = _sized(task)
        if distributed.processes() > 1:
            task = Task.from_json(distributed.agree(task.to_json() if task is not None and reports else ""))
        assert task is not None
        run(task, reports=reports)
    except Exception as error:
        cause = _cause(error)
        if cause is None:
            raise
        if reports:
            _report(Failed(cause=cause, message=str(error)))


def _sized(task: Task) -> Task:
    """The task with a configuration: chosen by pilots on the vectors unless it has one."""
    if task.config is not None:
        return task
    vectors = Vectors(task.vectors)
    cores = core_count()

    def report(done: int, total: int) -> None:
        _report(PilotTrained(done=done, total=total))

    choice, config = sizing.configure(vectors, goal=task.goal, settings=task.settings, cores=cores, progress=report)
    _report(Sized(sizing=choice.to_dict(), config=config.to_dict()))
    return replace(task, config=config)


def run(task: Task, *, reports: bool) -> None:
    """Trains to the end, or takes the imported weights; then writes weights and codes if this process `reports`."""
    vectors = Vectors(task.vectors)
    assert task.config is not None
    if not reports:
        for sibling in range(1 + task.config.siblings):
            _prepare(task, vectors, sibling, reports=False).finish()
        return
    training: Training | None = None
    if task.imported_weights is not None:
        weights = Weights.load(task.imported_weights)
    else:
        training = _prepare(task, vectors, reports=True)
        _train(training, task, _Progress(training))
        weights = training.weights
    with whole(task.folder / "weights.safetensors") as file:
        file.write(weights.to_bytes({"config": task.config.to_dict()}))
    measured = None if training is None else _compare_siblings(weights, task, vectors)
    row_numbers = np.load(task.vectors / "rows.npy", allow_pickle=False)
    shards, is_dead = write_codes(weights, vectors, row_numbers, task.folder)
    quality = None if training is None else _quality(training, measured, is_dead)
    _report(Finished(shards=shards, dead_count=int(is_dead.sum()), quality=quality))


def _compare_siblings(weights: Weights, task: Task, vectors: Vectors) -> Stability | None:
    """Trains the siblings, and writes how well they find the latents again; None without siblings."""
    assert task.config is not None
    siblings: list[Weights] = []
    for sibling in range(1, 1 + task.config.siblings):
        training = _prepare(task, vectors, sibling, reports=True)
        _train(training, task, _SiblingProgress(training))
        siblings.append(training.weights)
    if not siblings:
        return None
    measured = stability.measure(weights, siblings, vectors, task.config.seed)
    measured.save(task.folder)
    return measured


def _quality(training: Training, measured: Stability | None, is_dead: NDArray[np.bool_]) -> Quality:
    cosine = np.zeros(len(is_dead)) if measured is None else measured.mean
    return Quality(
        train_fvu=training.train_fvu(),
        held_out_fvu=training.measure(),
        sibling_count=training.config.siblings,
        live_count=int((~is_dead).sum()),
        reproduced_count=int((cosine[~is_dead] >= stability.REPRODUCED).sum()),
        closely_reproduced_count=int((cosine[~is_dead] >= stability.CLOSELY).sum()),
    )


def write_codes(
    weights: Weights, vectors: Vectors, row_numbers: NDArray[np.uint64], folder: Path
) -> tuple[list[CodeShard], NDArray[np.bool_]]:
    """Encodes all vectors into shards in `folder`, reporting progress; returns them and which latents are dead, (n,).

    row_numbers: (N,), rising.
    """
    shards: list[CodeShard] = []
    is_dead = np.ones(weights.latent_count, dtype=np.bool_)
    for start in range(0, len(row_numbers), SHARD_ROWS):
        end = min(start + SHARD_ROWS, len(row_numbers))
        parts = []
        for first in range(start, end, _PROGRESS_ROWS):
            last = min(first + _PROGRESS_ROWS, end)
            parts.append(weights.encode(vectors.read(first, last), row_numbers[first:last]))
            is_dead[parts[-1].indices] = False
            _report(RowsEncoded(done=last, total=len(row_numbers)))
        name = f"codes-{len(shards):05d}.npz"
        save_codes(folder / name, concatenate(parts, weights.latent_count))
        first_row, last_row = int(row_numbers[start]), int(row_numbers[end - 1])
        shards.append(CodeShard(name=name, first_row=first_row, last_row=last_row, row_count=end - start))
    return shards, is_dead


def _prepare(task: Task, vectors: Vectors, sibling: int = 0, *, reports: bool) -> Training:
    """The training of the run, 0, or of a sibling, at its last checkpoint or at its start."""
    assert task.config is not None
    share = distributed.share()
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    config = replace(task.config, threads=max(1, task.config.threads // neighbours))
    device = f"cuda:{os.environ['LOCAL_RANK']}" if share.processes > 1 and task.device[:4] == "cuda" else task.device
    training = Training(vectors, config, device, share, sibling=sibling)
    own_checkpoint = task.folder / checkpoint.name(sibling)  # there when torchrun restarted this process
    earlier_checkpoint = task.checkpoints[sibling] if sibling < len(task.checkpoints) else None
    last_checkpoint = own_checkpoint if own_checkpoint.exists() else earlier_checkpoint
    if last_checkpoint is not None:
        checkpoint.restore(training, last_checkpoint)
        if reports and not sibling:
            _report(Resumed(training.step))
    return training


def _train(training: Training, task: Task, progress: _Progress | _SiblingProgress) -> None:
    """Trains to the end, with reports and checkpoints."""
    saved = time.monotonic()
    while training.step < training.total_steps:
        result = training.advance()
        progress.consider(result)
        # The end is a checkpoint too: codes are still to be written, and that may be interrupted.
        is_last = training.step == training.total_steps
        if is_last or _stop_requested.is_set() or time.monotonic() - saved >= task.checkpoint_seconds:
            checkpoint.write(training, task.folder)
            if not training.sibling:
                _report(CheckpointWritten(training.step))
            saved = time.monotonic()
            if _stop_requested.is_set():
                sys.exit(0)


class _Progress:
    """Reports metrics at each epoch's end, and between epochs twice a second."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._start = self._last_report = time.monotonic()
        self._first_step = training.step

    def consider(self, result: StepResult) -> None:
        """Reports after a step if it is time to."""
        training = self._training
        epoch_ends = training.step % training.steps_per_epoch == 0 or training.step == training.total_steps
        if not epoch_ends and time.monotonic() - self._last_report < REPORT_SECONDS:
            return
        held_out_fvu, patience_exhausted = training.measure_epoch()
        if patience_exhausted:
            _report(PatienceExhausted(training.total_steps))
        self._last_report = time.monotonic()
        _report(StepMeasured(self._metrics(result, held_out_fvu)))

    def _metrics(self, result: StepResult, held_out_fvu: float | None) -> StepMetrics:
        training = self._training
        silent_count = int(training.dead.sum())
        elapsed = time.monotonic() - self._start
        batch_size = training.samples / max(training.step, 1)
        return StepMetrics(
            **asdict(result),
            step=training.step,
            total_steps=training.total_steps,
            epoch=training.step / training.steps_per_epoch,
            held_out_fvu=held_out_fvu,
            silent_count=silent_count,
            silent_share=silent_count / training.weights.latent_count,
            samples_per_second=(training.step - self._first_step) * batch_size / (elapsed + 1e-9),
            elapsed_seconds=elapsed,
            peak_memory_bytes=_peak_memory_bytes(),
            time=time.time(),
        )


class _SiblingProgress:
    """Reports a sibling's steps twice a second."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._last_report = -REPORT_SECONDS

    def consider(self, _result: StepResult) -> None:
        """Reports after a step if it is time to."""
        training = self._training
        if training.config.patience is not None:
            training.measure_epoch()
        if time.monotonic() - self._last_report >= REPORT_SECONDS:
            self._last_report = time.monotonic()
            _report(SiblingTrained(sibling=training.sibling, step=training.step, total_steps=training.total_steps))


def _peak_memory_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cause(error: Exception) -> Cause | None:
    if is_full_disk(error):
        return "storage-full"
    if isinstance(error, Diverged):
        return "diverged"
    return "invalid-vectors" if isinstance(error, InvalidVectors) else None


def _end_with_parent() -> None:
    # Reads the descriptor itself: a thread inside sys.stdin's buffer would hold its lock when the process ends.
    while data := os.read(0, 4096):
        if STOP in data:
            _stop_requested.set()
    if distributed.processes() > 1:
        os.kill(os.getppid(), signal.SIGKILL)  # torchrun, which would restart this process
    os._exit(1)


def _report(message: Message) -> None:
    sys.stdout.write(encode(message))
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
