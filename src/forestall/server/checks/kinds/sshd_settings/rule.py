"""Settings of the SSH server, each weak one as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing

Found = tuple[Status, Risk, str, str]
"""How bad, risk, what is so, what to set instead."""


@dataclass(frozen=True, slots=True)
class Policy:
    allow_passwords: bool = False
    """Logging in with a password is meant (say, behind a VPN)."""
    most_tries: int = 6
    """Warn when a connection may try more passwords than this (OpenSSH's own default)."""

    def __post_init__(self) -> None:
        if self.most_tries < 1:
            raise ValueError(f"most_tries: {self.most_tries} must be 1 or more")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each weak setting (or one that was weak), and one (no target) for the sound ones together.

    No SSH server: no results.
    """
    sshd = known.facts.sshd
    assert sshd is not None  # noqa: S101 - judge_kind sees to it
    if not sshd.installed:
        return []
    if not sshd.settings:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in sshd.gaps) or "no settings were received"
        return [Result(Status.UNKNOWN, f"The settings of the SSH server could not be read: {why}.")]
    settings = {keyword.lower(): value for keyword, value in sshd.settings.items()}
    results = []
    weak = looked_at = 0
    for keyword, look in LOOKS.items():
        if keyword not in settings:
            continue
        looked_at += 1
        found = look(settings[keyword], settings, policy)
        if found is not None:
            weak += 1
            results.append(_weak(keyword, settings[keyword], found, running=sshd.running))
        elif keyword in previous:
            results.append(Result(Status.PASS, f"{keyword} is {settings[keyword]}.", target=keyword))
    if not looked_at:
        return [Result(Status.UNKNOWN, "None of the SSH server's settings that matter could be read.")]
    sound = looked_at - weak
    how = "" if sshd.effective else " (read from its files, as `sshd -T` could not be asked)"
    others = "other " if weak else ""
    passing = f"{count(sound, f'{others}setting')} looked at {'is' if sound == 1 else 'are'} sound{how}."
    if sound:
        results.append(Result(Status.PASS, passing, value=sound, unit="settings"))
    return results


def _weak(keyword: str, value: str, found: Found, *, running: bool | None) -> Result:
    status, risk, text, instead = found
    if running is False:
        status, risk, text = Status.WARN, Risk.LOW, f"{text} (The SSH server does not run now.)"
    return Result(
        status,
        f"{keyword} is {value}: {text}",
        target=keyword,
        evidence=(f"sshd -T | grep -i {keyword}",),
        risk=risk,
        remedy=f"Set `{instead}` in /etc/ssh/sshd_config, test with `sshd -t`, then reload the service.",
    )


Look = Callable[[str, Mapping[str, str], Policy], Found | None]


def _root_login(value: str, settings: Mapping[str, str], policy: Policy) -> Found | None:
    if value != "yes":
        return None
    if settings.get("passwordauthentication", "yes") == "yes":
        text = "anyone who guesses root's password holds the device."
        return Status.FAIL, Risk.HIGH, text, "PermitRootLogin prohibit-password"
    text = "root logs in directly, so nobody can tell later who it was."
    return Status.WARN, Risk.MEDIUM, text, "PermitRootLogin no"


def _passwords(value: str, settings: Mapping[str, str], policy: Policy) -> Found | None:
    if value != "yes" or policy.allow_passwords:
        return None
    text = "passwords can be guessed and phished, keys cannot."
    return Status.WARN, Risk.MEDIUM, text, "PasswordAuthentication no"


def _is(bad: str, status: Status, risk: Risk, text: str, instead: str) -> Look:
    def look(value: str, settings: Mapping[str, str], policy: Policy) -> Found | None:
        return (status, risk, text, instead) if value.lower() == bad else None

    return look


def _names(bad: tuple[str, ...], what: str, keyword: str) -> Look:
    """A list of algorithms that must name none of the ``bad`` (parts of names)."""

    def look(value: str, settings: Mapping[str, str], policy: Policy) -> Found | None:
        if value.startswith("-"):
            return None  # takes algorithms away from the default
        weak = [name for name in value.lstrip("+^").split(",") if any(part in name for part in bad)]
        if not weak:
            return None
        text = f"{listing(weak)} {'is' if len(weak) == 1 else 'are'} too weak for {what} today."
        return Status.WARN, Risk.MEDIUM, text, f"{keyword} -{','.join(weak)}"

    return look


def _tries(value: str, settings: Mapping[str, str], policy: Policy) -> Found | None:
    if not value.isdecimal() or int(value) <= policy.most_tries:
        return None
    text = f"a connection may try more than {policy.most_tries} times."
    return Status.WARN, Risk.LOW, text, f"MaxAuthTries {policy.most_tries}"


LOOKS: dict[str, Look] = {
    "permitemptypasswords": _is(
        "yes", Status.FAIL, Risk.CRITICAL, "accounts without password are open to all.", "PermitEmptyPasswords no"
    ),
    "permitrootlogin": _root_login,
    "passwordauthentication": _passwords,
    "protocol": lambda value, settings, policy: (
        (Status.FAIL, Risk.CRITICAL, "version 1 of the protocol is broken.", "Protocol 2") if "1" in value else None
    ),
    "hostbasedauthentication": _is(
        "yes", Status.FAIL, Risk.HIGH, "other machines vouch for their users here.", "HostbasedAuthentication no"
    ),
    "ignorerhosts": _is("no", Status.FAIL, Risk.HIGH, "users can let others in by .rhosts.", "IgnoreRhosts yes"),
    "strictmodes": _is(
        "no", Status.WARN, Risk.MEDIUM, "keys that others may write to are trusted.", "StrictModes yes"
    ),
    "permituserenvironment": _is(
        "yes", Status.WARN, Risk.MEDIUM, "users can get round limits by their environment.", "PermitUserEnvironment no"
    ),
    "gatewayports": _is(
        "yes", Status.WARN, Risk.MEDIUM, "tunnels of users are open to the whole network.", "GatewayPorts no"
    ),
    "x11forwarding": _is(
        "yes", Status.WARN, Risk.LOW, "a server seldom needs it, and it opens a way back to the user's screen.",
        "X11Forwarding no",
    ),
    "maxauthtries": _tries,
    "logingracetime": _is(
        "0", Status.WARN, Risk.LOW, "connections that never log in are kept for ever.", "LoginGraceTime 60"
    ),
    # RFC 8758 (RC4), RFC 9142 (key exchange with SHA-1), OpenSSH's own list of what it disables by default.
    "ciphers": _names(("-cbc", "arcfour", "3des", "blowfish", "cast128"), "ciphers", "Ciphers"),
    "macs": _names(("md5", "sha1-96", "ripemd"), "message authentication", "MACs"),
    "kexalgorithms": _names(
        ("group1-sha1", "group14-sha1", "group-exchange-sha1"), "key exchange", "KexAlgorithms"
    ),
    "hostkeyalgorithms": _names(("ssh-dss",), "host keys", "HostKeyAlgorithms"),
}  # fmt: skip
"""Keyword → what to say of its value. Only what OpenSSH itself no longer offers by default counts as weak here: a
fresh server must not come with a list of complaints that its administrator can do nothing about."""


def levels(policy: Policy) -> Sequence[Level]:
    return []
