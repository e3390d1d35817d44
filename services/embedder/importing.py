"""Takes the documents of a file into a dataset."""

from __future__ import annotations

from pathlib import Path

from services.embedder.documents import Dataset, NewDocument
from services.embedder.imports import Options, Reason, Rejection, Report, read_documents
from services.embedder.store import Store

BATCH = 500


class Importer:
    """One import: reads items, commits them in batches, reports each that is not taken."""

    def __init__(self, store: Store, dataset: Dataset, options: Options, validate_only: bool) -> None:
        self._store = store
        self._dataset = dataset
        self._options = options
        self._validate_only = validate_only
        self._report = Report()

    def run(self, path: Path) -> Report:
        """Imports the file. Raises InvalidFile before anything is taken, DatasetNotFound if it is deleted meanwhile."""
        batch: list[tuple[int, NewDocument]] = []
        for item in read_documents(path, self._options):
            if isinstance(item, Rejection):
                self._report.reject(item)
                continue
            batch.append(item)
            if len(batch) == BATCH:
                self._commit(batch)
                batch = []
        if batch:
            self._commit(batch)
        self._report.rejections.sort(key=lambda each: each.item)
        return self._report

    def _commit(self, batch: list[tuple[int, NewDocument]]) -> None:
        documents = [document for _place, document in batch]
        if self._validate_only:
            known = self._store.known_keys(self._dataset.uid, [each.key for each in documents])
        else:
            known = self._store.add_documents(self._dataset.id, self._dataset.uid, documents)
        for place, document in batch:
            if document.key in known:
                message = "a document of the dataset has the same id"
                self._report.reject(Rejection(place, document.key[:200], Reason.DUPLICATE_IN_DATASET, message))
            else:
                self._report.imported += 1
