"""A sentence encoder from the operator's folder: listed, imported, embedded and searched, over HTTP and gRPC."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import Prisma
from prisma_client.sync.datasets import Dataset
from prisma_common import wire
from services.embedder.providers import Embedding, Purpose
from services.embedder.providers.encoder import SentenceEncoder
from services.embedder.providers.layout import read_layout
from tests.sentence_encoder import DIMENSION, MAX_TOKENS, write_encoder
from tests.system.installation import Installation

MODEL = "onnx/minilm"
PROMPTS = {"prompts": {"query": "Represent this sentence for searching: ", "document": ""}}
TEXTS = {
    "flights": "Where can I buy cheap flights?",
    "shoes": "Where can I buy cheap shoes?",
    "rain": "It is raining heavily outside.",
    "quiet": "It is quiet outside.",
    "long": "word " * 300,
    **{f"other-{number}": f"open file {number} of topic {number % 4}" for number in range(35)},
}
QUERY = "low-cost airline tickets"


@pytest.fixture
def encoder(tmp_path: Path) -> SentenceEncoder:
    folder = tmp_path / "models" / "minilm"
    return SentenceEncoder(read_layout(write_encoder(folder, {"config_sentence_transformers.json": PROMPTS})))


def vector(encoder: SentenceEncoder, text: str, purpose: Purpose) -> NDArray[np.float32]:
    answer = encoder.embed(text, purpose)
    assert isinstance(answer, Embedding)
    return answer.vector


def test_a_dataset_is_embedded_and_searched_by_meaning(encoder: SentenceEncoder, tmp_path: Path) -> None:
    folders = f"{tmp_path / 'models/minilm'}:{tmp_path / 'models/absent'}"
    with (
        Installation(tmp_path / "installation", PRISMA_ONNX_MODELS=folders) as installation,
        httpx.Client(base_url=f"{installation.url}/v1", timeout=60, trust_env=False) as http,
        Prisma(installation.url) as prisma,
        grpc.insecure_channel(installation.processes["embedder"].address) as channel,
    ):
        check_models(http)
        data = prisma.datasets.create(
            "by meaning",
            [{"id": key, "text": text} for key, text in TEXTS.items()],
            dataset_id="d",
            embedding_model=MODEL,
        )
        data.embed()
        dataset = get(http, "datasets/d")
        assert (dataset["embeddedCount"], dataset["dimension"]) == (str(len(TEXTS)), DIMENSION)
        truncated = {key: get(http, f"datasets/d/documents/{key}").get("embeddingTruncated", False) for key in TEXTS}
        assert truncated == {key: key == "long" for key in TEXTS}
        check_bits(embedder_service_pb2_grpc.EmbedderServiceStub(channel), encoder)
        check_search(http, prisma, encoder)
        check_analysis(data)


def get(http: httpx.Client, path: str) -> Any:
    response = http.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def check_models(http: httpx.Client) -> None:
    """All models are listed; one without a folder says so, and no dataset can be created with it."""
    models = {model["id"]: model for model in get(http, "embeddingModels")["embeddingModels"]}
    assert (models[MODEL]["dimension"], models[MODEL]["maxTokens"]) == (DIMENSION, MAX_TOKENS)
    assert "mean similar things" in models[MODEL]["description"]
    assert "spelling level" in models["builtin/wordllama-256"]["displayName"]
    assert models["builtin/wordllama-256"]["description"].startswith("Spelling level")
    assert "does not exist" in models["onnx/absent"]["error"]
    response = http.post("datasets", json={"displayName": "x", "embeddingModel": "onnx/absent"})
    assert (response.status_code, "does not exist" in response.text) == (503, True)
    status = get(http, "services/embedder/status")
    assert (status["health"], "does not exist" in status["message"]) == ("HEALTH_DEGRADED", True)


def check_bits(stub: Any, encoder: SentenceEncoder) -> None:
    """A text has the bits of the document with this text; a query has its prefix."""
    blocks = [
        wire.unpack_vectors(block.vectors) for block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset="datasets/d"))
    ]
    stored = np.concatenate([vectors for _rows, vectors in blocks])
    texts = list(TEXTS.values())
    for purpose in (pb2.EmbedTextsRequest.PURPOSE_UNSPECIFIED, pb2.EmbedTextsRequest.PURPOSE_DOCUMENT):
        request = pb2.EmbedTextsRequest(embedding_model=MODEL, texts=texts, purpose=purpose)
        assert wire.unpack_vectors(stub.EmbedTexts(request).vectors)[1].tobytes() == stored.tobytes()
    assert stored.tobytes() == b"".join(vector(encoder, text, Purpose.DOCUMENT).tobytes() for text in texts)
    query = pb2.EmbedTextsRequest(embedding_model=MODEL, texts=[QUERY], purpose=pb2.EmbedTextsRequest.PURPOSE_QUERY)
    (queried,) = wire.unpack_vectors(stub.EmbedTexts(query).vectors)[1]
    assert queried.tobytes() == vector(encoder, PROMPTS["prompts"]["query"] + QUERY, Purpose.DOCUMENT).tobytes()


def check_search(http: httpx.Client, prisma: Prisma, encoder: SentenceEncoder) -> None:
    """The text that means the same is the first hit, by the cosine of the query's vector with its prefix."""
    data = prisma.datasets.get("d")
    for _ in range(300):
        if data.index_status().current:
            break
        time.sleep(0.1)
    response = http.post("datasets/d/documents:search", json={"query": QUERY, "mode": "MODE_SEMANTIC"})
    assert response.status_code == 200, response.text
    best = response.json()["hits"][0]
    assert best["key"] == "flights", json.dumps(response.json())
    cosine = float(vector(encoder, QUERY, Purpose.QUERY) @ vector(encoder, TEXTS["flights"], Purpose.DOCUMENT))
    assert best["score"] == pytest.approx(cosine, abs=1e-5)
    assert (
        abs(cosine - vector(encoder, QUERY, Purpose.DOCUMENT) @ vector(encoder, TEXTS["flights"], Purpose.DOCUMENT))
        > 1e-3
    )


def check_analysis(data: Dataset) -> None:
    """A text that is analysed is a document, not a query: it has the features of the document with this text."""
    run = data.train(run_id="r", expansion=1, k=4, epochs=1)
    run.compute_statistics()
    of_document = run.explain(document="datasets/d/documents/flights").features
    of_text = run.explain(TEXTS["flights"]).features
    assert [(feature.index, feature.activation) for feature in of_text] == [
        (feature.index, feature.activation) for feature in of_document
    ]
