"""All commands of `prisma`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path

from prisma_client.cli import (
    analyze,
    backup,
    data,
    demonstration,
    doctor,
    explore,
    exports,
    imported,
    keys,
    labels,
    migrate,
    operate,
    output,
    stack,
    train,
    trial,
)
from prisma_client.cli.arguments import NewModel
from prisma_client.cli.input_file import InputFile, reads_a_file
from prisma_common.names import GIVEN_MODEL

app = typer.Typer(
    help="Embeddings made interpretable. PRISMA_URL is the gateway's address, PRISMA_API_KEY the key to call it with.",
    context_settings={"max_content_width": 110},
    epilog=output.EXIT_CODE_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (data.app, imported.app, migrate.app, train.app, exports.app, explore.app, operate.app):
    app.add_typer(commands)
app.add_typer(analyze.app, name="analyze")
app.add_typer(labels.app, name="labels")
app.add_typer(keys.app, name="keys")


def data_dir() -> Path:
    """Returns the data folder of the local stack: PRISMA_DATA_DIR, or the user's own folder."""
    configured = os.environ.get("PRISMA_DATA_DIR")
    return Path(configured) if configured else user_data_path("prisma", appauthor=False)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"prisma {importlib.metadata.version('prisma-suite')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Nothing by itself: options that stand before the command."""


@app.command(name="try", epilog="Example: prisma try reviews.csv --text-field body")
@reads_a_file
def try_file(
    file: InputFile,
    model: NewModel = None,
    leave: Annotated[bool, typer.Option("--exit", help="Stop a stack that was started here, and exit.")] = False,
) -> None:
    """Take a file to a page with named features, in one go.

    It imports the documents, embeds them, trains, labels and groups features, and prints what came of it.

    The stack that runs is used, or one is started, which then runs until Ctrl-C. The same file again uses what exists.
    """
    model = model or (GIVEN_MODEL if file.has_vectors else "builtin")
    asyncio.run(trial.run(file, model, data_dir(), leave=leave))


@app.command(epilog="Example: prisma up")
def up() -> None:
    """Start the local stack.

    It is NATS, the services and the gateway with its page. Ctrl-C stops it.
    """
    raise typer.Exit(asyncio.run(stack.run_until_interrupted(data_dir())))


@app.command(epilog="Example: prisma down")
def down() -> None:
    """Stop the local stack that runs on this data folder."""
    raise typer.Exit(stack.stop_running(data_dir()))


@app.command(name="doctor", epilog="Example: prisma doctor")
def check(
    scrub: Annotated[
        bool, typer.Option("--scrub", help="Verify all stored files instead, and list those that are damaged.")
    ] = False,
) -> None:
    """Check what PRISMA needs on this machine.

    It says what to do about what is missing, and exits with 1 then.
    """
    if scrub:
        backup.show_scrub(data_dir())
    else:
        doctor.check(data_dir())


@app.command(name="backup", epilog="Example: prisma backup backups/monday")
def write_backup(
    folder: Annotated[Path, typer.Argument(help="Folder to write to: a new or an empty one.")],
) -> None:
    """Write a backup of all data of the local stack.

    The stack may be running.
    """
    backup.write_backup(data_dir(), folder)


@app.command(name="restore", epilog="Example: PRISMA_DATA_DIR=restored prisma restore backups/monday")
def restore_backup(
    folder: Annotated[Path, typer.Argument(help="Folder of the backup.")],
    verify_only: Annotated[
        bool, typer.Option("--verify", help="Only compare the backup's files with its manifest.")
    ] = False,
) -> None:
    """Restore a backup to an empty data folder.

    The folder is PRISMA_DATA_DIR. The search index is rebuilt at the next start.
    """
    backup.restore_backup(folder, data_dir(), verify_only=verify_only)


@app.command(epilog="Example: prisma demo --exit")
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Check the result, stop the stack and exit.")] = False,
) -> None:
    """Take the sample through every step.

    The stack then runs until Ctrl-C.
    """
    asyncio.run(demonstration.run(data_dir(), leave=leave))


def main() -> None:
    """Runs the command."""
    app()
