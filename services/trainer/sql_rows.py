"""Runs and their files of codes, as rows of the SQL tables and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from services.chassis.moments import utc_now
from services.trainer.recipes import Recipe
from services.trainer.runs import DatasetChanges, NewRun, Run, Selection, Source
from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config, Goal
from services.trainer.sae.sizing import Sizing
from services.trainer.training.protocol import Quality


def run_values(new: NewRun, run_id: str, uid: str) -> dict[str, Any]:
    """The row of a new run."""
    moment = utc_now()
    config: dict[str, Any] = {**new.recipe.settings, "auto": new.recipe.auto, "goal": new.recipe.goal}
    if new.selection is not None and not new.recipe.auto:
        resolved = new.recipe.resolve(row_count=new.selection.row_count, dimension=new.source.dimension)
        config = resolved.to_dict()
    latent_count = 0
    if new.imported is not None:
        latent_count = new.imported.latent_count
    else:
        latent_count = new.recipe.latent_count(new.source.dimension) or 0
    return {
        "uid": uid,
        "id": run_id,
        "display_name": new.display_name or new.title,
        "description": new.description,
        "dataset": new.source.dataset,
        "dataset_uid": new.source.dataset_uid,
        "source": source_values(new.source, new.selection),
        "config": config,
        "attempt": "",
        "shards": [],
        "revision": 1,
        "job": "",
        "fingerprint": "",
        "device": "",
        "create_time": moment,
        "update_time": moment,
        "tags": list(new.tags),
        "imported_from": "" if new.imported is None else new.imported.origin,
        "latent_count": latent_count,
    }


def source_values(source: Source, selection: Selection | None) -> dict[str, Any]:
    """The column `source`: where the vectors are from, and which of them, once that is fixed."""
    values: dict[str, Any] = {"embedding_model": source.embedding_model, "dimension": source.dimension}
    if selection is None:
        return {**values, "ranges": None}
    return {
        **values,
        "ranges": [list(bounds) for bounds in selection.ranges],
        "row_count": selection.row_count,
        "revision": selection.revision,
        "history": selection.history,
        "pending_count": selection.pending_count,
        "fingerprint": selection.fingerprint,
    }


def run(row: Row[Any], history: str, metrics: Mapping[str, Any] | None) -> Run:
    """The run of a row; metrics are the latest."""
    settings = _settings(row.config)
    auto = bool(settings.pop("auto", False))
    goal: Goal = settings.pop("goal", "interpretable")
    selection = _selection(row.source)
    return Run(
        uid=row.uid,
        id=row.id,
        display_name=row.display_name,
        description=row.description,
        source=_source(row),
        selection=selection,
        recipe=Recipe(settings, auto=auto, goal=goal),
        config=None if selection is None or auto else Config.from_dict(settings),
        sizing=None if row.sizing is None else Sizing.from_dict(row.sizing),
        attempt=row.attempt or None,
        revision=row.revision,
        history=history,
        code_count=row.code_count,
        dead_count=row.dead_count,
        embedded_count=row.embedded_count,
        coded_revision=row.coded_revision,
        coded_history=row.coded_history,
        metrics=metrics,
        job=row.job or None,
        fingerprint=row.fingerprint or None,
        device=row.device or None,
        create_time=row.create_time,
        update_time=row.update_time,
        train_time=row.train_time,
        delete_time=row.delete_time,
        tags=row.tags,
        evaluation=row.evaluation,
        quality=None if row.quality is None else Quality(**row.quality),
        imported_from=row.imported_from or None,
        latent_count=_latent_count(row, selection),
        dataset_changes=None if row.dataset_changes is None else DatasetChanges(**row.dataset_changes),
    )


def code_shard(row: Row[Any]) -> CodeShard:
    """The file of codes of a row."""
    name = row.path.rpartition("/")[2]
    return CodeShard(name=name, first_row=row.first_row, last_row=row.last_row, row_count=row.row_count)


def _source(row: Row[Any]) -> Source:
    return Source(
        dataset=row.dataset,
        dataset_uid=row.dataset_uid,
        embedding_model=row.source["embedding_model"],
        dimension=row.source["dimension"],
    )


def _selection(source: Mapping[str, Any]) -> Selection | None:
    if source["ranges"] is None:
        return None
    return Selection(
        ranges=[(start, end) for start, end in source["ranges"]],
        row_count=source["row_count"],
        revision=source["revision"],
        history=source.get("history"),
        pending_count=source.get("pending_count", 0),
        fingerprint=source.get("fingerprint"),
    )


def _latent_count(row: Row[Any], selection: Selection | None) -> int | None:
    if row.latent_count:
        return row.latent_count
    return (
        None
        if selection is None or row.config.get("auto")
        else Config.from_dict(row.config).latents(row.source["dimension"])
    )


def _settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The column `config`, in which older versions wrote 0 for all cores and for no patience."""
    settings = dict(stored)
    if settings.get("threads") == 0:
        del settings["threads"]
    if settings.get("patience") == 0:
        settings["patience"] = None
    return settings
