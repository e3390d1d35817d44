"""Runs: sparse autoencoders are trained, inspected and labelled."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

import numpy as np

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_client import arrays, choices, dataset_changes, label_files, sources
from prisma_client.aio.analyses import Analyses
from prisma_client.aio.blocks import BlockReader
from prisma_client.aio.jobs import Jobs
from prisma_client.aio.listing import Listing
from prisma_client.aio.texts import embed
from prisma_client.aio.transport import Transport
from prisma_client.array_files import code_file, decoder_writer
from prisma_client.choices import TableFormat
from prisma_client.complete_files import replacing
from prisma_client.document_table import DocumentTable, TableOptions, table_format, table_request
from prisma_client.errors import IncompleteExport, SomeLabelsRejected
from prisma_client.imports import OnDuplicate
from prisma_client.libraries import library
from prisma_client.matrices import Codes, Decoder, csr_array
from prisma_client.progress import Progress
from prisma_client.tables import Answer, Rows, html_facts
from prisma_client.weights import read_decoder
from prisma_common import wire


class Runs:
    """The training runs."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._transport = transport
        self._jobs = jobs

    async def create(
        self,
        dataset: str,
        *,
        run_id: str | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        allow_pending_documents: bool = False,
    ) -> Run:
        """Creates a run on a dataset; `Run.train` trains it on the vectors that the dataset has then.

        config: fields of prisma.trainer.v1.Config: `goal` (`interpretable`, `faithful`), `latent_count`, `k` … What is
        left out of the size is chosen by small trainings on the data, unless `auto` is False. Raises
        FailedPrecondition where nothing is embedded, or documents are still to be embedded (DOCUMENTS_PENDING) and
        `allow_pending_documents` is not set; InvalidArgument; ValueError for unknown fields.
        """
        run = trainer_resources.Run(
            dataset=f"datasets/{dataset.removeprefix('datasets/')}",
            display_name=name,
            config=choices.training_config({"auto": True, **(config or {})}),
        )
        request = trainer_pb2.CreateRunRequest(run_id=run_id, run=run, allow_pending_documents=allow_pending_documents)
        return self._run(await self._transport.call("TrainerService/CreateRun", request, trainer_resources.Run))

    async def get(self, run: str) -> Run:
        """Returns a run by its id. Raises NotFound."""
        request = trainer_pb2.GetRunRequest(name=f"runs/{run.removeprefix('runs/')}")
        return self._run(await self._transport.call("TrainerService/GetRun", request, trainer_resources.Run))

    async def import_weights(
        self, dataset: str, path: str | Path, *, run_id: str | None = None, name: str | None = None
    ) -> Run:
        """Creates a run from existing weights; `Run.train` then writes its codes.

        path: a `.safetensors` of PRISMA, a `.zip` of a SAELens or sparsify folder, a `.pt` of HypotheSAEs or PRISMA v2.
        Raises InvalidArgument for a file that is not an autoencoder of the dataset's dimension.
        """
        config = trainer_pb2.ImportWeightsRequest.Config(
            dataset=f"datasets/{dataset.removeprefix('datasets/')}", run_id=run_id, display_name=name
        )
        message = await self._transport.upload(
            "TrainerService/ImportWeights",
            trainer_pb2.ImportWeightsRequest(config=config),
            sources.chunks(Path(path)),
            trainer_resources.Run,
        )
        return self._run(message)

    async def list(self, dataset: str | None = None) -> Rows[Run]:
        """Returns all runs, or those of a dataset, the newest first."""
        filter = f'dataset = "datasets/{dataset.removeprefix("datasets/")}"' if dataset else None
        request = trainer_pb2.ListRunsRequest(page_size=1000, filter=filter)
        pages = self._transport.pages("TrainerService/ListRuns", request, trainer_pb2.ListRunsResponse)
        return Rows([self._run(message) async for page in pages for message in page.runs], trainer_resources.Run)

    def _run(self, message: trainer_resources.Run) -> Run:
        return Run(self._transport, self._jobs, message)


class Run:
    """A training run. message: as the server last described it."""

    def __init__(self, transport: Transport, jobs: Jobs, message: trainer_resources.Run) -> None:
        self._transport = transport
        self._jobs = jobs
        self.message = message
        self.features = Features(transport, message.name)
        self.analyses = Analyses(transport, message.name)

    def __repr__(self) -> str:
        state = trainer_resources.Run.State.Name(self.message.state).removeprefix("STATE_").lower()
        return f"<{self.name}: {state} on {self.message.dataset}>"

    def _repr_html_(self) -> str:
        message = self.message
        fvu = message.metrics.held_out_fvu if message.metrics.HasField("held_out_fvu") else None
        facts = {
            "name": self.name,
            "dataset": message.dataset,
            "state": trainer_resources.Run.State.Name(message.state).removeprefix("STATE_").lower(),
            "latents": message.latent_count or None,
            "active (k)": message.config.k or None,
            "documents": message.code_count or None,
            "held-out FVU": fvu,
            "dead latents": message.dead_count if message.HasField("dead_count") else None,
        }
        return html_facts(message.display_name or self.id, facts)

    @property
    def name(self) -> str:
        """`runs/{run}`."""
        return self.message.name

    @property
    def id(self) -> str:
        """The id in its name."""
        return self.name.removeprefix("runs/")

    @property
    def dataset_changes(self) -> str:
        """How its dataset has changed since its training, when the run was last read: `same`, or `+12 -3 ~4`.

        Documents added, deleted and changed; empty where it is not known. The numbers: `message.dataset_changes`.
        """
        return dataset_changes.counts(self.message)

    async def refresh(self) -> Run:
        """Reads it again from the server."""
        request = trainer_pb2.GetRunRequest(name=self.name)
        self.message = await self._transport.call("TrainerService/GetRun", request, trainer_resources.Run)
        return self

    async def delete(self) -> None:
        """Deletes it, with its weights, codes and labels."""
        request = trainer_pb2.DeleteRunRequest(name=self.name)
        await self._transport.call("TrainerService/DeleteRun", request, trainer_resources.Run)

    async def train(
        self, *, wait: bool = True, progress: Progress = None, allow_pending_documents: bool = False
    ) -> Job:
        """Trains it, or resumes from its last checkpoint. Raises JobFailed; FailedPrecondition as `Runs.create`.

        wait: until the job has ended and searches show the run's features (`Jobs.wait_for_index`).
        """
        request = trainer_pb2.TrainRunRequest(name=self.name, allow_pending_documents=allow_pending_documents)
        return await self._start("TrainerService/TrainRun", request, wait, progress)

    async def pause(self) -> None:
        """Stops its training after a checkpoint; `train` resumes from there."""
        request = trainer_pb2.PauseRunRequest(name=self.name)
        await self._transport.call("TrainerService/PauseRun", request, trainer_resources.Run)

    async def clone(self, *, run_id: str | None = None, name: str | None = None, **config: Any) -> Run:
        """Creates a run on the same rows with the same settings except for `config`; `train` trains it."""
        request = trainer_pb2.CloneRunRequest(
            name=self.name, run_id=run_id, display_name=name, config=choices.training_config(config)
        )
        message = await self._transport.call("TrainerService/CloneRun", request, trainer_resources.Run)
        return Run(self._transport, self._jobs, message)

    async def encode_dataset(
        self,
        dataset: str,
        *,
        run_id: str | None = None,
        name: str | None = None,
        wait: bool = True,
        progress: Progress = None,
    ) -> Run:
        """Encodes another dataset of the same embedding model: returns a run of it that has the same weights.

        wait: until its codes are written, its labels are carried from this run, and searches show them. Raises
        JobFailed, InvalidArgument for a dataset of another model, FailedPrecondition for one without vectors.
        """
        request = trainer_pb2.EncodeDatasetRequest(
            name=self.name,
            dataset=f"datasets/{dataset.removeprefix('datasets/')}",
            run_id=run_id,
            display_name=name,
        )
        job = await self._transport.call("TrainerService/EncodeDataset", request, Job)
        encoded = next(resource for resource in job.resources if resource.startswith("runs/"))
        message = trainer_resources.Run(name=encoded, dataset=request.dataset)
        run = Run(self._transport, self._jobs, message)
        if wait:
            await self._jobs.wait(job.name, progress)
            job = await run.compute_statistics(progress=progress)
            await run.carry_labels(self)
            await self._jobs.wait_for_index(job)
        return await run.refresh()

    async def evaluate(self, *, wait: bool = True, progress: Progress = None) -> trainer_resources.Evaluation:
        """Measures how well it preserves held-out vectors: FVU, neighbours, search results … Raises JobFailed."""
        request = trainer_pb2.EvaluateRunRequest(name=self.name)
        await self._start("TrainerService/EvaluateRun", request, wait, progress)
        return (await self.refresh()).message.evaluation

    async def push(self, *, wait: bool = True, progress: Progress = None) -> Job:
        """Copies its weights to the operator's object store, in SAELens' layout; the job's log says where."""
        return await self._start("TrainerService/PushRun", trainer_pb2.PushRunRequest(name=self.name), wait, progress)

    async def compare(self, other: Run | str, min_cosine: float = 0.7) -> trainer_pb2.CompareRunsResponse:
        """Says which of its latents another run also has, and which are lost, gained, split and merged there."""
        request = trainer_pb2.CompareRunsRequest(first=self.name, second=_name_of(other), min_cosine=min_cosine)
        return await self._transport.call("TrainerService/CompareRuns", request, trainer_pb2.CompareRunsResponse)

    async def carry_labels(
        self, source: Run | str, min_cosine: float = 0.9, *, request_id: str | None = None
    ) -> pb2.CarryLabelsResponse:
        """Copies labels from the features of another run that its own resemble; labels written by people stay.

        request_id: repeated calls with the same one copy once and return the first result.
        """
        request = pb2.CarryLabelsRequest(
            run=self.name, from_run=_name_of(source), min_cosine=min_cosine, request_id=request_id
        )
        return await self._transport.call("InterpreterService/CarryLabels", request, pb2.CarryLabelsResponse)

    async def import_labels(
        self,
        source: Any,
        *,
        on_duplicate: OnDuplicate = "replace",
        validate_only: bool = False,
        ignore_weights: bool = False,
    ) -> pb2.ImportLabelsResponse:
        """Writes the labels of a file to the features, all at once; the same file again changes nothing.

        source: the path of a CSV file or of JSON lines with the columns `index` and `label`, and where there are any
            `description`, `source`, `model` and `author`; a data frame with these columns; or labels by index.
        on_duplicate: what to do where a feature has another label. `replace` makes the new one active and keeps the old
            one in the history (a person's label gives way to those of people only); `skip`; `reject`.
        validate_only: writes nothing, and returns what would be written.
        ignore_weights: also takes a file that was exported from a run with other latents, by its indices.

        Labels are tested by `score_labels`. Warns SomeLabelsRejected. Raises InvalidArgument for a file that is no
        table of labels, FailedPrecondition (LABELS_OF_OTHER_LATENTS), TypeError.
        """
        request = label_files.request(
            self.name, on_duplicate=on_duplicate, validate_only=validate_only, ignore_weights=ignore_weights
        )
        report = await self._transport.upload(
            "InterpreterService/ImportLabels", request, label_files.chunks(source), pb2.ImportLabelsResponse
        )
        if report.rejected_count:
            warnings.warn(label_files.rejection_summary(report), SomeLabelsRejected, stacklevel=2)
        return report

    async def metrics(self, after_step: int = 0) -> AsyncIterator[trainer_resources.Metrics]:
        """Yields loss, FVU, L0, dead latents … of each measured step, live until the training ends."""
        request = trainer_pb2.WatchMetricsRequest(name=self.name, after_step=after_step)
        async for metrics in self._transport.stream("TrainerService/WatchMetrics", request, trainer_resources.Metrics):
            yield metrics

    async def compute_statistics(self, *, wait: bool = True, progress: Progress = None) -> Job:
        """Computes the statistics of all features again. After a training this happens automatically."""
        request = pb2.ComputeStatisticsRequest(run=self.name)
        return await self._start("InterpreterService/ComputeStatistics", request, wait, progress)

    async def label(
        self,
        model: str = "keywords",
        *,
        indices: Sequence[int] = (),
        limit: int | None = None,
        relabel: bool = False,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress = None,
        **options: Any,
    ) -> Job:
        """Labels features without a label, or all with `relabel`. model: `keywords`, or `<provider>/<model>`.

        wait: until the job has ended and searches show the labels (`Jobs.wait_for_index`).
        request_id: repeated calls with the same one return the first call's job.
        options: fields of LabelOptions: `positive_count`, `negative_count`, `temperature`, `system_prompt`,
            `stop_words`.
        """
        request = pb2.LabelFeaturesRequest(
            run=self.name,
            options=_label_options(model, options),
            indices=indices,
            limit=limit,
            relabel=relabel,
            request_id=request_id,
        )
        return await self._start("InterpreterService/LabelFeatures", request, wait, progress)

    async def score_labels(
        self,
        *,
        judge: str | None = None,
        judge_documents: int | None = None,
        max_questions: int | None = None,
        indices: Sequence[int] = (),
        limit: int | None = None,
        rescore: bool = False,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress = None,
    ) -> Job:
        """Scores labels without a score, or all with `rescore`, whoever wrote them; `features.labels` has the results.

        judge: a language model that judges, too, `provider/model`; the job's log says how many questions it is asked.
        judge_documents: documents per label that activate the feature, 20 by default; as many similar silent ones.
        max_questions: to the judge, 2,000 by default; labels for which none are left are not judged.
        request_id: repeated calls with the same one return the first call's job.
        """
        request = pb2.ScoreLabelsRequest(
            run=self.name, indices=indices, limit=limit, rescore=rescore, request_id=request_id
        )
        if judge is not None:
            request.judge.MergeFrom(
                pb2.JudgeOptions(model=judge, document_count=judge_documents, max_questions=max_questions)
            )
        return await self._start("InterpreterService/ScoreLabels", request, wait, progress)

    async def interpretation(self) -> resources_pb2.Interpretation:
        """Returns how far it is interpreted: statistics, labels, families."""
        request = pb2.GetInterpretationRequest(name=f"{self.name}/interpretation")
        return await self._transport.call("InterpreterService/GetInterpretation", request, resources_pb2.Interpretation)

    async def build_families(
        self,
        *,
        threshold: float | None = None,
        rounds: int | None = None,
        include_tail: bool = False,
        wait: bool = True,
        progress: Progress = None,
    ) -> Job:
        """Builds families of features that are alike, and names them.

        threshold: how much alike groups of features are at least that are joined to a family, 0.16 by default.
        include_tail: also counts activations below the features' thresholds.
        """
        request = pb2.BuildFamiliesRequest(run=self.name, threshold=threshold, rounds=rounds, include_tail=include_tail)
        return await self._start("InterpreterService/BuildFamilies", request, wait, progress)

    def families(self, query: str | None = None) -> Listing[resources_pb2.Family]:
        """Yields families, the most trusted first, then the largest."""
        request = pb2.ListFamiliesRequest(parent=self.name, query=query, page_size=200)
        pages = self._transport.pages("InterpreterService/ListFamilies", request, pb2.ListFamiliesResponse)
        return Listing(pages, "families", resources_pb2.Family)

    async def graph(self, round: int | None = None) -> resources_pb2.Graph:
        """Returns the features of all families, and the edges between them."""
        request = pb2.GetGraphRequest(run=self.name, round=round)
        return await self._transport.call("InterpreterService/GetGraph", request, resources_pb2.Graph)

    async def sample_activations(
        self, rows: int = 1000, features: int = 200, *, include_tail: bool = False
    ) -> resources_pb2.ActivationSample:
        """Returns the most frequent features' activations in evenly spaced rows, as a sparse matrix: a heatmap.

        include_tail: with activations below the features' thresholds.
        """
        request = pb2.SampleActivationsRequest(
            run=self.name, row_count=rows, feature_count=features, include_tail=include_tail
        )
        return await self._transport.call(
            "InterpreterService/SampleActivations", request, resources_pb2.ActivationSample
        )

    async def feature_matrix(
        self,
        kind: str = "co-occurrence",
        *,
        features: int = 100,
        filter: str | None = None,
        include_tail: bool = False,
    ) -> resources_pb2.FeatureMatrix:
        """Returns how alike the most frequent features are, pair by pair.

        kind: `decoder-cosine`, `co-occurrence` or `activation-cosine`. Raises ValueError for another.
        include_tail: also counts activations below the features' thresholds.
        """
        request = pb2.GetFeatureMatrixRequest(
            run=self.name,
            kind=choices.matrix_kind(kind),
            feature_count=features,
            filter=filter,
            include_tail=include_tail,
        )
        return await self._transport.call("InterpreterService/GetFeatureMatrix", request, resources_pb2.FeatureMatrix)

    async def explain(
        self, text: str | None = None, *, document: str | None = None, name_tail: bool = False
    ) -> Answer[resources_pb2.Analysis]:
        """Returns the features that are active in a text or a document (`datasets/{dataset}/documents/{document}`).

        `familiarity.out_of_distribution` says whether the text is unlike the dataset's documents.
        name_tail: also names features whose activation is below their threshold.
        """
        if document:
            method: str = "AnalyzeDocument"
            request = pb2.AnalyzeDocumentRequest(run=self.name, document=document, name_tail=name_tail)
        else:
            method = "AnalyzeText"
            request = pb2.AnalyzeTextRequest(run=self.name, text=text, name_tail=name_tail)
        return Answer(
            await self._transport.call(f"InterpreterService/{method}", request, resources_pb2.Analysis), "features"
        )

    async def export_features(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        query: str | None = None,
        filter: str | None = None,
        order_by: str | None = None,
        byte_order_mark: bool = False,
        keep_formulas: bool = False,
    ) -> int:
        """Writes the features with their labels, trust and statistics as a table; returns its size in bytes.

        Its columns are those of `features.to_pandas()`. query, filter, order_by: as for `features.list`, but by index.
        format: `csv`, `json-lines`, `parquet` or `arrow`; by default as the path ends.
        byte_order_mark: begins a CSV file with one, which Excel needs to read UTF-8. keep_formulas: leaves texts in it
        as they are that a spreadsheet takes for formulas; by default they get an apostrophe in front.
        Warns IncompleteExport. Raises ValueError.
        """
        request = pb2.ExportFeaturesRequest(
            run=self.name,
            format=f"TABLE_FORMAT_{table_format(path, format).name}",
            query=query,
            filter=filter,
            order_by=order_by,
            byte_order_mark=byte_order_mark,
            keep_formulas=keep_formulas,
        )
        size = await self._transport.save("InterpreterService/ExportFeatures", request, path)
        await self._warn_of_missing_codes()
        return size

    async def export_labels(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        include_history: bool = False,
        byte_order_mark: bool = False,
        keep_formulas: bool = False,
    ) -> int:
        """Writes the labels as a table, which `import_labels` takes; returns its size in bytes.

        include_history: also those that are not active. The others as for `export_features`. Raises ValueError.
        """
        request = pb2.ExportLabelsRequest(
            run=self.name,
            format=f"TABLE_FORMAT_{table_format(path, format).name}",
            include_history=include_history,
            byte_order_mark=byte_order_mark,
            keep_formulas=keep_formulas,
        )
        return await self._transport.save("InterpreterService/ExportLabels", request, path)

    async def export_table(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        byte_order_mark: bool = False,
        keep_formulas: bool = False,
        **options: Unpack[TableOptions],
    ) -> int:
        """Writes the documents with their metadata and the activations of features as one table; returns its bytes.

        Join it by `id`, which is that of the imported file. `options` are those of `table`.
        format: `csv`, `json-lines`, `parquet` or `arrow`; by default as the path ends.
        byte_order_mark: begins a CSV file with one, which Excel needs to read UTF-8. keep_formulas: leaves texts in it
        as they are that a spreadsheet takes for formulas; by default they get an apostrophe in front.
        Warns ExportNotice, IncompleteExport. Raises ValueError.
        """
        request = table_request(self.name, table_format(path, format), options)
        request.byte_order_mark, request.keep_formulas = byte_order_mark, keep_formulas
        size = await self._transport.save("InterpreterService/ExportTable", request, path)
        await self._warn_of_missing_codes()
        return size

    async def table(self, **options: Unpack[TableOptions]) -> DocumentTable:
        """Returns the documents with their metadata and the activations of features: `table().to_pandas()`.

        The column `id` is that of the imported file, `features` has the strongest features, and
        `feature: <label>` the activations of one; other columns are the metadata.
        filter: only documents that match, such as `metadata.year > 2020`. feature_filter: only features that match, as
        in `features.list`; by default trusted ones. indices: only these features. feature_count: columns of features
        at most, 200 by default. strongest_count: features in the column `features`, 5 by default. include_tail: also
        with activations below the features' thresholds. text: whether with the texts. metadata: whether with the
        metadata; or its keys.
        Warns ExportNotice, IncompleteExport.
        """
        request = table_request(self.name, TableFormat.ARROW, options)
        parts = [part async for part in self._transport.download("InterpreterService/ExportTable", request)]
        await self._warn_of_missing_codes()
        return DocumentTable(b"".join(parts))

    async def export_activations(self, path: str | Path) -> int:
        """Writes the active features of each document as JSON lines; returns its size in bytes.

        Warns IncompleteExport.
        """
        request = pb2.ExportActivationsRequest(run=self.name)
        size = await self._transport.save("InterpreterService/ExportActivations", request, path)
        await self._warn_of_missing_codes()
        return size

    async def export_weights(self, path: str | Path, *, sae_lens: bool = False) -> int:
        """Writes the weights as a safetensors file, or as a zip in SAELens' layout; returns its size in bytes."""
        layouts = trainer_pb2.ExportWeightsRequest
        layout = layouts.LAYOUT_SAE_LENS if sae_lens else layouts.LAYOUT_PRISMA
        request = trainer_pb2.ExportWeightsRequest(run=self.name, layout=layout)
        return await self._transport.save("TrainerService/ExportWeights", request, path)

    async def codes(self, rows: Any = None) -> Codes:
        """Returns the codes of its dataset's documents, ascending by row, with their ids.

        rows: only those of these rows, such as `range(1000)` or the `row` of documents. `.values`:
        scipy.sparse.csr_array (R, n_latents) float32. `.ids`, `.rows`: of the documents. `code_blocks` yields parts of
        about 1 MiB, `export_codes` writes a file. Raises MissingLibrary where scipy is not installed.
        """
        library("scipy.sparse", "run.codes()")
        parts = [part async for part in self.code_blocks(rows)]
        return Codes.joined(parts, self.message.latent_count)

    async def code_blocks(self, rows: Any = None) -> AsyncIterator[Codes]:
        """Yields what `codes` returns, in parts of about 1 MiB, in any order."""
        await self.refresh()
        async for part in BlockReader(self._transport, self.message.dataset).codes(self.name, rows):
            yield part

    async def export_codes(self, path: str | Path, *, rows: Any = None) -> int:
        """Writes codes to a file, by its name's end; returns its size in bytes.

        `.npz`: for `scipy.sparse.load_npz`, with `ids` and `rows` beside; `.parquet`: `id`, and lists `indices` and
        `values`. rows: as in `codes`. Warns IncompleteExport. Raises ValueError for another name, and for `.npz` where
        an id ends with U+0000; MissingLibrary.
        """
        message = (await self.refresh()).message
        with replacing(path) as file:
            codes = code_file(path, file, message.latent_count)
            async for part in BlockReader(self._transport, message.dataset).codes(self.name, rows):
                codes.add(part)
            codes.finish()
            size = file.tell()
        await self._warn_of_missing_codes()
        return size

    async def decoder(self) -> Decoder:
        """Returns what its latents add to vectors: X ≈ codes.values @ decoder.components + decoder.intercept."""
        with TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.safetensors"
            await self.export_weights(weights)
            return read_decoder(weights)

    async def export_decoder(self, path: str | Path) -> int:
        """Writes what its latents add to vectors to a file, by its name's end; returns its size in bytes.

        `.npy`: (n_latents, d) components; `.npz`: `components` and `intercept`; `.parquet`: `latent` and `component`.
        Raises ValueError for another name, MissingLibrary.
        """
        with replacing(path) as file:
            write = decoder_writer(path)
            write(file, await self.decoder())
            return file.tell()

    async def encode(self, data: Any) -> Any:
        """Encodes texts or vectors that need not be in the dataset: scipy.sparse.csr_array (R, n_latents) float32.

        data: texts, which the dataset's model embeds (its `query_model` where vectors are given), or (R, d) numbers.
        The same vector gives the same bits as in `codes`. Raises MissingLibrary; TypeError for other data;
        FailedPrecondition where no model embeds texts; InvalidArgument for vectors of another length.
        """
        library("scipy.sparse", "run.encode()")
        texts = arrays.texts_of(data)
        if texts is None:
            vectors = arrays.matrix_of(data).astype(np.float32, copy=False)
        else:
            vectors = await embed(self._transport, self.message.dataset, texts)
        parts: list[wire.Codes] = []
        for block in wire.blocks_of(len(vectors), 4 * vectors.shape[1]):
            request = trainer_pb2.EncodeRequest(run=self.name, vectors=wire.pack_vectors(vectors[block]))
            response = await self._transport.call("TrainerService/Encode", request, trainer_pb2.EncodeResponse)
            parts.append(wire.unpack_codes(response.codes))
        return csr_array(wire.concatenate(parts, parts[0].latent_count if parts else self.message.latent_count))

    async def feature(self, index: int) -> resources_pb2.Feature:
        """Returns a feature with its histogram, neighbours and families. Raises NotFound."""
        return await self.features.get(index)

    async def _start(self, method: str, request: Any, wait: bool, progress: Progress) -> Job:
        job = await self._transport.call(method, request, Job)
        if wait:
            job = await self._jobs.wait(job.name, progress)
            await self._jobs.wait_for_index(job)
            await self.refresh()
        return job

    async def _warn_of_missing_codes(self) -> None:
        missing = (await self.refresh()).message.uncoded_count
        if missing:
            documents, are = ("1 document has", "is") if missing == 1 else (f"{missing:,} documents have", "are")
            text = f"{self.name}: {documents} no codes yet and {are} left out"
            warnings.warn(text, IncompleteExport, stacklevel=3)


class Features:
    """The features of a run. run: its name."""

    def __init__(self, transport: Transport, run: str) -> None:
        self._transport = transport
        self._run = run

    def __repr__(self) -> str:
        return f"<features of {self._run}: list(), search(query), get(index)>"

    async def get(self, index: int) -> resources_pb2.Feature:
        """Returns a feature with its histogram, neighbours and families. Raises NotFound."""
        request = pb2.GetFeatureRequest(name=self._name(index))
        return await self._transport.call("InterpreterService/GetFeature", request, resources_pb2.Feature)

    def list(
        self,
        *,
        query: str | None = None,
        filter: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
    ) -> Listing[resources_pb2.Feature]:
        """Yields features.

        filter: such as `density > 0.01 AND trust = TRUSTED`. order_by: such as `max_activation desc`, or `trust`.
        """
        request = pb2.ListFeaturesRequest(
            parent=self._run, query=query, filter=filter, order_by=order_by, page_size=min(limit or 500, 500)
        )
        pages = self._transport.pages("InterpreterService/ListFeatures", request, pb2.ListFeaturesResponse)
        return Listing(pages, "features", resources_pb2.Feature, limit)

    __call__ = list

    async def to_pandas(self, *, query: str | None = None, filter: str | None = None, order_by: str = "index") -> Any:
        """Returns features as a pandas.DataFrame, as `Run.export_features` writes them. Raises MissingLibrary."""
        return await self.list(query=query, filter=filter, order_by=order_by).to_pandas()

    async def to_polars(self, *, query: str | None = None, filter: str | None = None, order_by: str = "index") -> Any:
        """Returns features as a polars.DataFrame, as `Run.export_features` writes them. Raises MissingLibrary."""
        return await self.list(query=query, filter=filter, order_by=order_by).to_polars()

    async def search(
        self, query: str, *, filter: str | None = None, limit: int = 20
    ) -> Answer[search_pb2.SearchFeaturesResponse]:
        """Returns features whose label or description matches, the best first. filter: as of `list`."""
        request = search_pb2.SearchFeaturesRequest(parent=self._run, query=query, filter=filter, page_size=limit)
        response = await self._transport.call(
            "SearchService/SearchFeatures", request, search_pb2.SearchFeaturesResponse
        )
        return Answer(response, "hits")

    async def examples(
        self, index: int, *, kind: str = "strongest", decile: int | None = None, limit: int = 10
    ) -> Rows[resources_pb2.Example]:
        """Returns documents that show what a feature does, at most 50.

        kind: `strongest`; `decile` for some of each tenth of its activations, or all of one `decile`, 1 (the strongest)
        to 10; `near_miss` for silent documents nearest to its direction; `random` for silent ones at random.
        """
        response = await self._examples(index, kind=kind, decile=decile, limit=limit)
        return Rows(response.examples, resources_pb2.Example)

    async def deciles(self, index: int) -> Rows[pb2.ListExamplesResponse.Decile]:
        """Returns the tenths of a feature's activations, each with how well its label fits the documents there."""
        response = await self._examples(index, kind="strongest", decile=None, limit=1)
        return Rows(response.deciles, pb2.ListExamplesResponse.Decile)

    async def _examples(self, index: int, *, kind: str, decile: int | None, limit: int) -> pb2.ListExamplesResponse:
        request = pb2.ListExamplesRequest(
            parent=self._name(index), kind=choices.example_kind(kind), decile=decile, page_size=limit
        )
        return await self._transport.call("InterpreterService/ListExamples", request, pb2.ListExamplesResponse)

    async def labels(self, index: int) -> Rows[resources_pb2.Label]:
        """Returns all labels that a feature has had, the newest first."""
        request = pb2.ListLabelsRequest(parent=self._name(index), page_size=1000)
        page = await self._transport.call("InterpreterService/ListLabels", request, pb2.ListLabelsResponse)
        return Rows(page.labels, resources_pb2.Label)

    async def set_label(
        self,
        index: int,
        text: str,
        description: str | None = None,
        *,
        model: str | None = None,
        request_id: str | None = None,
    ) -> resources_pb2.Label:
        """Writes a label; earlier ones stay in the history.

        model: that wrote it elsewhere; without one it is a person's label.
        request_id: repeated calls with the same one write once and return the first label.
        """
        label = resources_pb2.Label(text=text, description=description, model=model)
        request = pb2.CreateLabelRequest(parent=self._name(index), label=label, request_id=request_id)
        return await self._transport.call("InterpreterService/CreateLabel", request, resources_pb2.Label)

    async def relabel(
        self, index: int, model: str = "keywords", *, request_id: str | None = None, **options: Any
    ) -> resources_pb2.Label:
        """Labels one feature by a model, and waits for the label.

        request_id: repeated calls with the same one label once and return the first label.
        """
        request = pb2.LabelFeatureRequest(
            name=self._name(index), options=_label_options(model, options), request_id=request_id
        )
        return await self._transport.call("InterpreterService/LabelFeature", request, resources_pb2.Label)

    async def activate(self, label: str) -> resources_pb2.Label:
        """Makes a label from the history the active one. label: its name. Raises NotFound."""
        request = pb2.ActivateLabelRequest(name=label)
        return await self._transport.call("InterpreterService/ActivateLabel", request, resources_pb2.Label)

    def _name(self, index: int) -> str:
        return f"{self._run}/features/{index}"


def _label_options(model: str, options: Mapping[str, Any]) -> resources_pb2.LabelOptions:
    """Raises ValueError for unknown options."""
    choices.check_fields(resources_pb2.LabelOptions, options)
    return resources_pb2.LabelOptions(model=model, **options)


def _name_of(run: Run | str) -> str:
    return run.name if isinstance(run, Run) else f"runs/{run.removeprefix('runs/')}"
