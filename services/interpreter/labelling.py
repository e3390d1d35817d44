"""Makes labels: from words alone, or by a language model."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np

from services.interpreter import prompts
from services.interpreter.errors import UnusableAnswer
from services.interpreter.features import Features
from services.interpreter.keywords import Keywords, Named, make_different
from services.interpreter.labels import KEYWORDS, Draft, Options, Source
from services.interpreter.ollama import Ollama
from services.interpreter.runs import Run, rows_at
from services.interpreter.statistics import NO_ROW
from services.interpreter.upstream import Upstream

BACKGROUND_ROWS = 50_000
"""Documents that keywords are compared with: all, or a sample of so many, the same each time."""
BATCH = 128
"""Features named at once."""
_TRIES = 2
_HELD = 2


class Labelling:
    """Makes labels; keeps none. All methods raise what upstream or the provider raises."""

    def __init__(self, upstream: Upstream, ollama: Ollama) -> None:
        self._upstream = upstream
        self._ollama = ollama
        self._keywords: OrderedDict[str, Keywords] = OrderedDict()

    async def check(self, model: str) -> None:
        """Raises LabelModelNotFound, PROVIDER_UNAVAILABLE."""
        if model != KEYWORDS:
            await self._ollama.check(model)

    async def one(self, features: Features, index: int, options: Options) -> Draft:
        """A label for one feature, which must be alive."""
        if options.model != KEYWORDS:
            return await self._by_model(features, index, options)
        async for batch in self.by_keywords(features, [index]):
            taken = {label.draft.text: other for other, label in features.labels.items() if other != index}
            named = batch[0][1]
            if named.text in taken:
                named = make_different([(-1, named), (index, named)])[index]
            return _draft(index, named, options, features)
        raise AssertionError("one feature makes one batch")

    async def by_keywords(self, features: Features, indices: Sequence[int]) -> AsyncIterator[list[tuple[int, Named]]]:
        """Names of features, batch by batch; two may still have the same text."""
        run = features.interpretation.run
        keywords = await self._background(run)
        for start in range(0, len(indices), BATCH):
            some = [features.evidence(index) for index in indices[start : start + BATCH]]
            rows = sorted({int(row) for each in some for row in each.rows})
            texts = await self._upstream.texts(run.dataset, rows)
            named = await asyncio.to_thread(keywords.name, some, texts)
            yield [(each.latent, name) for each, name in zip(some, named, strict=True)]

    def drafts(self, named: Sequence[tuple[int, Named]], features: Features, options: Options) -> list[Draft]:
        """Labels of names, made different from each other. named: the most important first."""
        different = make_different(named)
        return [_draft(index, different[index], options, features) for index, _ in named]

    async def _background(self, run: Run) -> Keywords:
        held = self._keywords.get(run.uid)
        if held is None:
            texts = await self._upstream.texts(run.dataset, _sample(run.ranges))
            held = await asyncio.to_thread(Keywords, texts)
            self._keywords[run.uid] = held
            while len(self._keywords) > _HELD:
                self._keywords.popitem(last=False)
        return held

    async def _by_model(self, features: Features, index: int, options: Options) -> Draft:
        run = features.interpretation.run
        rows, activations = features.top(index, options.positive_count)
        silent = features.statistics.negative_rows[index]
        negatives = silent[silent != NO_ROW][: options.negative_count].tolist()
        texts = await self._upstream.texts(run.dataset, [*rows.tolist(), *negatives])
        shown = [
            prompts.Shown(row, texts[row], activation)
            for row, activation in zip(rows.tolist(), activations.tolist(), strict=True)
            if row in texts
        ]
        beside = [prompts.Shown(row, texts[row], 0.0) for row in negatives if row in texts]
        answer = await self._ask(index, prompts.messages(shown, beside, options.system_prompt), options)
        return Draft(
            index=index,
            text=answer.label,
            description=answer.description,
            source=Source.MODEL,
            model=options.model,
            options=options,
            positive_rows=[each.row for each in shown],
            negative_rows=[each.row for each in beside],
        )

    async def _ask(self, index: int, messages: Sequence[Mapping[str, str]], options: Options) -> prompts.Answer:
        problem = ""
        for _ in range(_TRIES):
            content = await self._ollama.chat(options.model, messages, prompts.SCHEMA, options.temperature)
            try:
                return prompts.read(content)
            except prompts.NotALabel as error:
                problem = str(error)
        raise UnusableAnswer(
            f"feature {index}: {options.model} answered {_TRIES} times without a usable label: {problem}",
            metadata={"model": options.model, "index": str(index)},
        )


def _draft(index: int, named: Named, options: Options, features: Features) -> Draft:
    rows, _ = features.top(index, 50)
    return Draft(
        index=index,
        text=named.text,
        description=named.description,
        source=Source.KEYWORDS,
        model=KEYWORDS,
        keywords=list(named.keywords),
        options=options,
        positive_rows=rows.tolist(),
    )


def _sample(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Rows of the background, in order."""
    total = sum(end - start for start, end in ranges)
    if total <= BACKGROUND_ROWS:
        return [row for start, end in ranges for row in range(start, end)]
    picked = np.sort(np.random.default_rng(0).choice(total, BACKGROUND_ROWS, replace=False))
    return rows_at(ranges, picked).tolist()
