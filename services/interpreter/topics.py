"""What is named by words: the candidates for each topic, their test, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.threads import in_thread
from services.interpreter import candidates, naming
from services.interpreter.candidates import Candidate, Pair, Phrases
from services.interpreter.evidence import Evidence
from services.interpreter.judging import Judge, Vector
from services.interpreter.keywords import Contrast, contrasts
from services.interpreter.naming import DENSE, Verdict
from services.interpreter.phrase_vectors import PhraseVectors, unit

_MIN_MENTIONS = 0.3
"""By which share of their documents at least more mention a name of several latents than of similar documents do."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A latent, or several as one."""

    evidence: Evidence
    latents: Sequence[int]
    direction: Vector
    """(d,) what vectors are compared with: the latent's detector, of length 1."""
    max_density: float = DENSE
    """A topic that is active in a larger share of documents is not named."""
    accepts: Callable[[Verdict], bool] = lambda _: True
    """Whether a name that passed its test is given. One that is not stays free for the topics that follow."""


@dataclass(frozen=True)
class _Subject:
    """A topic with its words."""

    topic: Topic
    contrast: Contrast
    phrases: Phrases


async def verdicts(
    topics: Sequence[Topic],
    judge: Judge,
    vectors: PhraseVectors,
    texts_in_use: Collection[str],
    stop_words: Collection[str] = (),
) -> list[Verdict]:
    """What is said of each topic. Raises what the source of vectors raises.

    texts_in_use: names that others have. stop_words: names have none of them, besides those of the language.
    """
    evidence = [topic.evidence for topic in topics]
    words = await in_thread(lambda: contrasts(evidence, judge.documents, judge.corpus, stop_words))
    subjects = [_Subject(topic, contrast, Phrases.of(contrast)) for topic, contrast in zip(topics, words, strict=True)]
    drafted = await _shortlists(subjects, judge, vectors)
    shortlists = await in_thread(
        lambda: [
            naming.refined(
                judge, subject.topic.evidence, [*shortlist, *_covering(subject, judge)], subject.contrast.phrases
            )
            for subject, shortlist in zip(subjects, drafted, strict=True)
        ]
    )
    embeds = await vectors.load([candidate.text for shortlist in shortlists for candidate in shortlist])

    def judged() -> list[Verdict]:
        in_use = set(texts_in_use)
        result: list[Verdict] = []
        for subject, shortlist in zip(subjects, shortlists, strict=True):
            topic = subject.topic
            unit_vectors = unit(vectors.of([candidate.text for candidate in shortlist])) if embeds else None
            verdict = naming.verdict(
                judge,
                topic.evidence,
                contenders=contenders(topic, judge, shortlist, unit_vectors),
                keywords=[keyword.text for keyword in subject.contrast.keywords],
                texts_in_use=in_use,
                direction=topic.direction,
                max_density=topic.max_density,
            )
            result.append(verdict)
            if verdict.named and verdict.winner and topic.accepts(verdict):
                in_use.add(verdict.winner.candidate.text)
        return result

    return naming.with_floors(judge, await in_thread(judged))


def contenders(
    topic: Topic, judge: Judge, shortlist: Sequence[Candidate], vectors: Floats | None
) -> list[naming.Contender]:
    """The best first; of several latents, only those that enough of their documents mention, if there are any."""
    rated = naming.contenders(judge, topic.evidence, shortlist, vectors)
    if len(topic.latents) == 1:
        return rated
    part = topic.evidence.choosing

    def is_mentioned(contender: naming.Contender) -> bool:
        active, near = (judge.mentions(rows, contender.candidate.text) for rows in (part.active.rows, part.hard))
        return bool(len(active)) and active.mean() - (near.mean() if len(near) else 0) >= _MIN_MENTIONS

    return [contender for contender in rated if is_mentioned(contender)] or rated


async def _shortlists(subjects: Sequence[_Subject], judge: Judge, vectors: PhraseVectors) -> list[list[Candidate]]:
    """The candidates of all topics; where the run's model cannot embed texts, those by words alone."""
    if not await vectors.load([text for subject in subjects for text in subject.phrases.texts]):
        return [candidates.by_words(subject.contrast) for subject in subjects]
    singles = [vectors.of(subject.phrases.texts) for subject in subjects]
    codes = await vectors.codes(singles)
    centres = [judge.centre(subject.topic.evidence) for subject in subjects]
    activations = [
        candidates.activations_of(subject.topic.latents, code) for subject, code in zip(subjects, codes, strict=True)
    ]
    closeness = [_closeness(part, centre) for part, centre in zip(singles, centres, strict=True)]
    pairs = [
        subject.phrases.pairs(own, near) for subject, own, near in zip(subjects, activations, closeness, strict=True)
    ]
    sums = [_sums(part, places) for part, places in zip(singles, pairs, strict=True)]
    pair_codes = await vectors.codes(sums)
    return [
        candidates.shortlist(
            subject.contrast,
            subject.phrases,
            singles=(activations[number], closeness[number]),
            pairs=(
                pairs[number],
                candidates.activations_of(subject.topic.latents, pair_codes[number]),
                _closeness(sums[number], centres[number]),
            ),
        )
        for number, subject in enumerate(subjects)
    ]


def _covering(subject: _Subject, judge: Judge) -> list[Candidate]:
    """Names of several latents as one: what many of their documents mention, though none may mention all of it."""
    topic, phrases = subject.topic, subject.phrases.texts
    if len(topic.latents) == 1 or not phrases:
        return []
    rows, near_rows = topic.evidence.writing.rows, topic.evidence.choosing.hard
    mentions, near_mentions = (
        np.stack([judge.mentions(part, phrase) for phrase in phrases], axis=1) for part in (rows, near_rows)
    )
    return candidates.covering(phrases, mentions, near_mentions)


def _closeness(vectors: Floats, centre: Floats) -> Floats:
    """(m,) cosine with the centre of a latent's documents."""
    return unit(vectors) @ centre if len(vectors) else np.empty(0, np.float32)


def _sums(vectors: Floats, pairs: Sequence[Pair]) -> Floats:
    """(m, d) about what the embeddings of pairs of phrases are: their sums, as long as theirs are on average."""
    if not pairs:
        return np.empty((0, 1), np.float32)
    first, second = (vectors[list(places)] for places in zip(*pairs, strict=True))
    lengths = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
    return unit(first + second) * lengths[:, None]
