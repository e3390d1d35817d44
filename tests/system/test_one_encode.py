"""One encode: a document has the same code, bit for bit, wherever it is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import numpy as np

from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma_client import Prisma
from prisma_common import wire
from services.search.backend import Kind, Stream
from services.search.embedded import EmbeddedIndex
from tests.stack import COUNT, DATASET, RUN, Stack

Code = tuple[bytes, bytes]


def test_training_encode_read_codes_analyzer_and_index_agree_on_every_bit(stack: Stack, tmp_path: Path) -> None:
    address = stack.environment
    with (
        grpc.insecure_channel(address["PRISMA_EMBEDDER_LISTEN"]) as to_embedder,
        grpc.insecure_channel(address["PRISMA_TRAINER_LISTEN"]) as to_trainer,
        grpc.insecure_channel(address["PRISMA_INTERPRETER_LISTEN"]) as to_interpreter,
    ):
        embedder = embedder_service_pb2_grpc.EmbedderServiceStub(to_embedder)
        trainer = trainer_service_pb2_grpc.TrainerServiceStub(to_trainer)
        interpreter = interpreter_service_pb2_grpc.InterpreterServiceStub(to_interpreter)
        run = f"runs/{RUN}"
        blocks = [
            wire.unpack_vectors(block.vectors)
            for block in embedder.ReadVectors(embedder_pb2.ReadVectorsRequest(dataset=f"datasets/{DATASET}"))
        ]
        rows, vectors = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        assert len(rows) == COUNT
        stored = [wire.unpack_codes(block.codes) for block in trainer.ReadCodes(trainer_pb2.ReadCodesRequest(run=run))]
        truth = codes_of(wire.concatenate(stored, stored[0].latent_count))  # training's end wrote these

        for size in (1, 7, COUNT):
            encoded: dict[int, Code] = {}
            for start in range(0, COUNT if size > 1 else 100, size):
                part = slice(start, start + size)
                block = wire.pack_vectors(vectors[part], rows[part])
                answer = trainer.Encode(trainer_pb2.EncodeRequest(run=run, vectors=block))
                encoded |= codes_of(wire.unpack_codes(answer.codes))
            assert encoded == {row: truth[row] for row in encoded}, f"in batches of {size}"

        with Prisma(stack.url) as prisma:
            documents = list(prisma.datasets.get(DATASET).documents(limit=100))
            uid = prisma.runs.get(RUN).message.uid
        for document in documents:
            request = interpreter_pb2.AnalyzeDocumentRequest(run=run, document=document.name)
            active = sorted(interpreter.AnalyzeDocument(request).features, key=lambda feature: feature.index)
            indices = np.array([feature.index for feature in active], np.uint32)
            values = np.array([feature.activation for feature in active], np.float32)
            assert (indices.tobytes(), values.tobytes()) == truth[document.row], document.name

    copied = tmp_path / "index"  # the one in use takes no second reader
    shutil.copytree(Path(address["PRISMA_DATA_DIR"]) / "search" / "index", copied)
    index = EmbeddedIndex(copied)
    assert codes_of(index.codes(Stream(Kind.CODES, uid), rows)) == truth
    index.close()


def codes_of(codes: wire.Codes) -> dict[int, Code]:
    """The bits of each row's code."""
    bits: dict[int, Code] = {}
    for place, row in enumerate(codes.rows.tolist()):
        indices, values = codes.row(place)
        bits[row] = (indices.astype(np.uint32).tobytes(), values.astype(np.float32).tobytes())
    return bits
