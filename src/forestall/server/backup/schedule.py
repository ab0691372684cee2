"""The scheduled backup: a process of its own, so that neither the worker waits for it nor a failure of one harms the
other. It is told to stop by the kernel when the worker ends; what it had begun is swept away by the next."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from forestall.server.backup.errors import BackupError, BusyError
from forestall.server.backup.rules import SettingError, Settings
from forestall.server.backup.services import backup_make, due_at, schedule_note
from forestall.server.backup.status import status_read, status_write
from forestall.server.home import Home, current_home

log = logging.getLogger(__name__)

NICENESS = 10
PR_SET_PDEATHSIG = 1

_running: list[subprocess.Popen[bytes]] = []


def backup_tick(*, home: Home, now: datetime, environment: Mapping[str, str] = os.environ) -> bool:
    """Begin a backup when one is due and none runs; whether it was begun."""
    if _running:
        if _running[0].poll() is None:
            return False
        _running.clear()
    try:
        settings = Settings.read(environment, default_folder=home.backups)
    except SettingError as error:
        _setting_wrong(home, error, now)
        return False
    schedule_note(home=home, settings=settings)
    due = due_at(home=home, settings=settings)
    if due is None or now < due:
        return False
    home.logs.mkdir(parents=True, exist_ok=True)
    with (home.logs / "backup.log").open("ab") as file:
        _running.append(
            subprocess.Popen(
                [sys.executable, "-m", "forestall.server.backup.schedule"],
                env={**environment, "FORESTALL_HOME": str(home.root)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=_below_the_worker,
            )
        )
    return True


def _setting_wrong(home: Home, error: SettingError, now: datetime) -> None:
    status = status_read(home)
    if status.last_run_detail == str(error):
        return
    log.error("no backups are made: %s", error)
    status_write(home, msgspec.structs.replace(status, last_run_at=now, last_run_ok=False, last_run_detail=str(error)))


def _below_the_worker() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(NICENESS)


def _stop(_number: int, _frame: object) -> None:
    # As an exception, so that scratch folders are removed on the way out.
    raise KeyboardInterrupt


def main() -> int:
    """Make a backup now, with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    home = current_home()
    try:
        backup_make(home=home, settings=Settings.read(os.environ, default_folder=home.backups), now=datetime.now(UTC))
    except BusyError as error:
        log.info("%s", error)
    except (BackupError, SettingError):
        return 1  # it was said, in the log and in the status
    except KeyboardInterrupt:
        log.info("stopped before it was done")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
