"""`prisma try`: from a file to the page with named features, in one command."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import shutil
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse
from prisma.interpreter.v1.resources_pb2 import Feature
from prisma_client.aio import AsyncPrisma
from prisma_client.aio.datasets import Dataset
from prisma_client.aio.runs import Run
from prisma_client.cli import output
from prisma_client.cli.connection import gateway_url, reported
from prisma_client.cli.data import layout_values
from prisma_client.cli.explore import trust_word
from prisma_client.cli.input_file import InputFile
from prisma_client.cli.stack import configured_addresses, interrupted, listens, page_is_built, unless
from prisma_client.cli.steps import interpret, on_own_stack, step
from prisma_client.errors import SomeDocumentsRejected
from prisma_client.imports import Rejection

SHOWN_FEATURES = 8
OTHER_COLUMNS_CHARACTERS = 29
"""What the columns beside the label and the example take of a terminal's width, with the space between all of them."""
EXAMPLE_CHARACTERS = (30, 80)
"""At least and at most, of an example."""
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_COLUMNS: output.Columns = {
    "feature": lambda row: row["index"],
    "documents": lambda row: f"{row['documents']:,}",
    "trust": lambda row: row["trust"],
    "label": lambda row: row["label"],
    "example": lambda row: row["example"],
}


@dataclass(frozen=True)
class Trial:
    """What came of a file. run: with named features. is_new: whether the dataset was created for it."""

    data: Dataset
    run: Run
    report: ImportDocumentsResponse
    is_new: bool


async def run(file: InputFile, model: str, data_dir: Path, *, leave: bool) -> None:
    """Takes a file to named features, on the stack that runs at PRISMA_URL or on one of its own. Raises typer.Exit."""
    if file.is_standard_input:
        raise typer.BadParameter("`prisma ingest DATASET -` reads standard input; this command needs a file")
    if not (file.path.is_file() or file.path.is_dir()):
        raise typer.BadParameter(
            f"{file.path} is neither a file nor a folder: this command reads its file twice. "
            "`prisma ingest DATASET -` reads standard input"
        )
    url, own = gateway_url(), configured_addresses()["http"]

    async def work(address: str) -> None:
        async with AsyncPrisma(address) as prisma:
            await _show(await _try(prisma, file, model), file, address)

    if urlsplit(url).netloc == own and not await asyncio.to_thread(listens, own):
        await on_own_stack(data_dir, work, leave=leave)
    else:
        await _on_running_stack(url, work)


async def _try(prisma: AsyncPrisma, file: InputFile, model: str) -> Trial:
    with warnings.catch_warnings(), step(f"import {file.path.name}"):
        warnings.simplefilter("ignore", SomeDocumentsRejected)  # the summary says the same
        data, is_new = await _dataset(prisma, file, model)
        try:
            report = await data.add_chunks(
                file.chunks(),
                id_field=file.id_field,
                text_field=file.text_field,
                options=file.options,
                file_name=file.name,
                on_duplicate="skip",
            )
        finally:
            await data.delete_if_empty()
    run = await interpret(prisma, data)
    await data.refresh()
    return Trial(data, run, report, is_new)


async def _dataset(prisma: AsyncPrisma, file: InputFile, model: str) -> tuple[Dataset, bool]:
    """The dataset of this file, read in this way, and whether it was created now."""
    fingerprint = await asyncio.to_thread(_fingerprint, file, model)
    description = f"{file.path.name}, by `prisma try` (fingerprint {fingerprint})"
    for data in await prisma.datasets.list():
        if data.message.description == description:
            return data, False
    return await prisma.datasets.create(_name(file.path), description=description, embedding_model=model), True


def _fingerprint(file: InputFile, model: str) -> str:
    """A digest of the file's bytes, and of all that says how to read and embed it."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    settings = {name: value for name, value in asdict(file).items() if name != "path" and value is not None}
    digest.update(repr({**settings, "model": model}).encode())
    return digest.hexdigest()[:16]


def _name(path: Path) -> str:
    """The name of a file without its endings."""
    name = path.resolve().name
    return Path(name.removesuffix(path.suffix)).stem if path.suffix in _COMPRESSED else Path(name).stem


async def _best_features(run: Run) -> list[Mapping[str, Any]]:
    """The most frequent trusted features, then open ones that have a label, each with an example as rows of a table."""
    features: list[Feature] = []
    for trust in ("TRUSTED", "OPEN"):
        condition = f"trust = {trust} AND labelled = true"
        limit = SHOWN_FEATURES - len(features)
        if limit:
            listed = run.features.list(filter=condition, order_by="precise_density desc", limit=limit)
            features += [feature async for feature in listed]
    longest = max((len(feature.label.text) for feature in features), default=0)
    least, most = EXAMPLE_CHARACTERS
    size = min(max(least, shutil.get_terminal_size().columns - OTHER_COLUMNS_CHARACTERS - longest), most)
    return [await _row(run, feature, size) for feature in features]


async def _row(run: Run, feature: Feature, size: int) -> Mapping[str, Any]:
    """A row of the table. size: characters of the example, at most."""
    examples = await run.features.examples(feature.index, limit=1)
    return {
        "index": feature.index,
        "label": feature.label.text,
        "trust": trust_word(feature.trust),
        "documents": feature.precise_count,
        "example": _excerpt(examples[0].text, feature.label.text, size) if examples else "",
    }


def _excerpt(text: str, label: str, size: int) -> str:
    """The part of a text around the first word of the label that it has; its beginning where it has none."""
    plain = " ".join(text.split())
    places = [plain.lower().find(word.lower()) for word in label.replace(",", " ").split()]
    first = min((place for place in places if place >= 0), default=0)
    inner = size - 2  # for what marks that something is left out
    start = max(0, min(first - inner // 3, len(plain) - inner))
    end = start + inner
    return f"{'…' if start else ''}{plain[start:end]}{'…' if end < len(plain) else ''}"


async def _show(trial: Trial, file: InputFile, url: str) -> None:
    """Prints what came of the file: lines and a table on a terminal, one JSON line when piped."""
    interpretation = await trial.run.interpretation()
    features = await _best_features(trial.run)
    families = sum([family.round == 1 async for family in trial.run.families()])
    trust = interpretation.trust_counts
    named = interpretation.labelled_count - interpretation.unnamed_count
    if not output.on_terminal():
        row = {
            "dataset": trial.data.name,
            "run": trial.run.name,
            "documents": trial.data.message.document_count,
            "failed": trial.data.message.failed_count,
            "report": output.to_json(trial.report),
            "latents": interpretation.latent_count,
            "named": named,
            "trusted": trust.trusted,
            "families": families,
            "features": features,
            "page": _page(trial.run, url),
        }
        output.show_one(row, [])
        return
    for line in _file_lines(trial, file):
        typer.echo(line)
    typer.echo(
        f"\n{interpretation.latent_count:,} features, {named:,} of them named, {trust.trusted:,} trusted; "
        f"{families:,} families"
    )
    output.show(features, _COLUMNS, empty="no feature has a name: there are too few documents, or they are too short")
    for line in [
        *(f"warning: {warning}" for warning in trial.run.message.warnings),
        *_next_lines(trial, features, url),
    ]:
        typer.echo(line)


def _file_lines(trial: Trial, file: InputFile) -> list[str]:
    """How the file was read, and what of it was imported."""
    report = trial.report
    reading = [f"{name} {value}" for name, value in layout_values(report.layout) if value]
    count = trial.data.message.document_count
    lines = [f"\n{file.path.name}: {count:,} documents in {trial.data.name}", f"  read as: {'; '.join(reading)}"]
    if not trial.is_new:
        lines.append("  the same file was tried before: what exists was used")
    lines += [f"  {note}" for note in report.notes]
    if report.rejected_count:
        first = report.rejections[0]
        lines.append(
            f"  {report.rejected_count:,} rejected ({_rejection_reasons(report)}), "
            f"the first: item {first.item}: {first.message}"
        )
    if failed := trial.data.message.failed_count:
        reasons = f"`prisma documents {trial.data.id} --filter 'state = FAILED'` says why"
        lines.append(f"  {failed:,} could not be embedded: {reasons}")
    return lines


def _rejection_reasons(report: ImportDocumentsResponse) -> str:
    """How many rows were rejected for which reason."""
    names = [Rejection.Reason.Name(count.reason).removeprefix("REASON_") for count in report.rejection_counts]
    counts = zip(report.rejection_counts, names, strict=True)
    return ", ".join(f"{count.count:,} {name.replace('_', ' ').lower()}" for count, name in counts)


def _page(run: Run, url: str) -> str:
    return f"{url}/runs/{run.id}/features"


def _next_lines(trial: Trial, features: Sequence[Mapping[str, Any]], url: str) -> list[str]:
    """What to do next."""
    word = features[0]["label"].partition(",")[0] if features else "a few words"
    lines = [
        f"prisma search {trial.data.id} {shlex.quote(word)} --run {trial.run.id}",
        f"prisma features {trial.run.id} --order-by trust",
        f"prisma export {trial.run.id} features features.csv",
    ]
    if page_is_built():
        lines.insert(0, _page(trial.run, url))
    return ["\nNext:", *(f"  {line}" for line in lines)]


async def _on_running_stack(url: str, work: Callable[[str], Awaitable[None]]) -> None:
    interrupt = asyncio.create_task(interrupted().wait())
    with reported():
        done = await unless(interrupt, work(url))
    interrupt.cancel()
    if not done:
        output.warn(
            "interrupted. A job that was started continues: `prisma jobs` lists it, `prisma jobs ID --cancel` cancels "
            "it. The same command continues from there"
        )
        raise typer.Exit(output.INTERRUPTED)
