"""The ``services`` document: systemd's units where systemd is process 1, otherwise the scripts in /etc/init.d."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.host import CommandResult, Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.processes import Process, is_alive, processes
from forestall.agent.collect.system import parse_boot_time
from forestall.wire.facts import Service, Services

State = Literal["running", "stopped", "failed", "exited", "starting", "unknown"]

SYSTEMD_RUNS = "/run/systemd/system"
"""There exactly when systemd is process 1 (sd_booted(3))."""
_PROPERTIES = (
    "Id,Description,LoadState,ActiveState,SubState,Type,Result,ExecMainStatus,ExecMainCode,ExecMainExitTimestamp,"
    "MainPID,UnitFileState,StateChangeTimestamp"
)
_TRANSIENT = re.compile(r"run-(u\d+|r[0-9a-f]{32}|p\d+-i\d+)\.service")
_INITS_THAT_RUN_RC = frozenset({"init", "sysvinit", "openrc-init", "upstart", "runit", "busybox"})
_STATUS_SECONDS = 15.0
_NOT_SERVICES = frozenset(
    [
        "README",
        "skeleton",
        "rc",
        "rc.local",
        "rcS",
        "functions",
        "halt",
        "killall",
        "reboot",
        "sendsigs",
        "single",
        "umountfs",
        "umountnfs.sh",
        "umountroot",
        "mountall.sh",
        "mountkernfs.sh",
        "bootmisc.sh",
        "checkfs.sh",
        "checkroot.sh",
    ]
)
"""Steps of booting and halting that live among the services."""


def collect(host: Host) -> Services:
    notes = Notes(host)
    if host.glob(SYSTEMD_RUNS):
        manager, services = "systemd", _systemd(notes)
    elif host.glob("/etc/init.d/*"):
        manager, services = "sysvinit", _sysvinit(notes)
    else:
        manager, services = "", ()
        notes.gap("services", "neither systemd nor scripts in /etc/init.d manage services here")
    return Services(manager=manager, services=services, sources=notes.sources, gaps=notes.gaps)


# --- systemd -----------------------------------------------------------------------------------------------


def _systemd(notes: Notes) -> tuple[Service, ...]:
    argv = ["systemctl", "show", "*.service", "--all", "--no-pager", f"--property={_PROPERTIES}"]
    result = notes.run(argv, what="services", source="systemctl show *.service")
    if result is None:
        return ()
    if result.exit_code != 0 and not result.stdout:
        notes.gap("services", complaint(result))
    return parse_systemctl_show(result.stdout)


def parse_systemctl_show(text: str) -> tuple[Service, ...]:
    """Services in the output of ``systemctl show`` with our properties, sorted by name.

    Units that other units only mention (``not-found``) and the transient ones of systemd-run are left out. For a
    one-shot that is done, process and time are left out: those of a timer's job would change at every run.
    """
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = unit.get("Id", "")
        if not name.endswith(".service") or unit.get("LoadState") == "not-found" or _TRANSIENT.fullmatch(name):
            continue
        state = systemd_state(unit)
        lasting = state in ("running", "failed") or unit.get("Type") != "oneshot"
        found.append(
            Service(
                name=name.removesuffix(".service"),
                description=unit.get("Description", ""),
                state=state,
                enabled=_systemd_enabled(unit.get("UnitFileState", "")),
                pid=int(unit.get("MainPID") or 0) if lasting else 0,
                since=parse_systemd_time(unit.get("StateChangeTimestamp", "")) if lasting else None,
                detail=_systemd_detail(unit),
            )
        )
    return tuple(sorted(found, key=lambda service: service.name))


def systemd_state(unit: dict[str, str]) -> State:
    """Our word for a unit's state."""
    active, sub = unit.get("ActiveState"), unit.get("SubState")
    match active:
        case "active":
            return "exited" if sub == "exited" else "running"
        case "reloading" | "deactivating" | "refreshing" | "maintenance":
            return "running"
        case "activating":
            return "starting"
        case "failed":
            return "failed"
        case "inactive":
            ran_well = unit.get("Result") == "success" and unit.get("ExecMainExitTimestamp") not in (None, "", "n/a")
            return "exited" if unit.get("Type") == "oneshot" and ran_well else "stopped"
        case _:
            return "unknown"


def parse_systemd_time(text: str) -> datetime | None:
    """A timestamp as systemctl prints it in UTC: ``Mon 2026-11-23 18:01:02 UTC``; None for an empty one."""
    found = re.fullmatch(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? UTC", text.strip())
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None


def _systemd_enabled(state: str) -> bool | None:
    if state in ("enabled", "enabled-runtime"):
        return True
    # static, indirect, generated …: started by something else or not at all; the unit itself does not say.
    return False if state in ("disabled", "masked", "masked-runtime") else None


def _systemd_detail(unit: dict[str, str]) -> str:
    said = []
    if unit.get("LoadState") not in ("loaded", None):
        said.append(str(unit["LoadState"]))
    if unit.get("SubState") in ("auto-restart", "auto-restart-queued"):
        said.append("restarting over and over")
    if unit.get("Result") not in ("success", None, ""):
        said.append(str(unit["Result"]))
        if unit.get("ExecMainStatus") not in ("0", None, ""):
            said.append(f"status={unit['ExecMainStatus']}")
    return ", ".join(said)


# --- scripts in /etc/init.d --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InitScript:
    """What a script of /etc/init.d says of its service."""

    name: str
    description: str = ""
    at_boot_only: bool = False
    """Does its work once while booting or halting; there is nothing to keep running."""
    pid_files: tuple[str, ...] = ()
    program: str = ""
    """The daemon, where the script names it."""
    has_status: bool = False
    """Has a ``status`` action."""
    starts_in: frozenset[str] = field(default_factory=frozenset)
    """Run levels of ``Default-Start``."""


def parse_init_script(name: str, text: str) -> InitScript:
    """Read an init script without running it: its LSB header, pid file, daemon, and whether it has ``status``."""
    header = _lsb_header(text)
    starts_in = frozenset(header.get("default-start", "").split())
    variables = _shell_variables(name, text)
    pid_file = variables.get("PIDFILE", "")
    named = re.search(r"^#\s*pidfile:\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    pid_files = [each for each in (named[1] if named else "", pid_file) if each.startswith("/")]
    return InitScript(
        name=name,
        description=header.get("short-description", ""),
        at_boot_only=(bool(header) and not starts_in - {"S"}) or pid_file == "none",
        pid_files=tuple(dict.fromkeys(each.replace("/var/run/", "/run/") for each in pid_files)),
        program=variables["DAEMON"] if variables.get("DAEMON", "").startswith("/") else "",
        has_status=bool(re.search(r"^[^#\n]*\bstatus\b[\w|*)\s\"-]*\)", text, re.MULTILINE))
        or "/lib/init/init-d-script" in text.partition("\n\n")[0],
        starts_in=starts_in,
    )


def _lsb_header(text: str) -> dict[str, str]:
    block = re.search(r"### BEGIN INIT INFO(.*?)### END INIT INFO", text, re.DOTALL)
    if block is None:
        return {}
    pairs = re.findall(r"^#\s*([\w-]+):[ \t]*(.*?)\s*$", block[1], re.MULTILINE)
    return {name.lower(): value for name, value in pairs}


def _shell_variables(name: str, text: str) -> dict[str, str]:
    """Plain assignments at the start of a line, with variables set before put in; anything cleverer is left out."""
    values = {"NAME": name}
    for variable, raw in re.findall(r"^([A-Z_]+)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s;#]*)", text, re.MULTILINE):
        value = re.sub(r"\$\{?(\w+)\}?", lambda match: values.get(match[1], match[0]), raw.strip("\"'"))
        if not re.search(r"[$`]", value):
            values[variable] = value
    return values


def lsb_state(exit_code: int) -> State:
    """State by exit code of ``status``: Linux Standard Base 5.0, core, 22.2 "Init Script Actions"."""
    return {0: "running", 1: "failed", 2: "failed", 3: "stopped"}.get(exit_code, "unknown")  # type: ignore[return-value]


def pid_file_paths(script: InitScript) -> tuple[str, ...]:
    """Patterns of the files in which the service may keep its process number: named ones, then customary ones."""
    stem = script.name.removesuffix(".sh")
    customary = (f"/run/{stem}.pid", f"/run/{stem}/*.pid", f"/run/{stem}/pid")
    return tuple(dict.fromkeys((*script.pid_files, *customary)))


def _sysvinit(notes: Notes) -> tuple[Service, ...]:
    host = notes.host
    init = notes.value("/proc/1/comm")
    rc_runs = init in _INITS_THAT_RUN_RC
    if not rc_runs:
        notes.gap(
            "whether services start at boot",
            f"process 1 ({init}) is no init that reads /etc/rc*.d; enabled says what is linked there",
        )
    notes.used("/etc/init.d/*")
    notes.used("/etc/rc?.d/*")
    links = [path.rpartition("/")[2] for path in host.glob("/etc/rc[2345S].d/S*")]
    enabled = {re.sub(r"^S\d\d", "", link) for link in links}
    running = list(processes(host))
    booted_at = parse_boot_time(notes.value("/proc/stat"))
    services = []
    for path in host.glob("/etc/init.d/*"):
        name = path.rpartition("/")[2]
        if name in _NOT_SERVICES or name.endswith((".dpkg-dist", ".dpkg-old", ".dpkg-new", ".rpmnew", ".rpmsave", "~")):
            continue
        try:
            if not host.status(path).mode & 0o111:
                continue
            script = parse_init_script(name, host.read_text(path))
        except HostError as error:
            notes.gap(f"service {name}", error.why)
            continue
        state, pid, detail = _sysv_state(notes, script, running, rc_runs=rc_runs)
        services.append(
            Service(
                name=name,
                description=script.description,
                state=state,
                enabled=name in enabled,
                pid=pid,
                since=_started_at(host, pid, booted_at),
                detail=detail,
            )
        )
    return tuple(services)


def _sysv_state(
    notes: Notes, script: InitScript, running: Sequence[Process], *, rc_runs: bool
) -> tuple[State, int, str]:
    host = notes.host
    if script.at_boot_only:
        return ("exited", 0, "runs once at boot") if rc_runs else ("unknown", 0, "runs once at boot, if at all")
    pids = []
    for path in dict.fromkeys(found for pattern in pid_file_paths(script) for found in host.glob(pattern)):
        try:
            words = host.read_text(path).split()
        except HostError as error:
            notes.gap(f"pid file {path}", error.why)
            continue
        notes.used("/run/**/*.pid")
        if not words or not words[0].isdigit():
            continue
        if not is_alive(host, int(words[0])):
            return "failed", 0, f"{path} names process {words[0]}, which does not run"
        pids.append(int(words[0]))
    if pids:
        return "running", pids[0], ""
    if script.has_status:
        result = _status(notes, script.name)
        if result is not None:
            detail = "" if result.exit_code in (0, 3) else complaint(result)
            return lsb_state(result.exit_code), 0, detail
    if script.program:
        found = next((each for each in running if each.arguments[:1] == (script.program,)), None)
        return ("running", found.pid, "") if found else ("stopped", 0, "")
    return "unknown", 0, "the script has neither pid file nor status"


def _status(notes: Notes, name: str) -> CommandResult | None:
    return notes.run([f"/etc/init.d/{name}", "status"], what=f"status of {name}", timeout=_STATUS_SECONDS)


def _started_at(host: Host, pid: int, booted_at: datetime | None) -> datetime | None:
    if not pid or booted_at is None:
        return None
    try:
        fields = host.read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except HostError:
        return None
    # proc(5): start time is field 22, in clock ticks since boot; 100 a second on every Linux that people run.
    return datetime.fromtimestamp(int(booted_at.timestamp()) + int(fields[19]) // 100, UTC)
