"""The Python client, with and without async, against a whole stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import prisma_client
from prisma_client import (
    AlreadyExists,
    AsyncPrisma,
    DocumentsRejected,
    FailedPrecondition,
    FileOptions,
    InvalidArgument,
    NotFound,
    Prisma,
    SomeDocumentsRejected,
    Unavailable,
    UnknownFamily,
)
from tests.stack import COUNT, DATASET, RUN, Stack
from tests.terminal import output_in_terminal


def test_both_clients_are_the_same() -> None:
    script = Path(prisma_client.__file__).parents[1] / "deploy/generate-sync"
    checked = subprocess.run([sys.executable, script, "--check"])
    assert checked.returncode == 0, "run `make protos`: prisma_client/sync is not what prisma_client/aio says"


def test_a_run_encodes_another_dataset_with_its_labels(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        texts = [document.text for document in prisma.datasets.get(DATASET).documents(limit=50)]
        other = prisma.datasets.create("other", documents=texts)
        try:
            with pytest.raises(FailedPrecondition, match="embed"):
                prisma.runs.get(RUN).encode_dataset(other.id)
            other.embed()
            result = stack.command("encode", RUN, other.id, "--run", "encoded")
            assert result.returncode == 0, result.stderr
            run = prisma.runs.get("encoded")
            assert (run.message.imported_from, run.message.code_count) == (f"runs/{RUN}", 50)
            labels, carried = (
                {feature.index: feature.label.text for feature in encoder.features.list(limit=2000)}
                for encoder in (prisma.runs.get(RUN), run)
            )
            assert any(labels.values())
            assert carried == labels
            assert any(hit.shared_features for hit in other.search(texts[0], run=run).hits)
        finally:
            other.delete()


def test_documents_come_from_lists_frames_and_files(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('[{"id": "b", "text": "from a file"}, {"id": "c"}]')
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("mixed", documents=["plain", "texts"])
        try:
            assert data.report
            assert data.report.imported_count == 2
            assert data.add(pd.DataFrame({"id": ["a"], "text": ["from a frame"]})).imported_count == 1
            with pytest.warns(SomeDocumentsRejected, match="1 × MISSING_TEXT"):
                report = data.add(file)
            assert (report.imported_count, report.rejected_count) == (1, 1)
            assert [document.key for document in data.documents()] == ["0", "1", "a", "b"]
            assert [document.key for document in data.documents(limit=2)] == ["0", "1"]
            data.embed()
            assert data.message.embedded_count == 4
            assert data.document("a", with_vector=True).vector.dimension == 256
            with pytest.raises(TypeError, match="document 0"):
                data.add([3])
            with pytest.raises(AlreadyExists):
                prisma.datasets.create("mixed", dataset_id=data.id)
        finally:
            data.delete()
        with pytest.raises(NotFound) as caught:
            prisma.datasets.get(data.id)
    assert caught.value.reason == "DATASET_NOT_FOUND"
    assert caught.value.request_id


def test_where_every_document_is_rejected_the_import_is_an_error_and_no_dataset_is_left(
    stack: Stack, tmp_path: Path
) -> None:
    csv = tmp_path / "x.csv"
    csv.write_text("id,count\n1,2\n3,4\n")
    with Prisma(stack.url) as prisma:
        before = {dataset.id for dataset in prisma.datasets.list()}
        with pytest.raises(DocumentsRejected, match="2 × INVALID_TEXT") as caught:
            prisma.datasets.create("x", documents=[{"id": 1, "text": " "}, {"id": 2, "text": ""}])
        assert caught.value.report.rejected_count == 2
        for source in (csv, tmp_path / "none.json", []):
            with pytest.raises((InvalidArgument, FileNotFoundError)):
                prisma.datasets.create("x", documents=source)
        assert {dataset.id for dataset in prisma.datasets.list()} == before
        data = prisma.datasets.create("x", documents=["a text"])
        try:
            assert data.add([{"id": "0", "text": "a text"}]).rejected_count == 1, "what exists already is no error"
        finally:
            data.delete()


def test_a_file_is_previewed_and_imported_as_it_is(stack: Stack, tmp_path: Path) -> None:
    rows = [{"name": f"n{row}", "review": f"a review of number {row}", "stars": row % 5} for row in range(30)]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "r.csv", index=False, sep=";", encoding="utf-16")
    (tmp_path / "parts").mkdir()
    frame[:10].to_parquet(tmp_path / "parts" / "0.parquet")
    frame[10:].to_parquet(tmp_path / "parts" / "1.parquet")
    with Prisma(stack.url) as prisma:
        preview = prisma.datasets.preview(tmp_path / "r.csv")
        assert (preview.layout.encoding, preview.layout.delimiter) == ("utf-16", ";")
        assert list(preview.layout.text_fields) == ["review"]
        assert [document.text for document in preview.documents] == [row["review"] for row in rows[:20]]
        assert {column.name: column.kind for column in preview.columns}["stars"] == preview.Column.KIND_INTEGER
        for source in (tmp_path / "r.csv", tmp_path / "parts"):
            data = prisma.datasets.create("from a file", source, id_field="name", options=FileOptions(["stars"]))
            try:
                documents = list(data.documents())
                assert [(document.key, document.text) for document in documents] == [
                    (row["name"], row["review"]) for row in rows
                ]
                assert [dict(document.metadata) for document in documents] == [{"stars": row["stars"]} for row in rows]
                assert data.report is not None
                assert list(data.report.layout.metadata_fields) == ["stars"]
            finally:
                data.delete()
        for documents in (frame, ["one text", "another text"]):
            options = FileOptions(ids="row", metadata_fields=[])
            data = prisma.datasets.create("by row", documents, text_field="review", options=options)
            try:
                assert [(document.key, dict(document.metadata)) for document in data.documents()] == [
                    (str(place), {}) for place in range(1, len(documents) + 1)
                ]
            finally:
                data.delete()


def test_a_run_is_searched_explained_and_exported(stack: Stack, tmp_path: Path) -> None:
    with Prisma(stack.url) as prisma:
        data, run = prisma.datasets.get(DATASET), prisma.runs.get(RUN)
        assert [run.id for run in prisma.runs.list(DATASET)] == [RUN]
        assert [metrics.step for metrics in run.metrics()][-1] == run.message.metrics.total_steps
        text = data.document("argparse.ArgumentParser").text if COUNT > 5000 else next(iter(data.documents())).text
        assert run.explain(text).features
        assert not run.explain(text).familiarity.out_of_distribution
        assert run.explain("xqzv wrtkp qqjhv plmzx gfdsk", name_tail=True).familiarity.out_of_distribution
        for mode in ("hybrid", "full_text", "semantic", "sparse"):
            answer = data.search(text[:60], mode=mode, run=run, limit=3)
            assert answer.hits, mode
            assert answer.hits[0].parts
        assert data.similar(answer.hits[0].document, limit=2).hits
        strongest = next(iter(run.features.list(filter="labelled = true", order_by="trust", limit=1)))
        for feature in (strongest.index, strongest.name):
            hit = data.search(text[:60], run=run, boost={feature: 3}, limit=3).hits[0]
            assert [steering.index for steering in hit.steering] == [strongest.index]
            assert hit.steering[0].contribution > 1
        family = next(iter(run.families()))
        members = tuple(member.index for member in family.members)
        hits = data.search(text[:60], run=run, boost={family.name: 3}, limit=3).hits
        assert list(data.search(text[:60], run=run, boost={members: 3}, limit=3).hits) == list(hits)
        assert hits[0].steering and {steering.index for steering in hits[0].steering} <= set(members)
        with pytest.raises(UnknownFamily, match=r"run\.families\(\)"):
            data.search(text[:60], run=run, boost={f"{run.name}/families/none": 1})
        with pytest.raises(InvalidArgument, match="each feature once"):
            data.search(text[:60], run=run, boost={members: 1, members[0]: 1})
        unmoved = data.search(text[:60], run=run, boost={strongest.index: 0}, limit=3)
        assert [hit.unsteered_rank for hit in unmoved.hits] == [1, 2, 3]
        with pytest.raises(ValueError, match=f"runs/{RUN}"):
            data.search(text[:60], run=run, boost={"runs/other/features/1": 3})
        with pytest.raises(ValueError, match=r"features\.search\('game'\)"):
            data.search(text[:60], run=run, boost={"game": 2})
        with pytest.raises(InvalidArgument):
            data.search(text[:60], run=run, boost={strongest.index: 3.5})
        answer = data.search(text[:60], run=run, latents={strongest.index: 1}, sparse_weight=0.9)
        assert [part.part for part in answer.hits[0].parts] == ["text", "dense", "sparse"]
        assert run.feature(strongest.index).decoder_neighbors
        assert run.features.examples(strongest.index, limit=2)
        assert {example.activation for example in run.features.examples(strongest.index, kind="near_miss")} == {0}
        weak = run.features.examples(strongest.index, kind="decile", decile=10)
        assert {example.decile for example in weak} <= {10}
        assert run.features.deciles(strongest.index)[0].decile == 1
        assert strongest.index in [hit.index for hit in run.features.search(strongest.label.text).hits]
        own = run.features.set_label(strongest.index, "mine", request_id="mine")
        assert run.features.set_label(strongest.index, "mine", request_id="mine").name == own.name
        assert run.features.labels(strongest.index)[0].text == "mine"
        run.features.activate(own.name)
        assert next(iter(run.families())).members
        assert run.graph().nodes
        assert run.export_features(tmp_path / "f.csv") == (tmp_path / "f.csv").stat().st_size > 1000
        plain = (tmp_path / "f.csv").read_bytes()
        run.export_features(tmp_path / "f.csv", byte_order_mark=True)
        assert (tmp_path / "f.csv").read_bytes() == b"\xef\xbb\xbf" + plain
        assert run.export_weights(tmp_path / "w") == (tmp_path / "w").stat().st_size > 1000
        assert run.export_activations(tmp_path / "a.jsonl") == (tmp_path / "a.jsonl").stat().st_size > 1000
        assert {path.name for path in tmp_path.iterdir()} == {"f.csv", "w", "a.jsonl"}
        assert len(run.sample_activations(rows=10, features=5).rows) == 10
        assert len(run.feature_matrix("DECODER_COSINE", features=7).values) == 49
        with pytest.raises(FailedPrecondition) as caught:
            run.train()
        assert caught.value.reason == "RUN_ALREADY_TRAINED"
        with pytest.raises(InvalidArgument) as wrong:
            run.label(temperature=7.0)
        assert wrong.value.violations[0][0] == "options.temperature"
        assert prisma.status()["health"] == "HEALTH_DEGRADED"  # no Ollama here


def test_analyses_are_methods_of_a_run(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        run = prisma.runs.get(RUN)
        text = "Return a list of the open files. Raise an error if the socket is closed."
        document = next(iter(prisma.datasets.get(DATASET).documents(limit=1))).name
        assert run.analyses.attribute_sentences(document, features="dead = false").sentences
        attribution = run.analyses.attribute_sentences(text, features="dead = false", limit=3)
        assert len(attribution.sentences) == 2
        assert len(attribution.attributions) == 3
        with pytest.raises(InvalidArgument):
            run.analyses.attribute_sentences(text, features="no filter")
        document = next(iter(prisma.datasets.get(DATASET).documents())).name
        explanation = run.analyses.explain_similarity(document, text, features="dead = false", limit=4)
        assert len(explanation.contributions) == 4
        assert -1 <= explanation.similarity < 1
        associated = run.analyses.associate_metadata("kind", kind="category", features="dead = false")
        assert associated.test_count > 0
        compared = run.analyses.compare_datasets('metadata.kind = "class"', features="dead = false")
        assert compared.first_document_count + compared.second_document_count == COUNT
        same = run.analyses.compare_datasets(first_dataset=DATASET, second_dataset=DATASET, features="dead = false")
        assert (same.significant_count, len(same.notices)) == (0, 1)
        assert run.analyses.correlate_features(features="dead = false").document_count > COUNT // 2
        separated = run.analyses.find_features(
            [text, document], ["A list of numbers."], features="dead = false", limit=3
        )
        assert (separated.positive_total, separated.negative_total, len(separated.separations)) == (2, 1, 3)
        fitted = run.analyses.fit_classifier('metadata.kind = "class"', features="dead = false", feature_count=3)
        assert fitted.held_out_positive_count > 0
        by_name = run.analyses.fit_classifier([document], features="dead = false")
        assert (len(by_name.terms), len(by_name.notices)) == (0, 1)
        with pytest.raises(ValueError, match="kind of metadata"):
            run.analyses.associate_metadata("kind", kind="colour")


async def test_the_asynchronous_client(stack: Stack) -> None:
    async with AsyncPrisma(stack.url) as prisma:
        run = await prisma.runs.get(RUN)
        assert [feature.index async for feature in run.features.list(order_by="index", limit=3)] == [0, 1, 2]
        jobs = await prisma.jobs.list()
        assert {"embed-dataset", "train-run", "label-features"} <= {job.kind for job in jobs}


def test_a_gateway_that_is_away_is_told(stack: Stack) -> None:
    with Prisma("http://127.0.0.1:9") as prisma, pytest.raises(Unavailable, match="prisma up") as caught:
        prisma.datasets.list()
    assert caught.value.reason == "GATEWAY_UNAVAILABLE"


def test_lists_and_answers_are_tables(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        data, run = prisma.datasets.get(DATASET), prisma.runs.get(RUN)
        documents = data.documents(limit=7).to_pandas()
        assert list(documents["key"]) == [document.key for document in data.documents(limit=7)]
        assert next(data.documents()).key == documents["key"][0]
        densest = run.features(order_by="density desc", limit=5)
        features = densest.to_polars()
        assert list(densest) == [], "a listing is read once"
        assert features["density"].is_sorted(descending=True)
        assert features["index"].to_list() == [
            feature.index for feature in run.features.list(order_by="density desc", limit=5)
        ]
        hits = data.search("a queue", run=run, limit=3)
        assert list(hits.to_pandas()["key"]) == [hit.key for hit in hits]
        assert run.explain("a queue").to_pandas()["activation"].is_monotonic_decreasing
        runs = prisma.runs.list().to_pandas().set_index("name")
        assert runs["config.k"][run.name] == 8
        assert run.families().collect().to_pandas()["display_name"].notna().all()
        for item in (prisma.datasets.list(), data, run, densest.collect(), hits, run.explain("a queue")):
            assert "<table" in item._repr_html_()


async def test_listings_of_the_asynchronous_client_are_tables(stack: Stack) -> None:
    async with AsyncPrisma(stack.url) as prisma:
        data = await prisma.datasets.get(DATASET)
        keys = [document.key async for document in data.documents(limit=3)]
        assert list((await data.documents(limit=3).to_pandas())["key"]) == keys
        assert [document.key for document in await data.documents(limit=3).collect()] == keys


def test_long_calls_show_a_bar_on_a_terminal_and_nothing_in_a_script(stack: Stack) -> None:
    program = (
        "from prisma_client import Prisma; from prisma_common import progress; progress.DELAY_SECONDS = 0; "
        f"run = Prisma({stack.url!r}).runs.get({RUN!r}); run.compute_statistics(progress={{}})"
    )
    command = [sys.executable, "-c", program.format(None)]
    assert "compute statistics" in output_in_terminal(command)
    assert output_in_terminal([sys.executable, "-c", program.format(False)]) == ""
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
