"""The interpreter's RPCs: each converts the request, calls the domain, and converts the result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1 import analyses_pb2, interpreter_service_pb2_grpc, resources_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from services.chassis.calls import Context
from services.chassis.downloads import table_bodies
from services.chassis.table_options import file_options
from services.interpreter import analysis_messages, analysis_requests, messages, requests, table_requests
from services.interpreter.analyses import Analyses
from services.interpreter.analyzer import Analyzer
from services.interpreter.examples import deciles, example_rows
from services.interpreter.explorer import Explorer
from services.interpreter.job_starter import RequestedJobs
from services.interpreter.label_editor import LabelEditor
from services.interpreter.label_import import LabelImports
from services.interpreter.labellers import Labellers


class InterpreterServicer(interpreter_service_pb2_grpc.InterpreterServiceServicer):
    """Features, labels, families, analysis."""

    def __init__(
        self,
        *,
        explorer: Explorer,
        editor: LabelEditor,
        imports: LabelImports,
        labellers: Labellers,
        analyzer: Analyzer,
        analyses: Analyses,
        jobs: RequestedJobs,
    ) -> None:
        self._explorer = explorer
        self._editor = editor
        self._imports = imports
        self._labellers = labellers
        self._analyzer = analyzer
        self._analyses = analyses
        self._jobs = jobs

    async def ComputeStatistics(self, request: pb2.ComputeStatisticsRequest, context: Context) -> Job:
        return await self._jobs.compute_statistics(requests.statistics_job(request))

    async def GetInterpretation(
        self, request: pb2.GetInterpretationRequest, context: Context
    ) -> resources_pb2.Interpretation:
        state, features = await self._explorer.interpretation(requests.interpretation_run(request))
        return await asyncio.to_thread(messages.interpretation, state, features)

    async def ListFeatures(self, request: pb2.ListFeaturesRequest, context: Context) -> pb2.ListFeaturesResponse:
        listing = requests.feature_listing(request)
        features, indices = await self._explorer.select(listing.run, listing.condition, listing.query, listing.order)
        return messages.feature_page(features, indices, listing)

    async def GetFeature(self, request: pb2.GetFeatureRequest, context: Context) -> resources_pb2.Feature:
        run, index = requests.feature_name(request.name)
        return messages.feature(await self._explorer.feature(run, index), index, full=True)

    async def ListExamples(self, request: pb2.ListExamplesRequest, context: Context) -> pb2.ListExamplesResponse:
        listing = requests.example_listing(request)
        features = await self._explorer.feature(listing.run, listing.index)
        part, token = listing.page.part(example_rows(features, listing.index, listing.kind, listing.decile))
        page = await self._explorer.examples(features, listing.index, part)
        return messages.examples(page, deciles(features, listing.index), token)

    async def ExportFeatures(self, request: pb2.ExportFeaturesRequest, context: Context) -> AsyncIterator[HttpBody]:
        export = requests.feature_export(request)
        async for body in table_bodies(export.file.format, self._explorer.features_file(export)):
            yield body

    async def ExportActivations(
        self, request: pb2.ExportActivationsRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        async for part in self._explorer.activations_jsonl(requests.run_name(request.run)):
            yield HttpBody(content_type="application/jsonl", data=part)

    async def ExportTable(self, request: pb2.ExportTableRequest, context: Context) -> AsyncIterator[HttpBody]:
        table = await self._explorer.table(table_requests.document_table(request))
        async for body in table_bodies(table.request.file.format, table.file(), table.notices):
            yield body

    async def SampleActivations(
        self, request: pb2.SampleActivationsRequest, context: Context
    ) -> resources_pb2.ActivationSample:
        wish = requests.sample(request)
        features, sample = await self._explorer.sample(
            wish.run, wish.row_count, wish.feature_count, include_tail=request.include_tail
        )
        return messages.activation_sample(features, sample)

    async def GetFeatureMatrix(
        self, request: pb2.GetFeatureMatrixRequest, context: Context
    ) -> resources_pb2.FeatureMatrix:
        wish = requests.matrix(request)
        features, matrix = await self._explorer.matrix(wish)
        return messages.feature_matrix(features, wish.kind, matrix)

    async def LabelFeatures(self, request: pb2.LabelFeaturesRequest, context: Context) -> Job:
        return await self._jobs.label_features(*requests.label_job(request))

    async def LabelFeature(self, request: pb2.LabelFeatureRequest, context: Context) -> resources_pb2.Label:
        run, index = requests.feature_name(request.name)
        options = requests.options(request.options)
        return messages.label(await self._editor.write(run, index, options, requests.call_of(request)))

    async def CreateLabel(self, request: pb2.CreateLabelRequest, context: Context) -> resources_pb2.Label:
        run, draft = requests.written_label(request)
        return messages.label(await self._editor.add(run, draft, requests.call_of(request)))

    async def CarryLabels(self, request: pb2.CarryLabelsRequest, context: Context) -> pb2.CarryLabelsResponse:
        run, source = requests.run_name(request.run), requests.run_name(request.from_run, "from_run")
        cosine = requests.min_cosine(request)
        matched, carried = await self._editor.carry(run, source, cosine, requests.call_of(request))
        return pb2.CarryLabelsResponse(matched_count=matched, carried_count=carried)

    async def ScoreLabels(self, request: pb2.ScoreLabelsRequest, context: Context) -> Job:
        return await self._jobs.score_labels(requests.scoring_job(request))

    async def ActivateLabel(self, request: pb2.ActivateLabelRequest, context: Context) -> resources_pb2.Label:
        return messages.label(await self._editor.activate(*requests.label_name(request.name)))

    async def ListLabels(self, request: pb2.ListLabelsRequest, context: Context) -> pb2.ListLabelsResponse:
        listing = requests.label_listing(request)
        before, limit = listing.page.after, listing.page.size + 1
        labels = await self._editor.history(listing.run, listing.index, before=before, limit=limit)
        return messages.label_page(labels, listing.page)

    async def ReadLabels(
        self, request: pb2.ReadLabelsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadLabelsResponse]:
        run, since, history = requests.label_stream(request)
        async for block in self._editor.changes(run, since=since, history=history):
            yield messages.label_block(block)

    async def ExportLabels(self, request: pb2.ExportLabelsRequest, context: Context) -> AsyncIterator[HttpBody]:
        run, file = requests.run_name(request.run), file_options(request)
        parts = self._editor.file(run, file, include_history=request.include_history)
        async for body in table_bodies(file.format, parts):
            yield body

    async def ImportLabels(
        self, request_iterator: AsyncIterator[pb2.ImportLabelsRequest], context: Context
    ) -> pb2.ImportLabelsResponse:
        request, chunks = await requests.label_import(request_iterator)
        return messages.label_import(await self._imports.run(request, chunks))

    async def ListLabelModels(
        self, request: pb2.ListLabelModelsRequest, context: Context
    ) -> pb2.ListLabelModelsResponse:
        return messages.label_models(*await self._labellers.models())

    async def BuildFamilies(self, request: pb2.BuildFamiliesRequest, context: Context) -> Job:
        return await self._jobs.build_families(requests.family_job(request))

    async def ListFamilies(self, request: pb2.ListFamiliesRequest, context: Context) -> pb2.ListFamiliesResponse:
        listing = requests.family_listing(request)
        features, families = await self._explorer.families(listing.run, listing.query)
        return messages.family_page(features, families, listing.page)

    async def GetGraph(self, request: pb2.GetGraphRequest, context: Context) -> resources_pb2.Graph:
        features = await self._explorer.with_families(requests.run_name(request.run))
        return await asyncio.to_thread(messages.graph, features, request.round)

    async def AnalyzeText(self, request: pb2.AnalyzeTextRequest, context: Context) -> resources_pb2.Analysis:
        run, text = requests.run_name(request.run), requests.analyzed_text(request.text)
        return messages.analysis(await self._analyzer.text(run, text), name_tail=request.name_tail)

    async def AnalyzeDocument(self, request: pb2.AnalyzeDocumentRequest, context: Context) -> resources_pb2.Analysis:
        run, document = requests.run_name(request.run), requests.document_name(request.document)
        return messages.analysis(await self._analyzer.document(run, document), name_tail=request.name_tail)

    async def AttributeSentences(
        self, request: analyses_pb2.AttributeSentencesRequest, context: Context
    ) -> analyses_pb2.SentenceAttribution:
        attribution = await self._analyses.attribute(analysis_requests.attribution(request))
        return analysis_messages.sentence_attribution(attribution)

    async def ExplainSimilarity(
        self, request: analyses_pb2.ExplainSimilarityRequest, context: Context
    ) -> analyses_pb2.SimilarityExplanation:
        explanation = await self._analyses.explain_similarity(analysis_requests.similarity(request))
        return analysis_messages.similarity_explanation(explanation)

    async def AssociateMetadata(
        self, request: analyses_pb2.AssociateMetadataRequest, context: Context
    ) -> analyses_pb2.MetadataAssociations:
        wish = analysis_requests.metadata_associations(request)
        return analysis_messages.metadata_associations(await self._analyses.associate_metadata(wish), wish.limit)

    async def CompareDatasets(
        self, request: analyses_pb2.CompareDatasetsRequest, context: Context
    ) -> analyses_pb2.DatasetComparison:
        wish = analysis_requests.dataset_comparison(request)
        return analysis_messages.dataset_comparison(await self._analyses.compare_datasets(wish), wish.limit)

    async def CorrelateFeatures(
        self, request: analyses_pb2.CorrelateFeaturesRequest, context: Context
    ) -> analyses_pb2.FeatureCorrelations:
        wish = analysis_requests.feature_correlations(request)
        return analysis_messages.feature_correlations(await self._analyses.correlate_features(wish), wish.limit)

    async def FindFeatures(
        self, request: analyses_pb2.FindFeaturesRequest, context: Context
    ) -> analyses_pb2.FeatureSeparations:
        separations = await self._analyses.find_features(analysis_requests.separation(request))
        return analysis_messages.feature_separations(separations)

    async def FitClassifier(
        self, request: analyses_pb2.FitClassifierRequest, context: Context
    ) -> analyses_pb2.FeatureClassifier:
        fitted = await self._analyses.fit_classifier(analysis_requests.classifier(request))
        return analysis_messages.feature_classifier(fitted)
