"""Commands for operators: jobs, models, health."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf import json_format

from prisma.common.v1.job_pb2 import Job
from prisma_client.cli import output
from prisma_client.cli.arguments import Limit, job_id
from prisma_client.cli.connection import bottleneck_text, connected, finish, waiting_text
from prisma_client.sync.jobs import TERMINAL

app = typer.Typer(rich_markup_mode=None)
_JOB_COLUMNS: output.Columns = {
    "job": lambda job: job.name.removeprefix("jobs/"),
    "kind": lambda job: job.kind,
    "of": lambda job: ", ".join(resource.rpartition("/")[2] for resource in job.resources[:1]),
    "state": lambda job: job_state(job),
    "done": lambda job: f"{job.progress.done:,}/{job.progress.total:,} {job.progress.unit}",
    "": lambda job: waiting_text(job) or job.error.message or bottleneck_text(job),
}


def job_state(job: Job) -> str:
    """The state of a job; `stopping` once someone asked it to stop."""
    is_stopping = job.cancel_requested and job.state not in TERMINAL
    return "stopping" if is_stopping else Job.State.Name(job.state).removeprefix("STATE_").lower()


@app.command(epilog="Example: prisma jobs 4f2a --cancel")
def jobs(
    job: Annotated[str | None, typer.Argument(help="Id of a job to follow.", callback=job_id)] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the job.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Start the job again.")] = False,
    limit: Limit = 20,
) -> None:
    """List jobs, or follow, cancel or retry one."""
    if job is None and (cancel or retry):
        raise typer.BadParameter("--cancel and --retry need the id of a job")
    if cancel and retry:
        raise typer.BadParameter("choose either --cancel or --retry")
    with connected() as prisma:
        if job is None:
            output.show(prisma.jobs.list(limit), _JOB_COLUMNS, empty="there are no jobs")
        elif cancel or retry:
            changed = prisma.jobs.cancel(job) if cancel else prisma.jobs.retry(job)
            output.show([changed], _JOB_COLUMNS)
            if cancel and changed.state not in TERMINAL:
                output.warn(f"the job stops soon, and what it has committed stays: `prisma jobs {job}` follows it")
        else:
            finish(prisma, prisma.jobs.get(job), title=job, detach=False)


@app.command(epilog="Example: prisma models")
def models() -> None:
    """List the models for embeddings and labels.

    They are those that the providers offer now.
    """
    columns: output.Columns = {
        "for": lambda model: model["for"],
        "model": lambda model: model["id"],
        "dimension": lambda model: model.get("dimension", ""),
        "what it is": lambda model: model.get("description") or model.get("displayName", ""),
    }
    with connected() as prisma:
        embedding, labelling = prisma.embedding_models(), prisma.label_models()
        rows: list[dict[str, Any]] = [
            {"for": "embeddings", **json_format.MessageToDict(model)} for model in embedding.embedding_models
        ]
        rows += [{"for": "labels", **json_format.MessageToDict(model)} for model in labelling.label_models]
        output.show(rows, columns)
        for model in embedding.embedding_models:
            if model.error:
                output.warn(f"{model.id}: {model.error}")
        for provider in {
            outage.provider: outage for outage in [*embedding.unreachable, *labelling.unreachable]
        }.values():
            output.warn(provider.message)


@app.command(epilog="Example: prisma status")
def status() -> None:
    """Show the health of all services.

    Exits with 6 when one is down.
    """
    columns: output.Columns = {
        "service": lambda service: service["service"],
        "health": lambda service: service["health"].removeprefix("HEALTH_").lower(),
        "version": lambda service: service.get("version", ""),
        "jobs": lambda service: service.get("runningJobs", 0),
        "": lambda service: service.get("message", ""),
    }
    with connected() as prisma:
        report = prisma.status()
        output.show(report["services"], columns)
        if report["health"] == "HEALTH_DOWN":
            raise typer.Exit(output.UNAVAILABLE)
