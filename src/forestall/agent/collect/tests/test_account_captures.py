"""Saved accounts of Linux, Windows and macOS, with what is expected of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile

SHARED = Path(__file__).parents[6] / "shared" / "data" / "command-outputs"
needs_recordings = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared recordings are not here")

NET_USER = """\
User name                    ada
Full Name                    Ada Lovelace
Comment
Account active               Yes
Account expires              Never

Password last set            11/20/2025 8:15:00 AM
Password expires             Never
Password required            Yes
User may change password     Yes

Workstations allowed         All
Last logon                   6/1/2026 9:30:12 PM

Logon hours allowed          All

Local Group Memberships      *Administrators       *Users
Global Group memberships     *None
The command completed successfully.
"""
NET_GROUP = """\
Alias name     Administrators
Comment        Administrators have complete and unrestricted access to the computer/domain

Members

-------------------------------------------------------------------------------
Administrator
ada
ACME\\Domain Admins
The command completed successfully.
"""
NET_ACCOUNTS = """\
Force user logoff how long after time expires?:       Never
Minimum password age (days):                          1
Maximum password age (days):                          42
Minimum password length:                              12
Length of password history maintained:                24
Lockout threshold:                                    5
Lockout duration (minutes):                           30
Lockout observation window (minutes):                 30
Computer role:                                        WORKSTATION
The command completed successfully.
"""
NET_USERS = """\

User accounts for \\\\PC-7

-------------------------------------------------------------------------------
ada                      Administrator            DefaultAccount
Guest                    service desk
The command completed successfully.
"""
DSCL = """\
NFSHomeDirectory: /Users/ada
RealName:
 Ada Lovelace
RecordName: ada
UniqueID: 501
UserShell: /bin/zsh
-
NFSHomeDirectory: /var/empty
RealName: Unprivileged User
RecordName: nobody BUILTIN\\Nobody
UniqueID: -2
UserShell: /usr/bin/false
"""


def read(kind, **files):
    given = [CapturedFile(name, text.encode() if isinstance(text, str) else text) for name, text in files.items()]
    return captures()[kind].parse(given)


def test_unix_files_make_one_document():
    parsed = read(
        "accounts",
        passwd="root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada:/home/ada:/bin/bash\n",
        shadow="root:*:1:0:99999:7:::\nada:$6$x$y:20000:0:90:7:::\n",
        group="root:x:0:\nsudo:x:27:ada\n",
        sudoers="Defaults env_reset\n%sudo ALL=(ALL:ALL) \\\n  NOPASSWD: ALL\n",
        login_defs="UID_MIN 1000\nPASS_MAX_DAYS 90\n",
        exports="/srv *(rw)\n",
        last="ada pts/0 192.0.2.1 Mon Jun 01 09:30:12 2026 - Mon Jun 01 10:00:00 2026 (00:30)\nwtmp begins Mon Jan 1\n",
    )
    document = parsed.document
    ada = document.accounts[1]
    assert parsed.unread == ()
    assert (ada.administrator_because, ada.password_hash, ada.password_max_days) == (("group sudo",), "sha512crypt", 90)
    assert ada.last_login == datetime(2026, 6, 1, 9, 30, 12, tzinfo=UTC)
    assert (document.sudo[0].no_password, document.sudo[0].source) == (True, "sudoers:2")
    assert (document.shares[0].guest, document.password_policy.max_days) == (True, 90)
    assert [gap.what for gap in document.gaps] == ["authorized keys"]


def test_what_does_not_fit_is_named_with_its_line():
    parsed = read("accounts", passwd="root:x:0:0:root:/root:/bin/bash\nbroken line\nb:x:1:1::/:/bin/sh\n")
    assert [(one.line, one.text) for one in parsed.unread] == [(2, "broken line")]
    (refused,) = read("accounts", letter="Dear Ada,\nall is well.\n").unread
    assert (refused.line, refused.why[:20]) == (1, "is no passwd, shadow")


def test_windows_outputs_make_one_document():
    parsed = read(
        "windows-accounts", users=NET_USERS, ada=NET_USER, group=NET_GROUP.replace("\n", "\r\n"), policy=NET_ACCOUNTS
    )
    accounts = {one.name: one for one in parsed.document.accounts}
    assert parsed.unread == ()
    assert set(accounts) == {
        "ada", "Administrator", "DefaultAccount", "Guest", "service desk", "ACME\\Domain Admins",
    }  # fmt: skip
    ada = accounts["ada"]
    assert (ada.full_name, ada.disabled, ada.administrator) == ("Ada Lovelace", False, True)
    assert (ada.password_expires, ada.last_login) == (False, datetime(2026, 6, 1, 21, 30, 12, tzinfo=UTC))
    assert accounts["ACME\\Domain Admins"].source == "domain ACME"
    demanded = parsed.document.password_policy
    assert (demanded.min_length, demanded.lockout_after, demanded.lockout_minutes) == (12, 5, 30.0)


def test_macos_outputs_make_one_document():
    parsed = read("macos-accounts", users=DSCL, admins="GroupMembership: root ada\n")
    assert parsed.unread == ()
    accounts = {one.name: one for one in parsed.document.accounts}
    assert (accounts["ada"].full_name, accounts["ada"].administrator_because) == ("Ada Lovelace", ("group admin",))
    assert (accounts["ada"].kind, accounts["nobody"].login, accounts["nobody"].kind) == ("person", False, "system")
    listed = read("macos-accounts", users="_www                    70\nada                     501\n").document
    assert [(one.name, one.kind) for one in listed.accounts] == [("_www", "system"), ("ada", "person")]


@needs_recordings
@pytest.mark.parametrize("system", ["ubuntu-18.04", "osx-10.14.6"])
def test_recorded_passwd_and_group_are_read_to_their_expected_values(system):
    folder = SHARED / "jc" / system
    passwd, group = folder / "passwd.out", folder / "group.out"
    parsed = read("accounts", passwd=passwd.read_bytes(), group=group.read_bytes())
    expected = json.loads((folder / "passwd.json").read_text())
    assert parsed.unread == ()
    assert {(one.name, one.uid, one.home, one.shell) for one in parsed.document.accounts} == {
        (one["username"], one["uid"], one["home"], one["shell"]) for one in expected
    }


@needs_recordings
@pytest.mark.parametrize("system", ["ubuntu-18.04", "centos-7.7"])
def test_recorded_shadow_is_read_to_its_expected_values(system):
    folder = SHARED / "jc" / system
    names = [one["username"] for one in json.loads((folder / "shadow.json").read_text())]
    passwd = "".join(f"{name}:x:1000:1000::/home/{name}:/bin/bash\n" for name in names)
    parsed = read("accounts", passwd=passwd, shadow=(folder / "shadow.out").read_bytes())
    assert parsed.unread == ()
    expected = json.loads((folder / "shadow.json").read_text())
    states = {one.name: one.password for one in parsed.document.accounts}
    assert states == {
        one["username"]: "locked" if (one["password"] or "")[:1] in ("*", "!") else "set" for one in expected
    }


@needs_recordings
def test_recorded_sign_ins_with_their_year_are_read():
    folder = SHARED / "jc" / "centos-7.7"
    expected = json.loads((folder / "last.json").read_text())
    parsed = read(
        "accounts", last=(folder / "last-wF.out").read_bytes(), passwd="kbrazil:x:1000:1000::/home/k:/bin/sh\n"
    )
    assert parsed.document.accounts[0].last_login is not None
    assert expected
    short = read("accounts", last=(folder / "last.out").read_bytes())
    assert all("without its year" in one.why for one in short.unread)


@needs_recordings
def test_recorded_windows_accounts_are_read():
    file = SHARED / "glpi-agent/win32/wmi/7-AD-Win32_UserAccount.wmi"
    parsed = read("windows-accounts", wmi=file.read_bytes())
    accounts = {one.uid: one for one in parsed.document.accounts}
    assert parsed.unread == ()
    assert (accounts[500].name, accounts[500].administrator, accounts[500].disabled) == ("Administrateur", True, False)
    assert (accounts[501].disabled, accounts[501].kind) == (True, "system")
