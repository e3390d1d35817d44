"""Starts a training process, hears what it says, and leaves none behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from services.trainer.child import Spec
from services.trainer.errors import TrainingFailed

_LAST_WORDS = 2000


async def train(spec: Spec) -> AsyncGenerator[dict[str, Any]]:
    """What the process says, message by message; it is killed when the caller stops listening.

    Raises TrainingFailed when it ends by itself, with its last words.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "services.trainer.child",
        json.dumps(asdict(spec)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=1 << 20,
    )
    assert process.stdout is not None and process.stderr is not None
    words = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            yield json.loads(line)
        status = await process.wait()
        if status != 0:
            said = (await words).decode(errors="replace").strip()[-_LAST_WORDS:]
            what = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with {status}"
            raise TrainingFailed(f"the training process {what}: {said or 'it said nothing'}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        words.cancel()
