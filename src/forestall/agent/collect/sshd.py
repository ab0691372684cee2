"""The ``sshd`` document: the effective settings of the SSH server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.processes import processes, runs
from forestall.wire.facts import Sshd

CONFIG = "/etc/ssh/sshd_config"
DEFAULTS = {
    "port": "22",
    "addressfamily": "any",
    "permitrootlogin": "prohibit-password",
    "pubkeyauthentication": "yes",
    "passwordauthentication": "yes",
    "permitemptypasswords": "no",
    "kbdinteractiveauthentication": "yes",
    "hostbasedauthentication": "no",
    "ignorerhosts": "yes",
    "gssapiauthentication": "no",
    "strictmodes": "yes",
    "usepam": "no",
    "logingracetime": "120",
    "maxauthtries": "6",
    "maxsessions": "10",
    "maxstartups": "10:30:100",
    "clientaliveinterval": "0",
    "clientalivecountmax": "3",
    "x11forwarding": "no",
    "allowtcpforwarding": "yes",
    "allowagentforwarding": "yes",
    "permittunnel": "no",
    "permituserenvironment": "no",
    "gatewayports": "no",
    "usedns": "no",
    "loglevel": "INFO",
    "syslogfacility": "AUTH",
    "authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2",
    "banner": "none",
}
"""Defaults of sshd_config(5), OpenSSH 9, that matter to judging it."""
_REPEATED = frozenset(
    [
        "port",
        "listenaddress",
        "hostkey",
        "acceptenv",
        "allowusers",
        "denyusers",
        "allowgroups",
        "denygroups",
        "permitopen",
        "permitlisten",
        "setenv",
        "subsystem",
    ]
)
"""Keywords that add up instead of the first one winning."""
_OLD_NAMES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "keepalive": "tcpkeepalive",
    "dsaauthentication": "pubkeyauthentication",
}
_INCLUDE_DEPTH = 16


def collect(host: Host) -> Sshd:
    notes = Notes(host)
    if host.find_program("sshd") is None:
        return Sshd(installed=False, running=False, sources=("sshd",), gaps=())
    running = runs(host, processes(host), "sshd")
    notes.used("/proc/*/cmdline")
    settings: dict[str, str] | None = None
    effective = False
    if host.is_root:
        result = notes.run(["sshd", "-T"], what="effective settings")
        if result is not None and result.exit_code == 0:
            settings, effective = parse_sshd_t(result.stdout), True
        elif result is not None:
            notes.gap("effective settings", f"sshd -T: {complaint(result)}")
    else:
        notes.gap("effective settings", "sshd -T needs root")
    if settings is None:
        settings = _from_files(notes)
    return Sshd(
        installed=True,
        running=running,
        settings=dict(sorted((settings or {}).items())),
        effective=effective,
        sources=notes.sources,
        gaps=notes.gaps,
    )


def parse_sshd_t(text: str) -> dict[str, str]:
    """Settings in the output of ``sshd -T``: keyword to value, values of repeated keywords joined by a comma."""
    settings: dict[str, str] = {}
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword:
            settings[keyword] = f"{settings[keyword]}, {value}" if keyword in settings else value
    return _normal(settings)


def parse_config(text: str, include: Callable[[str], Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Keyword (lower case) and value of each global line of an sshd_config(5), in order.

    ``include`` gives the lines of the files that an ``Include`` names. From the first ``Match`` on a file's lines
    hold for some connections only: the pair ``("match", condition)`` marks the place and ends the file.
    """
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        keyword, _, value = line.replace("=", " ", 1).partition(" ") if "=" in line.split()[0] else line.partition(" ")
        keyword, value = keyword.lower(), value.strip().strip('"')
        if keyword == "include":
            for pattern in value.split():
                yield from include(pattern)
        elif keyword == "match":
            yield keyword, value
            return
        else:
            yield _OLD_NAMES.get(keyword, keyword), value


def effective_settings(lines: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Settings by sshd's rule: the first value of a keyword wins, defaults fill the rest."""
    settings: dict[str, str] = {}
    for keyword, value in lines:
        if keyword == "match":
            continue
        if keyword in _REPEATED and keyword in settings:
            settings[keyword] += f", {value}"
        else:
            settings.setdefault(keyword, value)
    return _normal({**DEFAULTS, **settings})


def _normal(settings: dict[str, str]) -> dict[str, str]:
    # OpenSSH prints the old of two words for one setting, people write the new one.
    if settings.get("permitrootlogin") == "without-password":
        settings["permitrootlogin"] = "prohibit-password"
    return settings


def _from_files(notes: Notes) -> dict[str, str] | None:
    def lines_of(path: str, depth: int) -> Iterator[tuple[str, str]]:
        text = notes.read(path, what=f"settings in {path}")
        if text is not None:
            yield from parse_config(text, lambda pattern: included(pattern, depth))

    def included(pattern: str, depth: int) -> Iterator[tuple[str, str]]:
        for path in notes.host.glob(pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}") if depth else ():
            yield from lines_of(path, depth - 1)

    try:
        notes.host.status(CONFIG)
    except HostError as error:
        notes.gap("settings", error.why)
        return None
    found = list(lines_of(CONFIG, _INCLUDE_DEPTH))
    if any(keyword == "match" for keyword, _ in found):
        notes.gap("settings for some connections", "Match blocks are not evaluated")
    return effective_settings(iter(found))
