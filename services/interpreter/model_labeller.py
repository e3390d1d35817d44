"""Labels by a language model of a provider, as many at a time as the provider is asked questions at a time.

The model sees documents for writing only. Of its answers the one that fits the documents for choosing best becomes the
label, and is tested on those for scoring. No label depends on another feature's, nor on the order of the answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from services.chassis import logs
from services.chassis.ordered import ordered
from services.chassis.threads import in_thread
from services.interpreter import naming, prompts
from services.interpreter.candidates import Candidate, Origin
from services.interpreter.errors import LabelModelNotFound, UnusableAnswer
from services.interpreter.evidence import Active, Evidence
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features
from services.interpreter.labellers import LabelModel, LabelSource, Task
from services.interpreter.labels import Draft, Options, Source
from services.interpreter.phrase_vectors import PhraseVectors, unit
from services.interpreter.prompts import ShownDocument
from services.interpreter.unusable import Unusable
from services.providers.client import BLAMES_INPUT, ProviderRefused

_ATTEMPTS = 2
"""Questions per feature before its answers count as unusable."""

_log = logs.get(__name__)


class ChatProvider(Protocol):
    """A server of chat models. All methods raise ProviderUnavailable and ProviderRefused."""

    name: str
    """The first part of its models' ids."""
    concurrency: int
    """Questions that one job or call may ask at a time; where the server has a limit, it holds for all of them."""

    async def models(self) -> list[LabelModel]:
        """The models that can chat, by id."""
        ...

    def how_to_add(self, model: str) -> str:
        """A sentence that says how the operator adds a model. model: without provider, here and below."""
        ...

    async def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any], temperature: float
    ) -> str:
        """The text of a model's answer, which follows the JSON schema unless it was cut."""
        ...


class ModelLabeller:
    """Labels by the models of one provider. Raises what the source and the provider raise."""

    def __init__(self, source: LabelSource, reader: EvidenceReader, provider: ChatProvider) -> None:
        self._source = source
        self._reader = reader
        self._provider = provider

    async def models(self) -> Sequence[LabelModel]:
        """The provider's models."""
        return await self._provider.models()

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound, ProviderUnavailable."""
        known_ids = [offered.id for offered in await self._provider.models()]
        if model not in known_ids and f"{model}:latest" not in known_ids:
            raise LabelModelNotFound(
                f"{self._provider.name} has no model {model!r} that can chat; it has: "
                f"{', '.join(known_ids) or 'none'}. {self._provider.how_to_add(model.partition('/')[2])}",
                metadata={"model": model},
            )

    async def drafts(self, task: Task) -> AsyncGenerator[Sequence[Draft]]:
        """Labels one by one. A feature without a usable answer is left out; too many raise UnusableAnswer."""
        unusable = Unusable()
        answer = partial(self._draft_or_error, task.features, task.options)
        answers = ordered(answer, task.indices, concurrency=self._provider.concurrency)
        async with contextlib.aclosing(answers):
            async for draft in answers:
                if isinstance(draft, Draft):
                    yield [draft]
                    continue
                if task.note_unusable is not None:
                    task.note_unusable(draft)
                else:
                    unusable += Unusable.of_answer(draft)
                    unusable.check(len(task.indices))
                yield []

    async def _draft_or_error(self, features: Features, options: Options, index: int) -> Draft | UnusableAnswer:
        try:
            return await self._draft(features, index, options)
        except UnusableAnswer as error:
            _log.warning("no usable label", feature=index, model=options.model)
            return error

    async def _draft(self, features: Features, index: int, options: Options) -> Draft:
        vectors = PhraseVectors(self._source, features.run)  # of this feature alone: batches change the last bits
        judge, (evidence,) = await self._reader.read(features, [index])
        examples, silent_rows = _shown(evidence, options)
        texts = await self._source.texts(features.run.dataset, [*examples.rows.tolist(), *silent_rows])
        positives = [
            ShownDocument(row, texts[row], activation)
            for row, activation in zip(examples.rows.tolist(), examples.activations.tolist(), strict=True)
            if row in texts
        ]
        negatives = [ShownDocument(row, texts[row], 0.0) for row in silent_rows if row in texts]
        answer = await self._ask(index, prompts.messages(positives, negatives, options.system_prompt), options)
        candidates = [Candidate(text, Origin.MODEL) for text in (answer.label, *answer.alternatives)]
        embeds = await vectors.load([candidate.text for candidate in candidates])
        units = unit(vectors.of([candidate.text for candidate in candidates])) if embeds else None
        (direction,) = (await self._source.decoder(features.run, [index])).detectors
        contenders = partial(naming.contenders, judge, evidence, shortlist=candidates, vectors=units)
        best, *rejected = await in_thread(contenders)
        scores = await in_thread(judge.scores, evidence, best.candidate.text, best.vector)
        return Draft(
            index=index,
            text=best.candidate.text,
            description=answer.description,
            source=Source.MODEL,
            model=options.model,
            options=options,
            positive_rows=tuple(document.row for document in positives),
            negative_rows=tuple(document.row for document in negatives),
            scores=replace(scores, ceiling=judge.auc(evidence, direction, scores.threshold)),
            provenance=naming.provenance(evidence, origin=Origin.MODEL, rejected=rejected),
        )

    async def _ask(self, index: int, messages: Sequence[Mapping[str, str]], options: Options) -> prompts.Answer:
        problem = ""
        model = options.model.partition("/")[2]
        for _ in range(_ATTEMPTS):
            try:
                content = await self._provider.chat(
                    model, messages, schema=prompts.SCHEMA, temperature=options.temperature
                )
                return prompts.read(content)
            except prompts.NotALabel as error:
                problem = str(error)
            except ProviderRefused as error:
                if error.status not in BLAMES_INPUT:
                    raise
                raise UnusableAnswer(
                    f"feature {index}: {options.model} declines its documents: {error.detail}",
                    metadata={"model": options.model, "index": str(index)},
                ) from error
        raise UnusableAnswer(
            f"feature {index}: {options.model} answered {_ATTEMPTS} times without a usable label: {problem}",
            metadata={"model": options.model, "index": str(index)},
        )


def _shown(evidence: Evidence, options: Options) -> tuple[Active, list[int]]:
    """What a model sees: active documents for writing, the strongest first, and silent ones, near misses first."""
    silent = [*evidence.choosing.hard.tolist(), *evidence.choosing.random.tolist()]
    strongest = evidence.writing.take(np.arange(len(evidence.writing)) < options.positive_count)
    return strongest, silent[: options.negative_count]
