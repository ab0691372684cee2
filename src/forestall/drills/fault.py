"""What a fault is, and the few things all of them need."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class DrillError(Exception):
    """A drill that cannot go on; the message says why and what to do."""


class NeedsRootError(DrillError):
    """This fault can only be made by root."""


class Fault(Protocol):
    """One fault of one kind. Its folder, names and effects are its own: nothing else on the machine is touched."""

    name: str
    """As on the command line: ``disk``."""
    kind: str
    """The check that finds it."""
    target: str
    """What the check calls it: the volume, the service, the backup."""
    runbook: str
    """The runbook that repairs it."""
    parameter: str
    """The runbook's parameter that takes ``target``."""
    healthy_words: str
    """What ``prepare`` made, in words."""
    broken_words: str
    """What ``damage`` did, in words."""

    def require(self) -> None:
        """NeedsRootError or DrillError when this machine cannot run it."""

    def prepare(self) -> None:
        """Make the healthy thing that will be damaged."""

    def damage(self) -> None:
        """Make the fault."""

    def remove(self) -> None:
        """Take everything away again, in whatever state it is; also what an interrupted drill left behind."""


FOLDER = Path("/var/tmp/forestall-drill")  # noqa: S108 - root's own folder, mode 700, made here


def make_folder(folder: Path) -> None:
    """A folder of our own. DrillError when somebody else made one of that name: it could point anywhere."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid():
        raise DrillError(f"{folder} belongs to another user; remove it and run the drill again")


def require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise NeedsRootError(f"{what} needs root: run it with sudo")


def require_program(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise DrillError(f"{program} is not installed: apt-get install {package}")


def run(argv: Sequence[str], *, check: bool = True, environment: dict[str, str] | None = None) -> str:
    """Run a program; its output. DrillError with its own words when it fails."""
    done = subprocess.run(
        argv,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        raise DrillError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
