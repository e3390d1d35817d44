"""Checks what requests may contain, and turns them into values of the domain."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np

from prisma.trainer.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma_common import wire
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.filters import Comparison, Filter, leaves, parse_filter
from services.chassis.history import check_position
from services.chassis.masks import changed_fields, check_lengths
from services.trainer.code_index import CodeSelection, Follower
from services.trainer.recipes import Recipe, Setting
from services.trainer.runs import CloneRequest, EncodingRequest, RunRequest
from services.trainer.sae import comparing
from services.trainer.sae.architectures import Name
from services.trainer.sae.config import Goal
from services.trainer.sae.normalization import Normalization

MAX_VECTORS = 8192
"""Vectors in one Encode request."""
MAX_TAGS, MAX_TAG_CHARACTERS = 20, 64
MAX_SWEEP_RUNS = 100
ARCHITECTURES: Mapping[Name, resources_pb2.Config.Architecture] = {
    "top_k": resources_pb2.Config.ARCHITECTURE_TOP_K,
    "batch_top_k": resources_pb2.Config.ARCHITECTURE_BATCH_TOP_K,
    "matryoshka": resources_pb2.Config.ARCHITECTURE_MATRYOSHKA,
}
NORMALIZATIONS: Mapping[Normalization, resources_pb2.Config.Normalization] = {
    "standard": resources_pb2.Config.NORMALIZATION_STANDARD,
    "scale": resources_pb2.Config.NORMALIZATION_SCALE,
    "none": resources_pb2.Config.NORMALIZATION_NONE,
}
GOAL_NUMBERS: Mapping[Goal, resources_pb2.Config.Goal] = {
    "interpretable": resources_pb2.Config.GOAL_INTERPRETABLE,
    "faithful": resources_pb2.Config.GOAL_FAITHFUL,
}
_MAX_CHARACTERS = {"display_name": 200, "description": 10_000}
_UPDATABLE = ("display_name", "description", "tags")
_RANGES: Mapping[str, tuple[float, float]] = {
    "expansion": (1, 256),
    "k": (1, 4096),
    "k_aux": (1, 65536),
    "aux_coefficient": (0, 10),
    "learning_rate": (1e-8, 1),
    "batch_size": (1, 1 << 20),
    "epochs": (1, 100_000),
    "cycles": (1, 1000),
    "warmup_fraction": (0, 1),
    "decay_fraction": (0, 1),
    "held_out_fraction": (0, 0.9),
    "dead_window": (1, 1 << 62),
    "gradient_clip": (1e-8, 1e8),
    "seed": (0, (1 << 63) - 1),
    "siblings": (0, 8),
    "latent_count": (1, 1 << 20),
    "threads": (0, 1024),
    "patience": (0, 100_000),
}


def run_id(name: str, field: str = "name") -> str:
    """The id in `runs/{run}`. Raises InvalidArgument."""
    return names.parse("runs/{run}", name, field)[0]


def dataset_name(name: str, field: str) -> str:
    """`name`, if it is a dataset's. Raises InvalidArgument."""
    names.parse("datasets/{dataset}", name, field)
    return name


def new_run_id(text: str, field: str = "run_id") -> str | None:
    """The id that a request chooses for a run; None if it leaves it out. Raises InvalidArgument."""
    return names.check_id(text, field) if text else None


def description_of(message: resources_pb2.Run) -> resources_pb2.Run:
    """A run message, if its texts and tags are within their limits. Raises InvalidArgument."""
    check_lengths(message, "run", _MAX_CHARACTERS)
    for name, texts in (
        ("display_name", [message.display_name]),
        ("description", [message.description]),
        ("tags", message.tags),
    ):
        if any("\0" in text for text in texts):
            raise InvalidArgument.field(f"run.{name}", "expected text without the character U+0000")
    if len(message.tags) > MAX_TAGS or any(not 0 < len(tag) <= MAX_TAG_CHARACTERS for tag in message.tags):
        raise InvalidArgument.field(
            "run.tags", f"expected at most {MAX_TAGS} tags of 1 to {MAX_TAG_CHARACTERS} characters"
        )
    return message


def display_name(text: str) -> str | None:
    """The display name that a request chooses; None if it leaves it out. Raises InvalidArgument."""
    description_of(resources_pb2.Run(display_name=text))
    return text or None


def changes(request: pb2.UpdateRunRequest) -> dict[str, Any]:
    """Columns and values that an update sets. Raises InvalidArgument."""
    values = changed_fields(description_of(request.run), request.update_mask, _UPDATABLE)
    return {name: list(value) if name == "tags" else value for name, value in values.items()}


def run_filter(text: str) -> Filter:
    """A filter of runs. Raises InvalidFilter."""
    condition = parse_filter(text, {"dataset": "= !=", "state": "= !="})
    for leaf in leaves(condition):
        if isinstance(leaf, Comparison) and leaf.field == "state":
            leaf.one_of(("CREATED", "TRAINED"))
    return condition


def new_run(request: pb2.CreateRunRequest) -> RunRequest:
    """The run that a request describes. Raises InvalidArgument."""
    run = description_of(request.run)
    return RunRequest(
        dataset=dataset_name(run.dataset, "run.dataset"),
        recipe=recipe(run.config, is_new=True),
        run_id=new_run_id(request.run_id),
        display_name=run.display_name or None,
        description=run.description,
        tags=list(run.tags),
        allow_pending=request.allow_pending_documents,
    )


def clone(request: pb2.CloneRunRequest) -> CloneRequest:
    """The clone that a request describes. Raises InvalidArgument."""
    return CloneRequest(
        original=run_id(request.name),
        changes=recipe(request.config),
        run_id=new_run_id(request.run_id),
        display_name=display_name(request.display_name),
    )


def weight_import(config: pb2.ImportWeightsRequest.Config) -> RunRequest:
    """The run that is to be made of imported weights. Raises InvalidArgument."""
    return RunRequest(
        dataset=dataset_name(config.dataset, "config.dataset"),
        run_id=new_run_id(config.run_id, "config.run_id"),
        display_name=display_name(config.display_name),
    )


def encoding_request(request: pb2.EncodeDatasetRequest) -> EncodingRequest:
    """What a request says of the dataset that is to be encoded. Raises InvalidArgument."""
    return EncodingRequest(
        run_id=run_id(request.name),
        dataset=dataset_name(request.dataset, "dataset") if request.dataset else None,
        new_run_id=new_run_id(request.run_id),
        display_name=display_name(request.display_name),
    )


def recipe(message: resources_pb2.Config, *, is_new: bool = False) -> Recipe:
    """The recipe in a request. is_new: of a run whose size is chosen unless it is set. Raises InvalidArgument."""
    settings: dict[str, Setting] = {}
    for name, (low, high) in _RANGES.items():
        if message.HasField(name):  # type: ignore[arg-type]  # all of these are optional fields
            value = getattr(message, name)
            if not low <= value <= high:
                expected = f"expected {_number(low)} to {_number(high)}, got {_number(value)}"
                raise InvalidArgument.field(f"run.config.{name}", expected)
            settings[name] = value
    for name, numbers in (("architecture", ARCHITECTURES), ("normalization", NORMALIZATIONS)):
        if number := getattr(message, name):
            words = {value: word for word, value in numbers.items()}
            if number not in words:
                raise InvalidArgument.field(f"run.config.{name}", f"expected one of its names, got {number}")
            settings[name] = words[number]
    if settings.get("threads") == 0:
        del settings["threads"]
    if settings.get("patience") == 0:
        settings["patience"] = None
    if "expansion" in settings and "latent_count" in settings:
        raise InvalidArgument.field("run.config.latent_count", "expected either expansion or latent_count, got both")
    goals: dict[int, Goal] = {number: goal for goal, number in GOAL_NUMBERS.items()}
    if message.goal and message.goal not in goals:
        raise InvalidArgument.field("run.config.goal", f"expected one of its names, got {message.goal}")
    unsized = is_new and not {"expansion", "latent_count"} & settings.keys()
    auto = message.auto if message.HasField("auto") else unsized
    return Recipe(settings, auto=auto, goal=goals.get(message.goal, "interpretable"))


async def chunks(messages: AsyncIterator[pb2.ImportWeightsRequest]) -> AsyncIterator[bytes]:
    """The file in an import's messages, after the config. Raises InvalidArgument."""
    async for message in messages:
        if message.WhichOneof("message") != "chunk":
            raise InvalidArgument.field("chunk", "expected chunks of the file after the config")
        yield message.chunk


async def import_config(messages: AsyncIterator[pb2.ImportWeightsRequest]) -> pb2.ImportWeightsRequest.Config:
    """The first message of an import. Raises InvalidArgument."""
    first = await anext(messages, None)
    if first is None or first.WhichOneof("message") != "config":
        raise InvalidArgument.field("config", "expected the first message of an import to be its config")
    return first.config


def grid(request: pb2.SweepRunsRequest) -> list[Recipe]:
    """The recipes of a sweep, in order. Raises InvalidArgument."""
    axes = [[(name, value) for value in values] for name, values in _axes(request).items() if values]
    recipes: list[Recipe] = []
    for combination in itertools.islice(itertools.product(*axes), MAX_SWEEP_RUNS + 1):
        config = resources_pb2.Config()
        config.CopyFrom(request.config)
        for name, value in combination:
            setattr(config, name, value)
        recipes.append(recipe(config))
    if len(recipes) > MAX_SWEEP_RUNS:
        raise InvalidArgument.field("ks", f"expected at most {MAX_SWEEP_RUNS} combinations of the values")
    return recipes


def title_in_grid(request: pb2.SweepRunsRequest, recipe_of_run: Recipe) -> str | None:
    """What distinguishes a run from the others of its sweep, for people; None if there are no others."""
    varied = [name for name, values in _axes(request).items() if len(values) > 1]
    return " · ".join(f"{name.replace('_', ' ')} {recipe_of_run.settings[name]:g}" for name in varied) or None


def vectors(request: pb2.EncodeRequest) -> tuple[wire.Rows, wire.Vectors]:
    """Row numbers and vectors to encode. Raises InvalidArgument."""
    try:
        rows, unpacked = wire.unpack_vectors(request.vectors)
    except wire.WireError as error:
        raise InvalidArgument.field("vectors", str(error)) from error
    if len(rows) > MAX_VECTORS:
        raise InvalidArgument.field("vectors", f"expected at most {MAX_VECTORS} vectors, got {len(rows)}")
    return rows, unpacked


def codes(request: pb2.DecodeRequest) -> wire.Codes:
    """Codes to decode. Raises InvalidArgument."""
    try:
        unpacked = wire.unpack_codes(request.codes)
    except wire.WireError as error:
        raise InvalidArgument.field("codes", str(error)) from error
    if len(unpacked) > MAX_VECTORS:
        raise InvalidArgument.field("codes", f"expected at most {MAX_VECTORS} codes, got {len(unpacked)}")
    if not np.isfinite(unpacked.values).all():
        raise InvalidArgument.field("codes", "expected finite activations")
    return unpacked


def min_cosine(request: pb2.CompareRunsRequest) -> float:
    """The cosine from which latents count as the same. Raises InvalidArgument."""
    cosine = request.min_cosine if request.HasField("min_cosine") else comparing.SAME
    if not 0 < cosine <= 1:
        raise InvalidArgument.field("min_cosine", f"expected more than 0, at most 1, got {cosine:g}")
    return cosine


def code_selection(request: pb2.ReadCodesRequest) -> CodeSelection:
    """Which codes to read. Raises InvalidArgument."""
    check_position(history=request.history, revision=request.since_revision)
    return CodeSelection(
        follower=Follower(history=request.history, revision=request.since_revision),
        start_row=request.start_row,
        ranges=[(bounds.start, bounds.end) for bounds in request.row_ranges],
        held_out=request.held_out,
    )


def _axes(request: pb2.SweepRunsRequest) -> dict[str, Sequence[float]]:
    return {
        "k": request.ks,
        "expansion": request.expansions,
        "learning_rate": request.learning_rates,
        "seed": request.seeds,
    }


def _number(value: float) -> str:
    """A number for people: integers with all their digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"
