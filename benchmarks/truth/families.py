"""Families corrected for chance beside those of O'Neill et al. 2024, section 4.2, over the same features."""

from __future__ import annotations

import numpy as np

from benchmarks.truth.interpreted import Interpreted
from benchmarks.truth.records import Reporter, median
from services.interpreter import families
from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.families import Family, Method, Options
from services.interpreter.family_naming import FamilyNames
from services.interpreter.trust import Trust

_SHOWN_FAMILIES = 10
_SHOWN_MEMBERS = 12


async def measured(run: Interpreted, report: Reporter) -> str:
    """Reports both methods' families of activations above the thresholds; ten of each, at random, as Markdown."""
    features, row_count = run.features, len(run.corpus.texts)
    counts = Cooccurrence(features.count)
    async for codes in run.source.codes(features.run):
        precise = codes.at_least(features.thresholds)
        counts.add(precise.indptr, precise.indices)
    cooccurrence = counts.matrix()
    density = cooccurrence.diagonal() / row_count
    text = ""
    for method in Method:
        options = Options(method=method)
        built = families.build(cooccurrence, density, row_count=row_count, reliable=features.reliable, options=options)
        top = [family for family in built if family.round == 1]
        names = FamilyNames(run.source, run.reader).named(features, top, features.thresholds)
        named = [family async for batch in names for family in batch]
        _report(run, report, f"families, {method.lower()}", named)
        text += f"\n## {method.lower()}\n\n{_shown(run, named)}"
    return text


def _report(run: Interpreted, report: Reporter, subject: str, top: list[Family]) -> None:
    """Of the families of the first round."""
    sizes = np.array([len(family.members) for family in top] or [0])
    members = {index for family in top for index in family.indices}
    features = run.features
    trusted = {index for index in features.labels if features.trust(index) is Trust.TRUSTED}
    report.add(
        subject,
        {
            "families": float(len(top)),
            "median size": float(np.median(sizes)),
            "largest": float(sizes.max()),
            "share of pairs": float(np.mean(sizes == 2)),
            "share of live features in them": len(members) / max(1, features.live_count),
            "share of trusted features in them": len(members & trusted) / max(1, len(trusted)),
        },
    )
    names = [family.label for family in top if family.label and family.label.text]
    scores = [name.scores.score.auc if name.scores and name.scores.score else None for name in names]
    report.add(subject, {"named": float(len(names)), **median(scores)}, about="names: ")


def _shown(run: Interpreted, top: list[Family]) -> str:
    """Ten families at random with their names and their first members' labels."""
    order = np.random.default_rng(8).permutation(len(top))[:_SHOWN_FAMILIES]
    lines: list[str] = []
    for family in (top[place] for place in np.sort(order).tolist()):
        labels = [run.features.label_text(member.index) or "(not named)" for member in family.members]
        more = f" … and {len(labels) - _SHOWN_MEMBERS} more" if len(labels) > _SHOWN_MEMBERS else ""
        name = family.label.text if family.label else ""
        lines.append(f"- **{name or '(no name)'}**: {' · '.join(labels[:_SHOWN_MEMBERS])}{more}")
    return "\n".join(lines) + "\n"
