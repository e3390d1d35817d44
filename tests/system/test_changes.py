"""Documents are replaced and deleted after a training: vectors, codes, statistics and index follow."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from prisma.common.v1.job_pb2 import Job
from prisma_client import Prisma, sample
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from tests import stack as stacks
from tests.system.test_backup import start

COUNT = 200
TEXT = "The quokka of this test eats quinoa beside a quarry."


def follow(data: Dataset, run: Run, *, count: int) -> None:
    """Waits until index, codes and statistics have the documents."""
    for _ in range(600):
        run.refresh()
        current = data.index_status().current and not run.message.uncoded_count and run.message.code_count == count
        is_compared = run.message.dataset_changes.fingerprint == data.refresh().message.fingerprint
        if current and is_compared and run.interpretation().row_count == count:
            return
        time.sleep(0.1)
    raise AssertionError((data.index_status(), run.message, run.interpretation()))


def codes(run: Run, folder: Path) -> dict[str, dict[str, Any]]:
    """What is is_compared of each document's code, by key."""
    run.export_activations(folder / "activations.jsonl")
    rows = [json.loads(line) for line in (folder / "activations.jsonl").read_text().splitlines()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def found_keys(data: Dataset, run: Run, query: str, mode: str) -> list[str]:
    return [hit.key for hit in data.search(query, mode=mode, run=run, limit=3).hits]


@pytest.mark.timeout(600)
def test_codes_index_and_statistics_follow_a_replaced_document(tmp_path: Path) -> None:
    environment = stacks.environment(tmp_path)
    process = start(environment, tmp_path)
    try:
        with Prisma(environment["PRISMA_URL"]) as prisma:
            documents = list(itertools.islice(sample.documents(), COUNT))
            data = prisma.datasets.create("Changed", documents, dataset_id="d")
            data.embed()
            run = data.train(run_id="r", expansion=1, k=8, epochs=1)
            follow(data, run, count=COUNT)
            before = codes(run, tmp_path)
            trained_on = data.refresh().message.fingerprint
            assert (run.message.dataset_fingerprint, run.dataset_changes) == (trained_on, "same")
            changed, relabelled, same = documents[0], documents[1], documents[2]
            report = data.add(
                [{"id": changed["id"], "text": TEXT}, {**relabelled, "colour": "teal"}, same], on_duplicate="replace"
            )
            assert (report.imported_count, report.updated_count, report.skipped_count) == (0, 2, 1)
            assert data.refresh().message.pending_count == 1
            follow(data, run, count=COUNT - 1)  # the old vector counts no more
            assert run.dataset_changes == "~1"
            assert changed["id"] not in codes(run, tmp_path)
            assert changed["id"] not in found_keys(data, run, changed["text"], "semantic")
            assert found_keys(data, run, "quokka quinoa", "full_text") == [changed["id"]]
            data.embed()
            follow(data, run, count=COUNT)
            after = codes(run, tmp_path)
            assert after[changed["id"]]["text"] == TEXT
            assert after[changed["id"]]["row"] == COUNT
            assert after[changed["id"]]["indices"] != before[changed["id"]]["indices"]
            assert after[relabelled["id"]]["metadata"]["colour"] == "teal"
            for key in before.keys() - {changed["id"]}:
                for field in ("row", "indices", "activations"):
                    assert after[key][field] == before[key][field]
            assert found_keys(data, run, TEXT, "semantic")[0] == changed["id"]
            deleted = data.delete_documents(f"key = {json.dumps(documents[3]['id'])}")
            assert (deleted.document_count, deleted.job.state) == (1, Job.STATE_SUCCEEDED)
            data.add([{"id": "wombat", "text": "A wombat of this test."}])
            data.embed()
            follow(data, run, count=COUNT)
            assert run.dataset_changes == "+1 -1 ~1"
            assert run.message.dataset_fingerprint == trained_on != data.refresh().message.fingerprint
            data.delete_documents("key = wombat")
            data.add([changed, documents[3]], on_duplicate="replace")
            data.embed()
            follow(data, run, count=COUNT)
            assert data.refresh().message.fingerprint == trained_on
            assert run.dataset_changes == "same"
            hits = data.search("the", mode="full_text", filter='metadata.colour = "teal"').hits
            assert [hit.key for hit in hits] == [relabelled["id"]]
    finally:
        process.terminate()
        process.wait(30)
