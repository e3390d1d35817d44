"""What the report of an import says."""

from __future__ import annotations

from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse

Rejection = ImportDocumentsResponse.Rejection


def duplicate_count(report: ImportDocumentsResponse) -> int:
    """Returns how many documents were rejected because the dataset already has them."""
    counts = {count.reason: count.count for count in report.rejection_counts}
    return counts.get(Rejection.REASON_DUPLICATE_IN_DATASET, 0)


def rejected_count(report: ImportDocumentsResponse) -> int:
    """Returns how many documents were rejected for any other reason."""
    return report.rejected_count - duplicate_count(report)


def all_rejected(report: ImportDocumentsResponse) -> bool:
    """Whether nothing was imported, and nothing was there already."""
    return report.imported_count == 0 and duplicate_count(report) == 0 and report.rejected_count > 0
