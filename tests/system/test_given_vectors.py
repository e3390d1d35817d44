"""Users' own vectors, from the file to explained hits, in an installation that no provider embeds anything for."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16
from prisma_client import FailedPrecondition, InvalidArgument, Prisma, sample
from tests import stack as stacks
from tests.system.test_backup import start

COUNT, DIMENSION = 5000, 384


def vectors_of(documents: list[dict[str, str]]) -> np.ndarray:
    """Vectors with the modules of the documents as directions, so that there is something to find."""
    generator = np.random.default_rng(3)
    modules = {module: number for number, module in enumerate(sorted({str(d["module"]) for d in documents}))}
    directions = generator.standard_normal((len(modules), DIMENSION))
    noise = 0.3 * generator.standard_normal((len(documents), DIMENSION))
    places = [modules[str(document["module"])] for document in documents]
    return (directions[places] + noise).astype(np.float32)


@pytest.mark.timeout(600)
def test_given_vectors_are_trained_labelled_searched_and_explained_without_a_provider(tmp_path: Path) -> None:
    environment = stacks.environment(tmp_path)
    process = start(environment, tmp_path)
    try:
        with Prisma(environment["PRISMA_URL"]) as prisma:
            documents = list(itertools.islice(sample.documents(), COUNT))
            vectors = vectors_of(documents)
            frame = pd.DataFrame(documents)
            data = prisma.datasets.create("Own", documents=frame, dataset_id="own", vectors=vectors)
            assert (data.message.embedding_model, data.message.embedded_count) == ("given", COUNT)
            stored = data.vectors()
            assert (stored.values.dtype, stored.values.tobytes()) == (vectors.dtype, vectors.tobytes())
            assert stored.ids == frame["id"].to_list()
            run = data.train(run_id="r", latent_count=64, k=4, epochs=3)
            run.label()
            prisma.jobs.wait_for_index(run.compute_statistics())
            labelled = [feature for feature in run.features.list(limit=64) if feature.label.text]
            assert labelled
            run.build_families()
            assert run.explain(document=f"{data.name}/documents/{documents[0]['id']}").features

            def keys(**search: object) -> list[str]:
                return [hit.key for hit in data.search(limit=3, **search).hits]  # pyright: ignore[reportArgumentType]

            assert keys(vector=vectors[7])[0] == documents[7]["id"]
            assert (run.encode(vectors[:100]) != run.codes(range(100)).values).nnz == 0
            with pytest.raises(FailedPrecondition) as caught:
                run.encode(["a text"])
            assert caught.value.reason == "NO_QUERY_MODEL"
            response = data.search(vector=vectors[7], mode="sparse", run=run, limit=3)
            assert response.query_features
            assert response.hits[0].shared_features
            assert keys(query="asyncio", mode="full_text")
            assert keys(latents={int(labelled[0].index): 1.0}, mode="sparse", run=run)
            assert len(data.similar(documents[7]["id"]).hits) == 5
            hybrid = data.search("asyncio", limit=3, run=run)
            assert hybrid.hits
            assert any("set its query_model" in notice for notice in hybrid.notices)
            assert keys(query="asyncio", vector=vectors[7], mode="hybrid")
            for mode in ("semantic", "sparse"):
                with pytest.raises(FailedPrecondition) as caught:
                    data.search("asyncio", mode=mode, run=run)
                assert caught.value.reason == "NO_QUERY_MODEL"
            with pytest.raises(FailedPrecondition) as caught:
                run.explain("a text")
            assert caught.value.reason == "NO_QUERY_MODEL"
            with pytest.raises(
                InvalidArgument, match="expected 384 numbers, as in the vectors of datasets/own; got 383"
            ):
                data.search(vector=vectors[7, :383])

            half_vectors = vectors.astype(np.float16)
            half = prisma.datasets.create("Half", documents=frame, dataset_id="half", vectors=half_vectors)
            assert half.message.vector_encoding == VECTOR_ENCODING_FLOAT16
            stored = half.vectors()
            assert (stored.values.dtype, stored.values.tobytes()) == (half_vectors.dtype, half_vectors.tobytes())
            for _ in range(600):
                if half.index_status().current:
                    break
                time.sleep(0.1)
            assert half.search(vector=vectors[7]).hits[0].key == documents[7]["id"]
    finally:
        process.terminate()
        process.wait(30)
