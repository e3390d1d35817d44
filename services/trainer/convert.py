"""Messages ↔ values of the domain. What a request may hold is checked here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prisma.common.v1.block_pb2 import RowRange
from prisma.trainer.v1 import resources_pb2 as pb2
from prisma.trainer.v1.trainer_service_pb2 import CompareRunsResponse, SweepRunsRequest, UpdateRunRequest
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, Term, parse_filter
from services.chassis.masks import changed_fields, check_lengths
from services.chassis.moments import stamp
from services.trainer.runs import Run, Source
from services.trainer.sae.architectures import Name
from services.trainer.sae.comparing import Matching
from services.trainer.sae.config import Config
from services.trainer.sae.vectors import Normalization

_LIMITS = {"display_name": 200, "description": 10_000}
_UPDATABLE = ("display_name", "description", "tags")
MAX_TAGS, MAX_TAG = 20, 64
MAX_SWEEP = 100
_ARCHITECTURES: Mapping[Name, Any] = {
    "top_k": pb2.Config.ARCHITECTURE_TOP_K,
    "batch_top_k": pb2.Config.ARCHITECTURE_BATCH_TOP_K,
    "matryoshka": pb2.Config.ARCHITECTURE_MATRYOSHKA,
}
_NORMALIZATIONS: Mapping[Normalization, Any] = {
    "standard": pb2.Config.NORMALIZATION_STANDARD,
    "scale": pb2.Config.NORMALIZATION_SCALE,
    "none": pb2.Config.NORMALIZATION_NONE,
}
_RANGES: Mapping[str, tuple[float, float]] = {
    "expansion": (1, 256),
    "k": (1, 4096),
    "k_aux": (1, 65536),
    "aux_coefficient": (0, 10),
    "learning_rate": (1e-8, 1),
    "batch_size": (1, 1 << 20),
    "epochs": (1, 100_000),
    "warmup_fraction": (0, 1),
    "decay_fraction": (0, 1),
    "held_out_fraction": (0, 0.9),
    "dead_window": (1, 1 << 62),
    "gradient_clip": (1e-8, 1e8),
    "seed": (0, (1 << 63) - 1),
    "threads": (0, 1024),
    "patience": (0, 100_000),
}


def run_id(name: str, field: str = "name") -> str:
    """The id in `runs/{run}`."""
    return names.parse("runs/{run}", name, field)[0]


def checked(message: pb2.Run) -> pb2.Run:
    """A run's own fields, if they hold what they may. Raises InvalidArgument."""
    check_lengths(message, "run", _LIMITS)
    if len(message.tags) > MAX_TAGS or any(not 0 < len(tag) <= MAX_TAG for tag in message.tags):
        raise InvalidArgument.field("run.tags", f"expected at most {MAX_TAGS} tags of 1 to {MAX_TAG} characters")
    return message


def changes(request: UpdateRunRequest) -> dict[str, Any]:
    """Columns and values that an update changes. Raises InvalidArgument."""
    found = changed_fields(checked(request.run), request.update_mask, _UPDATABLE)
    return {name: list(value) if name == "tags" else value for name, value in found.items()}


def filter_terms(text: str) -> list[Term]:
    """The terms of a filter of runs. Raises InvalidFilter."""
    terms = parse_filter(text, {"dataset": "= !=", "state": "= !="})
    for term in terms:
        if term.field == "state" and term.value not in ("CREATED", "TRAINED"):
            raise InvalidFilter(f"filter: state is CREATED or TRAINED; got {term.value!r}")
    return terms


def config(message: pb2.Config, source: Source, base: Config | None = None) -> Config:
    """A configuration, with defaults filled in for these vectors, or with what `base` has. Raises InvalidArgument."""
    values: dict[str, Any] = {}
    for name, (low, high) in _RANGES.items():
        if message.HasField(name):  # type: ignore[arg-type]
            value = getattr(message, name)
            if not low <= value <= high:
                raise InvalidArgument.field(f"run.config.{name}", f"expected {low:g} to {high:g}, got {value:g}")
            values[name] = value
    for name, known in (("architecture", _ARCHITECTURES), ("normalization", _NORMALIZATIONS)):
        if chosen := getattr(message, name):
            by_number = {number: word for word, number in known.items()}
            if chosen not in by_number:
                raise InvalidArgument.field(f"run.config.{name}", f"expected one of its names, got {chosen}")
            values[name] = by_number[chosen]
    if message.auto:
        values = {**Config.chosen(source.row_count, source.dimension), **values}
    if base is not None:
        # What followed from other values follows from them anew.
        for name, of in (("learning_rate", ("expansion", "k", "batch_size", "epochs")), ("k_aux", ("k",))):
            if name not in values and any(each in values and values[each] != getattr(base, each) for each in of):
                values[name] = 0
        values = {**base.to_dict(), **values}
    found = Config(**values).resolved(source.row_count, source.dimension, os.cpu_count() or 1)
    latents = found.expansion * source.dimension
    if found.k > latents:
        raise InvalidArgument.field("run.config.k", f"expected at most {latents}, the number of latents; got {found.k}")
    return found


def _axes(request: SweepRunsRequest) -> dict[str, Sequence[Any]]:
    return {
        "k": request.ks,
        "expansion": request.expansions,
        "learning_rate": request.learning_rates,
        "seed": request.seeds,
    }


def place_in_grid(request: SweepRunsRequest, config: Config) -> str:
    """What sets a configuration apart from the others of its sweep, for people."""
    values = {name: getattr(config, name) for name, values in _axes(request).items() if len(values) > 1}
    return " · ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def grid(request: SweepRunsRequest) -> list[pb2.Config]:
    """The configurations of a sweep, in order. Raises InvalidArgument for more than 100."""
    axes = [[(name, value) for value in values] for name, values in _axes(request).items() if values]
    found: list[pb2.Config] = []
    for combination in itertools.islice(itertools.product(*axes), MAX_SWEEP + 1):
        each = pb2.Config()
        each.CopyFrom(request.config)
        for name, value in combination:
            setattr(each, name, value)
        found.append(each)
    if len(found) > MAX_SWEEP:
        raise InvalidArgument.field("ks", f"expected at most {MAX_SWEEP} combinations of the values")
    return found


def comparison(found: Matching) -> CompareRunsResponse:
    """A matching as a message."""
    first = np.flatnonzero(found.partner >= 0)

    def parts(groups: Mapping[int, list[int]]) -> list[CompareRunsResponse.Parts]:
        return [CompareRunsResponse.Parts(whole=whole, parts=parts) for whole, parts in groups.items()]

    return CompareRunsResponse(
        matches=[
            CompareRunsResponse.Match(first=i, second=found.partner[i], cosine=found.cosine[i]) for i in first.tolist()
        ],
        lost=found.lost().tolist(),
        gained=found.new().tolist(),
        split=parts(found.split()),
        merged=parts(found.merged()),
        mean_max_cosine=found.stability,
    )


def run(value: Run) -> pb2.Run:
    """A run as a message."""
    message = pb2.Run(
        name=value.name,
        uid=value.uid,
        display_name=value.display_name,
        description=value.description,
        dataset=value.source.dataset,
        dataset_uid=value.source.dataset_uid,
        dataset_revision=value.source.revision,
        row_ranges=[RowRange(start=start, end=end) for start, end in value.source.ranges],
        row_count=value.source.row_count,
        fingerprint=value.fingerprint,
        embedding_model=value.source.embedding_model,
        dimension=value.source.dimension,
        config=_config(value.config),
        state=pb2.Run.STATE_TRAINED if value.trained else pb2.Run.STATE_CREATED,
        revision=value.revision,
        code_count=value.source.row_count if value.trained else 0,
        job=value.job,
        device=value.device,
        create_time=stamp(value.create_time),
        update_time=stamp(value.update_time),
        tags=value.tags,
        imported_from=value.imported_from,
        latent_count=value.latent_count,
    )
    if value.evaluation is not None:
        fields = {name: each for name, each in value.evaluation.items() if name != "time" and each is not None}
        message.evaluation.CopyFrom(pb2.Evaluation(**fields))
        message.evaluation.time.FromNanoseconds(int(value.evaluation["time"] * 1e9))
    if value.metrics is not None:
        message.metrics.CopyFrom(metrics(value.metrics))
    if value.train_time is not None:
        message.train_time.CopyFrom(stamp(value.train_time))
    if value.delete_time is not None:
        message.delete_time.CopyFrom(stamp(value.delete_time))
    return message


def metrics(values: Mapping[str, Any]) -> pb2.Metrics:
    """Metrics as a message."""
    known = {name: value for name, value in values.items() if name != "time" and value is not None}
    message = pb2.Metrics(**known)
    message.time.FromNanoseconds(int(values["time"] * 1e9))
    return message


def _config(value: Config) -> pb2.Config:
    words = {"architecture": _ARCHITECTURES[value.architecture], "normalization": _NORMALIZATIONS[value.normalization]}
    return pb2.Config(**{**value.to_dict(), **words})
