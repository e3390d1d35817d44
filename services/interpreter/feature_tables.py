"""Features and labels of a run as tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC
from typing import Any

from services.chassis.table_files import Batch, Column, ValueType
from services.chassis.threads import in_thread
from services.interpreter.features import Features
from services.interpreter.labels import Label
from services.interpreter.naming import DENSE

DIGEST_CHARACTERS = 16
"""Of the digest of a run's weights, in the column `weights`."""
BATCH_ROWS = 1000
"""Features of a batch."""
_TEXT, _INTEGER, _NUMBER, _BOOLEAN = ValueType.TEXT, ValueType.INTEGER, ValueType.NUMBER, ValueType.BOOLEAN
FEATURE_COLUMNS = (
    Column(name="index", type=_INTEGER),
    Column(name="label", type=_TEXT),
    Column(name="trust", type=_TEXT),
    Column(name="score", type=_NUMBER),
    Column(name="density", type=_NUMBER),
    Column(name="active_count", type=_INTEGER),
    Column(name="max_activation", type=_NUMBER),
    Column(name="mean_activation", type=_NUMBER),
    Column(name="stability", type=_NUMBER),
    Column(name="threshold", type=_NUMBER),
    Column(name="score_low", type=_NUMBER),
    Column(name="score_high", type=_NUMBER),
    Column(name="precise_count", type=_INTEGER),
    Column(name="precise_density", type=_NUMBER),
    Column(name="variance", type=_NUMBER),
    Column(name="dense", type=_BOOLEAN),
    Column(name="dead", type=_BOOLEAN),
    Column(name="description", type=_TEXT),
    Column(name="label_source", type=_TEXT),
    Column(name="label_model", type=_TEXT),
    Column(name="unnamed_reason", type=_TEXT),
    Column(name="families", type=_TEXT, is_list=True),
    Column(name="missed_conditions", type=_TEXT, is_list=True),
    Column(name="name", type=_TEXT),
)
"""Those of the client's tables of features (prisma_client/tables.py)."""
LABEL_COLUMNS = (
    Column(name="index", type=_INTEGER),
    Column(name="label", type=_TEXT),
    Column(name="description", type=_TEXT),
    Column(name="source", type=_TEXT),
    Column(name="model", type=_TEXT),
    Column(name="author", type=_TEXT),
    Column(name="active", type=_BOOLEAN),
    Column(name="trust", type=_TEXT),
    Column(name="score", type=_NUMBER),
    Column(name="score_low", type=_NUMBER),
    Column(name="score_high", type=_NUMBER),
    Column(name="threshold", type=_NUMBER),
    Column(name="keywords", type=_TEXT, is_list=True),
    Column(name="carried_from", type=_TEXT),
    Column(name="create_time", type=ValueType.INSTANT),
    Column(name="name", type=_TEXT),
    Column(name="weights", type=_TEXT),
)


async def feature_batches(features: Features, indices: Sequence[int]) -> AsyncIterator[Batch]:
    """The rows of some features, in their order."""
    for start in range(0, len(indices), BATCH_ROWS):
        yield await in_thread(_feature_batch, features, indices[start : start + BATCH_ROWS])


async def label_batches(
    features: Features, read: Callable[[int, int], Sequence[Label]], weights: str | None
) -> AsyncIterator[Batch]:
    """The rows of a run's labels, by feature, the newest last.

    read: the labels of the features from one index to before another. weights: what identifies the run's weights.
    """
    for start in range(0, features.count, BATCH_ROWS):
        labels = await in_thread(read, start, start + BATCH_ROWS)
        if labels:
            yield await in_thread(_label_batch, features, labels, weights)


def _feature_batch(features: Features, indices: Sequence[int]) -> Batch:
    return list(zip(*(_feature_row(features, index) for index in indices), strict=True))


def _label_batch(features: Features, labels: Sequence[Label], weights: str | None) -> Batch:
    return list(zip(*(_label_row(features, label, weights) for label in labels), strict=True))


def _feature_row(features: Features, index: int) -> Sequence[Any]:
    label = features.labels.get(index)
    draft = label.draft if label else None
    statistics, score = features.statistics, features.score(index)
    return (
        index,
        features.label_text(index) or None,
        features.trust(index).lower(),
        score.auc if score else None,
        float(statistics.density[index]),
        int(statistics.active_count[index]),
        float(statistics.maximum[index]),
        float(statistics.mean[index]),
        features.stability(index),
        features.threshold(index),
        score.low if score else None,
        score.high if score else None,
        int(features.precise_counts[index]),
        features.precise_density(index),
        float(statistics.variance[index]),
        bool(statistics.density[index] > DENSE),
        not statistics.active_count[index],
        draft and (draft.description or None),
        draft and draft.source.lower(),
        draft and draft.model,
        draft.description if draft and not draft.text else None,
        [features.family_title(place.family) for place in features.memberships.get(index, ())],
        [missed.explanation for missed in features.missed_conditions(index)],
        f"{features.run.name}/features/{index}",
    )


def _label_row(features: Features, label: Label, weights: str | None) -> Sequence[Any]:
    draft = label.draft
    scores = draft.scores
    score = scores.score if scores else None
    return (
        draft.index,
        draft.text or None,
        draft.description or None,
        draft.source.lower(),
        draft.model,
        draft.author,
        label.active,
        features.trust(draft.index).lower() if label.active else None,
        score.auc if score else None,
        score.low if score else None,
        score.high if score else None,
        scores.threshold if scores else None,
        draft.keywords,
        draft.carried_from,
        label.create_time.replace(tzinfo=label.create_time.tzinfo or UTC),
        f"{features.run.name}/features/{draft.index}/labels/{label.revision}",
        weights,
    )
