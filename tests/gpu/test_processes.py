"""Several processes train as one does, by torchrun and gloo; a killed one is restarted from the last checkpoint."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np

from services.trainer.group import Group
from services.trainer.sae.weights import Weights
from services.trainer.training import launch
from services.trainer.training.join_host import join_trainings
from services.trainer.training.protocol import CheckpointWritten, Resumed, StepMeasured
from tests.trainer.examples import clusters
from tests.trainer.test_processes import assert_none_left, processes_of, task_for, train


async def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    one, alone = await train(task_for(tmp_path, vectors, "one", architecture="matryoshka", epochs=6), 1)
    two, together = await train(task_for(tmp_path, vectors, "two", architecture="matryoshka", epochs=6), 2)
    at_epochs = [
        {metrics.step: metrics.held_out_fvu for metrics in reported if metrics.held_out_fvu is not None}
        for reported in (one, two)
    ]
    assert len(at_epochs[0]) == 6
    assert at_epochs[0].keys() == at_epochs[1].keys()
    np.testing.assert_allclose(list(at_epochs[0].values()), list(at_epochs[1].values()), rtol=1e-4)
    np.testing.assert_allclose(together.W_dec, alone.W_dec, atol=1e-3)


async def test_after_a_kill_the_training_resumes_from_the_last_checkpoint(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, undisturbed = await train(task_for(tmp_path, vectors, "one", epochs=400), 1)
    task = task_for(tmp_path, vectors, "two", epochs=400)
    resumed: list[int] = []
    killed = False
    async with aclosing(launch.train(task, Group(2))) as messages:
        async for message in messages:
            if isinstance(message, CheckpointWritten) and not killed:
                killed = True
                # The group's last Python process is a training one; torchrun restarts it.
                os.kill(processes_of(f"services.trainer.training.*{tmp_path}/two")[-1], signal.SIGKILL)
            if isinstance(message, Resumed):
                resumed.append(message.step)
    assert killed
    assert resumed
    assert resumed[0] > 0
    weights = Weights.load(task.folder / "weights.safetensors")
    np.testing.assert_allclose(weights.W_dec, undisturbed.W_dec, atol=1e-2)


async def test_restarted_processes_find_each_other_though_one_is_late(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, time; from services.trainer.sae import distributed\n"
        "restarted, rank = os.environ['TORCHELASTIC_RESTART_COUNT'] != '0', os.environ['RANK']\n"
        "time.sleep(restarted and rank == '1')\n"
        "distributed.share()\n"
        "if not restarted: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    process = await asyncio.create_subprocess_exec(sys.executable, *torchrun, str(script), env=launch.environment())
    assert await process.wait() == 0


async def test_a_training_resumes_with_another_number_of_processes(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, undisturbed = await train(task_for(tmp_path, vectors, "one", epochs=60), 1)
    first = replace(task_for(tmp_path, vectors, "two", epochs=60), checkpoint_seconds=0.02)
    async with aclosing(launch.train(first)) as messages:
        async for message in messages:
            if isinstance(message, CheckpointWritten):
                break
    resume = tmp_path / "two/checkpoint.safetensors"
    _metrics, weights = await train(task_for(tmp_path, vectors, "three", resume, epochs=60), 2)
    np.testing.assert_allclose(weights.W_dec, undisturbed.W_dec, atol=1e-3)


async def test_two_hosts_train_as_one_process_does(tmp_path: Path) -> None:
    vectors = clusters(1000, 16)
    _metrics, alone = await train(task_for(tmp_path, vectors, "one", epochs=6), 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = Group(processes=1, hosts=2, rendezvous=f"127.0.0.1:{free.getsockname()[1]}")
    joining = asyncio.create_task(join_trainings(group))  # the second host, which gets no task as an argument
    for name in ("two", "three"):  # and joins the next training too
        task = task_for(tmp_path, vectors, name, epochs=6)
        messages = [message async for message in launch.train(task, group)]
        assert sum(isinstance(message, StepMeasured) for message in messages) >= 6
        together = Weights.load(task.folder / "weights.safetensors")
        np.testing.assert_allclose(together.W_dec, alone.W_dec, atol=1e-3)
    joining.cancel()
    await asyncio.wait([joining])
    assert not processes_of(f"rdzv-endpoint={group.rendezvous}")


async def test_no_process_is_left_when_the_holder_of_their_pipe_dies(tmp_path: Path) -> None:
    await assert_none_left(tmp_path, processes=2)
