"""The intake process: ``python -m forestall.server.intake``."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import django
import uvloop

log = logging.getLogger("forestall.intake")

REFRESH_SECONDS = 1.0
CERTIFICATE_SECONDS = 6 * 3600.0
SWITCH_SECONDS = 0.0005
"""The journal's thread waits this long at most for the interpreter lock after each statement (default: 5 ms)."""


async def serve() -> None:
    """Serve until told to stop. The order of the start matters and stands here in one piece."""
    from django.db import close_old_connections

    from forestall.server.certificates import certificate_file, certificates_ensure, key_file
    from forestall.server.home import current_home, intake_address, read_or_make_secret
    from forestall.server.intake.app import Intake
    from forestall.server.intake.catalogues import Catalogues
    from forestall.server.intake.enrolment import enrol
    from forestall.server.intake.journal import Journal, JournalFile, journal_lock
    from forestall.server.intake.known import Picture, Watch
    from forestall.server.intake.serving import Server, context_make
    from forestall.server.intake.sessions import Sessions

    home, address = current_home(), intake_address()
    certificates_ensure(home=home, address=address, now=datetime.now(UTC))
    loop = asyncio.get_running_loop()
    with journal_lock(home.journal):
        file = JournalFile(home.journal)
        expected = file.open()
        catalogues = Catalogues(file.catalogues())
        journal = Journal(file, expected=expected)
        watch = Watch(clock=monotonic)
        database = ThreadPoolExecutor(1, thread_name_prefix="refresh")

        def take() -> Picture:
            # A connection that failed last time (the database server was restarted) is left behind.
            close_old_connections()
            return watch.take()

        refreshing = asyncio.Lock()
        failing = ""

        async def refresh() -> None:
            nonlocal failing
            async with refreshing:
                try:
                    picture = await loop.run_in_executor(database, take)
                except Exception as error:
                    if str(error) != failing:
                        log.exception("the main database could not be read")
                    failing = str(error)
                    return
                failing = ""
                watch.picture = picture
                intake.crossings.levels_set(picture.levels)
                if picture.applied[0] == file.name and picture.applied[1] > 0:
                    journal.trim(to=picture.applied[1], catalogues=catalogues.dropped)

        intake = Intake(
            sessions=Sessions(read_or_make_secret(home.session_secret)),
            journal=journal,
            catalogues=catalogues,
            watch=watch,
            authority=home.ca_file.read_bytes(),
            enrol=lambda request, now: enrol(request=request, now=now, home=home),
            refresh=refresh,
        )
        context = context_make(home)
        server = Server(application=intake, address=address, context=context)
        journal.start()
        await refresh()

        async def every_second() -> None:
            ticks = 0
            while True:
                await asyncio.sleep(REFRESH_SECONDS)
                ticks += 1
                intake.tick()
                server.connections.sweep(loop.time())
                if ticks % 60 == 0:
                    intake.tell_of_strangers()
                if ticks % CERTIFICATE_SECONDS == 0:
                    ensure = partial(certificates_ensure, home=home, address=address, now=datetime.now(UTC))
                    if await loop.run_in_executor(None, ensure):
                        context.load_cert_chain(certificate_file(home), key_file(home))
                        log.info("intake's certificate was renewed")
                await refresh()

        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        # What was loaded by now stays: no reason for the collector to look at it again and again.
        gc.collect()
        gc.freeze()
        await server.start()
        log.info("intake listens on %s", address)
        ticking = asyncio.create_task(every_second())
        waiting = asyncio.create_task(stopped.wait())
        # A tick that fails is a defect: better to end, and be started again, than to serve from an old picture.
        await asyncio.wait({ticking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        failed = ticking.exception() if ticking.done() else None
        for task in (ticking, waiting):
            task.cancel()
        await server.stop()
        await journal.stop()
        if failed is not None:
            raise failed


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    django.setup()
    from forestall.server.intake.journal import JournalInUseError

    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        uvloop.run(serve())
    except JournalInUseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
