"""Labels of PRISMA v2 in the history of features here."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from prisma.interpreter.v1.resources_pb2 import Label
from prisma_client.errors import FailedPrecondition, InvalidArgument, NotFound
from prisma_client.prisma_v2 import V2Label
from prisma_client.sync.runs import Features
from prisma_common.label_texts import MAX_DESCRIPTION, MAX_MODEL, MAX_TEXT, clean_line, clean_text, shorten

_MODELS = "prismadb/"
"""What the names of the models of PRISMA v2 begin with here."""


class _Content(NamedTuple):
    """What a label says, and who wrote it, as it is stored."""

    text: str
    description: str
    model: str


@dataclass
class Outcome:
    """What became of labels. count: that are here. reasons: how many are not, by reason."""

    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])

    @property
    def note(self) -> str:
        """The reasons, in one line."""
        return "; ".join(f"{count:,} left out: {reason}" for reason, count in sorted(self.reasons.items()))


def add_missing(features: Features, labels: Iterable[V2Label]) -> Outcome:
    """Writes the labels that the history of their features does not have, in their order, feature by feature.

    A person's label that was active stays so.
    """
    outcome = Outcome()
    for index, history in groupby(labels, key=lambda label: label.index):
        contents = [_content(label) for label in history]
        outcome.reasons["it has no text"] += sum(not content.text for content in contents)
        contents = [content for content in contents if content.text]
        try:
            present = list(features.labels(index))
        except NotFound as error:
            outcome.reasons[error.message] += len(contents)
            continue
        _add_to_feature(features, index=index, contents=contents, present=present, outcome=outcome)
    outcome.reasons = +outcome.reasons
    return outcome


def _add_to_feature(
    features: Features, *, index: int, contents: list[_Content], present: list[Label], outcome: Outcome
) -> None:
    stored = Counter(
        _Content(label.text, label.description, label.model)
        for label in present
        if label.model.startswith(_MODELS) and not label.carried_from
    )
    has_written = False
    for content in contents:
        if stored[content]:
            stored[content] -= 1
            outcome.count += 1
            continue
        try:
            features.set_label(
                index, content.text, content.description, model=content.model, request_id=uuid.uuid4().hex
            )
        except (FailedPrecondition, InvalidArgument, NotFound) as error:
            outcome.reasons[error.message] += 1
        else:
            outcome.count += 1
            has_written = True
    if has_written:
        for label in present:
            if label.active and label.source == Label.SOURCE_HUMAN:
                features.activate(label.name)


def _content(label: V2Label) -> _Content:
    """A label as it is stored here, cut where it is too long."""
    return _Content(
        text=shorten(clean_line(label.text), MAX_TEXT),
        description=shorten(clean_text(label.description), MAX_DESCRIPTION),
        model=shorten(clean_line(f"{_MODELS}{label.model}"), MAX_MODEL),
    )
