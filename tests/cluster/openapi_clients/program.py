"""A program on the client that openapi-python-client generates: creates a dataset, reads it, names one too few."""

import sys

from generated.api.embedder_service import embedder_service_create_dataset, embedder_service_get_dataset
from generated.client import Client
from generated.models import Error, PrismaEmbedderV1Dataset, PrismaEmbedderV1DatasetInput

with Client(base_url=sys.argv[1]) as client:
    body = PrismaEmbedderV1DatasetInput(display_name="Generated", embedding_model="builtin")
    embedder_service_create_dataset.sync(client=client, dataset_id="python", body=body)
    dataset = embedder_service_get_dataset.sync(dataset="python", client=client)
    assert isinstance(dataset, PrismaEmbedderV1Dataset), dataset
    count: str = dataset.document_count  # always there: the type says so
    missing = embedder_service_get_dataset.sync(dataset="none", client=client)
    assert isinstance(missing, Error), missing
    print(dataset.name, dataset.display_name, count, missing.error.code)
