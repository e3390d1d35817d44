"""Several processes train as one does, by torchrun and gloo; a killed one is made good from the last checkpoint."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from services.trainer import process
from services.trainer.child import Spec
from services.trainer.errors import TrainingFailed
from services.trainer.helper import help_out
from services.trainer.process import Group
from services.trainer.sae import checkpoint
from services.trainer.sae.config import Config
from services.trainer.sae.weights import Weights
from tests.trainer.test_sae import clusters


def spec_for(folder: Path, vectors: np.ndarray, attempt: str, resume: str = "", **config: object) -> Spec:
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        np.save(data / "vectors-00000.npy", vectors)
        np.save(data / "rows.npy", np.arange(len(vectors), dtype=np.uint64))
    made = Config(expansion=4, k=4, batch_size=64, **config).resolved(len(vectors), vectors.shape[1], 2)  # type: ignore[arg-type]
    (folder / attempt).mkdir()
    return Spec(str(data), made.to_dict(), str(folder / attempt), resume, checkpoint_seconds=0.2)


async def run(spec: Spec, processes: int) -> tuple[list[dict[str, float]], Weights]:
    metrics: list[dict[str, float]] = []
    async with aclosing(process.train(spec, Group(processes))) as messages:
        async for message in messages:
            if "metrics" in message:
                metrics.append(message["metrics"])
    return metrics, Weights.load(Path(spec.folder) / "weights.safetensors")


def alive(pattern: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


async def test_who_is_cancelled_while_the_process_ends_waits_for_it(tmp_path: Path) -> None:
    leaving = asyncio.Event()

    async def follow() -> None:
        spec = spec_for(tmp_path, clusters(1000, 16), "long", epochs=1_000_000)
        async with aclosing(process.train(spec, keep=lambda: True)) as messages:
            async for message in messages:
                if "metrics" in message:
                    leaving.set()
                    raise RuntimeError

    following = asyncio.create_task(follow())
    await leaving.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert alive(f"services.trainer.child.*{tmp_path}") == []
    assert (tmp_path / "long" / checkpoint.NAME).exists()


async def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    one, alone = await run(spec_for(tmp_path, vectors, "one", architecture="matryoshka", epochs=6), 1)
    two, together = await run(spec_for(tmp_path, vectors, "two", architecture="matryoshka", epochs=6), 2)
    at_epochs = [
        {each["step"]: each["held_out_fvu"] for each in every if each["held_out_fvu"] is not None}
        for every in (one, two)
    ]
    assert len(at_epochs[0]) == 6
    assert at_epochs[0].keys() == at_epochs[1].keys()
    np.testing.assert_allclose(list(at_epochs[0].values()), list(at_epochs[1].values()), rtol=1e-4)
    np.testing.assert_allclose(together.W_dec, alone.W_dec, atol=1e-3)


async def test_a_killed_process_is_made_good_from_the_last_checkpoint(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, undisturbed = await run(spec_for(tmp_path, vectors, "one", epochs=400), 1)
    spec = spec_for(tmp_path, vectors, "two", epochs=400)
    resumed: list[int] = []
    killed = False
    async with aclosing(process.train(spec, Group(2))) as messages:
        async for message in messages:
            if "checkpoint" in message and not killed:
                killed = True
                # Of the group's python processes the last is a training one; its death is torchrun's to mend.
                os.kill(alive(f"services.trainer.child.*{tmp_path}/two")[-1], signal.SIGKILL)
            if "resumed" in message:
                resumed.append(message["resumed"])
    assert killed
    assert resumed
    assert resumed[0] > 0
    weights = Weights.load(Path(spec.folder) / "weights.safetensors")
    np.testing.assert_allclose(weights.W_dec, undisturbed.W_dec, atol=1e-2)


async def test_processes_started_again_find_each_other_though_one_is_late(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import os, signal, time; from services.trainer.sae import distributed\n"
        "again, rank = os.environ['TORCHELASTIC_RESTART_COUNT'] != '0', os.environ['RANK']\n"
        "time.sleep(again and rank == '1')\n"
        "distributed.share()\n"
        "if not again: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    started = await asyncio.create_subprocess_exec(sys.executable, *torchrun, str(child), env=process.environment())
    assert await started.wait() == 0


async def test_a_training_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, undisturbed = await run(spec_for(tmp_path, vectors, "one", epochs=60), 1)
    first = spec_for(tmp_path, vectors, "two", epochs=60)
    async with aclosing(process.train(Spec(**{**vars(first), "checkpoint_seconds": 0.02}))) as messages:
        async for message in messages:
            if "checkpoint" in message:
                break
    resume = str(tmp_path / "two/checkpoint.safetensors")
    _metrics, weights = await run(spec_for(tmp_path, vectors, "three", resume, epochs=60), 2)
    np.testing.assert_allclose(weights.W_dec, undisturbed.W_dec, atol=1e-3)


async def test_two_hosts_train_as_one_process_does(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, alone = await run(spec_for(tmp_path, vectors, "one", epochs=6), 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = Group(1, 2, f"127.0.0.1:{free.getsockname()[1]}")
    helping = asyncio.create_task(help_out(group))  # one that joins from elsewhere: it isn't told what to train
    for name in ("two", "three"):  # and joins the next training too
        spec = spec_for(tmp_path, vectors, name, epochs=6)
        steps = [each["metrics"]["step"] async for each in process.train(spec, group) if "metrics" in each]
        assert len(steps) >= 6
        together = Weights.load(Path(spec.folder) / "weights.safetensors")
        np.testing.assert_allclose(together.W_dec, alone.W_dec, atol=1e-3)
    helping.cancel()
    await asyncio.wait([helping])
    assert not alive(f"rdzv-endpoint={group.meet_at}")


async def test_a_batch_that_cant_be_shared_is_refused(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, clusters(1000, 16), "one", epochs=1)
    with pytest.raises(TrainingFailed, match="a batch that 3 processes can share, got 64"):
        await run(spec, 3)


async def test_no_process_is_left_when_the_one_that_holds_their_pipe_dies(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, clusters(1000, 16), "one", epochs=100_000)
    code = (
        "import asyncio, json, sys; from services.trainer import process; from services.trainer.child import Spec\n"
        "async def main():\n"
        "    spec = Spec(**json.loads(sys.argv[1]))\n"
        "    async for message in process.train(spec, process.Group(2)): print(message, flush=True)\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, json.dumps(vars(spec)), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    holder.kill()
    await holder.wait()
    for _ in range(200):
        if not (left := alive(str(tmp_path))):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"left alive: {left}")
