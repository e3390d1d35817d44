"""Lends this host's processes to a trainer on another host: `python -P -m services.trainer.training.join_host`.

It reads the trainer's settings and joins its trainings, one after the other, until it is stopped.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from services.chassis import logs
from services.chassis.threads import to_the_end
from services.trainer.group import Group
from services.trainer.settings import TrainerSettings
from services.trainer.training import launch

PAUSE_SECONDS = 1.0
_log = logs.get(__name__)


async def join_trainings(group: Group) -> None:
    """Joins trainings until it is cancelled; then leaves no process behind."""
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *launch.torchrun_arguments(group),
            stdin=asyncio.subprocess.PIPE,
            env=launch.environment(),
            start_new_session=True,
        )
        try:
            status = await process.wait()
        finally:
            await to_the_end(launch.end_process_group(process))
        _log.info("training ended, or none started", status=status)
        await asyncio.sleep(PAUSE_SECONDS)


async def _main() -> None:
    settings = TrainerSettings()
    logs.set_up(settings, "trainer")
    if settings.trainer_hosts < 2:
        raise SystemExit(
            "expected PRISMA_TRAINER_HOSTS of at least 2 and PRISMA_TRAINER_RENDEZVOUS, both as the trainer has them"
        )
    joining = asyncio.create_task(join_trainings(settings.trainer_group))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, joining.cancel)
    await asyncio.wait([joining])


if __name__ == "__main__":
    asyncio.run(_main())
