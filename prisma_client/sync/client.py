"""PRISMA in Python: datasets, runs, features, search. Answers are the messages of the protos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prisma.common.v1 import job_pb2
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import resources_pb2 as embedder_resources
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_client import sources
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from prisma_client.sync.transport import Transport
from prisma_client.errors import JobFailed
from prisma_common import addresses

DEFAULT_URL = addresses.HTTP_URL
Progress = Callable[[job_pb2.Job], None]


class Prisma:
    """A gateway.

    url: its address; PRISMA_URL, or this machine's. key: PRISMA_API_KEY, or none. seconds: how long an answer may take.

    >>> prisma = Prisma()
    >>> data = prisma.datasets.create("abstracts", documents=["one text", "another"])
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, seconds: float = 120.0) -> None:
        chosen = url or os.environ.get("PRISMA_URL") or DEFAULT_URL
        self.transport = Transport(chosen, key or os.environ.get("PRISMA_API_KEY"), seconds)
        self.datasets = Datasets(self)
        self.runs = Runs(self)
        self.jobs = Jobs(self)

    def close(self) -> None:
        """Closes the connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def status(self) -> Mapping[str, Any]:
        """How all parts are: `{"health", "services": [prisma.common.v1.ServiceStatus …]}` as JSON."""
        return self.transport.look("/v1/status")

    def embedding_models(self) -> embedder_pb2.ListEmbeddingModelsResponse:
        """The models that embed, and the providers that do not answer."""
        return self.transport.call(
            "EmbedderService/ListEmbeddingModels",
            embedder_pb2.ListEmbeddingModelsRequest(),
            embedder_pb2.ListEmbeddingModelsResponse,
        )

    def label_models(self) -> interpreter_pb2.ListLabelModelsResponse:
        """The models that write labels, and the providers that do not answer."""
        return self.transport.call(
            "InterpreterService/ListLabelModels",
            interpreter_pb2.ListLabelModelsRequest(),
            interpreter_pb2.ListLabelModelsResponse,
        )


class Datasets:
    """The datasets."""

    def __init__(self, prisma: Prisma) -> None:
        self._prisma = prisma

    def create(
        self,
        name: str,
        documents: Any = None,
        *,
        dataset_id: str = "",
        description: str = "",
        embedding_model: str = "",
        id_field: str = "",
        text_field: str = "",
    ) -> Dataset:
        """Makes a dataset, with documents where some are given (see `Dataset.add`).

        embedding_model: `builtin`, or `ollama/<model>`. Raises AlreadyExists, InvalidArgument.
        """
        wanted = embedder_resources.Dataset(display_name=name, description=description, embedding_model=embedding_model)
        made = self._prisma.transport.call(
            "EmbedderService/CreateDataset",
            embedder_pb2.CreateDatasetRequest(dataset_id=dataset_id, dataset=wanted),
            embedder_resources.Dataset,
        )
        dataset = Dataset(self._prisma, made)
        if documents is not None:
            dataset.report = dataset.add(documents, id_field=id_field, text_field=text_field)
            dataset.refresh()
        return dataset

    def get(self, dataset: str) -> Dataset:
        """A dataset by its id. Raises NotFound."""
        request = embedder_pb2.GetDatasetRequest(name=f"datasets/{dataset.removeprefix('datasets/')}")
        found = self._prisma.transport.call("EmbedderService/GetDataset", request, embedder_resources.Dataset)
        return Dataset(self._prisma, found)

    def list(self) -> list[Dataset]:
        """All datasets, the newest first."""
        request = embedder_pb2.ListDatasetsRequest(page_size=1000)
        listed = self._prisma.transport.pages(
            "EmbedderService/ListDatasets", request, embedder_pb2.ListDatasetsResponse
        )
        return [Dataset(self._prisma, each) for page in listed for each in page.datasets]


class Runs:
    """The training runs."""

    def __init__(self, prisma: Prisma) -> None:
        self._prisma = prisma

    def create(
        self, dataset: str, *, run_id: str = "", name: str = "", config: Mapping[str, Any] | None = None
    ) -> Run:
        """Makes a run on the vectors that a dataset has at this moment; `Run.train` trains it.

        config: fields of prisma.trainer.v1.Config: `expansion` (4), `k` (32), `epochs` (20) … Raises
        FailedPrecondition where nothing is embedded, InvalidArgument.
        """
        wanted = trainer_resources.Run(
            dataset=f"datasets/{dataset.removeprefix('datasets/')}",
            display_name=name,
            config=trainer_resources.Config(**(config or {})),
        )
        request = trainer_pb2.CreateRunRequest(run_id=run_id, run=wanted)
        return Run(
            self._prisma, self._prisma.transport.call("TrainerService/CreateRun", request, trainer_resources.Run)
        )

    def get(self, run: str) -> Run:
        """A run by its id. Raises NotFound."""
        request = trainer_pb2.GetRunRequest(name=f"runs/{run.removeprefix('runs/')}")
        return Run(
            self._prisma, self._prisma.transport.call("TrainerService/GetRun", request, trainer_resources.Run)
        )

    def import_weights(self, dataset: str, path: str | Path, *, run_id: str = "", name: str = "") -> Run:
        """Makes a run of weights from elsewhere; `Run.train` then writes its codes.

        path: a `.safetensors` of PRISMA, a `.zip` of a SAELens or sparsify folder, a `.pt` of HypotheSAEs or PRISMA v2.
        Raises InvalidArgument for what is no autoencoder of the dataset's dimension.
        """
        config = trainer_pb2.ImportWeightsRequest.Config(
            dataset=f"datasets/{dataset.removeprefix('datasets/')}", run_id=run_id, display_name=name
        )
        made = self._prisma.transport.upload(
            "TrainerService/ImportWeights",
            trainer_pb2.ImportWeightsRequest(config=config),
            sources.chunks(Path(path)),
            trainer_resources.Run,
        )
        return Run(self._prisma, made)

    def list(self, dataset: str = "") -> list[Run]:
        """All runs, or those of a dataset, the newest first."""
        wanted = f'dataset = "datasets/{dataset.removeprefix("datasets/")}"' if dataset else ""
        request = trainer_pb2.ListRunsRequest(page_size=1000, filter=wanted)
        listed = self._prisma.transport.pages("TrainerService/ListRuns", request, trainer_pb2.ListRunsResponse)
        return [Run(self._prisma, each) for page in listed for each in page.runs]


class Jobs:
    """The jobs of all services."""

    def __init__(self, prisma: Prisma) -> None:
        self._prisma = prisma

    def get(self, job: str) -> job_pb2.Job:
        """A job by its id. Raises NotFound."""
        return self._call("GetJob", job_pb2.GetJobRequest(name=_name(job)))

    def list(self, limit: int = 100) -> list[job_pb2.Job]:
        """The newest jobs."""
        request = job_pb2.ListJobsRequest(page_size=limit)
        page = self._prisma.transport.call("JobService/ListJobs", request, job_pb2.ListJobsResponse)
        return list(page.jobs)

    def watch(self, job: str) -> Iterator[job_pb2.Job]:
        """A job now and after each change, until it ends."""
        request = job_pb2.WatchJobRequest(name=_name(job))
        for each in self._prisma.transport.stream("JobService/WatchJob", request, job_pb2.Job):
            yield each

    def wait(self, job: str, progress: Progress | None = None) -> job_pb2.Job:
        """Waits until a job has ended well; `progress` is told each change. Raises JobFailed."""
        last = job_pb2.Job()
        for each in self.watch(job):
            last = each
            if progress is not None:
                progress(each)
        if last.state != job_pb2.Job.STATE_SUCCEEDED:
            raise JobFailed(last)
        return last

    def cancel(self, job: str) -> job_pb2.Job:
        """Asks a job to stop."""
        return self._call("CancelJob", job_pb2.CancelJobRequest(name=_name(job)))

    def retry(self, job: str) -> job_pb2.Job:
        """Starts a job that has failed or was cancelled again. Raises FailedPrecondition."""
        return self._call("RetryJob", job_pb2.RetryJobRequest(name=_name(job)))

    def _call(self, method: str, request: Any) -> job_pb2.Job:
        return self._prisma.transport.call(f"JobService/{method}", request, job_pb2.Job)


def _name(job: str) -> str:
    return f"jobs/{job.removeprefix('jobs/')}"


__all__ = ["Prisma", "Datasets", "Jobs", "Runs"]
