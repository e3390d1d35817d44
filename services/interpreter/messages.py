"""Values of the domain as messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from google.protobuf.struct_pb2 import Struct

from prisma.embedder.v1 import resources_pb2 as embedder_resources
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from services.chassis.moments import stamp
from services.chassis.paging import Page
from services.interpreter.analyzer import Analysis
from services.interpreter.documents import Passage
from services.interpreter.examples import Decile, Example
from services.interpreter.familiarity import FALSE_ALARM_RATE, Familiarity
from services.interpreter.families import Family
from services.interpreter.features import Features, Membership
from services.interpreter.label_editor import LabelBlock, RunLabel
from services.interpreter.label_import import MAX_CHANGES, ImportReport
from services.interpreter.labellers import LabelModel
from services.interpreter.labels import Label, Options, Provenance, Source
from services.interpreter.matrices import Kind, Matrix, Sample
from services.interpreter.measurements import Agreement, Correlation, Measurement
from services.interpreter.naming import DENSE
from services.interpreter.neighbors import Neighbors
from services.interpreter.requests import FeatureListing
from services.interpreter.runs import Interpretation
from services.interpreter.scoring import Score, Scores, Share
from services.interpreter.trust import MissedCondition, Trust

_SOURCES = {
    Source.KEYWORDS: resources_pb2.Label.SOURCE_KEYWORDS,
    Source.MODEL: resources_pb2.Label.SOURCE_MODEL,
    Source.HUMAN: resources_pb2.Label.SOURCE_HUMAN,
}


def interpretation(state: Interpretation, features: Features | None) -> resources_pb2.Interpretation:
    """How far a run is interpreted. features: None without statistics, or where these are damaged."""
    message = resources_pb2.Interpretation(
        name=f"{state.run.name}/interpretation",
        run_uid=state.run.uid,
        latent_count=state.run.latent_count,
        label_revision=state.label_revision,
    )
    if (version := state.statistics) is not None:
        live_count = features.live_count if features is not None else version.live_count or 0
        message.live_count = live_count
        message.dead_count = state.run.latent_count - live_count
        message.row_count = features.statistics.row_count if features is not None else version.row_count or 0
        message.labelled_count = state.labelled_count
        message.unnamed_count = state.unnamed_count
        message.family_count = state.family_count
        message.statistics_revision = version.revision
        message.statistics_time.CopyFrom(stamp(version.time))
        if features is not None:
            message.trust_counts.CopyFrom(_trust_counts(features))
    if state.families_time:
        message.families_time.CopyFrom(stamp(state.families_time))
    return message


def feature_page(features: Features, indices: Sequence[int], listing: FeatureListing) -> pb2.ListFeaturesResponse:
    """A page of a list of features."""
    part, token = listing.page.part(indices)
    return pb2.ListFeaturesResponse(
        features=[feature(features, index, full=listing.full) for index in part],
        total_size=len(indices),
        next_page_token=token,
    )


def feature(features: Features, index: int, *, full: bool = False) -> resources_pb2.Feature:
    """A feature; with its neighbours if `full`."""
    statistics, run = features.statistics, features.run
    maximum = float(statistics.maximum[index])
    message = resources_pb2.Feature(
        name=f"{run.name}/features/{index}",
        index=index,
        dead=not statistics.active_count[index],
        active_count=int(statistics.active_count[index]),
        density=float(statistics.density[index]),
        max_activation=maximum,
        mean_activation=float(statistics.mean[index]),
        variance=float(statistics.variance[index]),
        histogram=resources_pb2.Feature.Histogram(counts=statistics.histogram[index].tolist(), upper_bound=maximum),
        families=[_membership(run.name, features, place) for place in features.memberships.get(index, ())],
        trust=_trust(features.trust(index)),
        stability=features.stability(index),
        threshold=features.threshold(index),
        dense=bool(statistics.density[index] > DENSE),
        precise_count=int(features.precise_counts[index]),
        precise_density=features.precise_density(index),
        missed_conditions=[_missed_condition(missed) for missed in features.missed_conditions(index)],
    )
    if index in features.labels:
        message.label.CopyFrom(_label(run.name, features.labels[index]))
    if full:
        message.decoder_neighbors.extend(_neighbors(features, index, statistics.decoder, counted=False))
        message.coactive_neighbors.extend(_neighbors(features, index, statistics.coactive, counted=True))
    return message


def examples(page: Sequence[Example], deciles: Sequence[Decile], token: str) -> pb2.ListExamplesResponse:
    """A page of examples of a feature with these deciles."""
    return pb2.ListExamplesResponse(
        examples=[_example(example) for example in page],
        next_page_token=token,
        deciles=[
            pb2.ListExamplesResponse.Decile(
                decile=decile.number,
                max_activation=decile.strongest,
                min_activation=decile.weakest,
                score=decile.score,
            )
            for decile in deciles
        ],
    )


def label(value: RunLabel) -> resources_pb2.Label:
    """A label of a run."""
    return _label(value.run.name, value.label)


def label_page(labels: Sequence[RunLabel], page: Page) -> pb2.ListLabelsResponse:
    """A page of a feature's labels. labels: one more than the page has where there is a next page."""
    response = pb2.ListLabelsResponse(labels=[label(value) for value in labels[: page.size]])
    if len(labels) > page.size:
        response.next_page_token = page.next_token(labels[page.size - 1].label.revision)
    return response


def label_block(block: LabelBlock) -> pb2.ReadLabelsResponse:
    """A block of the labels that changed."""
    message = pb2.ReadLabelsResponse(revision=block.revision, run_uid=block.run.uid, history=block.history)
    if block.features is not None:
        for value in block.labels:
            entry = feature(block.features, value.draft.index)
            entry.label.CopyFrom(_label(block.run.name, value))
            message.features.append(entry)
    return message


def label_models(models: Sequence[LabelModel], unreachable: Mapping[str, str]) -> pb2.ListLabelModelsResponse:
    """The models, and the providers that do not answer with their error messages."""
    response = pb2.ListLabelModelsResponse()
    for model in models:
        response.label_models.add(id=model.id, display_name=model.display_name, is_default=model.is_default)
    for provider, error_message in unreachable.items():
        response.unreachable.add(provider=provider, message=error_message)
    return response


def label_import(report: ImportReport) -> pb2.ImportLabelsResponse:
    """What an import of labels did."""
    return pb2.ImportLabelsResponse(
        added_count=len(report.changes),
        unchanged_count=report.unchanged_count,
        skipped_count=report.skipped.total(),
        rejected_count=report.rejected_count,
        rejections=[
            pb2.ImportLabelsResponse.Rejection(
                item=rejection.item,
                index=rejection.index,
                reason=f"REASON_{rejection.reason}",
                message=rejection.message,
            )
            for rejection in report.rejections
        ],
        changes=[
            pb2.ImportLabelsResponse.Change(
                index=change.draft.index,
                text=change.draft.text,
                previous_text=change.previous,
                source=_SOURCES[change.draft.source],
            )
            for change in report.changes[:MAX_CHANGES]
        ],
        notes=report.notes,
    )


def family_page(features: Features, families: Sequence[Family], page: Page) -> pb2.ListFamiliesResponse:
    """A page of families."""
    part, token = page.part(families)
    return pb2.ListFamiliesResponse(
        families=[_family(features, family) for family in part], total_size=len(families), next_page_token=token
    )


def graph(features: Features, only_round: int) -> resources_pb2.Graph:
    """The features and edges of all families, or of one round's; an edge of two families appears once."""
    families = [family for family in features.families if only_round in (0, family.round)]
    family_ids = {family.id for family in families}
    edges: dict[tuple[int, int], resources_pb2.Graph.Edge] = {}
    for family in families:
        for member in family.members:
            if member.parent is not None and (member.parent, member.index) not in edges:
                edges[member.parent, member.index] = resources_pb2.Graph.Edge(
                    source=member.parent, target=member.index, weight=member.weight, family=family.id
                )
    nodes = sorted({member.index for family in families for member in family.members})
    return resources_pb2.Graph(nodes=[_node(features, index, family_ids) for index in nodes], edges=edges.values())


def activation_sample(features: Features, sample: Sample) -> resources_pb2.ActivationSample:
    """Activations in some rows."""
    return resources_pb2.ActivationSample(
        rows=sample.rows,
        indices=sample.indices,
        labels=[features.label_text(index) for index in sample.indices.tolist()],
        offsets=sample.activations.indptr,
        columns=sample.activations.indices,
        activations=sample.activations.data,
        total_rows=features.statistics.row_count,
        reliabilities=[reliability(features, index) for index in sample.indices.tolist()],
    )


def feature_matrix(features: Features, kind: Kind, matrix: Matrix) -> resources_pb2.FeatureMatrix:
    """How similar features are."""
    return resources_pb2.FeatureMatrix(
        kind=f"KIND_{kind.name}",
        indices=matrix.indices,
        labels=[features.label_text(index) for index in matrix.indices.tolist()],
        values=matrix.values.ravel(),
        row_count=matrix.row_count,
        reliabilities=[reliability(features, index) for index in matrix.indices.tolist()],
    )


def analysis(value: Analysis, *, name_tail: bool = False) -> resources_pb2.Analysis:
    """The active features of a text or a document, the strongest first, ties by index.

    name_tail: whether to name features below their threshold, too.
    """
    return resources_pb2.Analysis(
        features=[_active_feature(value, index, activation, name_tail) for index, activation in value.active],
        latent_count=value.run.latent_count,
        unexplained_fraction=value.encoded.unexplained,
        embedding_norm=value.norm,
        dimension=len(value.encoded.vector),
        embedding_truncated=value.encoded.truncated,
        document=value.document or "",
        text=value.text,
        familiarity=None if value.familiarity is None else _familiarity(value.familiarity),
        passage=passage(value.passage),
    )


def _label(run: str, value: Label) -> resources_pb2.Label:
    draft = value.draft
    message = resources_pb2.Label(
        name=f"{run}/features/{draft.index}/labels/{value.revision}",
        index=draft.index,
        text=draft.text,
        description=draft.description,
        source=_SOURCES[draft.source],
        model=draft.model or "",
        author=draft.author or "",
        keywords=draft.keywords,
        positive_rows=draft.positive_rows,
        negative_rows=draft.negative_rows,
        active=value.active,
        create_time=stamp(value.create_time),
        carried_from=draft.carried_from or "",
    )
    if draft.options is not None:
        message.options.CopyFrom(_options(draft.options))
    if draft.scores is not None:
        message.test.CopyFrom(_test(draft.scores))
        if draft.measurements is not None:
            message.test.measurements.extend(_measurement(scorer) for scorer in draft.measurements.scorers)
            message.test.agreements.extend(_agreement(agreement) for agreement in draft.measurements.agreements)
        if (score := draft.scores.score) is not None:
            message.score, message.score_low, message.score_high = score.auc, score.low, score.high
    if draft.provenance is not None:
        message.provenance.CopyFrom(_provenance(draft.provenance))
    return message


def reliability(features: Features, index: int) -> resources_pb2.Reliability:
    """How far a feature and its active label can be relied on."""
    return _reliability(features.trust(index), features.score(index) if features.label_text(index) else None)


def _reliability(trust: Trust, score: Score | None) -> resources_pb2.Reliability:
    return resources_pb2.Reliability(
        trust=_trust(trust),
        score=score.auc if score else None,
        score_low=score.low if score else None,
        score_high=score.high if score else None,
    )


def _trust_counts(features: Features) -> resources_pb2.Interpretation.TrustCounts:
    counts = features.trust_counts
    return resources_pb2.Interpretation.TrustCounts(
        trusted=counts[Trust.TRUSTED],
        open=counts[Trust.OPEN],
        doubtful=counts[Trust.DOUBTFUL],
        unnamed=counts[Trust.UNNAMED],
    )


def _missed_condition(missed: MissedCondition) -> resources_pb2.MissedCondition:
    return resources_pb2.MissedCondition(condition=f"CONDITION_{missed.condition}", explanation=missed.explanation)


def _trust(value: Trust) -> str:
    return f"TRUST_{value}"


def _test(scores: Scores) -> resources_pb2.LabelTest:
    """A test, without the scores for which there were too few documents."""
    return resources_pb2.LabelTest(
        method=f"METHOD_{scores.method}",
        score=_score(scores.score),
        embedding_hard=_score(scores.embedding_hard),
        embedding_random=_score(scores.embedding_random),
        words_hard=_score(scores.words_hard),
        words_random=_score(scores.words_random),
        deciles=[math.nan if area is None else area for area in scores.deciles],
        floor=scores.floor,
        ceiling=scores.ceiling,
        threshold=scores.threshold,
        mentions=_share(scores.mentions),
        near_mentions=_share(scores.near_mentions),
        breadth=scores.breadth,
        coherence=_score(scores.coherence),
    )


def _share(share: Share | None) -> resources_pb2.LabelTest.Share | None:
    return share and resources_pb2.LabelTest.Share(**asdict(share))


def _score(score: Score | None) -> resources_pb2.LabelTest.Score | None:
    return score and resources_pb2.LabelTest.Score(
        value=score.auc,
        low=score.low,
        high=score.high,
        active_count=score.active_count,
        silent_count=score.silent_count,
    )


def _measurement(value: Measurement) -> resources_pb2.LabelTest.Measurement:
    return resources_pb2.LabelTest.Measurement(
        scorer=f"SCORER_{value.scorer}",
        model=value.model or "",
        hard=_score(value.hard),
        random=_score(value.random),
        deciles=[
            resources_pb2.LabelTest.DecileScore(decile=number, score=_score(score))
            for number, score in enumerate(value.deciles, 1)
        ],
        floor=value.floor,
        correlation=value.correlation and _correlation(value.correlation),
        question_count=value.question_count,
        unusable_count=value.unusable_count,
    )


def _agreement(value: Agreement) -> resources_pb2.LabelTest.Agreement:
    return resources_pb2.LabelTest.Agreement(
        first=f"SCORER_{value.first}", second=f"SCORER_{value.second}", correlation=_correlation(value.correlation)
    )


def _correlation(value: Correlation) -> resources_pb2.LabelTest.Correlation:
    return resources_pb2.LabelTest.Correlation(
        value=value.value, low=value.low, high=value.high, document_count=value.document_count
    )


def _provenance(value: Provenance) -> resources_pb2.LabelProvenance:
    return resources_pb2.LabelProvenance(
        origin=_origin(value.origin),
        rejected=[
            resources_pb2.LabelProvenance.Rejected(
                text=candidate.text, origin=_origin(candidate.origin), choice=candidate.choice
            )
            for candidate in value.rejected
        ],
        writing_rows=value.writing_rows,
        choosing_rows=value.choosing_rows,
        scoring_rows=value.scoring_rows,
        hard_rows=value.hard_rows,
        choosing_silent_rows=value.choosing_silent_rows,
        dataset=value.dataset.name if value.dataset else "",
    )


def _origin(value: str | None) -> str:
    return f"ORIGIN_{value or 'UNSPECIFIED'}"


def _options(options: Options) -> resources_pb2.LabelOptions:
    return resources_pb2.LabelOptions(
        model=options.model,
        positive_count=options.positive_count,
        negative_count=options.negative_count,
        temperature=options.temperature,
        system_prompt=options.system_prompt or "",
        stop_words=options.stop_words,
    )


def _example(example: Example) -> resources_pb2.Example:
    document = example.document
    metadata = Struct()
    metadata.update(document.metadata)
    return resources_pb2.Example(
        document=document.name,
        key=document.key,
        row=document.row,
        activation=example.row.activation,
        text=document.text,
        metadata=metadata,
        decile=example.row.decile or 0,
        tail=example.tail,
        passage=passage(document.passage),
    )


def passage(value: Passage | None) -> embedder_resources.Passage | None:
    """Where a passage stands."""
    return None if value is None else embedder_resources.Passage(**asdict(value))


def _membership(run: str, features: Features, place: Membership) -> resources_pb2.FamilyMembership:
    return resources_pb2.FamilyMembership(
        family=f"{run}/families/{place.family.id}",
        display_name=features.family_title(place.family),
        color=place.family.color,
        parent_index=place.member.parent,
        is_parent=place.member.parent is None,
        reliability=_family_reliability(features, place.family),
    )


def _family(features: Features, family: Family) -> resources_pb2.Family:
    message = resources_pb2.Family(
        name=f"{features.run.name}/families/{family.id}",
        display_name=features.family_title(family),
        color=family.color,
        round=family.round,
        parent_index=family.root,
        member_count=len(family.members),
        members=[
            resources_pb2.Family.Member(
                index=member.index,
                label=features.label_text(member.index),
                density=features.precise_density(member.index),
                parent_index=member.parent,
                weight=member.weight,
                reliability=reliability(features, member.index),
            )
            for member in family.members
        ],
        reliability=_family_reliability(features, family),
    )
    if family.label is not None:
        message.description, message.density = family.label.description, family.label.density
        if family.label.scores is not None:
            message.test.CopyFrom(_test(family.label.scores))
    return message


def _family_reliability(features: Features, family: Family) -> resources_pb2.Reliability:
    """How far a family's name can be relied on."""
    label = family.label
    return _reliability(
        features.family_trust(family), label.scores.score if label and label.text and label.scores else None
    )


def _familiarity(value: Familiarity) -> resources_pb2.Analysis.Familiarity:
    return resources_pb2.Analysis.Familiarity(
        unexplained_percentile=value.unexplained_percentile,
        similarity=value.similarity,
        similarity_percentile=value.similarity_percentile,
        unknown_share=value.unknown_share,
        unknown_percentile=value.unknown_percentile,
        p_value=value.p_value,
        out_of_distribution=value.out_of_distribution,
        false_alarm_rate=FALSE_ALARM_RATE,
        document_count=value.document_count,
        min_length=value.shortest,
        max_length=value.longest,
        held_out=value.held_out,
    )


def _active_feature(
    value: Analysis, index: int, activation: float, name_tail: bool
) -> resources_pb2.Analysis.ActiveFeature:
    features = value.features
    if features is None:
        return resources_pb2.Analysis.ActiveFeature(index=index, activation=activation)
    message = resources_pb2.Analysis.ActiveFeature(
        index=index,
        activation=activation,
        trust=_trust(features.trust(index)),
        tail=features.is_tail(index, activation),
    )
    if index in features.labels and (name_tail or not message.tail):
        message.label = features.labels[index].draft.text
        message.description = features.labels[index].draft.description
        if (score := features.score(index)) is not None:
            message.score, message.score_low, message.score_high = score.auc, score.low, score.high
    message.max_activation = float(features.statistics.maximum[index])
    message.density = features.precise_density(index)
    memberships = features.memberships.get(index, ())
    message.families.extend(_membership(value.run.name, features, place) for place in memberships)
    return message


def _node(features: Features, index: int, family_ids: set[str]) -> resources_pb2.Graph.Node:
    places = [place for place in features.memberships[index] if place.family.id in family_ids]
    rounds = [place.family.round for place in places]
    return resources_pb2.Graph.Node(
        index=index,
        label=features.label_text(index),
        density=features.precise_density(index),
        families=[place.family.id for place in places],
        color=places[0].family.color,
        is_parent=any(place.member.parent is None for place in places),
        is_bridge=any(rounds.count(number) > 1 for number in rounds),
        reliability=reliability(features, index),
    )


def _neighbors(
    features: Features, index: int, closest: Neighbors, *, counted: bool
) -> list[resources_pb2.Feature.Neighbor]:
    """counted: whether with the number of rows in which both are active."""
    return [
        resources_pb2.Feature.Neighbor(
            feature=f"{features.run.name}/features/{neighbor}",
            index=neighbor,
            label=features.label_text(neighbor),
            score=score,
            shared_count=int(features.statistics.cooccurrence[index, neighbor]) if counted else 0,
            reliability=reliability(features, neighbor),
        )
        for neighbor, score in zip(closest.indices[index].tolist(), closest.scores[index].tolist(), strict=True)
        if neighbor >= 0
    ]
