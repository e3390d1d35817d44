"""Interpretations and labels, as rows of the SQL tables and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row

from services.interpreter.families import FamilyLabel
from services.interpreter.labels import DatasetKey, Draft, Label, LabelScores, Options, Provenance, Rejected, Source
from services.interpreter.measurements import Agreement, Correlation, Measurement, Measurements, Scorer
from services.interpreter.runs import Interpretation, Run, StatisticsVersion
from services.interpreter.scoring import Method, Score, Scores, Share


def run_values(run: Run) -> dict[str, Any]:
    """The columns that describe the run."""
    source = {
        "dataset": run.dataset,
        "dataset_uid": run.dataset_uid,
        "embedding_model": run.embedding_model,
        "latent_count": run.latent_count,
        "revision": run.revision,
        "history": run.history,
        "trained": run.trained,
        "ranges": [[start, end] for start, end in run.ranges],
    }
    return {"run": run.name, "source": source}


def interpretation(row: Row[Any]) -> Interpretation:
    """The interpretation of a row."""
    source: dict[str, Any] = dict(row.source)
    source["ranges"] = [(start, end) for start, end in source["ranges"]]
    run = Run(uid=row.run_uid, name=row.run, deleted=row.delete_time is not None, **source)
    return Interpretation(
        run=run,
        statistics=_statistics_version(row) if row.attempt else None,
        label_revision=row.label_revision,
        labelled_count=row.labelled_count,
        unnamed_count=row.unnamed_count,
        family_count=row.family_count,
        families_time=row.families_time,
    )


def label_values(uid: str, label: Label) -> dict[str, Any]:
    """A label as a row of LABELS, which has empty texts where there is no value."""
    values = asdict(label.draft)
    for name in ("model", "author", "job", "carried_from"):
        values[name] = values[name] or ""
    index = values.pop("index")
    return {**values, "run_uid": uid, "feature": index, "revision": label.revision, "create_time": label.create_time}


def score_values(result: LabelScores) -> dict[str, Any]:
    """The columns of a label that scoring changes."""
    return {name: asdict(getattr(result, name)) for name in ("scores", "measurements", "provenance")}


def label(row: Row[Any], *, active: bool) -> Label:
    """The label of a row."""
    draft = Draft(
        index=row.feature,
        text=row.text,
        description=row.description,
        source=Source(row.source),
        model=row.model or None,
        author=row.author or None,
        keywords=tuple(row.keywords),
        options=_options(row.options) if row.options else None,
        positive_rows=tuple(row.positive_rows),
        negative_rows=tuple(row.negative_rows),
        job=row.job or None,
        carried_from=row.carried_from or None,
        scores=_scores(row.scores) if row.scores else None,
        provenance=_provenance(row.provenance) if getattr(row, "provenance", None) else None,
        measurements=_measurements(row.measurements) if getattr(row, "measurements", None) else None,
    )
    return Label(draft=draft, revision=row.revision, active=active, create_time=row.create_time)


def _statistics_version(row: Row[Any]) -> StatisticsVersion:
    return StatisticsVersion(
        attempt=row.attempt,
        revision=row.statistics_revision,
        history=row.statistics_history,
        time=row.statistics_time,
        row_count=row.row_count,
        live_count=row.live_count,
        file_format=row.statistics_format,
    )


def _options(values: Mapping[str, Any]) -> Options:
    """Options of a stored label; older versions stored an empty system prompt for none."""
    options = Options(**values)
    return replace(options, system_prompt=options.system_prompt or None, stop_words=tuple(options.stop_words))


def family_label(values: Mapping[str, Any] | None) -> FamilyLabel | None:
    """A family's label as stored; None where it was never tested."""
    if values is None:
        return None
    scores = _scores(values["scores"]) if values["scores"] else None
    return FamilyLabel(text=values["text"], description=values["description"], density=values["density"], scores=scores)


def _scores(values: Mapping[str, Any]) -> Scores:
    tests = ("score", "embedding_hard", "embedding_random", "words_hard", "words_random")
    results: dict[str, Any] = {name: Score(**values[name]) if values[name] else None for name in tests}
    results |= {"method": Method(values["method"]), "deciles": tuple(values["deciles"])}
    results |= {name: Share(**values[name]) for name in ("mentions", "near_mentions") if values.get(name)}
    results |= {"coherence": Score(**values["coherence"])} if values.get("coherence") else {}
    return Scores(**{**values, **results})


def _measurements(values: Mapping[str, Any]) -> Measurements:
    return Measurements(
        scorers=tuple(_measurement(scorer) for scorer in values["scorers"]),
        agreements=tuple(
            Agreement(Scorer(pair["first"]), Scorer(pair["second"]), Correlation(**pair["correlation"]))
            for pair in values["agreements"]
        ),
    )


def _measurement(values: Mapping[str, Any]) -> Measurement:
    results: dict[str, Any] = {name: Score(**values[name]) if values[name] else None for name in ("hard", "random")}
    results["scorer"] = Scorer(values["scorer"])
    results["deciles"] = tuple(Score(**score) if score else None for score in values["deciles"])
    results["correlation"] = Correlation(**values["correlation"]) if values["correlation"] else None
    return Measurement(**{**values, **results})


def _provenance(values: Mapping[str, Any]) -> Provenance:
    rows = {name: tuple(numbers) for name, numbers in values.items() if name.endswith("_rows")}
    rejected = tuple(Rejected(**candidate) for candidate in values["rejected"])
    dataset = DatasetKey(**values["dataset"]) if values.get("dataset") else None
    return Provenance(origin=values["origin"], rejected=rejected, dataset=dataset, **rows)
