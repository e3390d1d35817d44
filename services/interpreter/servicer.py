"""The interpreter's RPCs: convert, call, convert back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import interpreter_service_pb2_grpc, resources_pb2
from services.chassis import context as call
from services.chassis import names
from services.chassis.errors import InvalidArgument, PrismaError
from services.chassis.events import Events
from services.chassis.filters import parse_filter
from services.chassis.jobs import Jobs
from services.chassis.paging import Page
from services.interpreter import convert, exports, pictures, worker
from services.interpreter.analyzing import Analyzer
from services.interpreter.errors import FamiliesNotBuilt
from services.interpreter.features import FILTERS, Features, check_indices
from services.interpreter.labelling import Labelling
from services.interpreter.labels import Draft, Source
from services.interpreter.ollama import Ollama
from services.interpreter.runs import Run
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream
from services.interpreter.views import Views

MAX_EXAMPLES = 50
BLOCK = 500
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class InterpreterServicer(interpreter_service_pb2_grpc.InterpreterServiceServicer):
    """Features, labels, families, analysis."""

    def __init__(
        self,
        store: Store,
        views: Views,
        upstream: Upstream,
        labelling: Labelling,
        ollama: Ollama,
        jobs: Jobs,
        events: Events,
    ) -> None:
        self._store = store
        self._views = views
        self._upstream = upstream
        self._labelling = labelling
        self._ollama = ollama
        self._jobs = jobs
        self._events = events
        self._analyzer = Analyzer(views, upstream)

    async def ComputeStatistics(self, request: pb2.ComputeStatisticsRequest, context: Context) -> Job:
        run = await self._views.run(convert.run_name(request.run, "run"))
        return await self._submit(worker.STATISTICS, request, run, request.request_id)

    async def GetInterpretation(
        self, request: pb2.GetInterpretationRequest, context: Context
    ) -> resources_pb2.Interpretation:
        run = await self._views.run(f"runs/{names.parse('runs/{run}/interpretation', request.name, 'name')[0]}")
        found = await asyncio.to_thread(self._store.interpretation, run)
        return convert.interpretation(found, await self._views.of(run))

    async def ListFeatures(self, request: pb2.ListFeaturesRequest, context: Context) -> pb2.ListFeaturesResponse:
        name = convert.run_name(request.parent, "parent")
        order, descending = convert.order(request.order_by)
        terms = parse_filter(request.filter, FILTERS)
        bound = (name, request.query, request.filter, request.order_by)
        page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=1000)
        features = await self._views.features(name)
        indices = (await asyncio.to_thread(features.select, request.query, terms, order, descending)).tolist()
        shown, token = page.part(indices)
        full = request.view == resources_pb2.FEATURE_VIEW_FULL
        return pb2.ListFeaturesResponse(
            features=[convert.feature(features, index, full=full) for index in shown],
            total_size=len(indices),
            next_page_token=token,
        )

    async def GetFeature(self, request: pb2.GetFeatureRequest, context: Context) -> resources_pb2.Feature:
        features, index = await self._feature(request.name, "name")
        return convert.feature(features, index, full=True)

    async def ListExamples(self, request: pb2.ListExamplesRequest, context: Context) -> pb2.ListExamplesResponse:
        page = Page.of(
            request.page_size, request.page_token, bound_to=(request.parent,), default=10, maximum=MAX_EXAMPLES
        )
        features, index = await self._feature(request.parent, "parent")
        rows, activations = features.top(index, MAX_EXAMPLES)
        shown, token = page.part(list(zip(rows.tolist(), activations.tolist(), strict=True)))
        documents = await self._upstream.documents(features.interpretation.run.dataset, [row for row, _ in shown])
        return pb2.ListExamplesResponse(
            examples=[convert.example(documents[row], activation) for row, activation in shown if row in documents],
            next_page_token=token,
        )

    async def ExportFeatures(self, request: pb2.ExportFeaturesRequest, context: Context) -> AsyncIterator[HttpBody]:
        features = await self._views.features(convert.run_name(request.run, "run"))
        for part in exports.features_csv(features):
            yield HttpBody(content_type="text/csv; charset=utf-8", data=part)

    async def ExportActivations(
        self, request: pb2.ExportActivationsRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        run = await self._views.trained(convert.run_name(request.run, "run"))
        yield HttpBody(content_type="application/jsonl")  # a file, though of no line where all documents are gone
        async for codes in self._upstream.codes(run):
            for start in range(0, len(codes), BLOCK):
                part = codes.slice(start, min(start + BLOCK, len(codes)))
                found = await self._upstream.documents(run.dataset, part.rows.tolist())
                documents = {row: (each.name, each.text) for row, each in found.items()}
                yield HttpBody(data=await asyncio.to_thread(exports.activation_lines, part, documents))

    async def SampleActivations(
        self, request: pb2.SampleActivationsRequest, context: Context
    ) -> resources_pb2.ActivationSample:
        rows = convert.at_most(request, "row_count", 1000, 10_000)
        count = convert.at_most(request, "feature_count", 200, 500)
        features = await self._views.features(convert.run_name(request.run, "run"))
        return convert.activation_sample(features, await pictures.sample(features, self._upstream, rows, count))

    async def GetFeatureMatrix(
        self, request: pb2.GetFeatureMatrixRequest, context: Context
    ) -> resources_pb2.FeatureMatrix:
        kind = convert.matrix_kind(request)
        count = convert.at_most(request, "feature_count", 100, 300)
        terms = parse_filter(request.filter, FILTERS)
        features = await self._views.features(convert.run_name(request.run, "run"))
        chosen = pictures.most_frequent(features, terms, count)
        return convert.feature_matrix(features, kind, await pictures.matrix(features, self._upstream, kind, chosen))

    async def LabelFeatures(self, request: pb2.LabelFeaturesRequest, context: Context) -> Job:
        run = await self._views.trained(convert.label_request(request).run)
        check_indices(run, request.indices)
        await self._labelling.check(convert.options(request.options).model)
        return await self._submit(worker.LABEL, request, run, request.request_id)

    async def LabelFeature(self, request: pb2.LabelFeatureRequest, context: Context) -> resources_pb2.Label:
        options = convert.options(request.options)
        features, index = await self._feature(request.name, "name")
        features.alive(index)
        await self._labelling.check(options.model)
        return await self._add(features, await self._labelling.one(features, index, options))

    async def CreateLabel(self, request: pb2.CreateLabelRequest, context: Context) -> resources_pb2.Label:
        text, description = convert.written(request.label)
        features, index = await self._feature(request.parent, "parent")
        return await self._add(features, Draft(index, text, description, Source.HUMAN, author=call.user.get()))

    async def CarryLabels(self, request: pb2.CarryLabelsRequest, context: Context) -> pb2.CarryLabelsResponse:
        cosine = convert.min_cosine(request)
        run = (await self._views.features(convert.run_name(request.run, "run"))).interpretation.run
        source = await self._views.trained(convert.run_name(request.from_run, "from_run"))
        if run.uid == source.uid:
            raise InvalidArgument.field("from_run", "expected another run than the one that gets labels")
        matches = await self._upstream.matches(source, run, cosine)
        carried = await asyncio.to_thread(self._store.carry_labels, source, run, matches)
        if carried:
            await self._events.publish(worker.CHANGED[worker.LABEL], run.name)
        return pb2.CarryLabelsResponse(matched_count=len(matches), carried_count=carried)

    async def ActivateLabel(self, request: pb2.ActivateLabelRequest, context: Context) -> resources_pb2.Label:
        name, index, revision = convert.label_name(request.name)
        run = await self._views.run(name)
        label = await asyncio.to_thread(self._store.activate, run, index, revision)
        await self._events.publish(worker.CHANGED[worker.LABEL], run.name)
        return convert.label(run.name, label)

    async def ListLabels(self, request: pb2.ListLabelsRequest, context: Context) -> pb2.ListLabelsResponse:
        page = Page.of(request.page_size, request.page_token, bound_to=(request.parent,), default=50, maximum=1000)
        features, index = await self._feature(request.parent, "parent")
        run = features.interpretation.run
        found = await asyncio.to_thread(self._store.history, run.uid, index, page.after, page.size + 1)
        response = pb2.ListLabelsResponse(labels=[convert.label(run.name, each) for each in found[: page.size]])
        if len(found) > page.size:
            response.next_page_token = page.next_token(found[page.size - 1].revision)
        return response

    async def ReadLabels(
        self, request: pb2.ReadLabelsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadLabelsResponse]:
        run = await self._views.run(convert.run_name(request.run, "run"))
        labels, reached = await asyncio.to_thread(self._store.active_labels, run.uid, request.since_revision)
        features = await self._views.of(run)
        indices = sorted(labels) if features is not None else []
        for start in range(0, max(1, len(indices)), BLOCK):
            block = pb2.ReadLabelsResponse(revision=reached, run_uid=run.uid)
            for index in indices[start : start + BLOCK]:
                assert features is not None
                message = convert.feature(features, index)
                message.label.CopyFrom(convert.label(run.name, labels[index]))
                block.features.append(message)
            yield block

    async def ListLabelModels(
        self, request: pb2.ListLabelModelsRequest, context: Context
    ) -> pb2.ListLabelModelsResponse:
        response = pb2.ListLabelModelsResponse(
            label_models=[resources_pb2.LabelModel(id="keywords", display_name="Keywords (built in)", is_default=True)]
        )
        try:
            for name in await self._ollama.models():
                response.label_models.add(id=f"ollama/{name}", display_name=f"{name} (Ollama)")
        except PrismaError as error:
            response.unreachable.add(provider="ollama", message=error.message)
        return response

    async def BuildFamilies(self, request: pb2.BuildFamiliesRequest, context: Context) -> Job:
        run = await self._views.trained(convert.family_request(request).run)
        return await self._submit(worker.FAMILIES, request, run, request.request_id)

    async def ListFamilies(self, request: pb2.ListFamiliesRequest, context: Context) -> pb2.ListFamiliesResponse:
        bound = (request.parent, request.query)
        page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=1000)
        features = await self._with_families(convert.run_name(request.parent, "parent"))
        words = request.query.lower().split()
        found = [
            each
            for each in sorted(features.families, key=lambda each: (-len(each.members), each.round, each.root))
            if not words
            or any(all(word in features.label_text(member.index).lower() for word in words) for member in each.members)
        ]
        shown, token = page.part(found)
        return pb2.ListFamiliesResponse(
            families=[convert.family(features, each) for each in shown], total_size=len(found), next_page_token=token
        )

    async def GetGraph(self, request: pb2.GetGraphRequest, context: Context) -> resources_pb2.Graph:
        features = await self._with_families(convert.run_name(request.run, "run"))
        return await asyncio.to_thread(convert.graph, features, request.round)

    async def AnalyzeText(self, request: pb2.AnalyzeTextRequest, context: Context) -> resources_pb2.Analysis:
        name, text = convert.run_name(request.run, "run"), convert.text(request.text)
        return convert.analysis(await self._analyzer.text(name, text))

    async def AnalyzeDocument(self, request: pb2.AnalyzeDocumentRequest, context: Context) -> resources_pb2.Analysis:
        name = convert.run_name(request.run, "run")
        names.parse("datasets/{dataset}/documents/{document}", request.document, "document")
        return convert.analysis(await self._analyzer.document(name, request.document))

    async def _feature(self, name: str, field: str) -> tuple[Features, int]:
        run, index = convert.feature_name(name, field)
        features = await self._views.features(run)
        return features, features.check(index)

    async def _with_families(self, name: str) -> Features:
        features = await self._views.features(name)
        if features.interpretation.families_time is None:
            raise FamiliesNotBuilt(
                f"{name} has no families yet; they are built by {name}:buildFamilies", metadata={"run": name}
            )
        return features

    async def _add(self, features: Features, draft: Draft) -> resources_pb2.Label:
        run = features.interpretation.run
        added = await asyncio.to_thread(lambda: self._store.add_labels(run, [draft], over_people=True))
        await self._events.publish(worker.CHANGED[worker.LABEL], run.name)
        return convert.label(run.name, added[0])

    async def _submit(self, kind: str, request: Message, run: Run, request_id: str) -> Job:
        if not request_id and (running := await self._jobs.active_for(run.name, kind)):
            return running
        resources = [run.name, run.dataset]
        return await self._jobs.submit(worker.SERVICE, kind, request, request_id=request_id, resources=resources)
