"""Codes derive from weights and vectors: damaged ones are written again."""

from __future__ import annotations

import grpc.aio
import pytest

from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma.trainer.v1.resources_pb2 import Config
from tests.calls import reason
from tests.trainer.conftest import Suite
from tests.trainer.test_service import SMALL, codes_of, trained, until


async def test_damaged_codes_are_written_again_with_the_same_bits(suite: Suite) -> None:
    await suite.fill(60)
    run = await trained(suite, SMALL)
    before = await codes_of(suite)
    [file] = suite.folder.glob("runs/*/*/codes-*.npz")
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await codes_of(suite)
    assert reason(caught.value) == "BLOB_DAMAGED"
    repaired = await until(suite, lambda current: current.revision > run.revision)
    after = await codes_of(suite)
    assert (after.rows.tolist(), after.indices.tolist()) == (before.rows.tolist(), before.indices.tolist())
    assert after.values.tobytes() == before.values.tobytes()
    assert (repaired.code_count, repaired.dead_count) == (run.code_count, run.dead_count)
    assert not file.exists()
    followed = await codes_of(suite, since_revision=run.revision, history=run.history)
    assert followed.rows.tolist() == before.rows.tolist()


async def test_a_decoder_without_its_stability_is_served_with_a_warning_and_says_nothing_of_it(suite: Suite) -> None:
    await suite.fill(60)
    run = await trained(suite, Config(expansion=2, k=8, epochs=3))
    assert run.config.siblings == 2
    request = pb2.ReadDecoderRequest(run=run.name)
    [file] = suite.folder.glob("runs/*/*/stability.npz")
    data = file.read_bytes()
    file.write_bytes(data[:-7])
    blocks = [block async for block in suite.trainer.ReadDecoder(request)]
    assert sum(len(block.directions.rows) for block in blocks) == run.latent_count
    assert not any([*block.stabilities, *block.agreements] for block in blocks)
    assert "stability is damaged" in " ".join((await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))).warnings)
    [codes] = suite.folder.glob("runs/*/*/codes-*.npz")
    codes.unlink()
    with pytest.raises(grpc.aio.AioRpcError):
        await codes_of(suite)
    await until(suite, lambda current: current.revision > run.revision)
    assert file.exists(), "what is damaged but in use was deleted with codes"
    [listed] = (await suite.trainer.ListRuns(pb2.ListRunsRequest())).runs
    assert "stability is damaged" in " ".join(listed.warnings)
    file.write_bytes(data)
    blocks = [block async for block in suite.trainer.ReadDecoder(request)]
    for numbers in ([*block.stabilities, *block.agreements] for block in blocks):
        assert numbers and all(-1.001 < number < 1.001 for number in numbers)
    assert sum(len(block.stabilities) for block in blocks) == run.latent_count
    assert sum(len(block.agreements) for block in blocks) == run.latent_count
    restored = await suite.trainer.GetRun(pb2.GetRunRequest(name=run.name))
    assert "stability" not in " ".join(restored.warnings)
