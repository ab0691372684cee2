"""Saved accounts: Unix files (passwd, shadow, group, sudoers, keys, shares), Windows' ``net`` and WMI, macOS' dscl."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from forestall.agent.collect.access import account_of, administrator_because
from forestall.agent.collect.access.accounts import (
    PasswdEntry,
    ShadowEntry,
    groups_of,
    lets_in,
    parse_group,
    parse_passwd,
    parse_shadow,
)
from forestall.agent.collect.access.keys import Keys, parse_keys
from forestall.agent.collect.access.policy import parse_login_defs, policy
from forestall.agent.collect.access.shares import parse_exports, parse_smb_conf, smb_shares
from forestall.agent.collect.access.sudo import SudoLine, numbered_lines, permissions
from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Line,
    Parsed,
    Reading,
    Unread,
)
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import Access, Account, Gap, PasswordPolicy, Share

_MOST_NUMBER = 2**53
_KEY = re.compile(r"(?:^|\s)(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S+|sk-\S+@openssh\.com)\s+AAAA")
_LAST = re.compile(r"(\S+)\s+\S.*?(?:[A-Z][a-z]{2} )([A-Z][a-z]{2})\s+(\d+) (\d\d:\d\d:\d\d) (?:[+-]\d{4} )?(\d{4})")
"""``last -F`` and ``lastlog``: a date with its year. Without a year a sign-in is not told."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_NAMES = frozenset({"reboot", "shutdown", "runlevel", "wtmp", "btmp"})


# --- Unix ---------------------------------------------------------------------------------------------------------


@dataclass
class _Unix:
    entries: list[PasswdEntry] = field(default_factory=list)
    groups: dict[str, tuple[int, tuple[str, ...]]] | None = None
    shadow: dict[str, ShadowEntry] | None = None
    sudo: list[SudoLine] | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Text of authorized keys by account, or by file where no account can be told."""
    login_defs: dict[str, str] = field(default_factory=dict)
    shares: list[Share] = field(default_factory=list)
    logins: dict[str, datetime] | None = None


def _read_unix(files: Sequence[CapturedFile]) -> Parsed:
    found = _Unix()
    unread: list[Unread] = []
    good = []
    for file in files:
        reading = Reading(file)
        try:
            _unix_file(file, reading, found)
        except CaptureError as error:
            unread.append(Unread(error.file, error.line, "", error.why))
            continue
        good.append(file.name)
        unread += reading.unread("fits no form of this file")
    if not good:
        return Parsed(None, tuple(unread))
    return Parsed(_unix_document(found, tuple(good)), tuple(unread))


def _unix_file(file: CapturedFile, reading: Reading, found: _Unix) -> None:
    text = file.text()
    lines = [line for line in reading if line.text.strip() and not line.text.lstrip().startswith("#")]
    for line in reading:
        if line.text.lstrip().startswith("#") or not line.text.strip():
            reading.take(line)
    if not lines:
        raise reading.error(None, "holds nothing but comments")
    takes = next((take for fits, take in _FORMS if fits(file.name, lines)), None)
    if takes is None:
        raise reading.error(
            lines[0],
            "is no passwd, shadow, group, sudoers, authorized_keys, login.defs, smb.conf, exports, last or lastlog",
        )
    takes(file.name, text, lines, reading, found)


Lines = Sequence[Line]


def _fields(line: Line, count: int, *numbers: int) -> bool:
    """Whether a line has so many fields between colons, numbers (or nothing) where there should be."""
    fields = line.text.split(":")
    return len(fields) == count and bool(fields[0]) and all(_is_number(fields[index]) for index in numbers)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,15}", text) is not None and abs(int(text)) < _MOST_NUMBER


def _most(lines: Lines, fits: Callable[[Line], bool]) -> bool:
    return sum(fits(line) for line in lines) * 2 > len(lines)


def _is_passwd(_: str, lines: Lines) -> bool:
    return _most(lines, lambda line: _fields(line, 7, 2, 3))


def _take_passwd(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    reading.take(*(line for line in lines if _fields(line, 7, 2, 3)))
    found.entries += parse_passwd("\n".join(line.text for line in lines if _fields(line, 7, 2, 3)))


def _is_shadow(_: str, lines: Lines) -> bool:
    return _most(lines, _shadow_line)


def _shadow_line(line: Line) -> bool:
    fields = line.text.split(":")
    return len(fields) == 9 and bool(fields[0]) and all(not each or _is_number(each) for each in fields[2:8])


def _take_shadow(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    good = [line for line in lines if _shadow_line(line)]
    reading.take(*good)
    found.shadow = {**(found.shadow or {}), **parse_shadow("\n".join(line.text for line in good))}


def _is_group(_: str, lines: Lines) -> bool:
    return _most(lines, lambda line: _fields(line, 4, 2))


def _take_group(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    good = [line for line in lines if _fields(line, 4, 2)]
    reading.take(*good)
    found.groups = {**(found.groups or {}), **parse_group("\n".join(line.text for line in good))}


def _is_keys(_: str, lines: Lines) -> bool:
    return _most(lines, lambda line: bool(_KEY.search(line.text)))


def _take_keys(name: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    good = [line for line in lines if parse_keys(line.text)]
    reading.take(*good)
    # /home/ada/.ssh/authorized_keys, or ada.authorized_keys: whose they are stands in the name alone.
    match = re.search(r"(?:home|Users)/([^/]+)/|^(?:.*/)?([^./]+)[._]authorized_keys|(?:^|/)(root)/\.ssh", name)
    owner = next((each for each in match.groups() if each), "") if match else ""
    found.keys[owner or name] = found.keys.get(owner or name, "") + "\n".join(line.text for line in good) + "\n"


def _is_smb(_: str, lines: Lines) -> bool:
    return bool(re.fullmatch(r"\s*\[[^\]]+\]\s*", lines[0].text)) and any("=" in line.text for line in lines)


def _take_smb(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    reading.take(*(line for line in lines if re.match(r"\s*(\[.*\]|[^=]+=.*|;.*)\s*$", line.text)))
    found.shares += smb_shares(parse_smb_conf(text))


def _is_exports(_: str, lines: Lines) -> bool:
    return _most(lines, lambda line: bool(re.match(r'"?/\S*', line.text)) and ":" not in line.text.split("(")[0])


def _take_exports(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    reading.take(*lines)
    found.shares += parse_exports(text)


def _is_login_defs(_: str, lines: Lines) -> bool:
    return any(re.match(r"\s*(PASS_MAX_DAYS|UID_MIN|ENCRYPT_METHOD)\s", line.text) for line in lines)


def _take_login_defs(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    reading.take(*(line for line in lines if re.match(r"\s*[A-Z_0-9]+\s+\S", line.text)))
    found.login_defs.update(parse_login_defs(text))


def _is_sudoers(_: str, lines: Lines) -> bool:
    return any(
        re.match(r"\s*(Defaults\b|\S+\s+\S+\s*=\s*\(?|[@#]include|(User|Cmnd|Host|Runas)_Alias)", one.text)
        for one in lines
    )


def _take_sudoers(name: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    kept = []
    for number, line in numbered_lines(text):
        if re.match(r"Defaults\b|(User|Runas|Host|Cmnd|Cmd)_Alias\b", line) or re.match(r"\S.*?=.*\S", line):
            kept.append(SudoLine(line, f"{name}:{number}"))
            reading.take(*_continued(reading, number))
        elif re.match(r"[@#]include", line):
            for each in reading:
                if each.number == number:
                    reading.odd(each, "an include: give that file, too")
    found.sudo = [*(found.sudo or []), *kept]


def _continued(reading: Reading, number: int) -> Iterable[Line]:
    for line in reading.lines[number - 1 :]:
        yield line
        if not line.text.endswith("\\"):
            return


def _is_last(_: str, lines: Lines) -> bool:
    ends = (
        r"still logged in|still running|gone - no logout|wtmp begins|btmp begins|- (?:\d\d:\d\d|down|crash)"
        r"|\*\*Never logged in"
    )
    return any(re.search(ends, line.text) or re.match(r"Username\s+Port", line.text) for line in lines)


def _take_last(_: str, text: str, lines: Lines, reading: Reading, found: _Unix) -> None:
    found.logins = found.logins or {}
    for line in lines:
        name = line.text.split()[0]
        match = _LAST.match(line.text)
        if name in _NO_NAMES or re.search(r"\*\*Never logged in|^Username\s|begins ", line.text):
            reading.take(line)
        elif match and match[2] in _MONTHS:
            reading.take(line)
            hour, minute, second = (int(each) for each in match[4].split(":"))
            at = datetime(int(match[5]), _MONTHS.index(match[2]) + 1, int(match[3]), hour, minute, second, tzinfo=UTC)
            found.logins[name] = max(at, found.logins.get(name, at))
        else:
            reading.odd(line, "a sign-in without its year is not told: use `last -F`")


_FORMS: tuple[tuple[Callable[[str, Lines], bool], Callable[[str, str, Lines, Reading, _Unix], None]], ...] = (
    (_is_passwd, _take_passwd),
    (_is_shadow, _take_shadow),
    (_is_group, _take_group),
    (_is_keys, _take_keys),
    (_is_last, _take_last),
    (_is_login_defs, _take_login_defs),
    (_is_smb, _take_smb),
    (_is_exports, _take_exports),
    (_is_sudoers, _take_sudoers),
)


def _unix_document(found: _Unix, names: tuple[str, ...]) -> Access:
    gaps = []
    if not found.entries:
        gaps.append(Gap(what="accounts", why="no passwd was given"))
    if found.groups is None:
        gaps.append(Gap(what="groups", why="no group was given"))
    if found.shadow is None:
        gaps.append(Gap(what="state of passwords", why="no shadow was given"))
    if found.sudo is None:
        gaps.append(Gap(what="sudo rules", why="no sudoers was given"))
    if found.logins is None:
        gaps.append(Gap(what="last logins", why="no output of last or lastlog was given"))
    if not found.keys:
        gaps.append(Gap(what="authorized keys", why="no authorized_keys was given"))
    rules = tuple(redact(line.text) for line in found.sudo) if found.sudo is not None else None
    uid_min = int(found.login_defs["UID_MIN"]) if found.login_defs.get("UID_MIN", "").isdigit() else 1000
    accounts = []
    for entry in found.entries:
        text = found.keys.get(entry.name)
        described = tuple(parse_keys(text)) if text is not None else ()
        accounts.append(
            account_of(
                entry,
                groups_of(entry, found.groups or {}),
                rules or (),
                shadow=found.shadow,
                keys=Keys(len(described) if text is not None else None, described),
                last_login=(found.logins or {}).get(entry.name),
                uid_min=uid_min,
                now=_EPOCH,
            )
        )
    owners = {entry.name for entry in found.entries}
    for owner, text in found.keys.items():
        if owner not in owners:
            # Keys without their passwd: told under the name of their file, so that they are not lost.
            described = tuple(parse_keys(text))
            accounts.append(Account(name=owner, uid=-1, ssh_keys=len(described), keys=described))
    return Access(
        accounts=tuple(accounts),
        sudo_rules=rules,
        sudo=tuple(permissions(found.sudo or ())),
        password_policy=policy(found.login_defs, (), {}, {}) if found.login_defs else None,
        shares=tuple(found.shares),
        sources=names,
        gaps=tuple(gaps),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""A saved output has no "now": whether an end is past is left to whoever reads ``expires_at``."""


# --- Windows ------------------------------------------------------------------------------------------------------


def _read_windows(files: Sequence[CapturedFile]) -> Parsed:
    accounts: dict[str, Account] = {}
    administrators: set[str] | None = None
    demanded: PasswordPolicy | None = None
    unread: list[Unread] = []
    good = []
    for file in files:
        reading = Reading(file)
        try:
            text = file.text()
            if re.search(r"^Name=|^SIDType=", text, re.MULTILINE):
                _wmi(reading, accounts)
            elif re.search(r"^User name\s{2,}", text, re.MULTILINE):
                _net_user_one(reading, accounts)
            elif re.search(r"^Alias name\s", text, re.MULTILINE):
                members = _net_group(reading)
                if re.search(r"^Alias name\s+Administrators\s*$", text, re.MULTILINE):
                    administrators = (administrators or set()) | members
            elif re.search(r"^Minimum password length", text, re.MULTILINE):
                demanded = _net_accounts(reading)
            elif re.search(r"^User accounts for ", text, re.MULTILINE):
                _net_user_list(reading, accounts)
            else:
                raise reading.error(None, "is no output of Win32_UserAccount, net user, net localgroup or net accounts")
        except CaptureError as error:
            unread.append(Unread(error.file, error.line, "", error.why))
            continue
        good.append(file.name)
        unread += reading.unread("fits no form of this output")
    if not good:
        return Parsed(None, tuple(unread))
    gaps = [Gap(what="state of passwords", why="Windows does not tell them")]
    if administrators is None:
        gaps.append(Gap(what="administrators", why="no `net localgroup Administrators` was given"))
    for name in administrators or ():
        short = name.rpartition("\\")[2]
        known = accounts.get(short) if "\\" not in name or short in accounts else None
        source = f"domain {name.rpartition(chr(92))[0]}" if "\\" in name else ""
        known = known or Account(name=name, uid=-1, source=source)
        because = tuple(dict.fromkeys((*known.administrator_because, "group Administrators")))
        accounts[known.name] = msgspec.structs.replace(known, administrator=True, administrator_because=because)
    document = Access(
        accounts=tuple(sorted(accounts.values(), key=lambda one: (one.uid, one.name))),
        sudo_rules=(),
        password_policy=demanded,
        sources=tuple(good),
        gaps=tuple(gaps),
    )
    return Parsed(document, tuple(unread))


def _wmi(reading: Reading, accounts: dict[str, Account]) -> None:
    block: dict[str, str] = {}
    for line in [*reading, Line(0, "")]:
        text = line.text.strip()
        if text.startswith("#"):
            reading.take(line)
            continue
        name, equals, value = text.partition("=")
        if equals and re.fullmatch(r"\w+", name):
            reading.take(line)
            if name in block:  # blocks that follow each other without a blank line
                _wmi_account(block, accounts)
                block = {}
            block[name] = value.strip()
        elif not text and block:
            _wmi_account(block, accounts)
            block = {}


def _wmi_account(block: dict[str, str], accounts: dict[str, Account]) -> None:
    name, number = block.get("Name", ""), block.get("SID", "").rpartition("-")[2]
    if not name:
        return
    uid = int(number) if re.fullmatch(r"\d{1,15}", number) else -1
    disabled = _truth(block.get("Disabled"))
    accounts[name] = Account(
        name=name,
        uid=uid,
        full_name=block.get("FullName", ""),
        login=disabled is not True,
        disabled=disabled,
        administrator=uid == 500,
        administrator_because=("built-in administrator",) if uid == 500 else (),
        password_expires=_truth(block.get("PasswordExpires")),
        kind="system" if 0 <= uid < 1000 and uid != 500 else "person",
        source="" if _truth(block.get("LocalAccount")) is not False else f"domain {block.get('Domain', '')}",
    )


def _truth(value: str | None) -> bool | None:
    return {"TRUE": True, "YES": True, "FALSE": False, "NO": False}.get((value or "").strip().upper())


def _net_user_list(reading: Reading, accounts: dict[str, Account]) -> None:
    listed = False
    for line in reading:
        text = line.text.rstrip()
        if re.match(r"-{10,}$", text):
            listed = True
            reading.take(line)
        elif re.match(r"User accounts for |The command completed", text):
            listed = False
            reading.take(line)
        elif listed and text:
            reading.take(line)
            # Three columns of 25 characters: a name may hold single blanks.
            for at in range(0, len(text), 25):
                name = text[at : at + 25].strip()
                if name:
                    accounts.setdefault(name, Account(name=name, uid=-1, login=True))


def _net_user_one(reading: Reading, accounts: dict[str, Account]) -> None:
    told: dict[str, str] = {}
    last = ""
    for line in reading:
        match = re.match(r"([A-Z][A-Za-z'/ ]+?)\s{2,}(.*)$", line.text) or re.match(
            r"([A-Z][A-Za-z'/ ]+?)\s*$", line.text
        )
        if line.text.startswith("The command completed"):
            reading.take(line)
        elif line.text.startswith(" ") and last and line.text.strip():
            told[last] += " " + line.text.strip()
            reading.take(line)
        elif match:
            last = match[1].strip()
            told[last] = match[2].strip() if match.lastindex == 2 else ""
            reading.take(line)
    name = told.get("User name", "")
    if not name:
        raise reading.error(None, "names no user")
    groups = tuple(
        each.strip() for key in ("Local Group Memberships", "Global Group memberships")
        for each in told.get(key, "").split("*") if each.strip() and each.strip() != "None"
    )  # fmt: skip
    active = _truth(told.get("Account active", "").split(" ")[0])
    administrator = "Administrators" in groups
    before = accounts.get(name)
    accounts[name] = Account(
        name=name,
        uid=before.uid if before else -1,
        full_name=told.get("Full Name", ""),
        groups=groups,
        login=active is not False,
        disabled=not active if active is not None else None,
        administrator=administrator,
        administrator_because=("group Administrators",) if administrator else (),
        last_login=_windows_time(told.get("Last logon", "")),
        password_changed_at=_windows_time(told.get("Password last set", "")),
        password_expires=told["Password expires"] != "Never" if told.get("Password expires") else None,
        expires_at=_windows_time(told.get("Account expires", "")),
        kind=before.kind if before else "person",
        source=before.source if before else "",
    )


def _windows_time(text: str) -> datetime | None:
    """A time as English Windows prints it, taken as UTC; None for Never and for other forms."""
    text = text.replace("\u200e", "").replace("\u202f", " ").strip()
    for form in ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _net_group(reading: Reading) -> set[str]:
    members: set[str] = set()
    listed = False
    for line in reading:
        text = line.text.strip()
        if re.match(r"-{10,}$", text):
            listed = True
            reading.take(line)
        elif text.startswith("The command completed"):
            listed = False
            reading.take(line)
        elif listed and text:
            members.add(text)
            reading.take(line)
        elif re.match(r"(Alias name|Comment|Members)\b", text):
            reading.take(line)
    return members


def _net_accounts(reading: Reading) -> PasswordPolicy:
    told: dict[str, int | None] = {}
    names = {
        "Minimum password length": "min_length", "Maximum password age (days)": "max_days",
        "Minimum password age (days)": "min_days", "Length of password history maintained": "history",
        "Lockout threshold": "lockout_after", "Lockout duration (minutes)": "lockout_minutes",
    }  # fmt: skip
    for line in reading:
        name, colon, value = line.text.partition(":")
        if not colon and not line.text.startswith("The command completed"):
            continue
        reading.take(line)
        if name.strip() in names:
            told[names[name.strip()]] = int(value) if re.fullmatch(r"\s*\d{1,9}\s*", value) else None
    minutes = told.pop("lockout_minutes", None)
    return PasswordPolicy(**told, lockout_minutes=float(minutes) if minutes is not None else None)  # type: ignore[arg-type]


# --- macOS --------------------------------------------------------------------------------------------------------


def _read_macos(files: Sequence[CapturedFile]) -> Parsed:
    users: dict[str, dict[str, str]] = {}
    administrators: set[str] | None = None
    unread: list[Unread] = []
    good = []
    for file in files:
        reading = Reading(file)
        try:
            text = file.text()
            if re.search(r"^GroupMembership:", text, re.MULTILINE):
                administrators = (administrators or set()) | _membership(reading)
            elif re.search(r"^(RecordName|UniqueID):", text, re.MULTILINE):
                _dscl_records(reading, users)
            elif any(re.fullmatch(r"\S+\s+-?\d{1,15}\s*", line.text) for line in reading):
                _dscl_list(reading, users)
            else:
                raise reading.error(None, "is no output of dscl about users or the group admin")
        except CaptureError as error:
            unread.append(Unread(error.file, error.line, "", error.why))
            continue
        good.append(file.name)
        unread += reading.unread("fits no form of dscl's output")
    if not good:
        return Parsed(None, tuple(unread))
    gaps = [Gap(what="state of passwords", why="dscl does not tell them")]
    if administrators is None:
        gaps.append(Gap(what="administrators", why="no `dscl . -read /Groups/admin GroupMembership` was given"))
    accounts = []
    for name, told in users.items():
        number = told.get("UniqueID", "")
        uid = int(number) if re.fullmatch(r"-?\d{1,15}", number) else -1
        shell = told.get("UserShell", "")
        entry = PasswdEntry(name, "*", uid, 0, told.get("NFSHomeDirectory", ""), shell, told.get("RealName", ""))
        member_of = ("admin",) if name in (administrators or ()) else ()
        because = administrator_because(entry, member_of, ())
        is_person = uid >= 500 and not name.startswith("_")
        accounts.append(
            Account(
                name=name,
                uid=uid,
                groups=member_of,
                shell=shell,
                login=lets_in(shell) if shell else is_person,
                administrator=bool(because),
                administrator_because=because,
                full_name=entry.full_name,
                home=entry.home,
                kind="person" if is_person else "system",
            )
        )
    accounts += [
        Account(name=name, uid=-1, administrator=True, administrator_because=("group admin",))
        for name in sorted((administrators or set()) - set(users))
    ]
    document = Access(
        accounts=tuple(sorted(accounts, key=lambda one: (one.uid, one.name))),
        sudo_rules=None,
        sources=tuple(good),
        gaps=(*gaps, Gap(what="sudo rules", why="give sudoers to the capture `accounts`")),
    )
    return Parsed(document, tuple(unread))


def _membership(reading: Reading) -> set[str]:
    members: set[str] = set()
    inside = False
    for line in reading:
        match = re.match(r"(\w+):\s*(.*)$", line.text)
        if match:
            inside = match[1] == "GroupMembership"
            reading.take(line)
            members |= set(match[2].split()) if inside else set()
        elif inside and line.text.startswith(" "):
            members |= set(line.text.split())
            reading.take(line)
    return members


def _dscl_records(reading: Reading, users: dict[str, dict[str, str]]) -> None:
    record: dict[str, str] = {}
    last = ""
    for line in [*reading, Line(0, "-")]:
        match = re.match(r"(?:dsAttrTypeNative:)?(\w+):\s*(.*)$", line.text)
        if line.text.strip() == "-":
            reading.take(line)
            name = record.get("RecordName", "").split(" ")[0]
            if name:
                users.setdefault(name, {}).update(record)
            record, last = {}, ""
        elif match:
            last = match[1]
            record[last] = match[2].strip()
            reading.take(line)
        elif line.text.startswith(" ") and last and line.text.strip():
            record[last] = f"{record[last]} {line.text.strip()}".strip()
            reading.take(line)


def _dscl_list(reading: Reading, users: dict[str, dict[str, str]]) -> None:
    for line in reading:
        match = re.fullmatch(r"(\S+)\s+(-?\d{1,15})\s*", line.text)
        if match:
            users.setdefault(match[1], {})["UniqueID"] = match[2]
            reading.take(line)


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="accounts",
        title="Accounts of Linux and other Unix systems",
        document=Access,
        files=(
            "any of /etc/passwd, shadow, group, sudoers, login.defs, samba/smb.conf, exports; ~/.ssh/authorized_keys "
            "(named after its owner: ada.authorized_keys); output of `last -F` or `lastlog`"
        ),
        read=_read_unix,
    ),
    Capture(
        name="windows-accounts",
        title="Accounts of Windows",
        document=Access,
        files=(
            "any of the outputs of `wmic path win32_useraccount get /format:list`, `net user`, `net user NAME`, "
            "`net localgroup Administrators`, `net accounts`"
        ),
        read=_read_windows,
    ),
    Capture(
        name="macos-accounts",
        title="Accounts of macOS",
        document=Access,
        files=(
            "any of the outputs of `dscl . -list /Users UniqueID`, "
            "`dscl . -readall /Users RecordName RealName UniqueID UserShell NFSHomeDirectory`, "
            "`dscl . -read /Groups/admin GroupMembership`"
        ),
        read=_read_macos,
    ),
)
