"""Codes derive from weights and vectors: damaged ones are written again."""

from __future__ import annotations

import grpc.aio
import pytest

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
