"""The interpreter over gRPC, with a real embedder and trainer."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import grpc.aio
import numpy as np
import pytest

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_common import wire
from tests import calls
from tests.calls import reason
from tests.interpreter.conftest import DATASET, RUN, Suite

Label = resources_pb2.Label


async def interpretation_of(suite: Suite) -> resources_pb2.Interpretation:
    return await suite.interpreter.GetInterpretation(pb2.GetInterpretationRequest(name=f"{RUN}/interpretation"))


async def with_statistics(suite: Suite, siblings: int = 0) -> None:
    """A trained run's statistics come by themselves."""
    await suite.train(siblings=siblings)
    for _ in range(300):
        if (await interpretation_of(suite)).statistics_revision:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("no statistics came")


async def labelled(suite: Suite, **options: Any) -> Job:
    job = await suite.interpreter.LabelFeatures(pb2.LabelFeaturesRequest(run=RUN, **options))
    return await suite.ended(job)


async def features(suite: Suite, **options: Any) -> pb2.ListFeaturesResponse:
    return await suite.interpreter.ListFeatures(pb2.ListFeaturesRequest(parent=RUN, page_size=1000, **options))


async def test_a_trained_run_is_labelled_grouped_and_explained(suite: Suite) -> None:
    await with_statistics(suite, siblings=1)
    interpretation = await interpretation_of(suite)
    assert interpretation.latent_count == 256
    assert interpretation.live_count + interpretation.dead_count == 256
    assert interpretation.row_count == 600

    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    interpretation = await interpretation_of(suite)
    assert interpretation.labelled_count == interpretation.live_count

    listed = await features(suite)
    texts = [feature.label.text for feature in listed.features if feature.label.text]
    assert len(texts) + interpretation.unnamed_count == interpretation.labelled_count
    assert len(texts) >= 10
    for feature in listed.features:
        assert (feature.trust == resources_pb2.TRUST_UNNAMED) == (not feature.label.text)
        assert not feature.label.text or feature.label.score_low >= 0.6
        assert feature.label.text or "ot named" in feature.label.description or feature.dead
    assert [feature.density for feature in listed.features] == sorted(
        (feature.density for feature in listed.features), reverse=True
    )
    assert all(feature.dead != feature.HasField("label") for feature in listed.features)
    assert all(feature.HasField("stability") and -1 <= feature.stability <= 1 for feature in listed.features)

    # Filters, orders and searches agree with the whole list.
    dense = await features(suite, filter="density > 0.05 AND dead = false", order_by="index")
    assert [feature.index for feature in dense.features] == sorted(
        feature.index for feature in listed.features if feature.density > 0.05
    )
    word = next(text for text in texts if text.isalpha())
    assert word in [feature.label.text for feature in (await features(suite, query=word.upper())).features]
    assert [feature.index for feature in (await features(suite, query="17")).features].count(17) == 1
    assert not (await features(suite, filter="source = HUMAN")).features

    # Trust filters and sorts; the history has what a label was made with.
    ordered = (await features(suite, order_by="trust")).features
    assert [feature.trust for feature in ordered] == sorted(feature.trust for feature in listed.features)
    unnamed = (await features(suite, filter="trust = UNNAMED")).features
    assert len(unnamed) == 256 - len(texts)
    (entry,) = (await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=ordered[0].name))).labels
    assert not set(entry.provenance.scoring_rows) & set(entry.provenance.writing_rows)
    assert entry.test.score.active_count <= len(entry.provenance.scoring_rows)
    mentions, near = entry.test.mentions, entry.test.near_mentions
    assert (mentions.document_count, near.document_count) == (
        entry.test.score.active_count,
        len(entry.provenance.hard_rows),
    )
    assert 0 <= mentions.low <= mentions.value <= mentions.high <= 1 and entry.test.breadth > 0
    coherence = entry.test.coherence
    assert 5 <= coherence.active_count <= round(mentions.value * mentions.document_count)
    assert 0 <= coherence.low <= coherence.value <= coherence.high <= 1

    # Pages together are the list.
    paged: list[int] = []
    token = ""
    while True:
        page = await suite.interpreter.ListFeatures(
            pb2.ListFeaturesRequest(parent=RUN, page_size=100, page_token=token)
        )
        paged += [feature.index for feature in page.features]
        token = page.next_page_token
        if not token:
            break
    assert paged == [feature.index for feature in listed.features]

    strongest = (await features(suite, order_by="max_activation desc")).features[0]
    full = await suite.interpreter.GetFeature(pb2.GetFeatureRequest(name=strongest.name))
    assert sum(full.histogram.counts) == full.active_count
    assert full.decoder_neighbors[0].score >= full.decoder_neighbors[-1].score
    examples = (await suite.interpreter.ListExamples(pb2.ListExamplesRequest(parent=full.name))).examples
    assert examples[0].activation == pytest.approx(full.max_activation)
    assert [example.activation for example in examples] == sorted(
        (example.activation for example in examples), reverse=True
    )

    # Other kinds: some of each decile, and silent documents.
    kinds = pb2.ListExamplesRequest
    by_decile = await suite.interpreter.ListExamples(
        pb2.ListExamplesRequest(parent=full.name, kind=kinds.KIND_DECILE, page_size=50)
    )
    numbers = [example.decile for example in by_decile.examples]
    assert numbers == sorted(numbers)
    assert [decile.decile for decile in by_decile.deciles] == sorted(set(numbers))
    assert by_decile.deciles[0].max_activation == pytest.approx(full.max_activation)
    for kind in (kinds.KIND_NEAR_MISS, kinds.KIND_RANDOM):
        silent = (await suite.interpreter.ListExamples(pb2.ListExamplesRequest(parent=full.name, kind=kind))).examples
        assert len(silent) == 10
        assert {(example.activation, example.decile) for example in silent} == {(0.0, 0)}
        assert not {example.row for example in silent} & {example.row for example in examples}

    # The analysis of an example is the code that the trainer holds, bit for bit.
    document = await suite.interpreter.AnalyzeDocument(
        pb2.AnalyzeDocumentRequest(run=RUN, document=examples[0].document)
    )
    call = suite.trainer.ReadCodes(
        trainer_pb2.ReadCodesRequest(run=RUN, row_ranges=[{"start": examples[0].row, "end": examples[0].row + 1}])
    )
    (block,) = [block async for block in call]
    indices, values = wire.unpack_codes(block.codes).row(0)
    assert {feature.index: feature.activation for feature in document.features} == {
        index: value for index, value in zip(indices.tolist(), values.tolist(), strict=True)
    }
    assert full.index in [feature.index for feature in document.features]
    same = await suite.interpreter.AnalyzeText(pb2.AnalyzeTextRequest(run=RUN, text=examples[0].text))
    assert [(feature.index, feature.activation) for feature in same.features] == [
        (feature.index, feature.activation) for feature in document.features
    ]
    assert 0 <= same.unexplained_fraction <= 1.5

    # The training held out 60 of 600 documents: too few to calibrate on, so others take their place, and it is said.
    assert not same.familiarity.out_of_distribution
    assert (same.familiarity.document_count, same.familiarity.held_out) == (150, False)
    assert same.familiarity.min_length <= len(same.text) <= same.familiarity.max_length
    assert document.familiarity == same.familiarity
    gibberish = await suite.interpreter.AnalyzeText(
        pb2.AnalyzeTextRequest(run=RUN, text="xqzv wrtkp qqjhv plmzx gfdsk vbnqw zzxqk")
    )
    assert gibberish.familiarity.out_of_distribution
    assert gibberish.familiarity.p_value <= gibberish.familiarity.false_alarm_rate == 0.05
    assert same.embedding_norm == pytest.approx(document.embedding_norm)

    # Families.
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.interpreter.ListFamilies(pb2.ListFamiliesRequest(parent=RUN))
    assert reason(caught.value) == "FAMILIES_NOT_BUILT"
    # By the published method: its features are found again by no other training, so that no other method groups them.
    published = pb2.BuildFamiliesRequest(run=RUN, method=pb2.BuildFamiliesRequest.METHOD_PUBLISHED)
    job = await suite.ended(await suite.interpreter.BuildFamilies(published))
    assert job.state == Job.STATE_SUCCEEDED, job
    families = await suite.interpreter.ListFamilies(pb2.ListFamiliesRequest(parent=RUN, page_size=1000))
    assert families.total_size == (await interpretation_of(suite)).family_count > 0
    trusts = [getattr(resources_pb2, f"TRUST_{trust}") for trust in ("TRUSTED", "OPEN", "DOUBTFUL", "UNNAMED")]
    places = [(trusts.index(family.reliability.trust), -family.member_count) for family in families.families]
    assert places == sorted(places), "the most trusted first, then the largest"
    densities = {feature.index: feature.precise_density for feature in listed.features}
    for family in families.families:
        assert family.members[0].index == family.parent_index
        for member in family.members[1:]:
            assert densities[family.parent_index] >= densities[member.index]
    graph = await suite.interpreter.GetGraph(pb2.GetGraphRequest(run=RUN))
    assert {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges} == {
        node.index for node in graph.nodes
    }
    in_family = await features(suite, filter=f"family = {families.families[0].name.rpartition('/')[2]}")
    assert {feature.index for feature in in_family.features} == {
        member.index for member in families.families[0].members
    }

    # The table of all features.
    call = suite.interpreter.ExportFeatures(pb2.ExportFeaturesRequest(run=RUN))
    table = list(csv.DictReader(io.StringIO(b"".join([part.data async for part in call]).decode())))
    assert [int(row["index"]) for row in table] == list(range(256))
    call = suite.interpreter.ExportFeatures(pb2.ExportFeaturesRequest(run=RUN, byte_order_mark=True))
    assert b"".join([part.data async for part in call]).startswith(b"\xef\xbb\xbfindex,label,")
    assert {int(row["index"]): row["label"].lstrip("'") for row in table if row["label"]} == {
        feature.index: feature.label.text for feature in listed.features if feature.label.text
    }


async def test_a_run_is_drawn_and_exported_as_a_whole(suite: Suite) -> None:
    await with_statistics(suite)
    codes = wire.concatenate(
        [
            wire.unpack_codes(block.codes)
            async for block in suite.trainer.ReadCodes(trainer_pb2.ReadCodesRequest(run=RUN))
        ],
        256,
    )
    densest = [feature.index for feature in (await features(suite)).features if not feature.dead]

    sample = await suite.interpreter.SampleActivations(
        pb2.SampleActivationsRequest(run=RUN, row_count=50, feature_count=20)
    )
    assert list(sample.indices) == densest[:20]
    assert (list(sample.rows), sample.total_rows) == ([place * 12 for place in range(50)], 600)
    for place, row in enumerate(sample.rows):
        part = slice(sample.offsets[place], sample.offsets[place + 1])
        cells = dict(
            zip((sample.indices[column] for column in sample.columns[part]), sample.activations[part], strict=True)
        )
        whole = dict(zip(*(array.tolist() for array in codes.row(row)), strict=True))
        assert cells == {index: value for index, value in whole.items() if index in densest[:20]}

    kinds = resources_pb2.FeatureMatrix.Kind
    for kind in kinds.values():
        matrix = await suite.interpreter.GetFeatureMatrix(pb2.GetFeatureMatrixRequest(run=RUN, kind=kinds.Name(kind)))
        assert (sorted(matrix.indices), len(matrix.values)) == (sorted(densest[:100]), len(matrix.indices) ** 2)
        assert matrix.kind == (kind or kinds.Value("KIND_CO_OCCURRENCE"))
        assert matrix.values[:: len(matrix.indices) + 1] == pytest.approx([1] * len(matrix.indices))
    few = await suite.interpreter.GetFeatureMatrix(pb2.GetFeatureMatrixRequest(run=RUN, filter="index < 10"))
    assert all(index < 10 for index in few.indices)

    deleted = "datasets/d/documents/" + await _id_of(suite, row=3)
    await suite.embedder.DeleteDocument(embedder_pb2.DeleteDocumentRequest(name=deleted))
    parts = [part async for part in suite.interpreter.ExportActivations(pb2.ExportActivationsRequest(run=RUN))]
    imported = calls.texts(600)
    lines = [json.loads(line) for line in b"".join(part.data for part in parts).decode().splitlines()]
    assert [line["row"] for line in lines] == [row for row in range(600) if row != 3]
    for line in lines:
        indices, values = codes.row(line["row"])
        assert line["indices"] == indices.tolist()
        assert [np.float32(value) for value in line["activations"]] == values.tolist()
        assert line["document"].startswith("datasets/d/documents/")
        document = imported[line["row"]]
        metadata = {name: value for name, value in document.items() if name not in ("id", "text")}
        assert (line["id"], line["key"], line["metadata"]) == (document["id"], document["id"], metadata)
        assert 0 < len(line["text"]) <= 200


async def _id_of(suite: Suite, row: int) -> str:
    request = embedder_pb2.BatchGetDocumentsRequest(parent=DATASET, rows=[row])
    return (await suite.embedder.BatchGetDocuments(request)).documents[0].name.rpartition("/")[2]


async def test_labels_have_a_history_and_a_persons_label_stays(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    feature = (await features(suite, order_by="max_activation desc")).features[0]
    first = feature.label
    revision = (await interpretation_of(suite)).label_revision

    own = await suite.interpreter.CreateLabel(
        pb2.CreateLabelRequest(parent=feature.name, label=Label(text="  my  own\nlabel ", description="because"))
    )
    assert (own.text, own.source, own.active) == ("my own label", Label.SOURCE_HUMAN, True)

    # Followers read that one alone.
    call = suite.interpreter.ReadLabels(pb2.ReadLabelsRequest(run=RUN))
    history = [block async for block in call][-1].history
    assert history
    request = pb2.ReadLabelsRequest(run=RUN, since_revision=revision, history=history)
    blocks = [block async for block in suite.interpreter.ReadLabels(request)]
    assert [(feature.index, feature.label.text) for block in blocks for feature in block.features] == [
        (feature.index, "my own label")
    ]
    assert blocks[0].revision == revision + 1

    # A job leaves it alone unless asked, and even then it stays the active one.
    await labelled(suite)
    names = await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=feature.name))
    assert [label.active for label in names.labels] == [True, False]
    assert (await labelled(suite, relabel=True, indices=[feature.index])).state == Job.STATE_SUCCEEDED
    names = await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=feature.name))
    assert [label.source for label in names.labels] == [
        Label.SOURCE_KEYWORDS,
        Label.SOURCE_HUMAN,
        Label.SOURCE_KEYWORDS,
    ]
    assert [label.active for label in names.labels] == [False, True, False]

    # Rollback.
    back = await suite.interpreter.ActivateLabel(pb2.ActivateLabelRequest(name=first.name))
    assert back.text == first.text
    now = await suite.interpreter.GetFeature(pb2.GetFeatureRequest(name=feature.name))
    assert now.label.name == first.name
    again = await suite.interpreter.LabelFeature(pb2.LabelFeatureRequest(name=feature.name))
    assert again.active
    assert again.name.endswith("/labels/4")

    # What a model wrote elsewhere says so.
    foreign = await suite.interpreter.CreateLabel(
        pb2.CreateLabelRequest(parent=feature.name, label=Label(text="a foreign label", model="prismadb/llama3:8b"))
    )
    assert (foreign.source, foreign.model, foreign.author) == (Label.SOURCE_MODEL, "prismadb/llama3:8b", "")


async def test_labels_are_carried_to_the_same_features_of_another_run(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    await suite.train("twin")  # of equal weights
    await suite.ended(await suite.interpreter.ComputeStatistics(pb2.ComputeStatisticsRequest(run="runs/twin")))
    first, second = (await features(suite, filter="labelled = true")).features[:2]
    own = Label(text="of a person")
    await suite.interpreter.CreateLabel(pb2.CreateLabelRequest(parent=f"runs/twin/features/{second.index}", label=own))

    request = pb2.CarryLabelsRequest(run="runs/twin", from_run=RUN)
    counts = await suite.interpreter.CarryLabels(request)
    assert counts.matched_count == 256
    count = len((await features(suite, filter="labelled = true")).features)
    assert counts.carried_count == count - 1
    carried = (
        await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=f"runs/twin/features/{first.index}"))
    ).labels
    assert [(label.text, label.active) for label in carried] == [(first.label.text, True)]
    assert carried[0].carried_from == first.label.name
    assert not carried[0].HasField("score"), "it was not tested on this run"
    history = await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=f"runs/twin/features/{second.index}"))
    assert [label.text for label in history.labels] == ["of a person"]
    assert (await suite.interpreter.CarryLabels(request)).carried_count == 0


async def test_a_repeated_call_writes_one_label(suite: Suite) -> None:
    await with_statistics(suite)
    feature = (await features(suite, order_by="max_activation desc")).features[0]
    request = pb2.CreateLabelRequest(parent=feature.name, label=Label(text="mine"), request_id="r")
    first, second = [await suite.interpreter.CreateLabel(request) for _ in range(2)]
    assert first == second
    request.label.text = "another"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.interpreter.CreateLabel(request)
    assert reason(caught.value) == "REQUEST_ID_REUSED"
    labelling = pb2.LabelFeatureRequest(name=feature.name, request_id="s")
    assert len({(await suite.interpreter.LabelFeature(labelling)).name for _ in range(2)}) == 1
    assert len((await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=feature.name))).labels) == 2


async def test_damaged_statistics_come_back_by_themselves(suite: Suite) -> None:
    await with_statistics(suite)
    uid = (await interpretation_of(suite)).run_uid
    folder = suite.interpreter_process.log.parent / "data/interpreter/blobs/statistics" / uid
    (file,) = folder.glob("*/density.npy")
    suite.interpreter_process.kill()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    suite.interpreter_process.start()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await features(suite)
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.DATA_LOSS, "BLOB_DAMAGED")
    for _ in range(300):
        try:
            assert len((await features(suite)).features) == 256
            return
        except grpc.aio.AioRpcError as error:
            assert reason(error) == "BLOB_DAMAGED", error
        await asyncio.sleep(0.1)
    raise AssertionError("the statistics stay damaged")


async def test_labels_and_statistics_are_served_while_the_trainer_is_away(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    suite.trainer_process.kill()
    assert len((await features(suite)).features) == 256
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.interpreter.AnalyzeText(pb2.AnalyzeTextRequest(run=RUN, text="a text"))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "SERVICE_UNAVAILABLE"


async def test_a_killed_interpreter_ends_its_jobs_and_a_deleted_run_leaves_nothing(suite: Suite) -> None:
    await with_statistics(suite)
    job = await suite.interpreter.LabelFeatures(pb2.LabelFeaturesRequest(run=RUN))
    suite.interpreter_process.kill()
    suite.interpreter_process.start()
    assert (await suite.ended(job)).state == Job.STATE_SUCCEEDED
    interpretation = await interpretation_of(suite)
    assert interpretation.labelled_count == interpretation.live_count
    feature = (await features(suite)).features[0]
    names = await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent=feature.name))
    assert len(names.labels) == 1, "labelled twice"

    blobs = suite.interpreter_process.log.parent / "data/interpreter/blobs/statistics" / interpretation.run_uid
    assert blobs.exists()
    await suite.embedder.DeleteDataset(embedder_pb2.DeleteDatasetRequest(name="datasets/d"))
    for _ in range(300):
        try:
            await interpretation_of(suite)
        except grpc.aio.AioRpcError as error:
            assert reason(error) == "RUN_NOT_FOUND"
            if not blobs.exists():
                return
        await asyncio.sleep(0.1)
    raise AssertionError("statistics of a deleted run are left")


UNKNOWN_KIND: Any = 9
BAD = [
    ("ListFeatures", pb2.ListFeaturesRequest(parent="runs/none"), "RUN_NOT_FOUND"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent="r"), "INVALID_ARGUMENT"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, filter="density >"), "INVALID_FILTER"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, filter="colour = red"), "INVALID_FILTER"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, filter="source = ROBOT"), "INVALID_FILTER"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, order_by="beauty"), "INVALID_ARGUMENT"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, page_token="%%%"), "INVALID_PAGE_TOKEN"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, page_size=-1), "INVALID_ARGUMENT"),
    ("GetFeature", pb2.GetFeatureRequest(name=f"{RUN}/features/256"), "FEATURE_NOT_FOUND"),
    ("GetFeature", pb2.GetFeatureRequest(name=f"{RUN}/features/one"), "INVALID_ARGUMENT"),
    ("GetFeature", pb2.GetFeatureRequest(name=f"{RUN}/features/-1"), "INVALID_ARGUMENT"),
    ("LabelFeatures", pb2.LabelFeaturesRequest(run=RUN, indices=[999]), "FEATURE_NOT_FOUND"),
    ("CarryLabels", pb2.CarryLabelsRequest(run=RUN, from_run="runs/none"), "RUN_NOT_FOUND"),
    ("CarryLabels", pb2.CarryLabelsRequest(run=RUN, from_run=RUN), "INVALID_ARGUMENT"),
    ("CarryLabels", pb2.CarryLabelsRequest(run=RUN, from_run=RUN, min_cosine=2), "INVALID_ARGUMENT"),
    ("LabelFeatures", pb2.LabelFeaturesRequest(run=RUN, options={"model": "gpt-4"}), "INVALID_ARGUMENT"),
    ("LabelFeatures", pb2.LabelFeaturesRequest(run=RUN, options={"temperature": 9}), "INVALID_ARGUMENT"),
    ("LabelFeatures", pb2.LabelFeaturesRequest(run=RUN, options={"positive_count": 0}), "INVALID_ARGUMENT"),
    ("LabelFeatures", pb2.LabelFeaturesRequest(run=RUN, options={"model": "ollama/x"}), "PROVIDER_UNAVAILABLE"),
    ("ScoreLabels", pb2.ScoreLabelsRequest(run=RUN, indices=[999]), "FEATURE_NOT_FOUND"),
    ("ScoreLabels", pb2.ScoreLabelsRequest(run="runs/none"), "RUN_NOT_FOUND"),
    ("ScoreLabels", pb2.ScoreLabelsRequest(run=RUN, judge={"model": "keywords"}), "INVALID_ARGUMENT"),
    ("ScoreLabels", pb2.ScoreLabelsRequest(run=RUN, judge={"model": "ollama/x"}), "PROVIDER_UNAVAILABLE"),
    (
        "ScoreLabels",
        pb2.ScoreLabelsRequest(run=RUN, judge={"model": "ollama/x", "document_count": 9}),
        "INVALID_ARGUMENT",
    ),
    ("CreateLabel", pb2.CreateLabelRequest(parent=f"{RUN}/features/1", label={"text": " "}), "INVALID_ARGUMENT"),
    ("CreateLabel", pb2.CreateLabelRequest(parent=f"{RUN}/features/1", label={"text": "x" * 201}), "INVALID_ARGUMENT"),
    ("ActivateLabel", pb2.ActivateLabelRequest(name=f"{RUN}/features/1/labels/7"), "LABEL_NOT_FOUND"),
    ("BuildFamilies", pb2.BuildFamiliesRequest(run=RUN, threshold=2), "INVALID_ARGUMENT"),
    ("BuildFamilies", pb2.BuildFamiliesRequest(run=RUN, rounds=0), "INVALID_ARGUMENT"),
    ("GetGraph", pb2.GetGraphRequest(run=RUN), "FAMILIES_NOT_BUILT"),
    ("SampleActivations", pb2.SampleActivationsRequest(run=RUN, row_count=10_001), "INVALID_ARGUMENT"),
    ("SampleActivations", pb2.SampleActivationsRequest(run=RUN, feature_count=501), "INVALID_ARGUMENT"),
    ("GetFeatureMatrix", pb2.GetFeatureMatrixRequest(run=RUN, feature_count=301), "INVALID_ARGUMENT"),
    ("GetFeatureMatrix", pb2.GetFeatureMatrixRequest(run=RUN, kind=UNKNOWN_KIND), "INVALID_ARGUMENT"),  # pyright: ignore
    ("GetFeatureMatrix", pb2.GetFeatureMatrixRequest(run=RUN, filter="density >"), "INVALID_FILTER"),
    ("GetFeatureMatrix", pb2.GetFeatureMatrixRequest(run="runs/none"), "RUN_NOT_FOUND"),
    ("ListExamples", pb2.ListExamplesRequest(parent=f"{RUN}/features/1", decile=3), "INVALID_ARGUMENT"),
    (
        "ListExamples",
        pb2.ListExamplesRequest(parent=f"{RUN}/features/1", kind="KIND_DECILE", decile=11),
        "INVALID_ARGUMENT",
    ),
    ("ListExamples", pb2.ListExamplesRequest(parent=f"{RUN}/features/1", kind=UNKNOWN_KIND), "INVALID_ARGUMENT"),
    ("AnalyzeText", pb2.AnalyzeTextRequest(run=RUN, text=" \n"), "INVALID_ARGUMENT"),
    ("AnalyzeText", pb2.AnalyzeTextRequest(run=RUN, text="x" * (128 * 1024 + 1)), "INVALID_ARGUMENT"),
    ("ListFeatures", pb2.ListFeaturesRequest(parent=RUN, filter="family = 1-7"), "FAMILY_NOT_FOUND"),
    ("ReadLabels", pb2.ReadLabelsRequest(run=RUN, since_revision=1, history="of another copy"), "HISTORY_CHANGED"),
    ("ReadLabels", pb2.ReadLabelsRequest(run=RUN, since_revision=1), "INVALID_ARGUMENT"),
    ("ReadLabels", pb2.ReadLabelsRequest(run=RUN, since_revision=2**63, history="any"), "INVALID_ARGUMENT"),
    (
        "LabelFeature",
        pb2.LabelFeatureRequest(name=f"{RUN}/features/1", options={"model": "a/b"}),
        "LABEL_MODEL_NOT_FOUND",
    ),
    ("AnalyzeText", pb2.AnalyzeTextRequest(run="runs/none", text="x"), "RUN_NOT_FOUND"),
    (
        "AnalyzeDocument",
        pb2.AnalyzeDocumentRequest(run=RUN, document="datasets/d/documents/none"),
        "DOCUMENT_NOT_FOUND",
    ),
    ("AnalyzeDocument", pb2.AnalyzeDocumentRequest(run=RUN, document="none"), "INVALID_ARGUMENT"),
]


async def test_bad_requests_are_told_what_is_wrong(suite: Suite) -> None:
    await with_statistics(suite)
    for method, request, expected in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            call = getattr(suite.interpreter, method)(request)
            await (call.read() if method.startswith("Read") else call)
        assert reason(caught.value) == expected, (method, request, caught.value.details())
        assert caught.value.details()
