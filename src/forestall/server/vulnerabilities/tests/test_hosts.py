"""Hosts as agents tell them, and as everybody else exports them."""

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.vulnerabilities.hosts import HostUnreadableError, host_of, packages_of, parse_host, read_host
from forestall.server.vulnerabilities.types import Package
from forestall.wire.facts import Package as Installed
from forestall.wire.facts import Software, System


def packages(text, system=""):
    return list(parse_host(text, system=system).packages)


def of(os_id, version, *installed, kernel="", os_name="", manager="dpkg"):
    system = System(hostname="web-01", os_id=os_id, os_name=os_name, os_version=version, kernel=kernel)
    return system, Software(manager=manager, packages=installed)


def test_a_device_as_its_agent_tells_it():
    system, software = of(
        "debian",
        "12.11",
        Installed(name="libssl3", version="3.0.15-1", architecture="amd64", source="openssl"),
        Installed(name="Some_Thing", version="1.0", manager="pip"),
        Installed(name="org.gimp.GIMP", version="2.10", manager="flatpak"),
        kernel="6.1.0-29-amd64",
    )
    assert packages_of(system, software) == [
        Package("Debian:12", "libssl3", "3.0.15-1", source="openssl", architecture="amd64"),
        Package("PyPI", "some-thing", "1.0"),
    ]
    made = host_of(system, software)
    assert (made.name, made.os_id, made.kernel_release, made.kernel_version) == (
        "web-01",
        "debian",
        "6.1.0-29-amd64",
        "",
    )
    windows = host_of(*of("windows", "10.0.20348.4648", os_name="Windows Server 2022", manager=""))
    assert (windows.kernel_version, windows.release, windows.packages) == ("10.0.20348.4648", "Windows Server 2022", ())
    assert packages_of(*of("plan9", "4", Installed(name="rc", version="1"))) == []


VULS = {
    "jsonVersion": 4,
    "serverName": "web-01",
    "family": "debian",
    "release": "12",
    "scannedAt": "2026-03-07T06:11:24.667981285Z",
    "runningKernel": {"release": "6.1.0-29-amd64", "version": "6.1.123-1"},
    "packages": {
        "libssl3": {
            "name": "libssl3",
            "version": "3.0.13-1",
            "release": "",
            "newVersion": "3.0.15-1",
            "newRelease": "",
        },
        "sudo": {"name": "sudo", "version": "1.9", "release": "2.el9", "newVersion": "1.9", "newRelease": "2.el9"},
    },
    "SrcPackages": {"openssl": {"name": "openssl", "version": "3.0.13-1", "binaryNames": ["libssl3"]}},
}


def test_vuls(tmp_path):
    (tmp_path / "web-01.json.gz").write_bytes(gzip.compress(json.dumps(VULS).encode()))
    host = read_host(tmp_path / "web-01.json.gz")
    assert host.packages[0] == Package("Debian:12", "libssl3", "3.0.13-1", "openssl", "3.0.13-1")
    assert host.packages[1].version == "1.9-2.el9"
    assert host.candidates == {"libssl3": "3.0.15-1"}
    assert host.scanned_at.isoformat() == "2026-03-07T06:11:24.667981+00:00"
    windows = {**VULS, "family": "windows", "release": "Windows Server 2022", "SrcPackages": None}
    windows["windowsKB"] = {"applied": ["5009555"], "unapplied": ["5078766"]}
    host = parse_host(json.dumps(windows))
    assert (host.packages, host.kbs_applied, host.kbs_offered) == (
        (),
        frozenset({"KB5009555"}),
        frozenset({"KB5078766"}),
    )


def test_vuls_tells_one_version_of_a_source_though_its_packages_have_several():
    """Of dpkg's three packages two were updated: the third is open, whatever its source is said to be."""
    row = {"release": "", "newRelease": ""}
    mixed = {
        **VULS,
        "packages": {
            "dpkg": {"name": "dpkg", "version": "1.20.9", "newVersion": "1.20.13", **row},
            "dpkg-dev": {"name": "dpkg-dev", "version": "1.20.13", "newVersion": "1.20.13", **row},
            "bsdutils": {"name": "bsdutils", "version": "1:2.36.1-8", "newVersion": "1:2.36.1-9", **row},
            "libcurl4": {"name": "libcurl4", "version": "7.74.0-1.3+b1", "newVersion": "7.74.0-1.4", **row},
        },
        "SrcPackages": {
            "dpkg": {"name": "dpkg", "version": "1.20.13", "binaryNames": ["dpkg", "dpkg-dev"]},
            "util-linux": {"name": "util-linux", "version": "2.36.1-8", "binaryNames": ["bsdutils"]},
            "curl": {"name": "curl", "version": "7.74.0-1.4", "binaryNames": ["libcurl4"]},
        },
    }
    assert {one.name: one.source_version for one in parse_host(json.dumps(mixed)).packages} == {
        "dpkg": "1.20.9",
        "dpkg-dev": "1.20.13",
        "bsdutils": "2.36.1-8",
        "libcurl4": "7.74.0-1.3",
    }


def test_cyclonedx_and_spdx_of_several_makers():
    purls = [
        "pkg:deb/debian/libssl3@3.0.13-1~deb12u1?arch=amd64&distro=debian-12&upstream=openssl",
        "pkg:rpm/almalinux/openssl-libs@1.1.1k-4.el8?arch=x86_64&epoch=1&distro=alma-8.5&upstream=openssl-1.1.1k-4.el8.src.rpm",
        "pkg:rpm/redhat/bash@5.1-1.el9?distro=rhel-9.4",
        "pkg:apk/alpine/musl@1.2.4-r2?distro=3.19.1",
        "pkg:npm/%40angular/core@17.0.0",
        "pkg:maven/org.apache.commons/commons-text@1.9",
        "pkg:golang/golang.org/x/text@v0.3.6",
        "pkg:pypi/Django@4.2",
        "pkg:github/actions/checkout@v4",
        "not a purl",
    ]
    expected = [
        Package("Debian:12", "libssl3", "3.0.13-1~deb12u1", "openssl", architecture="amd64"),
        Package("AlmaLinux:8", "openssl-libs", "1:1.1.1k-4.el8", "openssl", "1.1.1k-4.el8", "x86_64"),
        Package("Red Hat:9", "bash", "5.1-1.el9"),
        Package("Alpine:v3.19", "musl", "1.2.4-r2"),
        Package("npm", "@angular/core", "17.0.0"),
        Package("Maven", "org.apache.commons:commons-text", "1.9"),
        Package("Go", "golang.org/x/text", "v0.3.6"),
        Package("PyPI", "django", "4.2"),
    ]
    inner = [{"type": "library", "name": "x", "purl": purl} for purl in purls]
    cyclonedx = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "app", "components": inner}]}
    assert packages(json.dumps(cyclonedx)) == expected
    spdx = {
        "spdxVersion": "SPDX-2.3",
        "name": "image",
        "packages": [
            {"name": "x", "externalRefs": [{"referenceType": "purl", "referenceLocator": purl}]} for purl in purls
        ],
    }
    assert packages(json.dumps(spdx)) == expected


def test_an_sbom_that_tells_its_system_apart():
    trivy = {
        "bomFormat": "CycloneDX",
        "components": [
            {"type": "operating-system", "name": "debian", "version": "12.5"},
            {
                "purl": "pkg:deb/debian/libc6@2.36-9",
                "properties": [
                    {"name": "aquasecurity:trivy:SrcName", "value": "glibc"},
                    {"name": "aquasecurity:trivy:SrcVersion", "value": "2.36"},
                    {"name": "aquasecurity:trivy:SrcRelease", "value": "9"},
                ],
            },
        ],
    }
    assert packages(json.dumps(trivy)) == [Package("Debian:12", "libc6", "2.36-9", "glibc", "2.36-9")]


def test_trivys_lists_and_osvs_queries():
    listed = [{"Name": "zlib1g", "Version": "1.2.11", "Release": "1", "Epoch": 1, "SrcName": "zlib", "Arch": "amd64"}]
    assert packages(json.dumps(listed), "debian:10") == [
        Package("Debian:10", "zlib1g", "1:1.2.11-1", "zlib", "", "amd64")
    ]
    queries = {"queries": [{"package": {"ecosystem": "Ubuntu:22.04", "name": "acl"}, "version": "2.3.1-1"}]}
    assert packages(json.dumps(queries)) == [Package("Ubuntu:22.04", "acl", "2.3.1-1")]


DPKG_L = """Desired=Unknown/Install/Remove/Purge/Hold
| Status=Not/Inst/Conf-files/Unpacked/halF-conf/Half-inst/trig-aWait/Trig-pend
|/ Err?=(none)/Reinst-required (Status,Err: uppercase=bad)
||/ Name           Version             Architecture Description
+++-==============-===================-============-=================================
ii  base-files     12.4+deb12u9        amd64        Debian base system
ii  dpkg           1.21.22             amd64        Debian package management system
rc  oldthing       1.0-1               amd64        removed
hi  libssl3:amd64  3.0.13-1~deb12u1    amd64        Secure Sockets Layer toolkit
"""


def test_plain_lists_of_debian():
    expected = [
        Package("Debian:12", "base-files", "12.4+deb12u9", architecture="amd64"),
        Package("Debian:12", "dpkg", "1.21.22", architecture="amd64"),
        Package("Debian:12", "libssl3", "3.0.13-1~deb12u1", architecture="amd64"),
    ]
    assert packages(DPKG_L) == expected
    apt = "Listing...\nbase-files/stable,now 12.4+deb12u9 amd64 [installed]\ndpkg/stable 1.21.22 amd64 [installed]\n"
    assert packages(apt) == expected[:2]
    show = "base-files\t12.4+deb12u9\ndpkg\t1.21.22\nlibssl3:amd64\t3.0.13-1~deb12u1\n"
    assert [one.version for one in packages(show)] == [one.version for one in expected]
    agents = "ii \tlibc6\t2.36-9+deb12u4\tamd64\tglibc\t2.36-9+deb12u4\nii \tdpkg\t1.21.22\tamd64\tdpkg\t1.21.22\n"
    assert packages(agents, "debian:12")[0] == Package(
        "Debian:12", "libc6", "2.36-9+deb12u4", "glibc", "2.36-9+deb12u4", "amd64"
    )
    assert packages("libc6 2.36-9 glibc\n", "debian:12")[0].source == "glibc"
    status = (
        "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.13-1)\n"
        "Version: 3.0.13-1+b1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: base-files\nVersion: 12ubuntu4.7\n\nPackage: dpkg\nVersion: 1.21\n"
    )
    assert packages(status)[0] == Package("Ubuntu:22.04", "libssl3", "3.0.13-1+b1", "openssl", "3.0.13-1", "amd64")


def test_plain_lists_of_rpm_and_apk():
    plain = "almalinux-release-9.4-1.el9.x86_64\ngpg-pubkey-b86b3716-61e69f29\nNetworkManager-1.36.0-4.el9_0.x86_64\n"
    assert packages(plain) == [
        Package("AlmaLinux:9", "almalinux-release", "?:9.4-1.el9", architecture="x86_64"),
        Package("AlmaLinux:9", "NetworkManager", "?:1.36.0-4.el9_0", architecture="x86_64"),
    ]
    full = (
        "NetworkManager 1:1.36.0-4.el9_0 x86_64 NetworkManager-1.36.0-4.el9_0.src.rpm (none)\n"
        "nodejs (none):16.20.2-4.module_el9 x86_64 nodejs-16.20.2-4.module_el9.src.rpm nodejs:16:9030:1\n"
    )
    assert packages(full, "almalinux:9") == [
        Package("AlmaLinux:9", "NetworkManager", "1:1.36.0-4.el9_0", "", "1.36.0-4.el9_0", "x86_64"),
        Package("AlmaLinux:9", "nodejs", "16.20.2-4.module_el9", "", "16.20.2-4.module_el9", "x86_64", "nodejs:16"),
    ]
    apk = "alpine-baselayout-3.4.3-r2\nalpine-release-3.19.1-r0\nmusl-1.2.4-r2\n"
    assert packages(apk)[2] == Package("Alpine:v3.19", "musl", "1.2.4-r2")
    listed = "musl-utils-1.2.4-r2 x86_64 {musl} (MIT) [installed]\n"
    assert packages(listed, "alpine:3.19.1") == [
        Package("Alpine:v3.19", "musl-utils", "1.2.4-r2", "musl", architecture="x86_64")
    ]


@pytest.mark.parametrize(
    ("text", "system", "says"),
    [
        ("", "", "holds no package"),
        ("hello world what\n", "", "'hello world what' is no line of a package list"),
        ("dpkg\t1.21\nwhat is this\n", "debian:12", "line 2: 'what is this'"),
        ("curl\t8.0-1\n", "", "does not tell of which system it is"),
        ("curl\t8.0-1\n", "amiga:3", "'amiga' is no system that is known"),
        ('{"what": 1}', "", "JSON of no format that hosts are exported in"),
        ('{"family": "debian", ', "", "truncated"),
        ('{"family": "plan9", "release": "4", "packages": {}}', "", "'plan9'"),
        ('{"family": "debian", "packages": {}}', "", "KeyError"),
        ("[1]", "", "not as its format should be"),
        ('[{"Name": "x"}]', "", "JSON of no format"),
    ],
)
def test_what_is_no_host_is_named(text, system, says):
    with pytest.raises(HostUnreadableError, match=says):
        parse_host(text, system=system)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    for name in ("bad", "missing"):
        with pytest.raises(HostUnreadableError, match=name):
            read_host(tmp_path / name)


@given(
    st.one_of(
        st.text(max_size=200),
        st.sampled_from([json.dumps(VULS), DPKG_L]).flatmap(
            lambda text: st.integers(0, len(text)).map(lambda place: text[:place] + "{" + text[place + 1 :])
        ),
    )
)
def test_no_text_breaks_the_readers(text):
    with contextlib.suppress(HostUnreadableError):
        parse_host(text, system="debian:12")
