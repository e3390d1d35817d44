"""The training process: `python -P -m services.trainer.child SPEC`. Imports neither grpc nor NATS.

It reads vectors from a file, goes on from a checkpoint if there is one, and writes into its own attempt's folder. What
it has to say are JSON lines on standard output. Its standard input is a pipe that its parent holds: when the parent
dies, however it does, the pipe ends, and the child with it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis.files import whole
from services.trainer.sae import checkpoint, distributed
from services.trainer.sae.codes import save_codes
from services.trainer.sae.config import Config
from services.trainer.sae.training import StepResult, Training
from services.trainer.sae.vectors import Vectors
from services.trainer.sae.weights import Weights

STOP = b"stop"
"""Said to it: write a checkpoint and end."""
REPORT_SECONDS = 0.5
SHARD_ROWS = 1 << 16


@dataclass(frozen=True)
class Spec:
    """What a training process is told."""

    vectors: str
    """A folder with vectors, `vectors-*.npy` of (…, d) float32, and their rows, `rows.npy` of (N,) uint64."""
    config: dict[str, Any]
    folder: str
    """Its own attempt's folder."""
    resume: str
    """A checkpoint to go on from, or nothing."""
    weights: str = ""
    """Weights from elsewhere, whose codes are written without a training."""
    device: str = "cpu"
    """`cpu`, `cuda:0`, `mps`."""
    checkpoint_seconds: float = 10.0


def main(spec: Spec | None) -> None:
    """Trains to the end, then writes weights and codes.

    Under torchrun all processes train, on several hosts too, where only those of one are told the spec: one of them
    tells it the others, and writes.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    first = spec is not None and os.environ.get("LOCAL_RANK", "0") == "0"
    if distributed.processes() > 1:
        spec = Spec(**json.loads(distributed.agree(json.dumps(asdict(spec)) if spec and first else "")))
    assert spec is not None
    vectors = Vectors(Path(spec.vectors))
    weights = Weights.load(Path(spec.weights)) if spec.weights else _trained(spec, vectors, first)
    if weights is None:
        return
    folder = Path(spec.folder)
    with whole(folder / "weights.safetensors") as file:
        file.write(weights.to_bytes({"config": spec.config}))
    rows = np.load(Path(spec.vectors) / "rows.npy", allow_pickle=False)
    shards: list[str] = []
    for start in range(0, len(rows), SHARD_ROWS):
        end = min(start + SHARD_ROWS, len(rows))
        name = f"codes-{len(shards):05d}.npz"
        save_codes(folder / name, weights.encode(vectors.read(start, end), rows[start:end]))
        shards.append(name)
        _say(encoded=end, total=len(rows))
    _say(done={"shards": shards})


def _trained(spec: Spec, vectors: Vectors, first: bool) -> Weights | None:
    """The weights at the training's end; None in all processes but the first."""
    config = Config.from_dict(spec.config)
    share = distributed.share()
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    own_threads = replace(config, threads=max(1, config.threads // beside))
    several = share.processes > 1 and spec.device.startswith("cuda")
    training = Training(vectors, own_threads, f"cuda:{os.environ['LOCAL_RANK']}" if several else spec.device, share)
    folder = Path(spec.folder)
    own = folder / checkpoint.NAME
    if resume := str(own) if own.exists() else spec.resume:  # its own, when torchrun started it again
        checkpoint.restore(training, Path(resume))
        _say(resumed=training.step)
    if first:
        _train(training, folder, spec.checkpoint_seconds)
        return training.weights
    while training.step < training.total_steps:
        training.advance()
        _consider(training)
    return None


def _train(training: Training, folder: Path, checkpoint_seconds: float) -> None:
    began = reported = saved = time.monotonic()
    first_step = training.step
    while training.step < training.total_steps:
        result = training.advance()
        moment = time.monotonic()
        epoch_ends = training.step % training.steps_per_epoch == 0
        last = training.step == training.total_steps
        if epoch_ends or last or moment - reported >= REPORT_SECONDS:
            fvu, ended = _consider(training)
            if ended:
                _say(patience=training.total_steps)
            _say(metrics=_metrics(training, result, fvu, (training.step - first_step) / (moment - began + 1e-9), began))
            reported = moment
        # One at the end too: codes are still to be written, which may be stopped.
        if last or _stopped.is_set() or moment - saved >= checkpoint_seconds:
            checkpoint.write(training, folder)
            _say(checkpoint=training.step)
            saved = time.monotonic()
            if _stopped.is_set():
                sys.exit(0)


def _consider(training: Training) -> tuple[float | None, bool]:
    """Measures at an epoch's end; says whether patience has run out with it."""
    if training.step % training.steps_per_epoch and training.step != training.total_steps:
        return None, False
    fvu = training.measure()
    return fvu, fvu is not None and training.consider(fvu)


def _metrics(
    training: Training, result: StepResult, held_out_fvu: float | None, steps_per_second: float, began: float
) -> dict[str, Any]:
    dead = int(training.dead.sum())
    batch = training.samples / max(training.step, 1)
    return {
        **asdict(result),
        "step": training.step,
        "total_steps": training.total_steps,
        "epoch": training.step / training.steps_per_epoch,
        "held_out_fvu": held_out_fvu,
        "dead_count": dead,
        "dead_share": dead / training.weights.latent_count,
        "samples_per_second": steps_per_second * batch,
        "elapsed_seconds": time.monotonic() - began,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "time": time.time(),
    }


_stopped = threading.Event()


def _end_with_parent() -> None:
    # Reads the descriptor itself: a thread in sys.stdin's buffer would hold its lock when the process ends.
    while said := os.read(0, 4096):
        if said == STOP:
            _stopped.set()
    if distributed.processes() > 1:
        os.kill(os.getppid(), signal.SIGKILL)  # torchrun, which would start this process again
    os._exit(1)


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Spec(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else None)
