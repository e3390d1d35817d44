"""The `prisma` command."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path

from prisma_client.cli import demonstration, doctor, keys, stack, verbs

app = typer.Typer(
    help="Embeddings made interpretable. PRISMA_URL says where the gateway is, PRISMA_API_KEY who calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(verbs.app)
keys_app = typer.Typer(help="Keys of people and programs.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


def data_dir() -> Path:
    """Where the local stack keeps its data: PRISMA_DATA_DIR, or the user's own folder."""
    chosen = os.environ.get("PRISMA_DATA_DIR")
    return Path(chosen) if chosen else user_data_path("prisma", appauthor=False)


@app.command()
def up() -> None:
    """Start the local stack: NATS and the services. Ctrl-C stops all."""
    raise typer.Exit(asyncio.run(stack.run_until_interrupted(data_dir())))


@app.command()
def down() -> None:
    """Stop the local stack that runs on this data folder."""
    raise typer.Exit(stack.stop_running(data_dir()))


@app.command(name="doctor")
def look() -> None:
    """Look at what PRISMA needs here, and say what to do about what is missing."""
    doctor.look(data_dir())


@app.command()
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Prove it works, stop all, and exit with 0.")] = False,
) -> None:
    """Take the sample all the way: import, embed, train, label, index. Then stay up until Ctrl-C."""
    raise typer.Exit(asyncio.run(demonstration.run(data_dir(), leave)))


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, . _ -")],
    file: Annotated[Path, typer.Option(help="The keys file (PRISMA_API_KEYS_FILE).", envvar="PRISMA_API_KEYS_FILE")],
) -> None:
    """Make a key, keep its SHA-256 in the file, and print it: it can't be shown again."""
    typer.echo(keys.create(name, file))


def main() -> None:
    """The command's entry point."""
    app()
