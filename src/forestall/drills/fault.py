"""What a fault is, and the few things all of them need."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def own_folder(user_id: int) -> Path:
    """Where that user's drills make their things: nobody's drill stands in the way of another's."""
    return Path("/var/tmp") / f"forestall-drill{f'-{user_id}' if user_id else ''}"  # noqa: S108 - mode 700, checked


FOLDER = own_folder(os.geteuid())


def make_folder(folder: Path) -> None:
    """A folder of our own. DrillError when somebody else made one of that name: it could point anywhere."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid():
        raise DrillError(f"{folder} belongs to another user; remove it and run the drill again")


def remove_folder(folder: Path) -> None:
    """Take our folder away again, unless another drill has something in it."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EPERM, errno.EACCES}:
            raise


@contextmanager
def only_one_drill(name: str = f"forestall-drill-{os.geteuid()}") -> Iterator[None]:
    """DrillError while another drill of this user runs: each clears away what it takes for an interrupted one's."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            # An abstract name: the kernel forgets it with the process, however that ends.
            lock.bind(f"\0{name}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise DrillError("another drill is running on this machine; try again when it has ended") from None
        yield


def require_root(what: str) -> None:
    if os.geteuid() != 0:
        # With sudo alone it would find neither this user's installation nor an agent that may repair it.
        raise NeedsRootError(f"{what} needs root, and so does its repair: run Forestall itself as root (sudo make up)")


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
