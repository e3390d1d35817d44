"""The main job by the SDK for Python: import, embed, train, name, search.

The clients in other languages print the same table.
"""

from __future__ import annotations

import math

import pytest

from prisma_client import NotFound, Prisma

SUBJECTS = (
    "The ferry to the island",
    "The tunnel below the city",
    "The choir of the cathedral",
    "The recipe for rye bread",
    "The orbit of the comet",
    "The court of appeal",
    "The vaccine against measles",
    "The final of the cup",
    "The price of copper",
    "The song of the whales",
)
PREDICATES = (
    "was late because of fog",
    "is described in an old book",
    "was discussed on the radio",
    "has changed since spring",
    "surprised the experts",
    "is older than the town",
    "costs more than before",
    "was explained to children",
    "attracts many visitors",
    "is shown on a stamp",
    "was measured again",
    "had to be postponed",
    "appears in a poem",
    "is a matter of dispute",
    "was filmed at night",
    "was studied by students",
    "caused a long debate",
    "ended in the rain",
    "is known abroad",
    "was praised by a critic",
)


def main_job(prisma: Prisma, name: str) -> str:
    """The table, of a new dataset and a new run with this id."""
    documents = [
        {"id": f"{topic}-{number:02}", "text": f"{subject} {predicate}.", "metadata": {"topic": topic}}
        for topic, subject in enumerate(SUBJECTS)
        for number, predicate in enumerate(PREDICATES)
    ]
    dataset = prisma.datasets.create("Clients", dataset_id=name)
    report = dataset.add(documents)
    dataset.embed(progress=False)
    dataset.refresh()
    run = dataset.train(run_id=name, expansion=1, k=8, siblings=0, threads=1, auto=False, progress=False).refresh()
    run.compute_statistics(progress=False)
    run.label(progress=False)
    features = list(run.features.list(order_by="index"))
    rows = [
        ("imported", f"{report.imported_count}, {report.rejected_count} rejected"),
        ("embedded", f"{dataset.message.embedded_count}, {dataset.message.dimension} numbers each"),
        ("trained", f"{run.message.latent_count} latents, {run.message.config.k} active"),
        ("features", f"{len(features)} in {math.ceil(len(features) / 100)} pages"),
    ]
    for feature in [feature for feature in features if feature.label.text][:5]:
        rows.append(("", f"{feature.index} {feature.max_activation:.4f} {feature.label.text}"))
    vector = dataset.vectors([0]).values[0]
    latents, activations = run.codes([0]).numbers.row(0)
    pairs = zip(latents, activations, strict=True)
    rows.append(("vector", " ".join(f"{value:.4f}" for value in vector[:4]) + " ..."))
    rows.append(("code", " ".join(f"{latent}:{activation:.4f}" for latent, activation in pairs)))
    for mode in ("full_text", "semantic", "sparse", "hybrid"):
        answer = dataset.search("fog on the way to the island", mode=mode, run=run, limit=3)
        rows.append((mode, ", ".join(f"{hit.key} {hit.score:.4f}" for hit in answer.hits)))
    with pytest.raises(NotFound) as refusal:
        prisma.runs.get("none")
    rows.append(("error", f"{refusal.value.reason}, run={refusal.value.metadata['run']}"))
    return "".join(f"{name:10} {text}".strip() + "\n" for name, text in rows)
