"""Values of the domain as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from prisma.common.v1.block_pb2 import RowRange
from prisma.trainer.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma_common import wire
from services.chassis.moments import stamp
from services.chassis.paging import Page
from services.trainer.autoencoders import CodesPart, DecoderPart, Encoding
from services.trainer.requests import ARCHITECTURES, GOAL_NUMBERS, NORMALIZATIONS
from services.trainer.runs import DatasetChanges, Run, Selection
from services.trainer.sae.comparing import Matching
from services.trainer.sae.sizing import Sizing

_RENAMED_METRICS = {"dead_count": "silent_count", "dead_share": "silent_share"}
"""Names in metrics that older versions stored."""


def run(value: Run) -> resources_pb2.Run:
    """A run."""
    message = resources_pb2.Run(
        name=value.name,
        uid=value.uid,
        display_name=value.display_name,
        description=value.description,
        dataset=value.source.dataset,
        dataset_uid=value.source.dataset_uid,
        embedding_model=value.source.embedding_model,
        dimension=value.source.dimension,
        config=config(value),
        state=resources_pb2.Run.STATE_TRAINED if value.trained else resources_pb2.Run.STATE_CREATED,
        revision=value.revision,
        history=value.history,
        code_count=value.code_count,
        uncoded_count=value.uncoded_count,
        tags=value.tags,
        warnings=value.warnings,
        latent_count=value.latent_count or 0,
        fingerprint=value.fingerprint or "",
        job=value.job or "",
        device=value.device or "",
        imported_from=value.imported_from or "",
        create_time=stamp(value.create_time),
        update_time=stamp(value.update_time),
    )
    if value.selection is not None:
        _set_selection(message, value.selection)
    if value.trained and value.dataset_changes is not None:
        message.dataset_changes.CopyFrom(_dataset_changes(value.dataset_changes))
    if value.dead_count is not None:
        message.dead_count = value.dead_count
    if value.quality is not None:
        quality = {name: number for name, number in value.quality.to_dict().items() if number is not None}
        message.quality.CopyFrom(resources_pb2.Quality(**quality))
    if value.sizing is not None:
        message.sizing.CopyFrom(_sizing(value.sizing))
    if value.evaluation is not None:
        message.evaluation.CopyFrom(_evaluation(value.evaluation))
    if value.metrics is not None:
        message.metrics.CopyFrom(metrics(value.metrics))
    if value.train_time is not None:
        message.train_time.CopyFrom(stamp(value.train_time))
    if value.delete_time is not None:
        message.delete_time.CopyFrom(stamp(value.delete_time))
    return message


def runs(values: Sequence[Run], page: Page) -> pb2.ListRunsResponse:
    """A page of runs, of one run more than fits it if there is a next one."""
    response = pb2.ListRunsResponse(runs=[run(value) for value in values[: page.size]])
    if len(values) > page.size:
        last = values[page.size - 1]
        response.next_page_token = page.next_token([last.create_time.isoformat(), last.uid])
    return response


def config(value: Run) -> resources_pb2.Config:
    """A run's configuration: complete once its training has started, before what is certain."""
    settings: dict[str, Any] = value.recipe.preview() if value.config is None else value.config.to_dict()
    for name, numbers in (("architecture", ARCHITECTURES), ("normalization", NORMALIZATIONS)):
        settings[name] = numbers[settings[name]]
    if "patience" in settings:
        settings["patience"] = settings["patience"] or 0
    if settings.get("latent_count"):
        settings.pop("expansion", None)
    is_automatic = value.config is None and value.recipe.auto
    goal = GOAL_NUMBERS[value.recipe.goal] if is_automatic else None
    return resources_pb2.Config(**settings, auto=is_automatic, goal=goal)


def metrics(values: Mapping[str, Any]) -> resources_pb2.Metrics:
    """Metrics of a step, as they are stored."""
    fields = {
        _RENAMED_METRICS.get(name, name): value
        for name, value in values.items()
        if name != "time" and value is not None
    }
    message = resources_pb2.Metrics(**fields)
    message.time.FromNanoseconds(int(values["time"] * 1e9))
    return message


def comparison(matching: Matching) -> pb2.CompareRunsResponse:
    """How the latents of two runs correspond."""
    first = np.flatnonzero(matching.partner >= 0)

    def parts(groups: Mapping[int, list[int]]) -> list[pb2.CompareRunsResponse.Parts]:
        return [pb2.CompareRunsResponse.Parts(whole=whole, parts=latents) for whole, latents in groups.items()]

    return pb2.CompareRunsResponse(
        matches=[
            pb2.CompareRunsResponse.Match(first=latent, second=matching.partner[latent], cosine=matching.cosine[latent])
            for latent in first.tolist()
        ],
        lost=matching.lost().tolist(),
        gained=matching.new().tolist(),
        split=parts(matching.split()),
        merged=parts(matching.merged()),
        mean_max_cosine=matching.stability,
    )


def encoding(value: Encoding) -> pb2.EncodeResponse:
    """Codes of vectors."""
    return pb2.EncodeResponse(
        codes=wire.pack_codes(value.codes), unexplained_fractions=value.unexplained_fractions.tolist()
    )


def reconstruction(vectors: wire.Vectors, rows: wire.Rows) -> pb2.DecodeResponse:
    """Vectors of codes."""
    return pb2.DecodeResponse(vectors=wire.pack_vectors(vectors, rows))


def decoder(part: DecoderPart, run_uid: str) -> pb2.ReadDecoderResponse:
    """A block of a run's decoder."""
    return pb2.ReadDecoderResponse(
        directions=wire.pack_vectors(part.directions, part.latents),
        run_uid=run_uid,
        stabilities=part.stabilities.tolist(),
        agreements=part.agreements.tolist(),
        scales=part.scales.tolist(),
        weights_digest=part.weights_digest,
    )


def codes(part: CodesPart) -> pb2.ReadCodesResponse:
    """A block of a run's codes."""
    return pb2.ReadCodesResponse(
        codes=None if part.codes is None else wire.pack_codes(part.codes),
        deleted_rows=part.deleted_rows,
        revision=part.revision,
        run_uid=part.run_uid,
        history=part.history,
    )


def _set_selection(message: resources_pb2.Run, selection: Selection) -> None:
    message.dataset_revision = selection.revision
    message.dataset_history = selection.history or ""
    message.row_ranges.extend(RowRange(start=start, end=end) for start, end in selection.ranges)
    message.row_count = selection.row_count
    message.pending_count = selection.pending_count
    message.dataset_fingerprint = selection.fingerprint or ""


def _dataset_changes(value: DatasetChanges) -> resources_pb2.DatasetChanges:
    return resources_pb2.DatasetChanges(
        fingerprint=value.fingerprint,
        added_count=value.added,
        deleted_count=value.deleted,
        changed_count=value.changed,
    )


def _sizing(value: Sizing) -> resources_pb2.Sizing:
    return resources_pb2.Sizing(
        goal=GOAL_NUMBERS[value.goal],
        reason=value.reason,
        pilots=[resources_pb2.Sizing.Pilot(**asdict(pilot)) for pilot in value.pilots],
    )


def _evaluation(values: Mapping[str, Any]) -> resources_pb2.Evaluation:
    fields = {name: value for name, value in values.items() if name != "time" and value is not None}
    message = resources_pb2.Evaluation(**fields)
    message.time.FromNanoseconds(int(values["time"] * 1e9))
    return message
