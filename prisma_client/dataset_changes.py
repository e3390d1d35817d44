"""How the dataset of a run has changed since the run was trained on it, in words."""

from __future__ import annotations

from prisma.trainer.v1.resources_pb2 import Run


def counts(run: Run) -> str:
    """Returns `same`, or what was added, deleted and changed: `+12 -3 ~4`. Empty where it is not known."""
    if not run.HasField("dataset_changes"):
        return ""
    changes = run.dataset_changes
    parts = [("+", changes.added_count), ("-", changes.deleted_count), ("~", changes.changed_count)]
    text = " ".join(f"{sign}{count:,}" for sign, count in parts if count)
    return text or "same"
