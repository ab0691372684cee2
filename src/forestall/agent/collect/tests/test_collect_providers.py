"""Readers of update providers, on recorded and written outputs. Those that run for real are in ``act/tests``."""

# ruff: noqa: E501, W291 - recorded outputs keep their lines
from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from forestall.agent.act.providers import PROVIDERS
from forestall.agent.collect import software, updates
from forestall.agent.collect.host import CommandResult, TimedOut
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import (
    READER_BY_NAME,
    READERS,
    apk,
    dnf,
    flatpak,
    fwupd,
    homebrew,
    npm,
    pacman,
    pip,
    rpm_database,
    snap,
    softwareupdate,
    windows_update,
    winget,
    zypper,
)
from forestall.agent.collect.readiness import pacman_at_work
from forestall.agent.collect.tests.recorded_host import RecordedHost

RECORDED = Path(__file__).parents[6] / "shared/data/command-outputs"
"""Outputs of real machines, where they are at hand; they are not ours to keep here."""
WORDS = {"list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair"}


def read(reader, host):
    assert reader.present(host)
    return reader.read(Notes(host))


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
def test_a_machine_without_it_does_not_have_it(reader):
    assert not reader.present(RecordedHost())
    assert reader.CAN[0] == "list"
    assert set(reader.CAN) <= WORDS


def test_every_provider_that_acts_has_its_reader_and_can_the_same():
    for name, provider in PROVIDERS.items():
        assert name == provider.NAME
        assert set(provider.CAN) == set(READER_BY_NAME[name].CAN)
    only_read = set(READER_BY_NAME) - set(PROVIDERS)
    assert all(READER_BY_NAME[name].CAN == ("list",) for name in only_read)


def test_dnf_zypper_and_pacman_as_guests_on_debian_are_not_there():
    host = RecordedHost(
        files={"/var/lib/dpkg/status": "x", "/var/lib/rpm/rpmdb.sqlite": "x"},
        programs=["dpkg-query", "dnf", "zypper", "pacman", "rpm", "flatpak", "snap"],
    )
    present = [reader.NAME for reader in READERS if reader.present(host)]
    assert not {"dnf", "zypper", "pacman", "flatpak", "snap"} & set(present)


def test_the_document_joins_them_and_names_each_ones_own():
    host = RecordedHost(
        files={**ALPINE, "/usr/local/lib/node_modules/serve/package.json": "{}"},
        outputs={"apk version -l <": APK},
        programs=["apk"],
    )
    document = updates.collect(host)
    assert document.manager == "apk"
    assert [(p.name, p.unknown_why != "") for p in document.providers] == [("apk", False), ("npm", True)]
    assert {update.manager for update in document.pending} == {""}
    # What is not asked on purpose is no gap: nobody has to mend anything.
    assert document.gaps == ()


# --- rpm ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("3.0.7-27.el9", "3.0.7-27.el9_4.1"),
        ("9.0-1", "1:1.0-1"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1", "1.0^git1-1"),
        ("1.0^git1-1", "1.0.1-1"),
        ("5.14.0-70.el9", "5.14.0-70.13.1.el9_0"),
        ("1.a-1", "1.1-1"),
        ("1.0^git1~pre-1", "1.0^git1-1"),
        ("2.9-1", "2.10-1"),
    ],
)
def test_versions_are_ordered_as_rpm_orders_them(older, newer):
    assert rpm_database.compare(older, newer) < 0 < rpm_database.compare(newer, older)
    assert rpm_database.compare(older, older) == 0


def test_two_kernels_are_no_upgrade_that_was_cut_short():
    packages = rpm_database.parse(
        "kernel-core\t0:5.14.0-70\tx86_64\t1\nkernel-core\t0:5.14.0-71\tx86_64\t2\n"
        "bash\t0:5.1-1\tx86_64\t1\nbash\t0:5.1-2\tx86_64\t2\n"
        "glibc\t0:2.34-1\tx86_64\t1\nglibc\t0:2.34-1\ti686\t1\ngpg-pubkey\t0:a-b\t(none)\t1\n"
    )
    assert rpm_database.unfinished(packages) == ("bash: 5.1-1 and 5.1-2 are both installed",)
    assert rpm_database.newest(packages)["kernel-core", "x86_64"] == "5.14.0-71"


# In dnf5's form: types and severities are cut where the line seemed too narrow.
ADVISORIES_OF_5 = """\
Name            Type Severity                        Package              Issued
CONTOSO-2026-11 enha None         zlib-1.3.1-2.co9.x86_64 2026-04-19 21:20:20
CONTOSO-2026-12 secu Importan     glib2-2.80.2-1.co9.x86_64 2026-05-12 04:16:43
CONTOSO-2026-12 secu Importan     glib2-devel-2.80.2-1.co9.x86_64 2026-05-12 04:16:43
"""
CVES_OF_5 = """\
Name          Type     Severity                    Package              Issued
CVE-2026-3001 security Important glib2-2.80.2-1.co9.x86_64 2026-05-12 04:16:43
"""


def test_dnf5s_tables_are_read():
    found = {each.identity: each for each in dnf.parse_advisory_table(ADVISORIES_OF_5, CVES_OF_5)}
    glib = found["CONTOSO-2026-12"]
    assert (glib.kind, glib.severity, glib.cves) == ("security", "Important", ("CVE-2026-3001",))
    assert glib.packages[0] == ("glib2", "2.80.2-1.co9", "x86_64")
    assert found["CONTOSO-2026-11"].kind == "enhancement"
    assert found["CONTOSO-2026-11"].severity == ""


def test_dnf5_is_asked_in_its_own_words():
    offers = "glib2\t0:2.80.2-1.co9\tx86_64\tupdates\t3000000\n"
    host = RecordedHost(
        files={"/var/lib/rpm/rpmdb.sqlite": "x", "/var/cache/libdnf5/updates-1/repodata/repomd.xml": "x"},
        outputs={
            "rpm --query --all": "glib2\t0:2.80.0-1.co9\tx86_64\t1\ndnf5\t0:5.1.17-1.co9\tx86_64\t1\n",
            "/usr/bin/dnf5 -C --setopt=disable_excludes=main -q repoquery --upgrades": offers,
            "/usr/bin/dnf5 -C --setopt=disable_excludes=main -q advisory list --updates": ADVISORIES_OF_5,
            "/usr/bin/dnf5 -C --setopt=disable_excludes=main -q advisory list --updates --with-cve": CVES_OF_5,
        },
        programs=["dnf5", "rpm"],
    )
    seen = read(dnf, host)
    (update,) = seen.pending
    assert (update.name, update.installed, update.candidate) == ("glib2", "2.80.0-1.co9", "2.80.2-1.co9")
    assert (update.security, update.severity, update.cves) == (True, "high", ("CVE-2026-3001",))
    assert seen.provider.version == "5.1.17-1.co9"


def test_lists_that_were_never_fetched_make_dnf_unknown():
    host = RecordedHost(
        files={"/var/lib/rpm/rpmdb.sqlite": "x"}, outputs={"rpm --query --all": ""}, programs=["dnf", "rpm"]
    )
    seen = read(dnf, host)
    assert seen.provider.unknown_why == "the package lists were never fetched (dnf makecache)"


def test_what_administrators_lock_and_exclude_is_held():
    assert dnf.parse_locks("# a note\ncurl-0:7.76-1.el9.*\n!bash-0:5.1-1.*\n") == ("curl",)
    settings = "[main]\ngpgcheck=1\nexclude=kernel* php-*,\n  mysql-server\nbest=1\n[other]\nexclude=nothing\n"
    assert dnf.excluded(settings) == ("kernel*", "php-*", "mysql-server")
    assert dnf.is_held("kernel-core", dnf.excluded(settings))


def test_dnf_repositories_are_unchecked_unless_something_says_check():
    repositories = "[base]\nbaseurl=x\n[extra]\nbaseurl=y\ngpgcheck=0\n[safe]\ngpgcheck=True\n"
    assert dnf.unchecked_repositories("[main]\ngpgcheck=1\n", repositories) == {"extra"}
    assert dnf.unchecked_repositories("", repositories) == {"base", "extra"}


def test_zyppers_repositories_are_checked_unless_something_says_otherwise():
    repositories = "[oss]\nbaseurl=x\n[own]\ngpgcheck=0\n[signed]\ngpgcheck=0\npkg_gpgcheck=1\n"
    assert zypper.unchecked_repositories("", repositories) == {"own"}
    assert zypper.unchecked_repositories("[main]\ngpgcheck = off\n", repositories) == {"oss", "own"}


PATCH_INFO = """\
Information for patch SUSE-2026-77:
-----------------------------------
Repository  : update
Name        : SUSE-2026-77
Summary     : Security update for openssl
Description :
    Name        : not-a-name
Provides    : patch:SUSE-2026-77 = 1
Conflicts   : [3]
    libopenssl3.x86_64 < 3.0.8-150400.4.1
    libopenssl3.noarch < 3.0.8-150400.4.1
    srcpackage:openssl-3 < 3.0.8-150400.4.1
"""


def test_a_patchs_packages_are_what_it_conflicts_with():
    assert zypper.parse_patch_info(PATCH_INFO) == {
        "SUSE-2026-77": [("libopenssl3", "3.0.8-150400.4.1"), ("libopenssl3", "3.0.8-150400.4.1")]
    }
    old = "Name        : A-1\nConflicts   : curl < 7.76-2\n"
    assert zypper.parse_patch_info(old) == {"A-1": [("curl", "7.76-2")]}


# --- pacman, apk -------------------------------------------------------------------------------------------------


def test_pacman_without_anything_newer_is_not_a_failure():
    host = RecordedHost(
        files={"/var/lib/pacman/local/bash-5.1-1/desc": "x", "/var/lib/pacman/sync/core.db": "x"},
        outputs={"pacman -Qu": CommandResult("", "", 1), "pacman -Sup": ""},
        programs=["pacman"],
    )
    seen = read(pacman, host)
    assert (seen.pending, seen.provider.unknown_why, seen.provider.security_sources) == ((), "", False)


def test_a_lock_that_nobody_holds_is_what_a_killed_pacman_leaves():
    files = {"/var/lib/pacman/local/bash-5.1-1/desc": "x", "/var/lib/pacman/db.lck": ""}
    killed = RecordedHost(files=files, outputs={"pacman -Qu": ""}, programs=["pacman"])
    assert pacman_at_work(killed) == 0
    assert read(pacman, killed).provider.unfinished[0].startswith("pacman: it was killed")
    at_work = RecordedHost(
        files={**files, "/proc/4711/comm": "pacman\n"}, outputs={"pacman -Qu": ""}, programs=["pacman"]
    )
    assert pacman_at_work(at_work) == 4711
    assert read(pacman, at_work).provider.unfinished == ()


APK = """\
Installed:                                Available:
busybox-1.36.1-r15                      < 1.36.1-r19
libcrypto3-3.1.4-r5                     < 3.1.8-r0
linux-virt-6.6.30-r0                    < 6.6.50-r0 @edge
"""
ALPINE = {
    "/lib/apk/db/installed": "P:busybox\nV:1.36.1-r15\nA:x86_64\no:busybox\n\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\n\n",
    "/etc/apk/world": "alpine-base\nlibcrypto3=3.1.4-r5\n",
    "/var/cache/apk/APKINDEX.f5aa.tar.gz": "x",
}


def test_apks_table_is_read_and_what_is_pinned_is_held():
    seen = read(apk, RecordedHost(files=ALPINE, outputs={"apk version -l <": APK}, programs=["apk"]))
    assert [(u.name, u.installed, u.candidate, u.architecture, u.held, u.restart) for u in seen.pending] == [
        ("busybox", "1.36.1-r15", "1.36.1-r19", "x86_64", False, ""),
        ("libcrypto3", "3.1.4-r5", "3.1.8-r0", "x86_64", True, ""),
        ("linux-virt", "6.6.30-r0", "6.6.50-r0", "", False, "reboot"),
    ]
    assert seen.provider.held == ("libcrypto3",)


# --- flatpak, snap -----------------------------------------------------------------------------------------------


def test_masks_cover_what_flatpak_says_they_cover():
    assert flatpak.is_masked("org.contoso.Notes/x86_64/stable", ["org.contoso.Notes"])
    assert flatpak.is_masked("org.contoso.Notes/x86_64/stable", ["app/org.contoso.*//stable"])
    assert not flatpak.is_masked("org.contoso.Notes/x86_64/stable", ["org.contoso.Notes//beta", "org.contoso"])


def test_flatpaks_columns_are_read():
    listed = "org.contoso.Platform/x86_64/45\t\tc9c3405212b0\tcontoso\norg.contoso.Studio/x86_64/stable\t27.2.1\tb66d2dfdf329\tcontoso\n"
    offered = "app/org.contoso.Studio/x86_64/stable\t27.2.4\t692e0451fdb4\tcontoso\t479.7\u00a0MB\n"
    (update,) = flatpak.find_updates(flatpak.parse_offers(offered), flatpak.parse_list(listed))
    assert (update.installed, update.candidate) == ("27.2.1+b66d2dfdf329", "27.2.4+692e0451fdb4")
    assert update.size_bytes == 479_700_000


# The column of the publisher differs by version and is not read.
SNAPS = """\
Name            Version   Rev   Tracking       Publisher   Notes
contoso-base    20250101  1265  latest/stable  contoso*    base
contoso-mail    5.61.0    32    latest/stable  contoso*    -
contoso-movies  19.08.2   22    latest/stable  contoso*    held
contoso-phone   v1.10     174   latest/edge    ada         classic
snapd           2.63      4992  latest/stable  contoso*    snapd
"""
REFRESH = """\
Name            Version   Rev   Size   Publisher   Notes
contoso-base    20260301  2812  58MB   contoso*    base
contoso-movies  19.08.3   24    121MB  contoso*    -
"""


def test_snaps_are_known_by_their_revision():
    host = RecordedHost(
        files={"/var/lib/snapd/snaps/contoso-base_1265.snap": "x"},
        outputs={"snap list": SNAPS, "snap refresh --list": REFRESH},
        programs=["snap"],
    )
    seen = read(snap, host)
    assert [(u.name, u.installed, u.candidate, u.held, u.restart, u.size_bytes) for u in seen.pending] == [
        ("contoso-base", "20250101+r1265", "20260301+r2812", False, "reboot", 58_000_000),
        ("contoso-movies", "19.08.2+r22", "19.08.3+r24", True, "", 121_000_000),
    ]
    assert seen.provider.held == ("contoso-movies",)
    assert snap.find_updates("All snaps up to date.\n", {}) == ()


# --- firmware ----------------------------------------------------------------------------------------------------

FIRMWARE = """\
{ "Devices" : [ {
  "Name" : "System Firmware", "DeviceId" : "123fd4143619569d8ddb6ea47d1d3911eb5ef07a", "Version" : "1.33.0",
  "Flags" : [ "internal", "updatable", "require-ac", "supported", "registered", "needs-reboot" ],
  "Releases" : [
    { "Version" : "1.34.3", "RemoteId" : "lvfs", "Urgency" : "critical", "Size" : 20971520, "Created" : 1718000000, "Issues" : [ "CVE-2024-0762" ] },
    { "Version" : "1.33.1", "RemoteId" : "lvfs", "Urgency" : "high", "Issues" : [ "CVE-2023-40547" ] } ]
}, {
  "Name" : "Webcam", "DeviceId" : "948241a24320627284597ec95079cc1341c90518", "Version" : "2.1",
  "Flags" : [ "updatable" ], "Releases" : [ { "Version" : "2.2", "Created" : 1718000000 } ]
} ] }
"""


def firmware_host(answer):
    return RecordedHost(
        files={"/sys/firmware/efi/systab": "x"}, outputs={"fwupdmgr --json": answer}, programs=["fwupdmgr"]
    )


def test_firmware_is_named_by_device_and_says_what_it_mends():
    seen = read(fwupd, firmware_host(FIRMWARE))
    assert [(u.name, u.installed, u.candidate, u.severity, u.security, u.restart) for u in seen.pending] == [
        ("System-Firmware@123fd414", "1.33.0", "1.34.3", "critical", True, "reboot"),
        ("Webcam@948241a2", "2.1", "2.2", "", False, "none"),
    ]
    assert seen.pending[0].cves == ("CVE-2024-0762", "CVE-2023-40547")


@pytest.mark.parametrize(
    ("message", "unknown"),
    [
        ("No detected devices", False),
        ("No updatable devices", False),
        ("Failed to connect to daemon: Could not connect: No such file or directory", True),
    ],
)
def test_firmware_that_cannot_be_told_is_unknown_and_none_is_none(message, unknown):
    answer = msgspec.json.encode({"Error": {"Domain": "FwupdError", "Code": 9, "Message": message}}).decode()
    seen = read(fwupd, firmware_host(CommandResult(answer, "", 1)))
    assert seen.pending == ()
    assert bool(seen.provider.unknown_why) is unknown


# --- Windows -----------------------------------------------------------------------------------------------------

WINDOWS = {
    "Offered": [
        {"Title": "2026-03 Cumulative Update for Microsoft server operating system (KB5078766)", "KB": ["5078766"],
         "CVE": [], "Bulletins": [], "Severity": None, "Size": 398458880, "Hidden": False,
         "Categories": ["0FA1201D-4330-4FA8-8AE9-B877473B6441"], "Reboot": 2, "Released": "2026-03-10T17:00:00",
         "Id": "0a3f", "Revision": 200},
        {"Title": "Windows Malicious Software Removal Tool (KB890830)", "KB": "890830", "CVE": None, "Severity": None,
         "Size": 0, "Hidden": True, "Categories": ["28bc880e-0592-4cbf-8f95-c79b17911d5f"], "Reboot": 0,
         "Released": "2026-03-10T17:00:00", "Id": "0b41", "Revision": 201},
    ],
    "LastSearch": "2026-04-08T06:12:44", "RebootRequired": False,
}  # fmt: skip


def test_windows_updates_are_known_by_number_and_class_in_every_language():
    host = RecordedHost(outputs={"powershell.exe": msgspec.json.encode(WINDOWS).decode()}, programs=["powershell.exe"])
    seen = read(windows_update, host)
    assert [(u.name, u.security, u.held, u.restart) for u in seen.pending] == [
        ("KB5078766", True, False, "reboot"),
        ("KB890830", False, True, "none"),
    ]
    assert seen.provider.lists_refreshed_at == datetime(2026, 4, 8, 6, 12, 44, tzinfo=UTC)
    assert seen.provider.can == ("list",)


@pytest.mark.parametrize("answer", ["", "Exception: 0x80240438", "[]", '{"Other": 1}'])
def test_an_answer_that_is_none_leaves_windows_unknown(answer):
    seen = read(windows_update, RecordedHost(outputs={"powershell.exe": answer}, programs=["powershell.exe"]))
    assert seen.pending == ()
    assert seen.provider.unknown_why != ""


def test_one_update_is_not_a_list_in_powershells_json():
    one = {**WINDOWS, "Offered": WINDOWS["Offered"][0]}
    pending, _, _ = windows_update.parse_answer(msgspec.json.encode(one).decode())
    assert [u.name for u in pending] == ["KB5078766"]


def test_installed_numbers_are_read_where_windows_keeps_them():
    assert windows_update.parse_hotfixes(
        "HotFixID=KB5009555\r\n\r\nHotFixID=File 1\r\nServicePackInEffect=KB2079403\r\n".replace("\r", "")
    ) == ("KB2079403", "KB5009555")
    systeminfo = "Hotfix(s):                 2 Hotfix(s) Installed.\n                           [01]: KB2693643\n                           [02]: KB4601054\n"
    assert windows_update.parse_hotfixes(systeminfo) == ("KB2693643", "KB4601054")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded outputs are not here")
def test_recorded_windows_machines_agree():
    for name in ("windows-10/systeminfo-hyperv", "windows-7/systeminfo"):
        place = RECORDED / "jc/windows" / name
        expected = json.loads(place.with_suffix(".json").read_text())["hotfixs"]
        found = windows_update.parse_hotfixes(place.with_suffix(".out").read_text(errors="replace"))
        assert found == tuple(sorted(each for each in expected if each.startswith("KB"))), name
    old = (RECORDED / "glpi-agent/win32/wmi/xp-Win32_QuickFixEngineering.wmi").read_text(
        encoding="utf-16", errors="replace"
    )
    assert {"KB2079403", "KB2115168"} <= set(windows_update.parse_hotfixes(old))


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded outputs are not here")
def test_a_recorded_list_of_snaps_is_read():
    versions, words = snap.parse_list((RECORDED / "glpi-agent/linux/packaging/snap").read_text())
    assert (len(versions), versions["kdenlive"], words["core18"]) == (5, "19.08.2+r22", ("base",))


# The second has translated headings, a bar that drew over itself, wide letters and a second table.
WINGET = """\
Name                              Id                            Version          Available        Source
--------------------------------------------------------------------------------------------------------
Contoso Messenger                 Contoso.Messenger             5.27.1           5.29.0           winget
Contoso Browser                   Contoso.Browser               97.0.1072.62     97.0.1072.69     winget
Contoso Office for small firms    Contoso.Office                16.0.14701.20290 16.0.14729.20228 winget
Contoso Office for small firms    Contoso.Office                16.0.14701.20290 16.0.14729.20228 winget
Contoso Development Kit for Wind… Contoso.DevelopmentKit        < 10.0.22000.832 10.0.22621.2     winget
5 upgrades available.
"""
WINGET_TRANSLATED = """\
   - \r   \\ \r                                                                       \rName           ID                Version Verfügbar Quelle
----------------------------------------------------------
微信           Contoso.Chat      3.9.0   3.9.5     winget
Packer (x64)   Contoso.Packer    22.01   23.01     winget
2 Aktualisierungen verfügbar.

Die folgenden Pakete haben ein Upgrade, müssen aber ausdrücklich genannt werden:
Name           ID                Version Verfügbar Quelle
----------------------------------------------------------
Talk           Contoso.Talk      1.0.1   1.0.9     winget
"""


def test_wingets_table_is_read_by_place_and_not_by_word():
    found = winget.find_updates(WINGET)
    assert [(u.name, u.installed, u.candidate) for u in found] == [
        ("Contoso.Browser", "97.0.1072.62", "97.0.1072.69"),
        ("Contoso.DevelopmentKit", "10.0.22000.832", "10.0.22621.2"),
        ("Contoso.Messenger", "5.27.1", "5.29.0"),
        ("Contoso.Office", "16.0.14701.20290", "16.0.14729.20228"),
    ]
    assert [(u.name, u.installed, u.candidate) for u in winget.find_updates(WINGET_TRANSLATED)] == [
        ("Contoso.Chat", "3.9.0", "3.9.5"),
        ("Contoso.Packer", "22.01", "23.01"),
        ("Contoso.Talk", "1.0.1", "1.0.9"),
    ]
    assert winget.find_updates("No installed package found matching input criteria.\n") == ()


# --- macOS -------------------------------------------------------------------------------------------------------

MACOS = """\
Software Update Tool

Finding available software
Software Update found the following new or updated software:
* Label: macOS Sonoma 14.4.1-23E224
\tTitle: macOS Sonoma 14.4.1, Version: 14.4.1, Size: 2201648KiB, Recommended: YES, Action: restart, 
* Label: Safari17.4VenturaAuto-17.4
\tTitle: Safari, Version: 17.4, Size: 150000KiB, Recommended: YES, 
"""
OLD_MACOS = """\
Software Update found the following new or updated software:
   * iTunesX-12.8.2
\tiTunes (12.8.2), 273614K [recommended]
   * macOS 10.13.6 Update-
\tmacOS 10.13.6 Update ( ), 1346776K [recommended] [restart]
"""


def test_macos_lists_updates_in_two_forms():
    assert [(u.name, u.candidate, u.restart, u.size_bytes) for u in softwareupdate.find_updates(MACOS)] == [
        ("Safari17.4VenturaAuto-17.4", "17.4", "none", 153_600_000),
        ("macOS Sonoma 14.4.1-23E224", "14.4.1", "reboot", 2_254_487_552),
    ]
    assert [(u.name, u.candidate, u.restart) for u in softwareupdate.find_updates(OLD_MACOS)] == [
        ("iTunesX-12.8.2", "12.8.2", "none"),
        ("macOS 10.13.6 Update-", "macOS 10.13.6 Update-", "reboot"),
    ]
    assert softwareupdate.find_updates("No new software available.\n") == ()


BREW = """\
{"formulae":[{"name":"openssl@3","installed_versions":["3.2.0","3.2.1"],"current_version":"3.3.0","pinned":false,"pinned_version":null},
{"name":"node","installed_versions":["20.1.0"],"current_version":"21.0.0","pinned":true,"pinned_version":"20.1.0"}],
"casks":[{"name":"firefox","installed_versions":"123.0","current_version":"124.0"}]}
"""


def test_homebrew_is_asked_as_its_owner_and_fetches_nothing():
    host = RecordedHost(
        files={"/opt/homebrew/bin/brew": "x"}, owners={"/opt/homebrew/bin/brew": 501}, outputs={"sudo": BREW}
    )
    seen = read(homebrew, host)
    assert [(u.name, u.installed, u.candidate, u.held) for u in seen.pending] == [
        ("firefox", "123.0", "124.0", False),
        ("node", "20.1.0", "21.0.0", True),
        ("openssl@3", "3.2.1", "3.3.0", False),
    ]
    ((argv, environment),) = host.ran
    assert argv[:5] == ["sudo", "-n", "-H", "-u", "#501"]
    assert environment["HOMEBREW_NO_AUTO_UPDATE"] == "1"


# --- pip, npm ----------------------------------------------------------------------------------------------------

PIP = '[{"name": "requests", "version": "2.28.1", "latest_version": "2.32.3", "latest_filetype": "wheel"}]'
NPM = '{"npm": {"current": "9.2.0", "wanted": "9.9.4", "latest": "11.0.0", "dependent": "lib", "location": ""}, "serve": {"current": "14.2.4", "wanted": "14.2.4", "latest": "14.2.4"}}'
LANGUAGES = {
    "/usr/local/lib/python3.11/dist-packages/requests-2.28.1.dist-info/INSTALLER": "pip\n",
    "/usr/lib/python3/dist-packages/cryptography-38.0.4.dist-info/METADATA": "the distribution's own",
    "/usr/lib/python3.11/site-packages/setuptools-65.5.1.dist-info/INSTALLER": "rpm\n",
    "/usr/local/lib/node_modules/serve/package.json": '{"name": "serve", "version": "14.2.4"}',
    "/usr/local/lib/node_modules/@angular/cli/package.json": '{"name": "@angular/cli", "version": "17.0.1"}',
    "/usr/local/lib/node_modules/broken/package.json": "{",
}


def test_package_indexes_are_not_asked_unless_the_machine_allows_it():
    host = RecordedHost(files=LANGUAGES, outputs={"python3 -m pip": PIP, "npm outdated": CommandResult(NPM, "", 1)})
    assert read(pip, host).provider.unknown_why == pip.NOT_ASKED
    assert read(npm, host).provider.unknown_why == pip.NOT_ASKED
    assert host.ran == []


def test_where_it_is_allowed_pip_and_npm_say_what_is_newer():
    host = RecordedHost(
        files=LANGUAGES,
        outputs={"python3 -m pip": PIP, "npm outdated": CommandResult(NPM, "", 1)},
        environment={pip.ALLOWED: "yes"},
    )
    assert [(u.name, u.installed, u.candidate) for u in read(pip, host).pending] == [("requests", "2.28.1", "2.32.3")]
    assert [(u.name, u.installed, u.candidate) for u in read(npm, host).pending] == [("npm", "9.2.0", "11.0.0")]


def test_an_index_that_does_not_answer_leaves_it_unknown():
    host = RecordedHost(
        files=LANGUAGES, outputs={"python3 -m pip": TimedOut("python3", 60)}, environment={pip.ALLOWED: "yes"}
    )
    assert "did not answer" in read(pip, host).provider.unknown_why


# --- the software document ---------------------------------------------------------------------------------------


def test_what_keeps_packages_beside_the_system_is_read_with_its_name():
    host = RecordedHost(
        files={"/var/lib/dpkg/status": "x", **LANGUAGES, "/var/lib/snapd/snaps/contoso-base_1265.snap": "x",
               "/var/lib/flatpak/app/org.contoso.Notes/current": "x"},
        outputs={
            "dpkg-query --show": "ii \tbash\t5.2\tamd64\tbash\t5.2\n",
            "snap list": SNAPS,
            "flatpak list": "org.contoso.Notes/x86_64/stable\t1.0\tc9c3405212b0\tcontoso\n",
        },
    )  # fmt: skip
    document = software.collect(host)
    assert document.manager == "dpkg"
    assert [(p.manager, p.name, p.version) for p in document.packages if p.manager != "snap"] == [
        ("", "bash", "5.2"),
        ("flatpak", "org.contoso.Notes/x86_64/stable", "1.0+c9c3405212b0"),
        ("npm", "@angular/cli", "17.0.1"),
        ("npm", "serve", "14.2.4"),
        ("pip", "requests", "2.28.1"),
    ]
    assert len([p for p in document.packages if p.manager == "snap"]) == 5
    assert document.gaps == ()


def test_alpines_and_archs_packages_are_read_from_their_databases():
    document = software.collect(RecordedHost(files=ALPINE, programs=["apk"]))
    assert (document.manager, [(p.name, p.version, p.source) for p in document.packages]) == (
        "apk",
        [("busybox", "1.36.1-r15", ""), ("libcrypto3", "3.1.4-r5", "openssl")],
    )
    desc = "%NAME%\nlibcurl\n\n%VERSION%\n8.9.1-2\n\n%BASE%\ncurl\n\n%DESC%\nA library\n\n%ARCH%\nx86_64\n"
    host = RecordedHost(files={"/var/lib/pacman/local/libcurl-8.9.1-2/desc": desc}, programs=["pacman"])
    (package,) = software.collect(host).packages
    assert (package.name, package.version, package.architecture, package.source) == ("libcurl", "8.9.1-2", "x86_64", "curl")  # fmt: skip


def test_module_streams_of_rpm_packages_are_kept():
    text = (
        "nodejs\t1:16.14.0-5.module_el8\tx86_64\tnodejs-16.14.0-5.module_el8.src.rpm\tnodejs:16:8060020220523160029:ad008a3a\n"
        "glibc\t0:2.34-100.el9\tx86_64\tglibc-2.34-100.el9.src.rpm\t(none)\n"
    )
    host = RecordedHost(files={"/var/lib/rpm/rpmdb.sqlite": "x"}, outputs={"rpm --query --all": text})
    assert [(p.name, p.module) for p in software.collect(host).packages] == [("glibc", ""), ("nodejs", "nodejs:16")]


def test_an_rpm_that_knows_no_modules_is_asked_without_them():
    refused = CommandResult("", 'error: incorrect format: unknown tag: "MODULARITYLABEL"\n', 1)
    host = RecordedHost(
        files={"/var/lib/rpm/Packages": "x"},
        outputs={
            f"rpm --query --all --queryformat={software._RPM_FORMAT}": refused,
            f"rpm --query --all --queryformat={software._OLD_RPM_FORMAT}": "bash\t0:4.2.46-34.el7\tx86_64\tbash-4.2.46-34.el7.src.rpm\n",
        },
    )
    document = software.collect(host)
    assert ([p.name for p in document.packages], document.gaps) == (["bash"], ())
