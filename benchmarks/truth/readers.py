"""Trusted features with their evidence, for readers who grade the labels and must not see the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.truth.interpreted import Interpreted
from prisma_common.label_texts import shorten
from services.interpreter.evidence import Evidence
from services.interpreter.trust import Trust

FEATURES = 40
_STRONGEST, _SPREAD, _NEAR = 5, 7, 5
_CHARACTERS = 400


async def features_to_grade(run: Interpreted) -> str:
    """40 trusted features at random, each with held-out documents above its threshold and near misses."""
    trusted = [index for index in sorted(run.features.labels) if run.features.trust(index) is Trust.TRUSTED]
    indices = np.sort(np.random.default_rng(4).permutation(trusted)[:FEATURES]).astype(int).tolist()
    _judge, evidence = await run.evidence(indices)
    parts = [f"# {run.corpus.name}: {len(indices)} of {len(trusted)} trusted features\n"]
    for number, own in enumerate(evidence, 1):
        parts.append(_feature(run, number, own))
    return "\n".join(parts)


def _feature(run: Interpreted, number: int, evidence: Evidence) -> str:
    active = evidence.scoring.active.above(run.features.threshold(evidence.latent) or 0.0)
    strongest, rest = active.rows[:_STRONGEST], active.rows[_STRONGEST:]
    spread = rest[np.unique(np.linspace(0, max(0, len(rest) - 1), _SPREAD).astype(int))] if len(rest) else rest
    quotes = {
        "documents in which it is strongest": strongest,
        "documents from strong to weak": spread,
        "near misses, in which it is not active": evidence.scoring.hard[:_NEAR],
    }
    lines = [f"## {number}. {run.features.label_text(evidence.latent)}\n"]
    for title, rows in quotes.items():
        lines += [f"{title}:", *_quoted(run, rows.tolist()), ""]
    return "\n".join(lines)


def _quoted(run: Interpreted, rows: Sequence[int]) -> list[str]:
    return [f"- {shorten(run.corpus.texts[row], _CHARACTERS)}" for row in rows]
