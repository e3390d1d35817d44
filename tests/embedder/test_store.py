"""Work on a deleted dataset can't be committed, though another dataset has its name by then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from services.chassis.blobs import Blobs
from services.chassis.database import Database
from services.embedder.documents import NewDocument
from services.embedder.errors import DatasetNotFound
from services.embedder.store import Outcome, Store

MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"


def test_what_was_begun_on_a_deleted_dataset_does_not_reach_one_of_the_same_name(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.db'}", MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(tmp_path / "blobs"))
    old = store.create_dataset("d", "", "", "builtin/wordllama-256", "")
    store.delete_dataset("d")
    new = store.create_dataset("d", "", "", "builtin/wordllama-256", "")
    store.add_documents("d", new.uid, [NewDocument("key", "a text", {})])
    shard = store.write_shard(old.uid, np.ones((1, 4), dtype=np.float32))
    late: list[Callable[[], object]] = [
        lambda: store.add_documents("d", old.uid, [NewDocument("late", "a text", {})]),
        lambda: store.pending("d", old.uid, 10),
        lambda: store.commit_outcomes("d", old.uid, shard, 4, [Outcome(0, 0, False, None)]),
    ]
    for call in late:
        with pytest.raises(DatasetNotFound):
            call()
    assert store.pending("d", new.uid, 10) == [(0, "a text")]
    assert store.dataset("d").dimension == 0
    database.close()
