"""Messages ↔ values of the domain. What a request may hold is checked here."""

from __future__ import annotations

import re

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from prisma.embedder.v1.resources_pb2 import Document
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.moments import stamp
from services.interpreter.analyzing import Analysis, norm
from services.interpreter.families import Family
from services.interpreter.features import ORDERS, Features, Membership
from services.interpreter.labels import KEYWORDS, Label, Options, Source
from services.interpreter.neighbors import Neighbors
from services.interpreter.pictures import Kind, Matrix, Sample
from services.interpreter.runs import Interpretation

MAX_TEXT_BYTES = 1 << 20
MAX_INDICES = 100_000
_SOURCES = {
    Source.KEYWORDS: resources_pb2.Label.SOURCE_KEYWORDS,
    Source.MODEL: resources_pb2.Label.SOURCE_MODEL,
    Source.HUMAN: resources_pb2.Label.SOURCE_HUMAN,
}
_KINDS = {
    resources_pb2.FeatureMatrix.KIND_UNSPECIFIED: Kind.CO_OCCURRENCE,
    resources_pb2.FeatureMatrix.KIND_DECODER_COSINE: Kind.DECODER_COSINE,
    resources_pb2.FeatureMatrix.KIND_CO_OCCURRENCE: Kind.CO_OCCURRENCE,
    resources_pb2.FeatureMatrix.KIND_ACTIVATION_COSINE: Kind.ACTIVATION_COSINE,
}
_MODEL = re.compile(r"keywords|ollama/[\w.:/-]{1,200}")


def run_name(name: str, field: str) -> str:
    """`name` if it is that of a run. Raises InvalidArgument."""
    names.parse("runs/{run}", name, field)
    return name


def feature_name(name: str, field: str) -> tuple[str, int]:
    """The run's name and the index in `runs/{run}/features/{index}`. Raises InvalidArgument."""
    run, index = names.parse("runs/{run}/features/{index}", name, field)
    return f"runs/{run}", _whole(index, name, field)


def label_name(name: str) -> tuple[str, int, int]:
    """The run's name, the index and the revision of a label's name. Raises InvalidArgument."""
    run, index, revision = names.parse("runs/{run}/features/{index}/labels/{revision}", name, "name")
    return f"runs/{run}", _whole(index, name, "name"), _whole(revision, name, "name")


def order(text: str) -> tuple[str, bool]:
    """Field and whether the largest comes first, of an `order_by` (AIP-132). Raises InvalidArgument."""
    field, _, direction = (text.strip() or "density desc").partition(" ")
    if field not in ORDERS or direction.strip() not in ("", "asc", "desc"):
        raise InvalidArgument.field(
            "order_by", f"expected one of {', '.join(ORDERS)}, with ` desc` behind it or not; got {text[:100]!r}"
        )
    return field, direction.strip() == "desc"


def options(message: resources_pb2.LabelOptions) -> Options:
    """How labels are asked for, with the defaults filled in. Raises InvalidArgument."""
    plain = Options()
    model = message.model or plain.model
    if not _MODEL.fullmatch(model):
        raise InvalidArgument.field("options.model", f"expected `{KEYWORDS}` or `ollama/<model>`; got {model[:200]!r}")
    if len(message.system_prompt) > 20_000:
        raise InvalidArgument.field("options.system_prompt", "expected at most 20,000 characters")
    return Options(
        model,
        int(_within(message, "positive_count", plain.positive_count, 1, 50)),
        int(_within(message, "negative_count", plain.negative_count, 0, 50)),
        _within(message, "temperature", plain.temperature, 0, 2),
        message.system_prompt,
    )


def label_request(request: pb2.LabelFeaturesRequest) -> pb2.LabelFeaturesRequest:
    """A request for a job, if it holds what it may. Raises InvalidArgument."""
    run_name(request.run, "run")
    options(request.options)
    if len(request.indices) > MAX_INDICES:
        raise InvalidArgument.field("indices", f"expected at most {MAX_INDICES:,}; leave them out for all")
    return request


def min_cosine(request: pb2.CarryLabelsRequest) -> float:
    """From which cosine features count as the same. Raises InvalidArgument."""
    if not request.HasField("min_cosine"):
        return 0.9
    if not 0 < request.min_cosine <= 1:
        raise InvalidArgument.field("min_cosine", f"expected above 0 and at most 1, got {request.min_cosine:g}")
    return request.min_cosine


def at_most(request: Message, field: str, default: int, most: int) -> int:
    """How much is asked for. Raises InvalidArgument."""
    count: int = getattr(request, field) or default
    if count > most:
        raise InvalidArgument.field(field, f"expected at most {most:,}, got {count:,}")
    return count


def matrix_kind(request: pb2.GetFeatureMatrixRequest) -> Kind:
    """By what features are compared. Raises InvalidArgument."""
    if request.kind not in _KINDS:
        known = ", ".join(resources_pb2.FeatureMatrix.Kind.keys()[1:])
        raise InvalidArgument.field("kind", f"expected one of {known}, got {request.kind}")
    return _KINDS[request.kind]


def written(label: resources_pb2.Label) -> tuple[str, str]:
    """Text and description of a person's label. Raises InvalidArgument."""
    text, description = " ".join(label.text.split()), label.description.strip()
    if not text or len(text) > 200:
        raise InvalidArgument.field("label.text", f"expected 1 to 200 characters that are not blank, got {len(text)}")
    if len(description) > 2000:
        raise InvalidArgument.field("label.description", f"expected at most 2,000 characters, got {len(description)}")
    return text, description


def family_request(request: pb2.BuildFamiliesRequest) -> pb2.BuildFamiliesRequest:
    """A request for a job, if it holds what it may. Raises InvalidArgument."""
    run_name(request.run, "run")
    if request.HasField("threshold") and not 0 < request.threshold <= 1:
        raise InvalidArgument.field("threshold", f"expected more than 0, at most 1; got {request.threshold}")
    if request.HasField("rounds") and not 1 <= request.rounds <= 10:
        raise InvalidArgument.field("rounds", f"expected 1 to 10, got {request.rounds}")
    return request


def text(value: str) -> str:
    """A text to analyse. Raises InvalidArgument."""
    if not value.strip():
        raise InvalidArgument.field("text", "expected a text that is not blank")
    if len(value.encode()) > MAX_TEXT_BYTES:
        raise InvalidArgument.field("text", f"expected at most {MAX_TEXT_BYTES:,} bytes, got {len(value.encode()):,}")
    return value


def interpretation(found: Interpretation, features: Features | None) -> resources_pb2.Interpretation:
    """How far a run is interpreted."""
    run = found.run
    message = resources_pb2.Interpretation(
        name=f"{run.name}/interpretation",
        run_uid=run.uid,
        latent_count=run.latent_count,
        statistics_revision=found.statistics_revision,
        label_revision=found.label_revision,
    )
    if features is not None:
        message.live_count = int((features.statistics.active_count > 0).sum())
        message.dead_count = features.count - message.live_count
        message.labelled_count = len(features.labels)
        message.family_count = len(features.families)
        message.row_count = features.statistics.row_count
    if found.statistics_time:
        message.statistics_time.CopyFrom(stamp(found.statistics_time))
    if found.families_time:
        message.families_time.CopyFrom(stamp(found.families_time))
    return message


def feature(features: Features, index: int, *, full: bool = False) -> resources_pb2.Feature:
    """A feature; its neighbours only where it is asked for in full."""
    statistics, run = features.statistics, features.interpretation.run
    message = resources_pb2.Feature(
        name=f"{run.name}/features/{index}",
        index=index,
        dead=not statistics.active_count[index],
        active_count=int(statistics.active_count[index]),
        density=float(statistics.density[index]),
        max_activation=float(statistics.maximum[index]),
        mean_activation=float(statistics.mean[index]),
        variance=float(statistics.variance[index]),
        histogram=resources_pb2.Feature.Histogram(
            counts=statistics.histogram[index].tolist(), upper_bound=float(statistics.maximum[index])
        ),
        families=[membership(run.name, features, each) for each in features.memberships.get(index, ())],
    )
    if index in features.labels:
        message.label.CopyFrom(label(run.name, features.labels[index]))
    if full:
        message.decoder_neighbors.extend(_neighbors(features, index, statistics.decoder, counted=False))
        message.coactive_neighbors.extend(_neighbors(features, index, statistics.coactive, counted=True))
    return message


def membership(run: str, features: Features, place: Membership) -> resources_pb2.FamilyMembership:
    """A feature's place in a family."""
    return resources_pb2.FamilyMembership(
        family=f"{run}/families/{place.family.id}",
        display_name=_family_title(features, place.family),
        color=place.family.color,
        parent_index=place.member.parent,
        is_parent=place.member.parent is None,
    )


def label(run: str, each: Label) -> resources_pb2.Label:
    """A label of the history."""
    draft = each.draft
    message = resources_pb2.Label(
        name=f"{run}/features/{draft.index}/labels/{each.revision}",
        index=draft.index,
        text=draft.text,
        description=draft.description,
        source=_SOURCES[draft.source],
        model=draft.model,
        author=draft.author,
        keywords=draft.keywords,
        positive_rows=draft.positive_rows,
        negative_rows=draft.negative_rows,
        active=each.active,
        create_time=stamp(each.create_time),
        carried_from=draft.carried_from,
    )
    if draft.options is not None:
        message.options.CopyFrom(
            resources_pb2.LabelOptions(
                model=draft.options.model,
                positive_count=draft.options.positive_count,
                negative_count=draft.options.negative_count,
                temperature=draft.options.temperature,
                system_prompt=draft.options.system_prompt,
            )
        )
    return message


def example(document: Document, activation: float) -> resources_pb2.Example:
    """A document that activates a feature."""
    metadata = Struct()
    metadata.CopyFrom(document.metadata)
    return resources_pb2.Example(
        document=document.name,
        key=document.key,
        row=document.row,
        activation=activation,
        text=document.text,
        metadata=metadata,
    )


def family(features: Features, each: Family) -> resources_pb2.Family:
    """A family with its members."""
    return resources_pb2.Family(
        name=f"{features.interpretation.run.name}/families/{each.id}",
        display_name=_family_title(features, each),
        color=each.color,
        round=each.round,
        parent_index=each.root,
        member_count=len(each.members),
        members=[
            resources_pb2.Family.Member(
                index=member.index,
                label=features.label_text(member.index),
                density=float(features.statistics.density[member.index]),
                parent_index=member.parent,
                weight=member.weight,
            )
            for member in each.members
        ],
    )


def graph(features: Features, only_round: int) -> resources_pb2.Graph:
    """Features of all families, or those of one round, and the edges of their trees; an edge of two is drawn once."""
    families = [each for each in features.families if only_round in (0, each.round)]
    within = {each.id for each in families}
    edges: dict[tuple[int, int], resources_pb2.Graph.Edge] = {}
    for each in families:
        for member in each.members:
            if member.parent is not None:
                edges.setdefault(
                    (member.parent, member.index),
                    resources_pb2.Graph.Edge(
                        source=member.parent, target=member.index, weight=member.weight, family=each.id
                    ),
                )
    nodes = sorted({member.index for each in families for member in each.members})
    return resources_pb2.Graph(nodes=[_node(features, index, within) for index in nodes], edges=edges.values())


def activation_sample(features: Features, found: Sample) -> resources_pb2.ActivationSample:
    """Activations of some rows."""
    return resources_pb2.ActivationSample(
        rows=found.rows,
        indices=found.indices,
        labels=[features.label_text(index) for index in found.indices.tolist()],
        offsets=found.activations.indptr,
        columns=found.activations.indices,
        activations=found.activations.data,
        total_rows=features.statistics.row_count,
    )


def feature_matrix(features: Features, kind: Kind, found: Matrix) -> resources_pb2.FeatureMatrix:
    """How alike features are."""
    return resources_pb2.FeatureMatrix(
        kind=f"KIND_{kind.name}",
        indices=found.indices,
        labels=[features.label_text(index) for index in found.indices.tolist()],
        values=found.values.ravel(),
        row_count=found.row_count,
    )


def analysis(found: Analysis) -> resources_pb2.Analysis:
    """The active features of a text or a document, the strongest first, ties by index."""
    encoded = found.encoded
    pairs = sorted(
        zip(encoded.indices.tolist(), encoded.values.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0])
    )
    return resources_pb2.Analysis(
        features=[_active(found, index, value) for index, value in pairs],
        latent_count=found.run.latent_count,
        unexplained_fraction=encoded.unexplained,
        embedding_norm=norm(encoded),
        dimension=len(encoded.vector),
        embedding_truncated=encoded.truncated,
        document=found.document,
        text=found.text,
    )


def _active(found: Analysis, index: int, activation: float) -> resources_pb2.Analysis.ActiveFeature:
    message = resources_pb2.Analysis.ActiveFeature(index=index, activation=activation)
    features = found.features
    if features is None:
        return message
    if index in features.labels:
        message.label = features.labels[index].draft.text
        message.description = features.labels[index].draft.description
    message.max_activation = float(features.statistics.maximum[index])
    message.density = float(features.statistics.density[index])
    message.families.extend(membership(found.run.name, features, each) for each in features.memberships.get(index, ()))
    return message


def _node(features: Features, index: int, within: set[str]) -> resources_pb2.Graph.Node:
    places = [each for each in features.memberships[index] if each.family.id in within]
    rounds = [each.family.round for each in places]
    return resources_pb2.Graph.Node(
        index=index,
        label=features.label_text(index),
        density=float(features.statistics.density[index]),
        families=[each.family.id for each in places],
        color=places[0].family.color,
        is_parent=any(each.member.parent is None for each in places),
        is_bridge=any(rounds.count(number) > 1 for number in rounds),
    )


def _neighbors(
    features: Features, index: int, closest: Neighbors, *, counted: bool
) -> list[resources_pb2.Feature.Neighbor]:
    found: list[resources_pb2.Feature.Neighbor] = []
    for other, score in zip(closest.indices[index].tolist(), closest.scores[index].tolist(), strict=True):
        if other >= 0:
            found.append(
                resources_pb2.Feature.Neighbor(
                    feature=f"{features.interpretation.run.name}/features/{other}",
                    index=other,
                    label=features.label_text(other),
                    score=score,
                    shared_count=int(features.statistics.cooccurrence[index, other]) if counted else 0,
                )
            )
    return found


def _family_title(features: Features, each: Family) -> str:
    return features.label_text(each.root) or f"feature {each.root}"


def _whole(text: str, name: str, field: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise InvalidArgument.field(field, f"expected a whole number as the last part, got {name[:200]!r}")
    return int(text)


def _within(message: resources_pb2.LabelOptions, field: str, default: float, least: float, most: float) -> float:
    if not message.HasField(field):  # pyright: ignore[reportArgumentType] - names of optional fields
        return default
    value = getattr(message, field)
    if not least <= value <= most:
        raise InvalidArgument.field(f"options.{field}", f"expected {least:g} to {most:g}, got {value:g}")
    return value
