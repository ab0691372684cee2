"""A restic repository whose nightly backup fails on the lock that a killed program left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from forestall.drills.fault import FOLDER, DrillError, make_folder, remove_folder, require_program, run

NAME = "forestall-drill"
SOURCE_FILES = 400
SOURCE_BYTES = 64 * 1024
LOCK_SETTLES_SECONDS = 0.1
BEGIN = "# forestall drill: begin\n"
END = "# forestall drill: end\n"


class BackupFault:
    name = "backup"
    kind = "backup_age"
    target = NAME
    runbook = "rerun-backup"
    parameter = "backup"
    broken_words = "killed a restic check in the middle: its lock stays, and tonight's backup fails on it"

    def __init__(self, agent_home: Path, folder: Path = FOLDER) -> None:
        self._folder = folder / "backup"
        self._settings = agent_home / "backups.toml"
        self._repository = self._folder / "repository"
        self._password = self._folder / "password"
        self._source = self._folder / "documents"
        self.healthy_words = f"a restic repository below {self._folder}, with one good backup in it"

    def require(self) -> None:
        require_program("restic", "restic")

    def prepare(self) -> None:
        self.remove()
        make_folder(self._folder.parent)
        self._folder.mkdir(mode=0o700)
        self._password.write_text(secrets.token_urlsafe(16))
        self._source.mkdir()
        for number in range(SOURCE_FILES):
            (self._source / f"document-{number:03}").write_bytes(os.urandom(SOURCE_BYTES))
        run(["restic", "init"], environment=self._environment)
        nightly = self._script("nightly", 'exec restic backup --quiet "$1"')
        # What an administrator would do by hand: remove locks whose owners are dead, then back up.
        again = self._script("again", 'restic unlock && exec restic backup --quiet "$1"')
        own = self._others()
        self._settings.write_text(
            f"{own}{BEGIN}[[backup]]\n"
            f'name = "{NAME}"\ntool = "restic"\nrepository = "{self._repository}"\n'
            f'password_file = "{self._password}"\n'
            f'run = ["{nightly}", "{self._source}"]\nrerun = ["{again}", "{self._source}"]\n{END}'
        )
        self._settings.chmod(0o600)
        self._run_nightly(expect_success=True)

    def damage(self) -> None:
        (self._source / "document-000").write_bytes(os.urandom(SOURCE_BYTES))
        self._leave_a_lock()
        self._run_nightly(expect_success=False)

    def remove(self) -> None:
        own = self._others()
        if own.strip():
            self._settings.write_text(own)
        else:
            self._settings.unlink(missing_ok=True)
        if self._folder.exists():
            shutil.rmtree(self._folder)
        remove_folder(self._folder.parent)

    @property
    def _environment(self) -> dict[str, str]:
        return {"RESTIC_REPOSITORY": str(self._repository), "RESTIC_PASSWORD_FILE": str(self._password)}

    def _script(self, name: str, body: str) -> Path:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return path

    def _others(self) -> str:
        """The device's backup settings without ours; DrillError when they are not TOML."""
        if not self._settings.exists():
            return ""
        text = self._settings.read_text()
        before, begin, rest = text.partition(BEGIN)
        text = before + rest.partition(END)[2] if begin else text
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DrillError(f"{self._settings}: {error}") from None
        return text

    def _leave_a_lock(self) -> None:
        locks = self._repository / "locks"
        for _ in range(20):
            checking = subprocess.Popen(
                ["restic", "check", "--read-data"],
                env={**os.environ, **self._environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while checking.poll() is None and not any(locks.iterdir()):
                time.sleep(0.002)
            # restic writes its lock, then looks again a little later whether it is alone: let it get that far.
            time.sleep(LOCK_SETTLES_SECONDS)
            checking.send_signal(signal.SIGKILL)
            checking.wait()
            if any(locks.iterdir()):
                return
        raise DrillError(f"{locks}: a killed restic left no lock behind")

    def _run_nightly(self, *, expect_success: bool) -> None:
        # As a crontab would: the agent runs the backup and notes how it ended.
        done = subprocess.run(
            [sys.executable, "-m", "forestall.cli.main", "agent", "backup", NAME],
            capture_output=True,
            text=True,
            check=False,
        )
        if (done.returncode == 0) != expect_success:
            raise DrillError(f"the backup {'failed' if expect_success else 'succeeded'}: {done.stderr or done.stdout}")
