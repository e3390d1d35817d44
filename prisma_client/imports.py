"""How a file is imported, and what the report of an import says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsRequest, ImportDocumentsResponse
from prisma_client.sources import TextId

Rejection = ImportDocumentsResponse.Rejection
MAX_FILE_NAME = 500
OnDuplicate: TypeAlias = Literal["reject", "skip", "replace"]
"""What to do with a document whose id the dataset has already."""
IdSource: TypeAlias = Literal["field", "text", "row"]
"""What gives documents their ids: a field, a digest of the text, or the place in the file."""
Format: TypeAlias = Literal[
    "json", "json-lines", "csv", "parquet", "arrow", "spreadsheet", "text-files", "text-lines", "npy"
]


@dataclass(frozen=True)
class FileOptions:
    """How to read a file; what is None is found from its bytes.

    metadata_fields: the fields that become metadata; None for all that are neither id nor text, an empty list for none.
    ids: `text` or `row` where no field holds ids, whatever they are called: each is a digest of the text, or the place
    in the file, from 1; `field` refuses a file in which none seems to hold them. metadata_types: as what
    filters compare fields, where that is not what their values are: `{"zip": "STRING"}` (INTEGER, NUMBER, BOOLEAN,
    DATE). encoding: of text, such as `utf-16` or `windows-1252`. delimiter: between the cells of a CSV row.
    has_header: whether the first row of a table names its columns. sheet: of a workbook. vector_field: the field that
    holds the vectors, where the dataset's are given.
    """

    metadata_fields: Sequence[str] | None = None
    metadata_types: Mapping[str, str] | None = None
    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool | None = None
    sheet: str | None = None
    vector_field: str | None = None
    ids: IdSource | None = None


def config(
    options: FileOptions | None,
    *,
    id_field: str | None,
    text_field: str | Sequence[str] | None,
    dataset: str | None = None,
    file_name: str | None = None,
    on_duplicate: OnDuplicate = "reject",
    validate_only: bool = False,
) -> ImportDocumentsRequest.Config:
    """Returns the first message of an import or a preview. Raises ValueError for a choice that does not exist."""
    options = options or FileOptions()
    return ImportDocumentsRequest.Config(
        dataset=dataset,
        file_name=file_name,
        on_duplicate=f"ON_DUPLICATE_{on_duplicate.upper()}",
        id_field=id_field,
        text_fields=[text_field] if isinstance(text_field, str) else text_field,
        metadata_fields=options.metadata_fields,
        no_metadata=options.metadata_fields is not None and not options.metadata_fields,
        id_source=f"ID_SOURCE_{options.ids.upper()}" if options.ids else None,
        metadata_types=[f"{key}={type_}" for key, type_ in (options.metadata_types or {}).items()],
        format=f"FORMAT_{options.format.upper().replace('-', '_')}" if options.format else None,
        encoding=options.encoding,
        delimiter=options.delimiter,
        has_header=options.has_header,
        sheet=options.sheet,
        vector_field=options.vector_field,
        validate_only=validate_only,
    )


def text_id(options: FileOptions | None, default: TextId) -> TextId | None:
    """Returns what gives plain texts their ids; None where the embedder does."""
    return None if options is not None and options.ids in ("text", "row") else default


def file_name(documents: object) -> str | None:
    """Returns the name of the file that documents are in, for the report of their import; None for other documents."""
    return Path(documents).name[:MAX_FILE_NAME] if isinstance(documents, str | Path) else None


def duplicate_count(report: ImportDocumentsResponse) -> int:
    """Returns how many documents were rejected because the dataset already has them."""
    counts = {count.reason: count.count for count in report.rejection_counts}
    return counts.get(Rejection.REASON_DUPLICATE_IN_DATASET, 0)


def unchanged_count(report: ImportDocumentsResponse) -> int:
    """Returns how many documents the dataset has already, and that stay as they are."""
    return report.skipped_count + duplicate_count(report)


def rejected_count(report: ImportDocumentsResponse) -> int:
    """Returns how many documents were rejected for any other reason."""
    return report.rejected_count - duplicate_count(report)


def all_rejected(report: ImportDocumentsResponse) -> bool:
    """Whether nothing was imported, and nothing was there already."""
    accepted = report.imported_count + report.updated_count + unchanged_count(report)
    return accepted == 0 and report.rejected_count > 0
