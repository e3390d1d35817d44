"""Trains along with a trainer on another host: `python -P -m services.trainer.helper`, with the trainer's settings."""

from __future__ import annotations

import asyncio
import signal
import sys

from services.chassis import logs
from services.chassis.threads import to_the_end
from services.trainer import process
from services.trainer.settings import TrainerSettings

PAUSE_SECONDS = 1.0
_log = logs.get(__name__)


async def help_out(group: process.Group) -> None:
    """Joins the trainer's trainings, one after the other, until it is cancelled; then leaves no process behind."""
    while True:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *group.torchrun(),
            stdin=asyncio.subprocess.PIPE,
            env=process.environment(),
            start_new_session=True,
        )
        try:
            status = await child.wait()
        finally:
            await to_the_end(process.leave_none(child))
        _log.info("a training has ended, or none has begun", status=status)
        await asyncio.sleep(PAUSE_SECONDS)


async def _main() -> None:
    settings = TrainerSettings()
    logs.set_up(settings, "trainer")
    if settings.trainer_hosts < 2:
        raise SystemExit("expected PRISMA_TRAINER_HOSTS of at least 2, and PRISMA_TRAINER_MEET_AT: the trainer's own")
    helping = asyncio.create_task(help_out(settings.trainer_group))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, helping.cancel)
    await asyncio.wait([helping])


if __name__ == "__main__":
    asyncio.run(_main())
