"""The argument FILE and the options that say how to read it, which several commands have."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from prisma_client import imports, sources
from prisma_client.imports import FileOptions, Format, IdSource


@dataclass(frozen=True)
class InputFile:
    """A file of documents. Its fields are the parameters of `reads_a_file`: what is None is found from the file."""

    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON, CSV, Parquet, Arrow, a workbook, an archive or a folder of these; - for standard input.",
        ),
    ]
    id_field: Annotated[
        str | None, typer.Option(help="Field or column of the ids. Default: found from names and values.")
    ] = None
    ids: Annotated[
        IdSource | None,
        typer.Option(help="Ids from a field, or from none: from the texts, or from the rows' places. Default: found."),
    ] = None
    text_field: Annotated[
        list[str] | None, typer.Option(help="Field or column of the text; several are joined. Default: found.")
    ] = None
    metadata_field: Annotated[
        list[str] | None, typer.Option(help="Field or column to keep as metadata. Default: all others.")
    ] = None
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Import no metadata.")] = False
    metadata_type: Annotated[
        list[str] | None,
        typer.Option(help="Type by which filters compare a field, such as zip=STRING. Default: that of its values."),
    ] = None
    format: Annotated[Format | None, typer.Option(help="Format of the file. Default: found from its bytes.")] = None
    encoding: Annotated[str | None, typer.Option(help="Encoding of a text file, such as utf-16. Default: found.")] = (
        None
    )
    delimiter: Annotated[str | None, typer.Option(help="Between the cells of a CSV row. Default: found.")] = None
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first row names the columns.")
    ] = None
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook. Default: the first with rows.")] = None
    vector_field: Annotated[
        str | None, typer.Option(help="Field or column of your own vectors. Default: the only one with such lists.")
    ] = None

    def __post_init__(self) -> None:
        if not self.is_standard_input and not self.path.exists():
            raise typer.BadParameter(f"there is no file {self.path}")
        if self.no_metadata and self.metadata_field:
            raise typer.BadParameter("--no-metadata and --metadata-field exclude each other")
        if self.id_field is not None and self.ids in ("text", "row"):
            raise typer.BadParameter(f"--ids {self.ids} and --id-field exclude each other")

    @property
    def is_standard_input(self) -> bool:
        """Whether FILE is `-`."""
        return str(self.path) == "-"

    @property
    def has_vectors(self) -> bool:
        """Whether vectors are to be read from FILE, so that a new dataset has no embedding model."""
        return self.vector_field is not None or self.path.suffix == ".npy"

    @property
    def name(self) -> str | None:
        """The file's name, for the report of its import; None for standard input."""
        return None if self.is_standard_input else imports.file_name(self.path)

    @property
    def options(self) -> FileOptions:
        """The options but those of the fields of id and text. A tab may be written as a command line can hold it."""
        return FileOptions(
            metadata_fields=() if self.no_metadata else self.metadata_field or None,
            ids=self.ids,
            metadata_types={
                key: type_ for key, _, type_ in (entry.rpartition("=") for entry in self.metadata_type or ())
            },
            format=self.format,
            encoding=self.encoding,
            delimiter="\t" if self.delimiter in ("\\t", "tab") else self.delimiter,
            has_header=self.header,
            sheet=self.sheet,
            vector_field=self.vector_field,
        )

    def chunks(self) -> Iterator[bytes]:
        """Returns its bytes, a folder packed into a tar archive. Raises OSError."""
        if self.is_standard_input:
            return iter(lambda: sys.stdin.buffer.read(sources.CHUNK_BYTES), b"")
        return sources.chunks(self.path)


def reads_a_file(command: Callable[..., None]) -> Callable[..., None]:
    """Puts the fields of InputFile in the place of a command's parameter `file`, which gets an InputFile of them."""
    fields = inspect.signature(InputFile).parameters
    hints = {
        **get_type_hints(InputFile, include_extras=True),
        **get_type_hints(command, include_extras=True),
    }
    parameters = [
        parameter.replace(annotation=hints[parameter.name])
        for own in inspect.signature(command).parameters.values()
        for parameter in (fields.values() if own.name == "file" else [own])
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        command(file=InputFile(**{name: values.pop(name) for name in fields}), **values)

    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
