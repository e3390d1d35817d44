"""A trace that a caller begins goes through HTTP, gRPC, the message server, jobs and model servers."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import trace


def test_one_trace_from_import_to_search(tmp_path: Path) -> None:
    spans = trace.work(tmp_path)
    print(trace.tree(spans))
    paths = [path for path, _span in trace.paths(spans)]
    embed = (
        "gateway: POST /v1/{name=datasets/*}:embed",
        "gateway: prisma.embedder.v1.EmbedderService/EmbedDataset",
        "embedder: prisma.embedder.v1.EmbedderService/EmbedDataset",
        "embedder: submit embed-dataset",
        "embedder: run embed-dataset",
    )
    assert any(path[:-1][: len(embed)] == embed and path[-1] == "embedder: ollama POST /api/embed" for path in paths)
    for kind in ("trainer: run train-run", "interpreter: run label-features"):
        assert any(path[-1] == kind and len(path) == 5 for path in paths), kind
    assert any(path[-1] == "interpreter: ollama POST /api/chat" for path in paths)
    search = "gateway: POST /v1/{parent=datasets/*}/documents:search"
    within = [path for path in paths if path[0] == search]
    assert any(path[-1] == "embedder: ollama POST /api/embed" for path in within), "the query's vector"
    assert {path[0].partition(" /")[0] for path in paths} == {"gateway: POST"}, "no span has lost its parent"
