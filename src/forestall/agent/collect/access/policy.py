"""Password policy: login.defs, PAM with pwquality and faillock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import PasswordPolicy

_PAM = ("common-password", "common-auth", "common-account", "system-auth", "password-auth")
"""What programs include: Debian and SUSE, then Red Hat."""
_DEFAULT_HASH = {"yescrypt", "sha512", "sha256", "md5", "bigcrypt", "blowfish", "gost_yescrypt"}
_FAILLOCK = {"deny": 3.0, "unlock_time": 600.0}
"""What pam_faillock takes where nothing is set (faillock.conf(5))."""


def parse_login_defs(text: str) -> dict[str, str]:
    """Settings of login.defs(5)."""
    found = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2:
            found[words[0]] = words[1]
    return found


def parse_settings(text: str) -> dict[str, str]:
    """``name = value`` or a bare ``name`` (which is on), as in pwquality.conf(5) and faillock.conf(5)."""
    found = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, _, value = line.partition("=")
            found[name.strip()] = value.strip()
    return found


def parse_pam(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """Lines of pam.d(5): type, module without ``.so``, arguments. ``[success=1 default=ignore]`` is passed over."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.partition("#")[0].strip()
        match = re.match(r"-?(auth|account|password|session)\s+(\[[^\]]*\]|\S+)\s+(\S+)\s*(.*)$", line)
        if match and match[2] not in ("include", "substack"):
            module = match[3].rpartition("/")[2].removesuffix(".so")
            arguments = {}
            for word in re.findall(r"\[[^\]]*\]|\S+", match[4]):
                name, _, value = word.strip("[]").partition("=")
                arguments[name] = value
            found.append((match[1], module, arguments))
    return found


def policy(
    login_defs: Mapping[str, str],
    pam: Iterable[tuple[str, str, Mapping[str, str]]],
    pwquality: Mapping[str, str],
    faillock: Mapping[str, str],
) -> PasswordPolicy:
    """What these files together ask for."""
    modules: dict[str, dict[str, str]] = {}
    for kind, module, arguments in pam:
        if kind in ("password", "auth"):
            modules.setdefault(module, {}).update(arguments)
    unix = modules.get("pam_unix", {})
    quality = None
    for module in ("pam_pwquality", "pam_cracklib"):
        if module in modules:
            # Arguments in PAM come before the file (pam_pwquality(8)).
            quality = {**(pwquality if module == "pam_pwquality" else {}), **modules[module]}
    min_length = None
    complexity = None
    if quality is not None:
        min_length = _number(quality.get("minlen", "")) or 8
        points = [_signed(quality.get(name, "0")) for name in ("dcredit", "ucredit", "lcredit", "ocredit")]
        complexity = (_number(quality.get("minclass", "")) or 0) >= 3 or sum(one < 0 for one in points) >= 3
    elif "minlen" in unix:
        min_length = _number(unix["minlen"])
    elif modules:
        min_length = 6 if unix else None  # what pam_unix asks for by itself, with "obscure"
    else:
        min_length = _number(login_defs.get("PASS_MIN_LEN", ""))
    lock = None
    for module in ("pam_faillock", "pam_tally2", "pam_tally"):
        if module in modules:
            lock = {
                **{name: f"{value:g}" for name, value in _FAILLOCK.items()},
                **(faillock if "fail" in module else {}),
            }
            lock.update({name: value for name, value in modules[module].items() if value})
            break
    seconds = _number(lock.get("unlock_time", "")) if lock else None
    days = _number(login_defs.get("PASS_MAX_DAYS", ""))
    history = modules.get("pam_pwhistory", {}).get("remember", unix.get("remember", ""))
    if "pam_pwhistory" in modules and not history:
        history = "10"
    named = next((name for name in unix if name in _DEFAULT_HASH), "")
    return PasswordPolicy(
        min_length=min_length,
        max_days=days if days is not None and days < 99_999 else None,
        min_days=_number(login_defs.get("PASS_MIN_DAYS", "")),
        warn_days=_number(login_defs.get("PASS_WARN_AGE", "")),
        history=_number(history),
        complexity=complexity,
        lockout_after=_number(lock.get("deny", "")) if lock else None,
        lockout_minutes=seconds / 60 if seconds is not None else None,
        hash=named or login_defs.get("ENCRYPT_METHOD", "").lower(),
    )


def collect_policy(notes: Notes, login_defs: Mapping[str, str]) -> PasswordPolicy | None:
    """The policy of this machine; None where it keeps none of these files."""
    pam: list[tuple[str, str, dict[str, str]]] = []
    seen = bool(login_defs)
    for name in _PAM:
        text = notes.read(f"/etc/pam.d/{name}")
        if text is not None:
            seen = True
            pam += parse_pam(text)
    if not seen:
        notes.gap("password policy", "this system keeps neither /etc/login.defs nor files in /etc/pam.d")
        return None
    quality: dict[str, str] = {}
    for path in ("/etc/security/pwquality.conf", *notes.host.glob("/etc/security/pwquality.conf.d/*.conf")):
        quality.update(parse_settings(_there(notes, path)))
    return policy(login_defs, pam, quality, parse_settings(_there(notes, "/etc/security/faillock.conf")))


def _there(notes: Notes, path: str) -> str:
    """A file's text; empty when there is none, and a gap when it is refused."""
    try:
        notes.host.status(path)
    except HostError:
        return ""
    return notes.read(path, what=f"password policy in {path}") or ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _signed(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,6}", text) else 0
