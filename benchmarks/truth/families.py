"""Families of features that are alike beside those of O'Neill et al. 2024, section 4.2, over the same features."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmarks.truth.interpreted import Interpreted
from benchmarks.truth.records import Reporter, median
from prisma_common.label_texts import shorten
from services.interpreter import families
from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.families import Family, Method
from services.interpreter.family_naming import FamilyNames
from services.interpreter.likeness import likeness
from services.interpreter.trust import Trust

_SHOWN_FAMILIES = 10
_SHOWN_MEMBERS = 12
_SHOWN_DOCUMENTS = 3
_CHARACTERS = 240
_FEW_DOZEN = 36
"""Families that a reader may look through."""


async def measured(run: Interpreted, report: Reporter) -> str:
    """Reports both methods' families of activations above the thresholds; ten of each, at random, as Markdown."""
    features = run.features
    cooccurrence = await _cooccurrence(run)
    built = {
        Method.CORRECTED: families.alike(
            await likeness(run.source, features, features.thresholds),
            cooccurrence.diagonal(),
            reliable=features.reliable,
            row_count=len(run.corpus.texts),
        ),
        Method.PUBLISHED: families.published(cooccurrence),
    }
    text = ""
    for method, all_rounds in built.items():
        top = [family for family in all_rounds if family.round == 1]
        names = FamilyNames(run.source, run.reader).named(features, top, features.thresholds)
        named = [family async for batch in names for family in batch]
        listed = families.most_trusted_first(named, features.family_trust)
        _report(run, report, f"families, {method.lower()}", listed)
        text += f"\n## {method.lower()}\n\n{_shown(run, listed)}"
    return text


async def _cooccurrence(run: Interpreted) -> sparse.csr_array:
    """Of activations above the thresholds."""
    counts = Cooccurrence(run.features.count)
    async for codes in run.source.codes(run.features.run):
        precise = codes.at_least(run.features.thresholds)
        counts.add(precise.indptr, precise.indices)
    return counts.matrix()


def _report(run: Interpreted, report: Reporter, subject: str, top: list[Family]) -> None:
    """Of the families of the first round, in the order in which they are listed."""
    features = run.features
    sizes = np.array([len(family.members) for family in top] or [0])
    trusted = {index for index in features.labels if features.trust(index) is Trust.TRUSTED}

    def covered(part: list[Family]) -> float:
        """The share of trusted features that are in some families."""
        return len({index for family in part for index in family.indices} & trusted) / max(1, len(trusted))

    named = [family for family in top if family.label and family.label.text]
    report.add(
        subject,
        {
            "families": float(len(top)),
            "median size": float(np.median(sizes)),
            "largest": float(sizes.max()),
            "share of live features in them": len({index for family in top for index in family.indices})
            / max(1, features.live_count),
            "share of trusted features in them": covered(top),
            "share of trusted features in named ones": covered(named),
            f"share of trusted features in the first {_FEW_DOZEN}": covered(top[:_FEW_DOZEN]),
            "trusted": float(sum(features.family_trust(family) is Trust.TRUSTED for family in top)),
        },
    )
    scores = [
        family.label.scores.score.auc
        for family in named
        if family.label and family.label.scores and family.label.scores.score
    ]
    report.add(subject, {"named": float(len(named)), **median(scores)}, about="names: ")


def _shown(run: Interpreted, top: list[Family]) -> str:
    """Ten families at random as users see them: their names, their first members' labels, and documents of these."""
    order = np.random.default_rng(8).permutation(len(top))[:_SHOWN_FAMILIES]
    lines: list[str] = []
    for number, family in enumerate((top[place] for place in np.sort(order).tolist()), 1):
        lines.append(f"### {number}. {run.features.family_title(family)}\n")
        for index in family.indices[:_SHOWN_MEMBERS]:
            lines.append(f"- **{run.features.label_text(index) or '(not named)'}**")
            lines += [f"  - {text}" for text in _documents(run, index)]
        more = len(family.members) - _SHOWN_MEMBERS
        lines.append(f"\n… and {more} more features\n" if more > 0 else "")
    return "\n".join(lines) + "\n"


def _documents(run: Interpreted, index: int) -> list[str]:
    """Three documents of a feature from its strongest to the weakest above its threshold."""
    sources = run.features.sources(index)
    rows = sources.sample_rows[sources.sample_values >= (run.features.threshold(index) or 0.0)]
    places = np.unique(np.linspace(0, max(0, len(rows) - 1), _SHOWN_DOCUMENTS).astype(int))
    return [shorten(run.corpus.texts[int(row)], _CHARACTERS) for row in rows[places]] if len(rows) else []
