"""A backup that is written while documents arrive restores to a stack on which everything answers."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from prisma_client import Prisma
from prisma_client.sync.datasets import Dataset
from tests import stack as stacks
from tests.children import tied

DTYPES = ("float16", "float32")


def start(environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """`prisma up`, once it is up."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            tied(stacks.PRISMA, "up"), env=environment, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
    assert process.stdout is not None
    assert "PRISMA is up" in process.stdout.readline(), (folder / "log").read_text()
    return process


def wait_until_indexed(data: Dataset) -> None:
    """The index is not part of a backup: it is rebuilt."""
    for _ in range(600):
        status = data.index_status()
        if status.current and len(status.streams) == 4:
            return
        time.sleep(0.1)
    raise AssertionError(data.index_status())


@pytest.mark.timeout(600)
def test_a_backup_under_load_restores_to_an_empty_folder(stack: stacks.Stack, tmp_path: Path) -> None:
    stop = threading.Event()

    def load() -> None:
        with Prisma(stack.url) as prisma:
            number = 0
            while not stop.is_set():
                data = prisma.datasets.create(f"Load {number}", [{"id": str(number), "text": f"load {number}"}])
                data.embed()
                data.delete()
                number += 1

    vectors = {f"own-{dtype}": np.random.default_rng(0).standard_normal((700, 96)).astype(dtype) for dtype in DTYPES}
    with Prisma(stack.url) as prisma:
        for dataset_id, array in vectors.items():
            prisma.datasets.create(dataset_id, dataset_id=dataset_id, vectors=array)
    loading = threading.Thread(target=load)
    loading.start()
    try:
        written = stack.command("backup", str(tmp_path / "backup"))
    finally:
        stop.set()
        loading.join()
        with Prisma(stack.url) as prisma:
            for dataset_id in vectors:
                prisma.datasets.get(dataset_id).delete()
    assert written.returncode == 0, written.stderr
    with Prisma(stack.url) as prisma:
        before = prisma.runs.get(stacks.RUN)
        labels = {feature.index: feature.label.text for feature in before.features.list()}
    environment = stacks.environment(tmp_path)
    restored = subprocess.run(
        [stacks.PRISMA, "restore", tmp_path / "backup"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert restored.returncode == 0, restored.stderr
    process = start(environment, tmp_path)
    try:
        with Prisma(environment["PRISMA_URL"]) as prisma:
            run = prisma.runs.get(stacks.RUN)
            assert run.message.history != before.message.history
            assert {feature.index: feature.label.text for feature in run.features.list()} == labels
            data = prisma.datasets.get(stacks.DATASET)
            assert data.message.document_count == stacks.COUNT
            wait_until_indexed(data)
            assert data.search("file").hits
            for dataset_id, array in vectors.items():
                own = prisma.datasets.get(dataset_id)
                stored = own.vectors()
                assert (stored.values.dtype, stored.values.tobytes()) == (array.dtype, array.tobytes())
                assert stored.ids == [str(row) for row in range(700)]
        scrubbed = subprocess.run([stacks.PRISMA, "doctor", "--scrub"], env=environment, capture_output=True, text=True)
        assert scrubbed.returncode == 0, scrubbed.stderr
    finally:
        process.terminate()
        process.wait(30)
