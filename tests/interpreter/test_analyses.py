"""Analyses over gRPC, with a real embedder and trainer, on documents whose topics are planted."""

from __future__ import annotations

import grpc.aio
import numpy as np
import pytest

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.interpreter.v1 import analyses_pb2 as pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1.resources_pb2 import Config, Run
from prisma_common import wire
from tests import calls
from tests.calls import reason
from tests.interpreter.conftest import DATASET, RUN, Suite

TOPICS = {
    "sea": "harbour ferry sailor anchor wave tide ship captain island fishing net coast",
    "law": "court judge verdict lawyer statute appeal trial jury contract clause plaintiff evidence",
    "music": "violin concert melody orchestra rhythm chord singer opera piano tempo choir drum",
    "garden": "rose soil seed shovel bloom hedge lawn compost tulip pruning root orchard",
}
ALL_FEATURES = pb2.FeatureSelection(filter="dead = false", include_tail=True)
COUNT = 480


def documents() -> list[dict[str, object]]:
    """Texts of ten words of one topic, with the topic and a year that rises from topic to topic."""
    random = np.random.default_rng(0)
    topics = list(TOPICS)
    rows: list[dict[str, object]] = []
    for number in range(COUNT):
        place = int(random.integers(len(topics)))
        words = random.choice(TOPICS[topics[place]].split(), 10).tolist()
        text = f"{' '.join(words[:5])}. {' '.join(words[5:])}.".capitalize()
        year = 2000 + 3 * place + int(random.integers(3))
        rows.append({"id": str(number), "text": text, "topic": topics[place], "year": year, "date": f"{year}-06-01"})
    return rows


@pytest.fixture
async def planted(suite: Suite) -> Suite:
    """A run on planted topics, with statistics and labels."""
    await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="d"))
    await calls.add(suite.embedder, documents())
    await suite.ended(await suite.embedder.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name=DATASET)))
    run = Run(dataset=DATASET, config=Config(latent_count=64, k=4, epochs=20))
    await suite.trainer.CreateRun(trainer_pb2.CreateRunRequest(run_id="r", run=run))
    job = await suite.ended(await suite.trainer.TrainRun(trainer_pb2.TrainRunRequest(name=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    job = await suite.ended(await suite.interpreter.LabelFeatures(interpreter_pb2.LabelFeaturesRequest(run=RUN)))
    assert job.state == Job.STATE_SUCCEEDED, job
    return suite


async def assert_sentences_are_attributed(suite: Suite) -> None:
    """Each number is that of the analyzer for the same text."""
    first, second = "The harbour has a ferry and a sailor.", "The judge read the verdict in court."
    request = pb2.AttributeSentencesRequest(run=RUN, text=f"{first} {second}", features=ALL_FEATURES)
    answer = await suite.interpreter.AttributeSentences(request)
    assert [sentence.text for sentence in answer.sentences] == [first, second]
    whole, alone = [
        {
            entry.index: entry.activation
            for entry in (
                await suite.interpreter.AnalyzeText(interpreter_pb2.AnalyzeTextRequest(run=RUN, text=text))
            ).features
        }
        for text in (request.text, first)
    ]
    assert answer.attributions
    for entry in answer.attributions:
        assert entry.activation == whole[entry.feature.index]
        assert entry.alone[0] == alone.get(entry.feature.index, 0)
        assert sum(entry.contributions) + entry.remainder == pytest.approx(entry.activation, abs=1e-6)
        assert entry.contributions[1] == pytest.approx(entry.activation - alone.get(entry.feature.index, 0), abs=1e-6)


async def assert_sentences_of_documents_are_attributed(suite: Suite) -> None:
    """As those of the same text are, with the activations of the stored document in whole."""
    listing = embedder_pb2.ListDocumentsRequest(parent=DATASET, page_size=1)
    document = (await suite.embedder.ListDocuments(listing)).documents[0].name
    by_document, by_text = [
        await suite.interpreter.AttributeSentences(
            pb2.AttributeSentencesRequest(run=RUN, features=ALL_FEATURES, **source)
        )
        for source in ({"document": document}, {"text": str(documents()[0]["text"])})
    ]
    analysis = await suite.interpreter.AnalyzeDocument(
        interpreter_pb2.AnalyzeDocumentRequest(run=RUN, document=document)
    )
    whole = {entry.index: entry.activation for entry in analysis.features}
    assert by_document.attributions and by_document.sentences == by_text.sentences
    for entry, expected in zip(by_document.attributions, by_text.attributions, strict=True):
        assert entry.activation == whole[entry.feature.index]
        assert entry.activation == pytest.approx(expected.activation, rel=1e-3)
        assert sum(entry.contributions) + entry.remainder == pytest.approx(entry.activation, abs=1e-6)
        assert entry.alone == expected.alone


async def assert_similarity_is_explained(suite: Suite) -> None:
    """The parts add up to the cosine of the stored vectors; texts of one topic are similar by features, and of two are
    not."""
    rows = documents()
    listed = (
        await suite.embedder.ListDocuments(embedder_pb2.ListDocumentsRequest(parent=DATASET, page_size=480))
    ).documents
    names = {document.key: document.name for document in listed}
    law = [names[str(row["id"])] for row in rows if row["topic"] == "law"][:2]
    vectors = [
        wire.unpack_vectors(
            (
                await suite.embedder.GetDocument(embedder_pb2.GetDocumentRequest(name=name, view="DOCUMENT_VIEW_FULL"))
            ).vector
        )[1][0].astype(float)
        for name in law
    ]
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    for second in ({"document": law[1]}, {"text": next(str(row["text"]) for row in rows if row["topic"] == "sea")}):
        request = pb2.ExplainSimilarityRequest(
            run=RUN, first={"document": law[0]}, second=second, features=ALL_FEATURES
        )
        answer = await suite.interpreter.ExplainSimilarity(request)
        named = sum(entry.contribution for entry in answer.contributions)
        parts = named + answer.other_features + answer.baseline + answer.unexplained
        assert parts == pytest.approx(answer.similarity, abs=1e-9)
        if "document" in second:
            assert answer.similarity == pytest.approx(cosine, abs=1e-6)
            assert named > 0.1
        else:
            assert named < 0.1


async def assert_metadata_are_associated(suite: Suite) -> None:
    """Each topic has features of its own, which the confirming half confirms; later topics have larger years."""
    request = pb2.AssociateMetadataRequest(run=RUN, key="topic", features=ALL_FEATURES, limit=1000)
    answer = await suite.interpreter.AssociateMetadata(request)
    assert answer.kind == pb2.MetadataAssociations.KIND_CATEGORY
    assert answer.discovery_document_count + answer.confirmation_document_count == COUNT
    assert (len(answer.associations), list(answer.notices)) == (answer.discovered_count, [])
    confirmed = [entry for entry in answer.associations if entry.confirmed]
    assert len(confirmed) == answer.confirmed_count
    assert {entry.category for entry in confirmed if entry.effect_low > 10} == set(TOPICS)
    topic_of = {entry.feature.index: entry.category for entry in confirmed if entry.effect_low > 10}
    for key, kind in (("year", pb2.MetadataAssociations.KIND_NUMBER), ("date", pb2.MetadataAssociations.KIND_DATE)):
        request = pb2.AssociateMetadataRequest(run=RUN, key=key, features=ALL_FEATURES, limit=1000)
        answer = await suite.interpreter.AssociateMetadata(request)
        assert answer.kind == kind
        later = {entry.feature.index: entry.effect for entry in answer.associations if entry.confirmed}
        assert all(effect > 0.5 for index, effect in later.items() if topic_of.get(index) == "garden")
        assert all(effect < 0.5 for index, effect in later.items() if topic_of.get(index) == "sea")
        assert {topic_of.get(index) for index in later} >= {"garden", "sea"}


async def assert_datasets_are_compared(suite: Suite) -> None:
    """Features of the sea are those of a dataset of the sea, of the years in which the sea was planted, and of the
    documents with that topic."""
    await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="sea"))
    sea = [row for row in documents() if row["topic"] == "sea"]
    await calls.add(suite.embedder, sea, "sea")
    await suite.ended(await suite.embedder.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name="datasets/sea")))
    part = {"filter": 'metadata.topic = "sea"'}
    answers = [
        await suite.interpreter.CompareDatasets(
            pb2.CompareDatasetsRequest(run=RUN, first=first, second=second, features=ALL_FEATURES, limit=1000)
        )
        for first, second in (
            (part, None),
            ({"filter": "metadata.year < 2003"}, {"filter": "metadata.date >= 2003"}),
            ({"dataset": "datasets/sea"}, {"filter": 'metadata.topic != "sea"'}),
            (part, {}),
        )
    ]
    for answer in answers[:3]:
        assert (answer.first_document_count, answer.second_document_count) == (len(sea), COUNT - len(sea))
        assert answer.differences == answers[0].differences
        assert not answer.notices
    first = answers[0].differences[0]
    assert first.difference_low > 0.1
    assert first.first_share - first.second_share == pytest.approx(first.difference)
    assert f"{len(sea)} documents are in both sets" in answers[3].notices[0]


async def assert_features_are_correlated(suite: Suite) -> None:
    """Counts are those of the codes, and pairs with like labels are left out by default."""
    request = pb2.CorrelateFeaturesRequest(run=RUN, features=ALL_FEATURES, max_label_similarity_rank=1, limit=1000)
    every = await suite.interpreter.CorrelateFeatures(request)
    assert every.explained_count == 0
    assert every.significant_count == len(every.correlations) > 0
    assert every.document_count == COUNT
    call = suite.trainer.ReadCodes(trainer_pb2.ReadCodesRequest(run=RUN))
    codes = wire.concatenate([wire.unpack_codes(block.codes) async for block in call], 64)
    active = [set(codes.row(row)[0].tolist()) for row in range(len(codes))]
    for entry in every.correlations[:20]:
        pair = {entry.first.index, entry.second.index}
        assert entry.first.label
        assert entry.shared_count == sum(pair <= indices for indices in active)
        assert entry.odds_ratio_low <= entry.odds_ratio <= entry.odds_ratio_high
    request.max_label_similarity_rank = 0.5
    unlike = await suite.interpreter.CorrelateFeatures(request)
    assert unlike.significant_count == every.significant_count
    assert unlike.explained_count == every.significant_count - len(unlike.correlations)
    assert all(entry.label_similarity_rank <= 0.5 for entry in unlike.correlations)


async def assert_features_are_found(suite: Suite) -> None:
    """Texts on music are told from texts on law by features that go with the topic, named as texts or as documents."""
    listing = embedder_pb2.ListDocumentsRequest(parent=DATASET, page_size=COUNT)
    names = {document.key: document.name for document in (await suite.embedder.ListDocuments(listing)).documents}
    music, law = ([row for row in documents() if row["topic"] == topic][:20] for topic in ("music", "law"))
    as_texts, as_documents = (
        [[{"text": str(row["text"])} for row in rows] for rows in (music, law)],
        [[{"document": names[str(row["id"])]} for row in rows] for rows in (music, law)],
    )
    answers = [
        await suite.interpreter.FindFeatures(
            pb2.FindFeaturesRequest(run=RUN, positives=positives, negatives=negatives, features=ALL_FEATURES)
        )
        for positives, negatives in (as_texts, as_documents)
    ]
    assert answers[0] == answers[1]
    best = answers[0].separations[0]
    assert best.q_value < 0.01
    assert best.area_low <= best.area <= best.area_high
    request = pb2.AssociateMetadataRequest(run=RUN, key="topic", features=ALL_FEATURES, limit=1000)
    associations = (await suite.interpreter.AssociateMetadata(request)).associations
    topic_of = {entry.feature.index: entry.category for entry in associations if entry.effect_low > 10}
    assert topic_of[best.feature.index] == ("music" if best.area > 0.5 else "law")
    against_all = await suite.interpreter.FindFeatures(
        pb2.FindFeaturesRequest(run=RUN, positives=as_documents[0], features=ALL_FEATURES)
    )
    assert (against_all.positive_total, against_all.negative_total) == (20, COUNT - 20)
    assert topic_of[against_all.separations[0].feature.index] == "music"
    few = await suite.interpreter.FindFeatures(
        pb2.FindFeaturesRequest(run=RUN, positives=as_texts[0][:1], features=ALL_FEATURES)
    )
    assert "chance" in few.notices[0]


async def assert_a_classifier_is_fitted(suite: Suite) -> None:
    """A few features tell the documents of a topic from all others, given by the topic or by their names."""
    listing = embedder_pb2.ListDocumentsRequest(parent=DATASET, page_size=COUNT)
    names = {document.key: document.name for document in (await suite.embedder.ListDocuments(listing)).documents}
    law = [names[str(row["id"])] for row in documents() if row["topic"] == "law"]
    answers = [
        await suite.interpreter.FitClassifier(
            pb2.FitClassifierRequest(run=RUN, positive=positive, features=ALL_FEATURES, feature_count=8)
        )
        for positive in ({"filter": 'metadata.topic = "law"'}, {"documents": law})
    ]
    answer = answers[0]
    assert answer == answers[1]
    assert 1 <= len(answer.terms) <= 8
    assert answer.area_low > 0.8
    assert answer.area_low <= answer.area <= answer.area_high
    assert answer.training_positive_count + answer.held_out_positive_count == len(law)
    assert answer.training_negative_count + answer.held_out_negative_count == COUNT - len(law)
    assert not answer.notices
    few = await suite.interpreter.FitClassifier(
        pb2.FitClassifierRequest(run=RUN, positive={"documents": [*law[:3], f"{law[0]}x"]}, features=ALL_FEATURES)
    )
    assert (len(few.terms), few.area) == (0, 0.5)
    assert few.notices[0].startswith("1 of the named documents")
    assert "fewer than 5" in few.notices[1]


async def test_analyses_agree_with_what_was_planted(planted: Suite) -> None:
    await assert_sentences_of_documents_are_attributed(planted)
    await assert_sentences_are_attributed(planted)
    await assert_similarity_is_explained(planted)
    await assert_metadata_are_associated(planted)
    await assert_datasets_are_compared(planted)
    await assert_features_are_correlated(planted)
    await assert_features_are_found(planted)
    await assert_a_classifier_is_fitted(planted)
    for method, request, expected in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(planted.interpreter, method)(request)
        assert reason(caught.value) == expected, (method, request, caught.value.details())


BAD = [
    ("AttributeSentences", pb2.AttributeSentencesRequest(run=RUN, text=" "), "INVALID_ARGUMENT"),
    ("AttributeSentences", pb2.AttributeSentencesRequest(run=RUN, text="a", limit=51), "INVALID_ARGUMENT"),
    ("AttributeSentences", pb2.AttributeSentencesRequest(run=RUN, text="a", indices=[64]), "FEATURE_NOT_FOUND"),
    (
        "AttributeSentences",
        pb2.AttributeSentencesRequest(run=RUN, text="a", features={"filter": "a"}),
        "INVALID_FILTER",
    ),
    ("AttributeSentences", pb2.AttributeSentencesRequest(run="runs/none", text="a"), "RUN_NOT_FOUND"),
    ("AttributeSentences", pb2.AttributeSentencesRequest(run=RUN), "INVALID_ARGUMENT"),
    ("AttributeSentences", pb2.AttributeSentencesRequest(run=RUN, document="x"), "INVALID_ARGUMENT"),
    (
        "AttributeSentences",
        pb2.AttributeSentencesRequest(run=RUN, document=f"{DATASET}/documents/none"),
        "DOCUMENT_NOT_FOUND",
    ),
    ("ExplainSimilarity", pb2.ExplainSimilarityRequest(run=RUN, first={"text": "a"}), "INVALID_ARGUMENT"),
    (
        "ExplainSimilarity",
        pb2.ExplainSimilarityRequest(run=RUN, first={"text": "a"}, second={"document": f"{DATASET}/documents/none"}),
        "DOCUMENT_NOT_FOUND",
    ),
    ("AssociateMetadata", pb2.AssociateMetadataRequest(run=RUN), "INVALID_ARGUMENT"),
    ("FitClassifier", pb2.FitClassifierRequest(run=RUN, positive={"documents": ["x"]}), "INVALID_ARGUMENT"),
    ("FitClassifier", pb2.FitClassifierRequest(run=RUN, feature_count=33), "INVALID_ARGUMENT"),
    ("FindFeatures", pb2.FindFeaturesRequest(run=RUN), "INVALID_ARGUMENT"),
    ("FindFeatures", pb2.FindFeaturesRequest(run=RUN, positives=[{"text": " "}]), "INVALID_ARGUMENT"),
    (
        "FindFeatures",
        pb2.FindFeaturesRequest(run=RUN, positives=[{"document": f"{DATASET}/documents/none"}]),
        "DOCUMENT_NOT_FOUND",
    ),
    ("CorrelateFeatures", pb2.CorrelateFeaturesRequest(run=RUN, max_label_similarity_rank=0), "INVALID_ARGUMENT"),
    ("CompareDatasets", pb2.CompareDatasetsRequest(run=RUN, first={"dataset": "datasets/x"}), "DATASET_NOT_FOUND"),
    ("CompareDatasets", pb2.CompareDatasetsRequest(run=RUN, first={"filter": "topic = 1"}), "INVALID_FILTER"),
    ("CompareDatasets", pb2.CompareDatasetsRequest(run=RUN, first={"filter": "latent.64 > 0"}), "FEATURE_NOT_FOUND"),
    ("AssociateMetadata", pb2.AssociateMetadataRequest(run=RUN, key="none"), "INVALID_ARGUMENT"),
    ("AssociateMetadata", pb2.AssociateMetadataRequest(run=RUN, key="year", max_q=0), "INVALID_ARGUMENT"),
]
"""Calls that are refused, and why."""
