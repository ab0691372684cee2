"""``forestall agent``: enrol, run and look at this machine's agent."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from forestall.agent.config import AgentError, AgentHome, Enrolment, NotEnrolledError, current_home, enrolment_read
from forestall.cli.errors import CommandError

_LEAST_ROOM_BYTES = 64 * 1024
_ASK_AGAIN_SECONDS = 0.1


@click.group()
def agent() -> None:
    """Enrol, run and look at this machine's agent."""


@agent.command()
@click.option("--server", required=True, metavar="URL", help="Where agents check in: https://HOST:PORT.")
@click.option(
    "--token",
    required=True,
    envvar="FORESTALL_ENROLMENT_TOKEN",
    help="The enrolment token; better in FORESTALL_ENROLMENT_TOKEN, where other users do not see it.",
)
@click.option("--force", is_flag=True, help="Give up this device's identity and enrol it anew.")
@click.option("--name", default=None, help="Name of the device; its host name if not given.")
def enrol(*, server: str, token: str, force: bool, name: str | None) -> int:
    """Make this device's key and enrol it with a token.

    The token says whom to trust: a server that does not show the token's authority is sent nothing.
    """
    from forestall.agent.link.enrol import enrol as enrol_device
    from forestall.agent.link.enrol import token_read

    home = current_home()
    if force and _running_pid(home) is not None:
        raise CommandError(f"the agent of {home.folder} runs (process {_running_pid(home)}); stop it first")
    try:
        done = enrol_device(
            home=home, server=server, token=token_read(token), now=datetime.now(UTC), force=force, hostname=name
        )
    except AgentError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or home.folder}: {error.strerror}") from None
    click.echo(f"Enrolled as device {done.enrolment.device_id} of {done.enrolment.client}, {done.enrolment.site}.")
    if done.status == "pending":
        click.echo(
            "It is pending: somebody approves it on the server (forestall devices NAME --approve), then it checks in."
        )
    click.echo("Run it: forestall agent run")
    return 0


@agent.command()
def run() -> None:
    """Run the agent in the foreground, until SIGTERM or Ctrl-C."""
    # In the agent's process nothing of this command line is left: it would take a third of its memory.
    # One thread needs one malloc arena, and what a large document took goes back to the system.
    environment = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536", **os.environ}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "forestall.agent.main"], environment)  # noqa: S606


@agent.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> int:
    """Say who this device is, whether its agent runs, and what waits to be sent. Exit 1 when it does not run."""
    home = current_home()
    enrolment = _enrolment(home)
    report = status_report(home, enrolment)
    if as_json:
        import json

        click.echo(json.dumps(report, indent=2))
    else:
        _print_status(report)
    return 0 if report["running"] else 1


@agent.command("check-in")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait for it.")
def check_in(*, timeout: float) -> int:
    """Let the running agent collect what changed and check in now, and wait until it has."""
    home = current_home()
    _enrolment(home)
    pid = _running_pid(home)
    if pid is None:
        raise CommandError(f"the agent of {home.folder} does not run; start it: forestall agent run")
    before = _kept_status(home).get("asked", 0)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        time.sleep(_ASK_AGAIN_SECONDS)
        kept = _kept_status(home)
        if kept.get("asked", 0) != before:
            if kept.get("failures"):
                raise CommandError(f"the agent could not check in: {kept['last_refusal']}")
            click.echo(f"Checked in at {kept['last_check_in_at']}.")
            return 0
        if _running_pid(home) is None:
            raise CommandError("the agent ended before it had checked in; see its log")
    why = _full_disk(home) or "see its log"
    raise CommandError(f"the agent (process {pid}) has not checked in within {timeout:g} s: {why}")


@agent.command("accept-log")
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_log(*, yes: bool) -> None:
    """Let this device take its server's evidence log as it is now, after the server was restored from a backup.

    The device holds a checkpoint of the log as it was before; it refuses every other history, and says so. Do this
    only when you know of that restoration: else the log was rewritten. The old checkpoint is set aside, not deleted.
    """
    home = current_home()
    _enrolment(home)
    held = _checkpoint(home)
    if held is None:
        click.echo("This device holds no checkpoint: it takes the next one it is offered.")
        return
    click.echo(f"It holds a checkpoint over {held['size']} records, root {held['root']}, of {held['at']}.")
    if not yes:
        click.confirm("Set it aside, and take the server's log as it is now?", abort=True)
    aside = f"{home.checkpoint}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    os.replace(home.checkpoint, aside)  # noqa: PTH105
    click.echo(f"Set aside as {aside}: keep it, it is proof of the log as it was.")
    if _running_pid(home) is not None:
        click.echo("Restart the agent: until then it still goes by the old one.")


def _full_disk(home: AgentHome) -> str:
    """In words, when the agent's folder has no space left for it to say how it went; else empty."""
    room = os.statvfs(home.folder)
    return f"no space is left on the disk of {home.folder}" if room.f_bavail * room.f_frsize < _LEAST_ROOM_BYTES else ""


def status_report(home: AgentHome, enrolment: Enrolment) -> dict[str, Any]:
    """Everything `status` shows, as plain JSON values. Times are RFC 3339 strings, absent ones None."""
    kept = _kept_status(home)
    pid = _running_pid(home)
    waiting, oldest, spool_bytes, set_aside = _spool_figures(home)
    return {
        "device_id": enrolment.device_id,
        "client": enrolment.client,
        "client_id": enrolment.client_id,
        "site": enrolment.site,
        "server": enrolment.server,
        "enrolled_at": enrolment.enrolled_at.isoformat(),
        "running": pid is not None,
        "pid": pid,
        "version": kept.get("version"),
        "last_check_in_at": kept.get("last_check_in_at"),
        "interval_seconds": kept.get("interval_seconds"),
        "failures": kept.get("failures", 0),
        "last_refusal": kept.get("last_refusal") or None,
        "last_refusal_at": kept.get("last_refusal_at"),
        "trouble": kept.get("trouble") or None,
        "collected": kept.get("collected", {}),
        "spool": {
            "check_ins": waiting,
            "oldest_at": oldest,
            "bytes": spool_bytes,
            "set_aside": set_aside,
        },
        "pinned": {
            "authority": _authority_fingerprint(enrolment),
            "root_key": enrolment.root_key_id,
            "log_key": hashlib.sha256(enrolment.log_key).hexdigest(),
        },
        "checkpoint": _checkpoint(home),
        **_root_report(home, kept.get("last_check_in_at")),
        "folder": home.folder,
    }


def _root_report(home: AgentHome, last_check_in_at: str | None) -> dict[str, Any]:
    """The root held, and signs that the server holds something back."""
    from forestall.agent.act.alarm import freeze_alarms
    from forestall.agent.act.state import StateError, root_held
    from forestall.agent.link.checkpoint import checkpoint_read

    try:
        found = root_held(Path(home.folder))
        held = checkpoint_read(home)
    except StateError as error:
        return {"root": None, "alarms": [f"the authority's state is damaged, nothing runs: {error}"]}
    except AgentError as error:
        raise CommandError(str(error)) from None
    if found is None:
        return {"root": None, "alarms": []}
    root, revoked = found
    alarms = freeze_alarms(
        root=root,
        checkpoint_at=held.at if held else None,
        last_check_in_at=datetime.fromisoformat(last_check_in_at) if last_check_in_at else None,
        now=datetime.now(UTC),
    )
    shown = {"version": root.version, "expires_at": root.expires_at.isoformat(), "revoked_keys": revoked}
    return {"root": shown, "alarms": alarms}


def _print_status(report: dict[str, Any]) -> None:
    spool, pinned, checkpoint = report["spool"], report["pinned"], report["checkpoint"]
    if not report["running"]:
        state = "does not run"
    elif report["failures"]:
        state = f"runs (process {report['pid']}); {report['failures']} attempts to check in failed in a row"
    else:
        state = f"runs (process {report['pid']}), checks in every {report['interval_seconds']:g} s"
    waits = "nothing waits"
    if spool["check_ins"]:
        waits = f"{spool['check_ins']} check-ins wait ({spool['bytes']} bytes), the oldest of {spool['oldest_at']}"
    if spool["set_aside"]:
        waits += f"; {spool['set_aside']} were refused for good and are set aside"
    refusal = "none"
    if report["last_refusal"]:
        refusal = f"{report['last_refusal']} (at {report['last_refusal_at']})"
    lines = [
        ("agent", state),
        ("device", f"{report['device_id']} of {report['client']}, {report['site']}"),
        ("server", report["server"]),
        ("last check-in", report["last_check_in_at"] or "never"),
        ("spool", waits),
        ("last refusal", refusal),
        ("authority", f"SHA-256 {pinned['authority']}"),
        ("root key", pinned["root_key"]),
        ("log key", pinned["log_key"]),
        (
            "checkpoint",
            f"{checkpoint['size']} records, root {checkpoint['root'][:16]}…, of {checkpoint['at']}"
            if checkpoint
            else "none yet",
        ),
        ("folder", report["folder"]),
    ]
    if report["root"]:
        root = report["root"]
        revoked = f"; {root['revoked_keys']} keys revoked" if root["revoked_keys"] else ""
        lines.insert(-3, ("root", f"version {root['version']}, valid until {root['expires_at'][:10]}{revoked}"))
    lines[1:1] = [("ALARM", alarm) for alarm in report["alarms"]]
    if report["trouble"]:
        lines.insert(1, ("trouble", report["trouble"]))
    for label, text in lines:
        click.echo(f"{label:<14} {text}")


def _enrolment(home: AgentHome) -> Enrolment:
    try:
        return enrolment_read(home)
    except NotEnrolledError as error:
        raise CommandError(str(error)) from None
    except AgentError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{home.enrolment}: {error.strerror}") from None


def _running_pid(home: AgentHome) -> int | None:
    """Process id of the agent that holds the folder's lock."""
    import fcntl

    try:
        with Path(home.lock).open("rb") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = lock.read(20).strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(f"{home.lock}: {error.strerror}") from None
    return None


def _read(home: AgentHome, query: str) -> tuple[Any, ...] | None:
    """One row of the spool, read beside the running agent; None when there is no spool or no such row."""
    if not Path(home.spool).exists():
        return None
    try:
        db = sqlite3.connect(f"{Path(home.spool).absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            row: tuple[Any, ...] | None = db.execute(query).fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise CommandError(f"{home.spool}: {error}") from None
    return row


def _kept_status(home: AgentHome) -> dict[str, Any]:
    import json

    row = _read(home, "SELECT value FROM meta WHERE key = 'status'")
    return dict(json.loads(row[0])) if row else {}


def _spool_figures(home: AgentHome) -> tuple[int, str | None, int, int]:
    """Check-ins that wait, when the oldest was made, their bytes, and how many were set aside."""
    row = _read(
        home,
        "SELECT count(*), min(made_at), coalesce(sum(bytes), 0), (SELECT count(*) FROM set_aside) FROM check_ins",
    )
    if row is None:
        return 0, None, 0, 0
    oldest = datetime.fromtimestamp(row[1] / 1000, UTC).isoformat(timespec="seconds") if row[1] is not None else None
    return row[0], oldest, row[2], row[3]


def _authority_fingerprint(enrolment: Enrolment) -> str:
    from forestall.agent.link.transport import certificate_fingerprint

    return certificate_fingerprint(enrolment.ca_pem)


def _checkpoint(home: AgentHome) -> dict[str, Any] | None:
    from forestall.agent.link.checkpoint import checkpoint_read

    try:
        held = checkpoint_read(home)
    except AgentError as error:
        raise CommandError(str(error)) from None
    return {"size": held.size, "root": held.root, "at": held.at.isoformat()} if held else None


@agent.command()
@click.argument("name")
def backup(*, name: str) -> int:
    """Run the backup NAME of backups.toml and note how it ended. For crontabs and timers.

    It runs the backup's own `run` command (else `rerun`) with repository and password in its environment. The outcome
    goes to backup-runs.json, where the agent finds it: a failed run is seen at the next check-in, not a day later.
    """
    from forestall.agent.act.actions.backup_rerun import run_scheduled
    from forestall.agent.act.context import ActionFailed, Context
    from forestall.agent.collect.host import LocalHost

    context = Context(agent_home=Path(current_home().folder), timeout_seconds=24 * 3600)
    try:
        done = run_scheduled(name, LocalHost(), context)
    except ActionFailed as error:
        click.echo(error.output, err=True)
        click.echo(error.sentence, err=True)
        return 1
    click.echo(done.summary)
    return 0


@agent.command()
@click.argument("name")
@click.option(
    "--level",
    type=click.Choice(["integrity", "sample", "whole", "database", "application"]),
    default="whole",
    show_default=True,
    help="What is to be shown.",
)
@click.option(
    "--most-mb", default=10_000, show_default=True, type=click.IntRange(min=1), help="Most the restore takes."
)
@click.option("--rate-kb", default=0, show_default=True, type=click.IntRange(min=0), help="Most kB a second; 0: any.")
@click.option("--sample", default=20, show_default=True, type=click.IntRange(min=1), help="Files at the level sample.")
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON.")
def prove(*, name: str, level: str, most_mb: int, rate_kb: int, sample: int, as_json: bool) -> int:
    """Restore the backup NAME of backups.toml into a private scratch folder, and compare it with what was backed up.

    What was restored is removed afterwards; the outcome is kept for the server. Exit 1 when the backup failed the
    proof, 2 when it could not be tried (no room, in use, a program missing).
    """
    from typing import cast

    import msgspec

    from forestall.agent.act.backups import prove as prove_backup
    from forestall.agent.act.context import ActionFailed, Context
    from forestall.agent.collect.host import LocalHost
    from forestall.agent.collect.redaction import redact
    from forestall.trust.proofs import ProofLevel

    context = Context(agent_home=Path(current_home().folder), timeout_seconds=24 * 3600)
    try:
        proof = prove_backup(
            name, cast(ProofLevel, level), LocalHost(), context, most_mb=most_mb, rate_kb=rate_kb, sample=sample
        )
    except ActionFailed as error:
        click.echo(redact(error.sentence), err=True)
        return 2
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(proof), indent=2).decode())
        return 0 if proof.ok else 1

    word = "proven to" if proof.ok else "FAILED at"
    click.echo(f"Backup {name} {word} the level {proof.level}: {proof.detail}.")
    if proof.snapshot_at is not None:
        click.echo(f"Restored: {proof.snapshot[:40]} of {proof.snapshot_at:%Y-%m-%d %H:%M} UTC.")
    for line in proof.differences:
        click.echo(f"  {line}")
    return 0 if proof.ok else 1


@agent.command()
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="A policy that is not in force yet, to be checked.",
)
def policy(*, file: Path | None) -> int:
    """Say in words what this device's own policy forbids, which no signature overrides.

    Exit code 1 when the policy cannot be read: then nothing runs.
    """
    from forestall.agent.act.policy import POLICY_FILE, Policy, parse_policy, policy_words, read_policy
    from forestall.trust.authorise import Veto

    path = file or Path(current_home().folder) / POLICY_FILE
    if file is None:
        found = read_policy(path.parent)
    else:
        try:
            found = parse_policy(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found = Policy(veto=Veto(unreadable=str(error)))
    click.echo(f"{path}{'' if path.exists() else ' (there is none)'}")
    for line in policy_words(found):
        click.echo(line)
    return 1 if found.veto.unreadable else 0
