"""An installation of PRISMA v2 (PyPI `prismadb` 0.1.0) with data that its own models wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("prismadb==0.1.0", "django==5.2.8", "asgiref==3.10.0", "sqlparse==0.5.3")
_SCRIPT = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
from django.core.files.base import ContentFile
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0, skip_checks=True)
from embeddings.models import Dataset, Document
from explorer.models import Interpretation, SAEFeature
from sae.models import SAERun
content = json.load(sys.stdin)
dataset = Dataset.objects.create(
    name=content["name"], description=content["description"], model_name="nomic-embed-text:latest"
)
Document.objects.bulk_create(Document(dataset=dataset, **document) for document in content["documents"])
for weights in content["weights"]:
    run = SAERun.objects.create(
        dataset=dataset, status="completed", input_dim=content["dimension"], expansion_factor=2, k_sparsity=4
    )
    if weights is not None:
        run.weights_file.save("run.pt", ContentFile(bytes.fromhex(weights)))
    for index, history in content["labels"]:
        feature = SAEFeature.objects.create(run=run, feature_index=index, label=history[-1])
        for text in history:
            label = Interpretation.objects.create(
                feature=feature, label=text, description=f"About {text}", llm_model="llama3:8b",
                temperature=0.2, system_prompt="…",
            )
        feature.active_interpretation = feature.interpretations.get(label=history[0])
        feature.save()
SAERun.objects.create(dataset=dataset, status="failed", input_dim=content["dimension"])
"""


def install(folder: Path) -> None:
    """Installs the package and what its models need, without the rest of its dependencies."""
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--target", folder, *PACKAGES], check=True)
    (folder / "static").mkdir()


def fill(
    folder: Path,
    *,
    documents: Sequence[dict[str, Any]],
    dimension: int,
    labels: Sequence[tuple[int, Sequence[str]]],
    weights: Sequence[bytes | None],
    name: str = "Reviews of v2",
    description: str = "Of v2",
) -> None:
    """Writes a dataset, a run for each file of weights, and labels, of whose history the first is active."""
    content = {
        "name": name,
        "description": description,
        "documents": documents,
        "dimension": dimension,
        "labels": labels,
        "weights": [None if data is None else data.hex() for data in weights],
    }
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", _SCRIPT], env=environment, input=json.dumps(content), text=True, check=True)
