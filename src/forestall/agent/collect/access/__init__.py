"""The ``access`` document: accounts and what opens them, sudo's permissions, password policy, shares, open paths."""

from __future__ import annotations

from datetime import datetime

from forestall.agent.collect.access.accounts import (
    PasswdEntry,
    ShadowEntry,
    directory_services,
    groups_of,
    kind_of,
    last_logins,
    lets_in,
    parse_group,
    parse_passwd,
    parse_shadow,
    password_field,
    password_hash,
    password_state,
)
from forestall.agent.collect.access.keys import Keys, keys_of
from forestall.agent.collect.access.paths import collect_open_paths
from forestall.agent.collect.access.policy import collect_policy, parse_login_defs
from forestall.agent.collect.access.shares import collect_shares
from forestall.agent.collect.access.sudo import granted_all, parse_sudoers, permissions, sudo_lines
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import Access, Account

__all__ = ["ADMINISTRATOR_GROUPS", "account_of", "administrator_because", "collect", "granted_all", "parse_sudoers"]

ADMINISTRATOR_GROUPS = frozenset({"sudo", "wheel", "admin"})
"""Groups that sudo, su or polkit treat as administrators on Debian, Red Hat, SUSE, Arch and older Ubuntu."""
_UID_MIN = 1000


def collect(host: Host) -> Access:
    notes = Notes(host)
    entries = parse_passwd(notes.read("/etc/passwd", what="accounts") or "")
    groups = parse_group(notes.read("/etc/group", what="groups") or "")
    shadow_text = notes.read("/etc/shadow", what="state of passwords")
    shadow = parse_shadow(shadow_text) if shadow_text is not None else None
    login_defs = parse_login_defs(notes.read("/etc/login.defs") or "")
    lines = sudo_lines(notes)
    rules = tuple(redact(line.text) for line in lines) if lines is not None else None
    logins = last_logins(notes)
    uid_min = int(login_defs["UID_MIN"]) if login_defs.get("UID_MIN", "").isdigit() else _UID_MIN
    hidden_keys = []
    accounts = []
    for entry in entries:
        keys = keys_of(notes, entry)
        if keys.count is None:
            hidden_keys.append(entry.name)
        accounts.append(
            account_of(
                entry,
                groups_of(entry, groups),
                rules or (),
                shadow=shadow,
                keys=keys,
                last_login=logins.get(entry.name) or logins.get(str(entry.uid)),
                uid_min=uid_min,
                now=host.now(),
            )
        )
    if hidden_keys:
        why = "refused by the system, even to root" if host.is_root else "needs root"
        notes.gap(f"authorized keys of {', '.join(sorted(hidden_keys))}", why)
    for service in directory_services(notes.value("/etc/nsswitch.conf")):
        notes.gap(f"accounts of the directory ({service})", "they are kept there, not on this machine")
    return Access(
        accounts=tuple(sorted(accounts, key=lambda account: (account.uid, account.name))),
        sudo_rules=rules,
        sudo=tuple(permissions(lines or ())),
        password_policy=collect_policy(notes, login_defs),
        shares=collect_shares(notes),
        open_paths=collect_open_paths(notes),
        sources=notes.sources,
        gaps=notes.gaps,
    )


def account_of(
    entry: PasswdEntry,
    member_of: tuple[str, ...],
    rules: tuple[str, ...],
    *,
    shadow: dict[str, ShadowEntry] | None,
    keys: Keys,
    last_login: datetime | None,
    uid_min: int,
    now: datetime,
) -> Account:
    """One account from what the files say of it."""
    field = password_field(entry, shadow)
    state = password_state(field)
    line = (shadow or {}).get(entry.name)
    reasons = administrator_because(entry, member_of, rules)
    return Account(
        name=entry.name,
        uid=entry.uid,
        groups=member_of,
        shell=entry.shell,
        login=lets_in(entry.shell),
        administrator=bool(reasons),
        administrator_because=reasons,
        password=state,
        last_login=last_login,
        ssh_keys=keys.count,
        keys=keys.described,
        full_name=entry.full_name,
        home=entry.home,
        kind=kind_of(entry, uid_min=uid_min, password=state, keys=keys.count),
        disabled=line.expires_at is not None and line.expires_at <= now if line else None,
        expires_at=line.expires_at if line else None,
        password_changed_at=line.changed_at if line and state == "set" else None,
        password_max_days=line.max_days if line else None,
        password_expires=line.max_days is not None if line and state == "set" else None,
        password_hash=password_hash(field),
    )


def administrator_because(entry: PasswdEntry, member_of: tuple[str, ...], rules: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons why an account administers the machine; none for an ordinary one."""
    reasons = ["uid 0"] if entry.uid == 0 else []
    reasons += [f"group {group}" for group in member_of if group in ADMINISTRATOR_GROUPS]
    for who in granted_all(rules):
        if who in (entry.name, f"#{entry.uid}", "ALL"):
            reasons.append("sudoers: ALL")
        elif who.startswith("%") and who[1:] in member_of and who[1:] not in ADMINISTRATOR_GROUPS:
            reasons.append(f"sudoers: ALL for group {who[1:]}")
    return tuple(dict.fromkeys(reasons))
