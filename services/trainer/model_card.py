"""The folder that SAELens loads, with a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.trainer.runs import Run
from services.trainer.sae import exchange
from services.trainer.sae.weights import Weights


def sae_lens_files(run: Run, weights: Weights) -> dict[str, bytes]:
    """The files of the folder that SAELens loads, with a model card; the last is `cfg.json`, which it looks for."""
    files = exchange.to_sae_lens(weights, {"model_name": run.source.embedding_model, "prisma_run": run.name})
    config = files.pop("cfg.json")
    return {**files, "README.md": model_card(run, weights).encode(), "cfg.json": config}


def sae_lens_zip(run: Run, weights: Weights) -> bytes:
    """A zip of that folder."""
    return exchange.zipped(run.id, sae_lens_files(run, weights))


def model_card(run: Run, weights: Weights) -> str:
    """What the autoencoder is, what it was trained on and how, and what it reaches; Markdown."""
    table = "\n".join(f"| {name} | {value} |" for name, value in _facts(run, weights).items() if value)
    settings = run.recipe.preview() if run.config is None else run.config.to_dict()
    recipe = "\n".join(f"| `{name}` | {value} |" for name, value in settings.items() if value is not None)
    return f"""---
library_name: sae_lens
tags: [sparse-autoencoder, embeddings, prisma]
---

# {run.display_name}

{run.description}

A sparse autoencoder on text embeddings, trained by PRISMA. `SAE.load_from_disk` of SAELens loads this folder; it takes
vectors as the embedding model gives them.

| | |
|---|---|
{table}

## Recipe

| setting | value |
|---|---|
{recipe}
"""


def _facts(run: Run, weights: Weights) -> dict[str, str | None]:
    """What the card's first table says, by name; empty where it is not known."""
    metrics: Mapping[str, Any] = run.metrics or {}
    evaluation: Mapping[str, Any] = run.evaluation or {}
    active = f"threshold {weights.threshold:.4g}" if weights.threshold else f"Top-K, k {weights.k}"
    return {
        "embedding model": run.source.embedding_model,
        "vectors": f"{0 if run.selection is None else run.selection.row_count:,} of {weights.dimension} numbers",
        "data fingerprint (SHA-256)": run.fingerprint or "unknown",
        "latents": f"{weights.latent_count:,}, {active}",
        "imported from": run.imported_from,
        "held-out FVU": _number(metrics.get("held_out_fvu")),
        "L0": _number(evaluation.get("l0") or metrics.get("l0")),
        "dead latents": _number(None if run.dead_count is None else run.dead_count / weights.latent_count),
        "kNN overlap@10 of reconstructions": _number(evaluation.get("knn_overlap")),
        "nDCG@10 of reconstructions": _number(evaluation.get("ndcg")),
    }


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
