"""The worker: runs the schedule of ``jobs.py`` until told to stop. Kill it at any time: work is rows, not memory."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType

import django
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BlockingScheduler

log = logging.getLogger("forestall.worker")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    django.setup()
    from django.db import close_old_connections

    from forestall.server.home import current_home
    from forestall.server.jobs import SCHEDULE, Context
    from forestall.server.metrics.store import open_store

    home = current_home()
    context = Context(home=home, store=open_store(home))
    # It warns whenever a run takes longer than its interval; here that is by design: the next run does what is due.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BlockingScheduler(
        executors={"default": ThreadPoolExecutor(len(SCHEDULE))},
        # One at a time and never a queue of missed runs: each run does all that is due.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )

    def guarded(name: str, run: Callable[[Context, datetime], object]) -> Callable[[], None]:
        def once() -> None:
            close_old_connections()
            try:
                run(context, datetime.now(UTC))
            except Exception:
                # Seen in the log, and run again at its next time: one failing line must not stop the others.
                log.exception("%s failed", name)

        return once

    for line in SCHEDULE:
        scheduler.add_job(
            guarded(line.name, line.run),
            "interval",
            seconds=line.every_seconds,
            next_run_time=datetime.now(UTC),
            id=line.name,
        )

    def stop(_number: int, _frame: FrameType | None) -> None:
        scheduler.shutdown(wait=False)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    scheduler.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
