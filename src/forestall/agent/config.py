"""Where the agent keeps what it keeps, its limits, and its enrolment.

Paths are plain strings and files are opened by ``open``: in the running agent ``pathlib`` alone would take 0.7 MiB.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

import msgspec

from forestall import __version__ as VERSION  # noqa: N812 - a constant by any name


class AgentError(Exception):
    """Something the person who runs the agent must know; the text is for them."""


class NotEnrolledError(AgentError):
    """There is no enrolment in the agent's folder."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit of the agent, with the reason of its default."""

    sample_seconds: float = 60.0
    """Between samples. A shorter check-in interval shortens it too; a longer one gathers several rows."""
    affirm_seconds: float = 23 * 3600.0
    """Unchanged facts are affirmed after this long: daily, with an hour to spare."""
    spool_days: float = 7.0
    """Samples that wait longer are dropped (threat model, D7)."""
    spool_bytes: int = 64 * 1024 * 1024
    """Most that waits in the spool. 7 days of 100 series a minute take 10 MiB."""
    unsaved_check_ins: int = 180
    """Check-ins held in memory while the disk takes none: three hours."""
    connect_seconds: float = 10.0
    answer_seconds: float = 20.0
    """For one answer, all of it."""
    check_ins_per_round: int = 50
    """Sent on end while the spool is replayed; then the loop looks at signals, samples and children."""
    retry_first_seconds: float = 5.0
    retry_most_seconds: float = 120.0
    """After failures the wait doubles from the first to the most, times a random 0.5 to 1. Not longer, so that a
    server that is back sees every device before it would call one offline (300 s)."""
    retry_barred_seconds: float = 600.0
    """While the server says that this device is revoked or unknown."""
    session_spare_seconds: float = 120.0
    """A session is renewed this long before its end."""
    checkpoint_seconds: float = 300.0
    """Between accepted checkpoints: each takes 25 ms of CPU, and a busy log would offer one a minute."""
    collect_timeout_seconds: float = 300.0
    job_most_seconds: float = 3600.0
    """A job that runs longer is ended; its steps have shorter limits of their own."""
    clock_step_seconds: float = 60.0
    """A clock that moves by more than this against the time since boot was set: that goes on record."""


class AgentHome(msgspec.Struct, frozen=True):
    """The agent's folder and the files in it."""

    folder: str

    @property
    def identity_key(self) -> str:
        """The device's private key: 32 raw bytes, made here, never leaves."""
        return f"{self.folder}/identity.key"

    @property
    def enrolment(self) -> str:
        return f"{self.folder}/enrolment.json"

    @property
    def spool(self) -> str:
        return f"{self.folder}/spool.sqlite3"

    @property
    def checkpoint(self) -> str:
        return f"{self.folder}/checkpoint.json"

    @property
    def results(self) -> str:
        """Signed results of jobs, from the end of the job until they are in the spool."""
        return f"{self.folder}/results"

    @property
    def lock(self) -> str:
        """Held by the running agent; holds its process id."""
        return f"{self.folder}/agent.lock"


def current_home(environment: Mapping[str, str] = os.environ) -> AgentHome:
    """The folder of ``FORESTALL_AGENT_HOME``; by default ``agent`` inside the data folder."""
    named = environment.get("FORESTALL_AGENT_HOME")
    if not named:
        data = environment.get("FORESTALL_HOME")
        if not data:
            data = f"{environment.get('XDG_DATA_HOME') or '~/.local/share'}/forestall"
        named = f"{data}/agent"
    return AgentHome(os.path.abspath(os.path.expanduser(named)))  # noqa: PTH100, PTH111


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """Who this device is, where its server is, and what it pins. Written once, at enrolment."""

    server: str
    """``https://host:port``."""
    device_id: str
    client_id: str
    client: str
    site: str
    ca_pem: str
    """The only authority whose server certificates are accepted."""
    root_key_id: str
    """The root key that the enrolment token named."""
    root: bytes
    """DSSE envelope of the root statement that was accepted at enrolment."""
    log_key: bytes
    """Raw public key of the evidence log: 32 bytes."""
    enrolled_at: datetime


def enrolment_read(home: AgentHome) -> Enrolment:
    """The enrolment; NotEnrolledError when there is none, AgentError when the file is damaged."""
    try:
        content = file_read(home.enrolment)
    except FileNotFoundError:
        raise NotEnrolledError(
            f"this device is not enrolled: {home.enrolment} does not exist; "
            "run `forestall agent enrol --server URL --token TOKEN`"
        ) from None
    try:
        return msgspec.json.decode(content, type=Enrolment)
    except msgspec.DecodeError as error:
        raise AgentError(f"{home.enrolment} is damaged ({error}); enrol again with --force") from None


def file_read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def file_write(path: str, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all, and on stable storage when this returns."""
    folder = os.path.dirname(path)  # noqa: PTH120
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    beside = f"{path}.{os.getpid()}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105
    except BaseException:
        os.unlink(beside)  # noqa: PTH108
        raise
    folder_descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)


__all__ = [
    "VERSION",
    "AgentError",
    "AgentHome",
    "Enrolment",
    "Limits",
    "NotEnrolledError",
    "current_home",
    "enrolment_read",
    "file_read",
    "file_write",
]
