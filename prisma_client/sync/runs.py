"""A run: trained, looked into, labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prisma.common.v1.job_pb2 import Job
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2

if TYPE_CHECKING:
    from prisma_client.sync.client import Prisma, Progress


class Run:
    """A training run. message: as the server last told it."""

    def __init__(self, prisma: Prisma, message: trainer_resources.Run) -> None:
        self._prisma = prisma
        self.message = message
        self.features = Features(prisma, self)

    def __repr__(self) -> str:
        state = trainer_resources.Run.State.Name(self.message.state).removeprefix("STATE_").lower()
        return f"<{self.name}: {state} on {self.message.dataset}>"

    @property
    def name(self) -> str:
        """`runs/{run}`."""
        return self.message.name

    @property
    def id(self) -> str:
        """The id in its name."""
        return self.name.removeprefix("runs/")

    def refresh(self) -> Run:
        """Asks the server again."""
        request = trainer_pb2.GetRunRequest(name=self.name)
        self.message = self._prisma.transport.call("TrainerService/GetRun", request, trainer_resources.Run)
        return self

    def delete(self) -> None:
        """Deletes it, with its weights, codes and labels."""
        request = trainer_pb2.DeleteRunRequest(name=self.name)
        self._prisma.transport.call("TrainerService/DeleteRun", request, trainer_resources.Run)

    def train(self, *, wait: bool = True, progress: Progress | None = None) -> Job:
        """Trains it, or goes on from its last checkpoint. Raises JobFailed."""
        return self._job("TrainerService/TrainRun", trainer_pb2.TrainRunRequest(name=self.name), wait, progress)

    def pause(self) -> None:
        """Stops its training after a checkpoint; `train` goes on from there."""
        request = trainer_pb2.PauseRunRequest(name=self.name)
        self._prisma.transport.call("TrainerService/PauseRun", request, trainer_resources.Run)

    def clone(self, *, run_id: str = "", name: str = "", **config: Any) -> Run:
        """Makes a run on the same rows with the same settings but for `config`; `train` trains it."""
        request = trainer_pb2.CloneRunRequest(
            name=self.name, run_id=run_id, display_name=name, config=trainer_resources.Config(**config)
        )
        made = self._prisma.transport.call("TrainerService/CloneRun", request, trainer_resources.Run)
        return Run(self._prisma, made)

    def evaluate(self, *, wait: bool = True, progress: Progress | None = None) -> trainer_resources.Evaluation:
        """Measures what it keeps of held-out vectors: FVU, neighbours, search results … Raises JobFailed."""
        request = trainer_pb2.EvaluateRunRequest(name=self.name)
        self._job("TrainerService/EvaluateRun", request, wait, progress)
        return (self.refresh()).message.evaluation

    def push(self, *, wait: bool = True, progress: Progress | None = None) -> Job:
        """Copies its weights to the operator's object store, as SAELens loads them; the job's log says where."""
        return self._job("TrainerService/PushRun", trainer_pb2.PushRunRequest(name=self.name), wait, progress)

    def compare(self, other: Run | str, min_cosine: float = 0.7) -> trainer_pb2.CompareRunsResponse:
        """Which of its latents are also in another run, and which are lost, new, split and merged there."""
        request = trainer_pb2.CompareRunsRequest(first=self.name, second=_name_of(other), min_cosine=min_cosine)
        return self._prisma.transport.call("TrainerService/CompareRuns", request, trainer_pb2.CompareRunsResponse)

    def carry_labels(self, source: Run | str, min_cosine: float = 0.9) -> pb2.CarryLabelsResponse:
        """Gives features the labels of those of another run that they resemble; a person's stay."""
        request = pb2.CarryLabelsRequest(run=self.name, from_run=_name_of(source), min_cosine=min_cosine)
        return self._prisma.transport.call("InterpreterService/CarryLabels", request, pb2.CarryLabelsResponse)

    def metrics(self, after_step: int = 0) -> Iterator[trainer_resources.Metrics]:
        """Loss, FVU, L0, dead latents … of each measured step, live until the training ends."""
        request = trainer_pb2.WatchMetricsRequest(name=self.name, after_step=after_step)
        for each in self._prisma.transport.stream(
            "TrainerService/WatchMetrics", request, trainer_resources.Metrics
        ):
            yield each

    def compute_statistics(self, *, wait: bool = True, progress: Progress | None = None) -> Job:
        """Statistics of all features. They come by themselves after a training; this computes them anew."""
        request = pb2.ComputeStatisticsRequest(run=self.name)
        return self._job("InterpreterService/ComputeStatistics", request, wait, progress)

    def label(
        self,
        model: str = "keywords",
        *,
        indices: Sequence[int] = (),
        limit: int = 0,
        relabel: bool = False,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Any,
    ) -> Job:
        """Labels features that have no label yet. model: `keywords`, or `ollama/<model>`.

        options: fields of LabelOptions: `positive_count`, `negative_count`, `temperature`, `system_prompt`.
        """
        request = pb2.LabelFeaturesRequest(
            run=self.name,
            options=resources_pb2.LabelOptions(model=model, **options),
            indices=indices,
            limit=limit,
            relabel=relabel,
        )
        return self._job("InterpreterService/LabelFeatures", request, wait, progress)

    def interpretation(self) -> resources_pb2.Interpretation:
        """How far it is interpreted."""
        request = pb2.GetInterpretationRequest(name=f"{self.name}/interpretation")
        return self._prisma.transport.call(
            "InterpreterService/GetInterpretation", request, resources_pb2.Interpretation
        )

    def build_families(
        self,
        *,
        threshold: float | None = None,
        rounds: int | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Job:
        """Builds families of features from their co-activation."""
        request = pb2.BuildFamiliesRequest(run=self.name, threshold=threshold, rounds=rounds)
        return self._job("InterpreterService/BuildFamilies", request, wait, progress)

    def families(self, query: str = "") -> Iterator[resources_pb2.Family]:
        """Families, the largest first."""
        request = pb2.ListFamiliesRequest(parent=self.name, query=query, page_size=200)
        listed = self._prisma.transport.pages("InterpreterService/ListFamilies", request, pb2.ListFamiliesResponse)
        for page in listed:
            for each in page.families:
                yield each

    def graph(self, round: int = 0) -> resources_pb2.Graph:
        """Features of all families, and the edges between them."""
        request = pb2.GetGraphRequest(run=self.name, round=round)
        return self._prisma.transport.call("InterpreterService/GetGraph", request, resources_pb2.Graph)

    def sample_activations(self, rows: int = 1000, features: int = 200) -> resources_pb2.ActivationSample:
        """What the most frequent features do in rows at equal steps, as a sparse matrix: a heatmap."""
        request = pb2.SampleActivationsRequest(run=self.name, row_count=rows, feature_count=features)
        return self._prisma.transport.call(
            "InterpreterService/SampleActivations", request, resources_pb2.ActivationSample
        )

    def feature_matrix(
        self, kind: str = "CO_OCCURRENCE", *, features: int = 100, filter: str = ""
    ) -> resources_pb2.FeatureMatrix:
        """How alike the most frequent features are. kind: DECODER_COSINE, CO_OCCURRENCE or ACTIVATION_COSINE."""
        request = pb2.GetFeatureMatrixRequest(
            run=self.name,
            kind=f"KIND_{kind}",
            feature_count=features,
            filter=filter,
        )
        return self._prisma.transport.call(
            "InterpreterService/GetFeatureMatrix", request, resources_pb2.FeatureMatrix
        )

    def explain(self, text: str = "", *, document: str = "") -> resources_pb2.Analysis:
        """The features that are active in a text, or in a document (`datasets/{dataset}/documents/{document}`)."""
        if document:
            request = pb2.AnalyzeDocumentRequest(run=self.name, document=document)
            return self._prisma.transport.call(
                "InterpreterService/AnalyzeDocument", request, resources_pb2.Analysis
            )
        asked = pb2.AnalyzeTextRequest(run=self.name, text=text)
        return self._prisma.transport.call("InterpreterService/AnalyzeText", asked, resources_pb2.Analysis)

    def export_features(self, path: str | Path) -> int:
        """Writes statistics and labels of all features as a CSV file; returns its bytes."""
        return self._save("InterpreterService/ExportFeatures", pb2.ExportFeaturesRequest(run=self.name), path)

    def export_activations(self, path: str | Path) -> int:
        """Writes the active features of each document as JSON lines; returns its bytes."""
        request = pb2.ExportActivationsRequest(run=self.name)
        return self._save("InterpreterService/ExportActivations", request, path)

    def export_weights(self, path: str | Path, *, sae_lens: bool = False) -> int:
        """Writes the weights as a safetensors file, or as a zip of the folder that SAELens loads; returns its bytes."""
        layouts = trainer_pb2.ExportWeightsRequest
        layout = layouts.LAYOUT_SAE_LENS if sae_lens else layouts.LAYOUT_PRISMA
        request = trainer_pb2.ExportWeightsRequest(run=self.name, layout=layout)
        return self._save("TrainerService/ExportWeights", request, path)

    def feature(self, index: int) -> resources_pb2.Feature:
        """A feature with its histogram, neighbours and families. Raises NotFound."""
        return self.features.get(index)

    def _job(self, method: str, request: Any, wait: bool, progress: Progress | None) -> Job:
        job = self._prisma.transport.call(method, request, Job)
        if wait:
            job = self._prisma.jobs.wait(job.name, progress)
            self.refresh()
        return job

    def _save(self, method: str, request: Any, path: str | Path) -> int:
        """Writes a download under a temporary name first: a file is there whole or not at all."""
        target = Path(path)
        partial = target.with_name(f"{target.name}.part")
        written = 0
        try:
            with partial.open("wb") as file:
                for part in self._prisma.transport.download(method, request):
                    written += file.write(part)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return written


class Features:
    """The features of a run."""

    def __init__(self, prisma: Prisma, run: Run) -> None:
        self._prisma = prisma
        self._run = run

    def get(self, index: int) -> resources_pb2.Feature:
        """A feature with its histogram, neighbours and families. Raises NotFound."""
        request = pb2.GetFeatureRequest(name=self._name(index))
        return self._prisma.transport.call("InterpreterService/GetFeature", request, resources_pb2.Feature)

    def list(
        self, *, query: str = "", filter: str = "", order_by: str = "", limit: int | None = None
    ) -> Iterator[resources_pb2.Feature]:
        """Features. filter: such as `density > 0.01 AND labelled = true`; order_by: such as `max_activation desc`."""
        request = pb2.ListFeaturesRequest(
            parent=self._run.name, query=query, filter=filter, order_by=order_by, page_size=min(limit or 500, 500)
        )
        sent = 0
        listed = self._prisma.transport.pages("InterpreterService/ListFeatures", request, pb2.ListFeaturesResponse)
        for page in listed:
            for each in page.features:
                yield each
                sent += 1
                if sent == limit:
                    return

    def search(self, query: str, *, limit: int = 20) -> search_pb2.SearchFeaturesResponse:
        """Features whose label or description match, the best first."""
        request = search_pb2.SearchFeaturesRequest(parent=self._run.name, query=query, page_size=limit)
        return self._prisma.transport.call(
            "SearchService/SearchFeatures", request, search_pb2.SearchFeaturesResponse
        )

    def examples(self, index: int, *, limit: int = 10) -> list[resources_pb2.Example]:
        """The documents that activate a feature most, at most 50."""
        request = pb2.ListExamplesRequest(parent=self._name(index), page_size=limit)
        page = self._prisma.transport.call("InterpreterService/ListExamples", request, pb2.ListExamplesResponse)
        return list(page.examples)

    def labels(self, index: int) -> list[resources_pb2.Label]:
        """All labels that a feature ever had, the newest first."""
        request = pb2.ListLabelsRequest(parent=self._name(index), page_size=1000)
        page = self._prisma.transport.call("InterpreterService/ListLabels", request, pb2.ListLabelsResponse)
        return list(page.labels)

    def set_label(self, index: int, text: str, description: str = "") -> resources_pb2.Label:
        """Writes a label; the ones before stay in the history."""
        wanted = resources_pb2.Label(text=text, description=description)
        request = pb2.CreateLabelRequest(parent=self._name(index), label=wanted)
        return self._prisma.transport.call("InterpreterService/CreateLabel", request, resources_pb2.Label)

    def relabel(self, index: int, model: str = "keywords", **options: Any) -> resources_pb2.Label:
        """Has a model label a feature now."""
        wanted = resources_pb2.LabelOptions(model=model, **options)
        request = pb2.LabelFeatureRequest(name=self._name(index), options=wanted)
        return self._prisma.transport.call("InterpreterService/LabelFeature", request, resources_pb2.Label)

    def activate(self, label: str) -> resources_pb2.Label:
        """Makes a label of the history the active one. label: its name. Raises NotFound."""
        request = pb2.ActivateLabelRequest(name=label)
        return self._prisma.transport.call("InterpreterService/ActivateLabel", request, resources_pb2.Label)

    def _name(self, index: int) -> str:
        return f"{self._run.name}/features/{index}"


def _name_of(run: Run | str) -> str:
    return run.name if isinstance(run, Run) else f"runs/{run.removeprefix('runs/')}"
