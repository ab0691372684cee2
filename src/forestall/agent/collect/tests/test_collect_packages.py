"""Software and updates."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from forestall.agent.collect import software, updates
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.providers import apt
from forestall.agent.collect.tests.recorded_host import RecordedHost
from forestall.wire.facts import Update

DPKG = (
    "ii \tapt\t2.6.1\tamd64\tapt\t2.6.1\n"
    "ii \tlibc6\t2.36-9+deb12u14\tamd64\tglibc\t2.36-9+deb12u14\n"
    "rc \told-thing\t1.0\tall\told-thing\t1.0\n"
    "hi \tbash\t5.2.15-2+b8\tamd64\tbash\t5.2.15-2\n"
    "iF \tbroken\t1\tall\tbroken\t1\n"
)
POLICY = """\
apt:
  Installed: 2.6.1
  Candidate: 2.6.2
  Version table:
     2.6.2 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
 *** 2.6.1 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
libaom3:
  Installed: 3.6.0-1+deb12u1
  Candidate: 3.6.0-1+deb12u4
  Version table:
     3.6.0-1+deb12u4 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
     3.6.0-1+deb12u3 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
 *** 3.6.0-1+deb12u1 100
        100 /var/lib/dpkg/status
curl:
  Installed: 7.88.1-10+deb12u14
  Candidate: 7.88.1-10+deb12u15
  Version table:
     7.88.1-10+deb12u15 500 (phased 20%)
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 7.88.1-10+deb12u14 100
        100 /var/lib/dpkg/status
     7.88.1-10+deb12u5 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
pinned:
  Installed: 1.0
  Candidate: 1.0
  Version table:
     2.0 -10
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 1.0 100
        100 /var/lib/dpkg/status
libc6:i386:
  Installed: 2.36-9
  Candidate: 2.36-10
  Version table:
     2.36-10 500
        500 http://deb.debian.org/debian bookworm/main i386 Packages
 *** 2.36-9 100
        100 /var/lib/dpkg/status
"""
INSTALLED = (
    "install\tinstalled\tdpkg\tamd64\ninstall\tinstalled\tapt\tamd64\nhold\tinstalled\tcurl\tamd64\n"
    "install\tinstalled\tlibaom3:amd64\tamd64\ninstall\tinstalled\tpinned\tall\ninstall\tinstalled\tlibc6:i386\ti386\n"
    "deinstall\tconfig-files\tgone\tall\n"
)
SECURITY_RELEASE = (
    "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nVersion: 12\nCodename: bookworm-security\n"
)
MAIN_RELEASE = "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12.15\nCodename: bookworm\n"
LISTS = "/var/lib/apt/lists/deb.debian.org_"
APT_UPGRADE = Path(__file__).parents[6] / "shared/data/command-outputs/apt-upgrade"


def debian(**more):
    files = {
        "/var/lib/dpkg/status": "Package: apt\n",
        f"{LISTS}debian-security_dists_bookworm-security_InRelease": SECURITY_RELEASE,
        f"{LISTS}debian_dists_bookworm_InRelease": MAIN_RELEASE,
        **more.pop("files", {}),
    }
    outputs = {"dpkg-query --show": INSTALLED, "apt-cache policy": POLICY, **more.pop("outputs", {})}
    return RecordedHost(files=files, outputs=outputs, **more)


def test_packages_are_those_whose_files_are_there():
    host = RecordedHost(files={"/var/lib/dpkg/status": "x"}, outputs={"dpkg-query --show": DPKG})
    document = software.collect(host)
    assert document.manager == "dpkg"
    assert [(each.name, each.version, each.source, each.source_version) for each in document.packages] == [
        ("apt", "2.6.1", "", ""),
        ("bash", "5.2.15-2+b8", "", "5.2.15-2"),
        ("broken", "1", "", ""),
        ("libc6", "2.36-9+deb12u14", "glibc", ""),
    ]


def test_rpm_packages_are_read_with_epoch_and_source():
    text = (
        "glibc\t0:2.34-100.el9\tx86_64\tglibc-2.34-100.el9.src.rpm\n"
        "openssl-libs\t1:3.0.7-27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\n"
        "gpg-pubkey\t0:8483c65d-5ccc5b19\t(none)\t(none)\n"
    )
    host = RecordedHost(files={"/var/lib/rpm/rpmdb.sqlite": "x"}, outputs={"rpm --query --all": text})
    document = software.collect(host)
    assert document.manager == "rpm"
    assert [(each.name, each.version, each.source, each.source_version) for each in document.packages] == [
        ("glibc", "2.34-100.el9", "", ""),
        ("openssl-libs", "1:3.0.7-27.el9", "openssl", ""),
    ]


def test_rpm_as_a_guest_on_debian_does_not_win():
    host = RecordedHost(
        files={"/var/lib/dpkg/status": "x", "/var/lib/rpm/Packages": "x"},
        outputs={"dpkg-query --show": DPKG, "rpm --query": ""},
    )
    assert software.collect(host).manager == "dpkg"


def test_a_machine_without_a_known_manager_has_a_gap_not_an_empty_list_alone():
    document = software.collect(RecordedHost())
    assert (document.manager, document.packages, len(document.gaps)) == ("", (), 1)


def test_updates_are_the_newer_candidates_and_security_is_what_any_newer_version_says():
    document = updates.collect(debian())
    assert document.pending == (
        Update(name="apt", installed="2.6.1", candidate="2.6.2", security=True, origin="Debian-Security:12/oldstable-security", architecture="amd64"),
        # The fix of an older security version is not a fix for what is installed.
        Update(name="curl", installed="7.88.1-10+deb12u14", candidate="7.88.1-10+deb12u15", security=False, origin="Debian:12.15/oldstable", architecture="amd64", held=True),
        # The candidate is from the point release, and a version on the way there was a security fix.
        Update(name="libaom3", installed="3.6.0-1+deb12u1", candidate="3.6.0-1+deb12u4", security=True, origin="Debian:12.15/oldstable", architecture="amd64"),
        Update(name="libc6", installed="2.36-9", candidate="2.36-10", security=False, origin="Debian:12.15/oldstable", architecture="i386"),
    )  # fmt: skip
    assert document.security_sources is True
    assert document.lists_refreshed_at is not None
    assert document.gaps == ()


def test_foreign_packages_are_asked_for_by_architecture_and_removed_ones_are_not():
    host = debian()
    updates.collect(host)
    (asked,) = [argv for argv, _ in host.ran if argv[:2] == ["apt-cache", "policy"]]
    assert "libc6:i386" in asked
    assert "gone" not in asked


def test_lists_never_fetched_are_a_gap():
    host = RecordedHost(
        files={
            "/var/lib/dpkg/status": "x",
            "/etc/apt/sources.list": "deb http://security.debian.org/debian-security bookworm-security main\n",
        },
        outputs={"dpkg-query --show": INSTALLED, "apt-cache policy": ""},
    )
    document = updates.collect(host)
    assert document.lists_refreshed_at is None
    assert document.security_sources is True
    assert [gap.why for gap in document.gaps] == ["the package lists were never fetched (apt-get update)"]


def test_a_failing_apt_is_a_gap_with_its_words():
    host = debian(outputs={"apt-cache policy": CommandResult("", "E: The package lists are broken\n", 100)})
    document = updates.collect(host)
    assert document.pending == ()
    assert [(gap.what, gap.why) for gap in document.gaps] == [("updates", "E: The package lists are broken")]


def test_a_machine_without_apt_says_so():
    document = updates.collect(RecordedHost())
    assert (document.manager, len(document.gaps)) == ("", 1)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (apt.Release(label="Debian-Security", suite="oldoldstable", codename="buster/updates"), True),
        (apt.Release(origin="Ubuntu", label="Ubuntu", suite="jammy-security", codename="jammy"), True),
        (apt.Release(origin="UbuntuESM", label="UbuntuESM", suite="focal-infra-security", codename="focal"), True),
        (apt.Release(origin="Debian", label="Debian", suite="stable", codename="trixie"), False),
        (apt.Release(origin="Debian", label="Debian", suite="stable-updates", codename="trixie-updates"), False),
        (apt.Release(origin="security tools", label="Security Tools", suite="stable"), False),
    ],
)
def test_security_archives_are_known_by_label_or_suite(release, expected):
    assert apt.is_security(release) is expected


def test_an_archive_without_its_release_file_is_known_by_its_distribution():
    policies = apt.parse_policy(
        POLICY.replace("deb.debian.org/debian-security bookworm-security", "security.debian.org buster/updates")
    )
    found = {each.name: each.security for each in apt.find_updates(policies, {}, {})}
    assert found == {"apt": True, "libaom3": True, "curl": False, "libc6": False}


@pytest.mark.parametrize(
    ("address", "distribution", "name"),
    [
        ("http://deb.debian.org/debian", "bookworm", "deb.debian.org_debian_dists_bookworm"),
        ("http://security.debian.org/", "buster/updates", "security.debian.org_dists_buster_updates"),
        ("https://user@apt.example.org/my_repo", "stable", "apt.example.org_my%5frepo_dists_stable"),
        ("http://apt.example.org/flat", "./", "apt.example.org_flat_."),
    ],
)
def test_lists_are_found_by_the_names_apt_gives_them(address, distribution, name):
    assert apt.list_name(apt.Archive(address, distribution)) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deb http://security.debian.org/debian-security bookworm-security main\n", True),
        ("# deb http://security.debian.org/debian-security bookworm-security main\n", False),
        ("deb http://archive.ubuntu.com/ubuntu jammy main\n", False),
        ("Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: trixie-security\n", True),
        ("Enabled: no\nTypes: deb\nURIs: http://deb.debian.org/debian-security\nSuites: trixie-security\n", False),
    ],
)
def test_a_security_source_counts_unless_it_is_switched_off(text, expected):
    assert apt.names_security(text) is expected


@pytest.mark.skipif(not APT_UPGRADE.is_dir(), reason="the recorded upgrades are not here")
def test_the_security_rule_agrees_with_recorded_upgrades():
    expected = json.loads((APT_UPGRADE / "expected.json").read_text())
    for name, counts in expected.items():
        lines = re.findall(r"^Inst \S+ \[[^]]*\] \(\S+ ([^)]*?) \[", (APT_UPGRADE / name).read_text(), re.MULTILINE)
        # "Debian-Security:6.0/stable, Debian:6.0.5/stable" -> label and suite of each origin
        origins = [re.findall(r"([\w-]+):[^/,]*/([\w-]+)", line) for line in lines]
        security = [
            each
            for each in origins
            if any(apt.is_security(apt.Release(label=label, suite=suite)) for label, suite in each)
        ]
        assert (len(lines), len(security)) == (counts["upgrades"], counts["security"]), name
