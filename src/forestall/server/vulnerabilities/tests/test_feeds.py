"""Feeds: the vendors' own formats are understood, and what is wrong with a file is said."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.server.vulnerabilities.feeds import (
    FORMATS,
    Advisory,
    FeedError,
    Likelihood,
    Rating,
    Span,
    read_feeds,
    read_file,
    severity,
)
from forestall.server.vulnerabilities.feeds.document import Document
from forestall.server.vulnerabilities.feeds.reading import read_document
from forestall.server.vulnerabilities.feeds.records import MadeFrom
from forestall.server.vulnerabilities.feeds.trivy import constraint
from forestall.server.vulnerabilities.types import Exploited

CURL = {
    "id": "ALSA-2026:1",
    "modified": "2026-03-01T00:00:00Z",
    "published": "2026-02-28T00:00:00Z",
    "summary": "Important: curl security update",
    "related": ["CVE-2026-0001", "CVE-2026-0002"],
    "affected": [
        {
            "package": {"ecosystem": "AlmaLinux:9", "name": "curl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "7.76.1-29.el9_4"}]}],
        }
    ],
}
TRACKER = {
    "openssl": {
        "CVE-2026-0010": {
            "description": "A buffer.",
            "releases": {
                "bookworm": {"status": "resolved", "fixed_version": "3.0.15-1~deb12u1", "urgency": "high**"},
                "bullseye": {"status": "open", "urgency": "end-of-life"},
                "trixie": {"status": "resolved", "fixed_version": "0", "urgency": "medium"},
                "sid": {"status": "undetermined", "urgency": "not yet assigned"},
            },
        },
        "CVE-2026-0011": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
        "CVE-2026-0012": {"releases": []},
        "TEMP-0000001-AAAAAA": {"releases": {"bookworm": {"status": "open", "urgency": "low"}}},
    }
}
NOTICES = """[29 Mar 2023] DSA-5380-1 xorg-server - security update
\t{CVE-2023-1393}
\t[bullseye] - xorg-server 2:1.20.11-1+deb11u6
\tNOTE: a note
[18 Apr 2018] DSA-4205-1 jessie end-of-life
\tNOTE: end of security support for jessie
"""
CHANGELOG = """openssl (3.0.15-1~deb12u1) bookworm-security; urgency=medium

  * CVE-2026-0010: a buffer.

 -- Alice <alice@example.org>  Thu, 05 Mar 2026 10:00:00 +0100
"""
CSAF = {
    "document": {
        "csaf_version": "2.0",
        "category": "csaf_security_advisory",
        "title": "sudo",
        "aggregate_severity": {"text": "Moderate"},
        "tracking": {"id": "RHSA-2024:0811", "initial_release_date": "2024-02-13T18:00:00+00:00"},
    },
    "product_tree": {
        "branches": [
            {
                "branches": [
                    {
                        "product": {
                            "product_id": "BaseOS-9",
                            "product_identification_helper": {"cpe": "cpe:/o:redhat:enterprise_linux:9::baseos"},
                        }
                    },
                    {
                        "product": {
                            "product_id": "BaseOS-9.2.EUS",
                            "product_identification_helper": {"cpe": "cpe:/o:redhat:rhel_eus:9.2::baseos"},
                        }
                    },
                    {
                        "product": {
                            "product_id": "sudo-1:1.9.5p2-10.el9_3.x86_64",
                            "product_identification_helper": {
                                "purl": "pkg:rpm/redhat/sudo@1.9.5p2-10.el9_3?arch=x86_64&epoch=1"
                            },
                        }
                    },
                ]
            }
        ],
        "relationships": [
            {
                "full_product_name": {"product_id": f"{place}:{name}"},
                "product_reference": name,
                "relates_to_product_reference": place,
            }
            for place in ("BaseOS-9", "BaseOS-9.2.EUS")
            for name in ("sudo-1:1.9.5p2-10.el9_3.x86_64", "sudo-1:1.9.5p2-10.el9_3.src", "ruby-libs")
        ],
    },
    "vulnerabilities": [
        {
            "cve": "CVE-2023-28486",
            "product_status": {
                "fixed": [
                    "BaseOS-9:sudo-1:1.9.5p2-10.el9_3.x86_64",
                    "BaseOS-9:sudo-1:1.9.5p2-10.el9_3.src",
                    "BaseOS-9.2.EUS:sudo-1:1.9.5p2-10.el9_3.x86_64",
                ],
                "known_affected": ["BaseOS-9:ruby-libs"],
            },
            "threats": [{"category": "impact", "details": "Low"}],
            "scores": [{"cvss_v3": {"baseScore": 5.3, "vectorString": "CVSS:3.1/x"}}],
        }
    ],
}
HYDRA = {
    "name": "CVE-2024-8088",
    "threat_severity": "Moderate",
    "public_date": "2024-08-22T19:15:09Z",
    "cvss3": {"cvss3_base_score": "5.3", "cvss3_scoring_vector": "CVSS:3.1/y"},
    "affected_release": [
        {
            "cpe": "cpe:/a:redhat:enterprise_linux:9",
            "package": "python3.9-0:3.9.19-8.el9",
            "advisory": "RHSA-2024:9371",
        },
        {
            "cpe": "cpe:/a:redhat:enterprise_linux:9",
            "package": "python3.9-0:3.9.18-3.el9_4.5",
            "advisory": "RHSA-2024:6163",
        },
    ],
    "package_state": [
        {
            "cpe": "cpe:/o:redhat:enterprise_linux:8",
            "package_name": "python36:3.6/python36",
            "fix_state": "Will not fix",
        },
        {"cpe": "cpe:/o:redhat:enterprise_linux:7", "package_name": "python", "fix_state": "Not affected"},
    ],
}
VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "statements": [
        {
            "vulnerability": {"name": "CVE-2023-38545", "description": "socks"},
            "timestamp": "2023-10-11T06:00:00Z",
            "status": "affected",
            "products": [
                {"@id": "pkg:deb/ubuntu/curl@7.47.0-1ubuntu2.19?arch=source&distro=xenial"},
                {"@id": "pkg:deb/ubuntu/curl@7.47.0-1ubuntu2.19?arch=amd64&distro=xenial"},
            ],
        },
        {
            "vulnerability": {"name": "CVE-2023-38545"},
            "status": "fixed",
            "products": [{"@id": "pkg:deb/ubuntu/curl@8.5.0-2ubuntu10.9?arch=source&distro=noble"}],
        },
    ],
}
MSRC = [
    {
        "cve": "CVE-2026-20001",
        "patches": [
            {
                "os": "Windows Server 2022",
                "version": "2022",
                "kb": "KB5078766",
                "fixedBuild": "20348.4893",
                "severity": "7.8",
                "exploitStatus": "Publicly Disclosed:No;Exploited:Yes;Latest Software Release:Exploitation Detected",
            },
            {"os": "Windows 10 Version 22H2", "kb": "KB5078885", "fixedBuild": "19044.7058", "severity": "9.8"},
            {"os": ".NET Framework 4.8", "kb": "KB5082403", "fixedBuild": "4.8.4801.0", "severity": ""},
        ],
    }
]
KEV = {
    "title": "CISA Catalog",
    "catalogVersion": "2026.03.01",
    "count": 1,
    "vulnerabilities": [
        {
            "cveID": "CVE-2026-0001",
            "dateAdded": "2026-02-01",
            "dueDate": "2026-02-22",
            "knownRansomwareCampaignUse": "Known",
            "vulnerabilityName": "curl",
        }
    ],
}
NVD = {
    "format": "NVD_CVE",
    "vulnerabilities": [
        {
            "cve": {
                "id": "CVE-2026-0001",
                "published": "2026-01-01T00:00:00.000",
                "vulnStatus": "Analyzed",
                "descriptions": [{"lang": "en", "value": "A fault."}],
                "metrics": {
                    "cvssMetricV31": [
                        {"type": "Secondary", "cvssData": {"baseScore": 5.0, "vectorString": "b"}},
                        {"type": "Primary", "cvssData": {"baseScore": 9.8, "vectorString": "a"}},
                    ]
                },
            }
        },
        {"cve": {"id": "CVE-2026-0003", "vulnStatus": "Rejected", "descriptions": []}},
    ],
}
SECDB = {
    "distroversion": "v3.19",
    "reponame": "main",
    "packages": [{"pkg": {"name": "musl", "secfixes": {"1.2.4-r3": ["CVE-2026-0007 XSA-1"], "0": ["CVE-2026-0008"]}}}],
}
SAMPLES: dict[str, str] = {
    "osv": json.dumps(CURL),
    "debian-tracker": json.dumps(TRACKER),
    "debian-notices": NOTICES,
    "debian-changelog": CHANGELOG,
    "csaf": json.dumps(CSAF),
    "hydra": json.dumps(HYDRA),
    "hydra-list": '[{"CVE": "CVE-2024_11255", "severity": "low", "bugzilla": "1", "cvss3_score": "3.7"}]',
    "openvex": json.dumps(VEX),
    "secdb": json.dumps(SECDB),
    "msrc": json.dumps(MSRC),
    "windows-versions": '[{"os": "Windows", "build": "26100.1", "latestKB": "KB5120716", "releaseDate": "2026-08-11"}]',
    "nvd": json.dumps(NVD),
    "kev": json.dumps(KEV),
    "kev-csv": "cveID,vendorProject,product,vulnerabilityName,dateAdded,dueDate,knownRansomwareCampaignUse\n"
    'CVE-2026-0001,Haxx,curl,"curl, a fault",2026-02-01,2026-02-22,Unknown\n',
    "epss": "#model_version:v2025,score_date:2026-03-01\ncve,epss,percentile\nCVE-2026-0001,0.97,0.99\n",
    "epss-json": '{"status": "OK", "data": [{"cve": "CVE-2026-0001", "epss": "0.97", "percentile": "0.99"}]}',
    "packages": "Package: libssl3\nSource: openssl (3.0.15-1)\nVersion: 3.0.15-1+b1\nFilename: pool/x.deb\n",
    "trivy": "- bucket: alpine 3.19\n  pairs:\n    - bucket: musl\n      pairs:\n"
    "        - key: CVE-2026-0007\n          value:\n            FixedVersion: 1.2.4-r3\n",
}


def records_of(text, name="feed"):
    feeds = read_document(Document(name, text if isinstance(text, bytes) else text.encode()))
    assert not feeds.errors, feeds.errors
    return feeds.records


def advisory(text, name="feed"):
    return next(one for one in records_of(text, name) if isinstance(one, Advisory))


def test_every_format_is_recognised_by_what_stands_in_it():
    assert SAMPLES.keys() == FORMATS.keys()
    for slug, text in SAMPLES.items():
        feeds = read_document(Document("some name.txt", text.encode()))
        assert feeds.files == {"some name.txt": slug}, (slug, feeds.skipped, feeds.errors)
        assert [name for name, one in FORMATS.items() if one.matches(Document("x", text.encode()))] == [slug]


def test_osv_one_a_file_a_list_or_one_a_line_says_the_same():
    other = {**CURL, "id": "ALSA-2026:2"}
    one = advisory(json.dumps(CURL))
    assert (one.id, one.cves, one.severity) == ("ALSA-2026:1", ("CVE-2026-0001", "CVE-2026-0002"), "high")
    assert one.published_at == datetime(2026, 2, 28, tzinfo=UTC)
    assert one.affected[0].spans == (Span(fixed="7.76.1-29.el9_4"),)
    for text in (
        json.dumps([CURL, other]),
        f"{json.dumps(CURL)}\n{json.dumps(other)}\n",
        json.dumps([CURL, other], indent=2),
    ):
        assert [each.id for each in records_of(text)] == ["ALSA-2026:1", "ALSA-2026:2"]
    assert advisory(json.dumps(CURL, indent=2)) == one


def test_osv_bug_fixes_count_only_with_vulnerabilities():
    assert advisory(json.dumps({**CURL, "id": "ALBA-2026:1", "related": []})).affected == ()
    assert advisory(json.dumps({**CURL, "id": "ALBA-2026:1"})).affected != ()
    # Outside of notices "related" means: like it, not the same.
    ghsa = advisory(json.dumps({**CURL, "id": "GHSA-xxxx-yyyy-zzzz", "aliases": ["CVE-2026-0009"]}))
    assert ghsa.cves == ("CVE-2026-0009",)


def test_osv_spans_and_single_versions():
    def spans_of(events, versions=(), ecosystem="PyPI"):
        affected = {
            "package": {"ecosystem": ecosystem, "name": "Some_Thing.x"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}] if events else [],
            "versions": list(versions),
        }
        found = advisory(json.dumps({**CURL, "affected": [affected]})).affected[0]
        assert found.name == "some-thing-x"
        return found.spans, found.versions

    assert spans_of([{"introduced": "0"}, {"fixed": "2"}]) == ((Span(fixed="2"),), ())
    assert spans_of([{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}]) == ((Span("1", "2"), Span("3")), ())
    assert spans_of([{"introduced": "1"}, {"last_affected": "1.9"}]) == ((Span("1", last="1.9"),), ())
    assert spans_of([{"introduced": "1"}, {"fixed": "2"}], ["1.5", "2.0.dev1", "3.1"])[1] == ("3.1",)
    assert spans_of([], ["1.0", "1.1"]) == ((), ("1.0", "1.1"))


def test_osv_module_streams_are_read_from_the_title():
    modular = json.loads(json.dumps(CURL).replace("7.76.1-29.el9_4", "18.14.2-3.module_el9.2.0+59+10df"))
    modular["summary"] = "Moderate: nodejs:18 security, bug fix, and enhancement update"
    assert advisory(json.dumps(modular)).affected[0].module == "nodejs:18"
    modular["summary"] = "Important: virt:rhel and virt-devel:rhel security update"
    assert advisory(json.dumps(modular)).affected[0].module == ""
    assert advisory(json.dumps({**CURL, "summary": "Important: nodejs:18 security update"})).affected[0].module == ""


def test_ubuntu_fixes_only_for_subscribers_leave_the_release_open():
    def affected(ecosystem, fixed):
        return {
            "package": {"ecosystem": ecosystem, "name": "wayland"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            "ecosystem_specific": {"binaries": [{"binary_name": "libwayland-bin", "binary_version": fixed}]},
        }

    usn = {**CURL, "id": "USN-1-1", "related": [], "upstream": ["UBUNTU-CVE-2021-3782"], "summary": "wayland"}
    usn["severity"] = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
    usn["severity"].append({"type": "Ubuntu", "score": "medium"})
    usn["affected"] = [
        affected("Ubuntu:Pro:16.04:LTS", "1.12~esm1"),
        affected("Ubuntu:Pro:18.04:LTS", "1.16~esm1"),
        affected("Ubuntu:18.04:LTS", "1.16"),
        affected("Ubuntu:Pro:FIPS-updates:18.04:LTS", "1.16~fips"),
    ]
    found = advisory(json.dumps(usn))
    assert found.cves == ("CVE-2021-3782",)
    assert found.severity == "medium"  # the vendor's word before the score
    assert [(one.ecosystem, one.spans[0].fixed) for one in found.affected] == [
        ("Ubuntu:18.04", "1.16"),
        ("Ubuntu:16.04", "1.12~esm1"),
    ]
    assert found.affected[0].binaries == ("libwayland-bin",)


def test_debian_tracker_statuses():
    found = {one.id: one for one in records_of(SAMPLES["debian-tracker"])}
    assert found.keys() == {"CVE-2026-0010", "TEMP-0000001-AAAAAA"}
    ten = {one.ecosystem: one for one in found["CVE-2026-0010"].affected}
    assert ten.keys() == {"Debian:12", "Debian:11"}  # never affected, and not looked at, are not open
    assert (ten["Debian:12"].spans, ten["Debian:12"].severity) == ((Span(fixed="3.0.15-1~deb12u1"),), "high")
    assert ten["Debian:11"].spans == (Span(),)  # end of life: open, and stays so
    assert found["TEMP-0000001-AAAAAA"].cves == ()


def test_debian_notices():
    (one,) = records_of(NOTICES)
    assert (one.id, one.cves, one.published_at.date()) == ("DSA-5380-1", ("CVE-2023-1393",), date(2023, 3, 29))
    assert (one.affected[0].ecosystem, one.affected[0].name) == ("Debian:11", "xorg-server")
    assert one.affected[0].spans == (Span(fixed="2:1.20.11-1+deb11u6"),)


def test_red_hat_csaf_keeps_streams_apart_and_sources_out():
    found = records_of(SAMPLES["csaf"])
    (rating,) = [one for one in found if isinstance(one, Rating)]
    assert (rating.cve, rating.severity, rating.cvss) == ("CVE-2023-28486", "low", 5.3)
    rhsa = found[-1]
    assert (rhsa.id, rhsa.severity, rhsa.cves) == ("RHSA-2024:0811", "medium", ("CVE-2023-28486",))
    assert [(one.ecosystem, one.name, one.spans[0].fixed, one.architectures) for one in rhsa.affected] == [
        ("Red Hat:9", "sudo", "1:1.9.5p2-10.el9_3", ("x86_64",)),
        ("Red Hat:9.2-EUS", "sudo", "1:1.9.5p2-10.el9_3", ("x86_64",)),
        ("Red Hat:9", "src:ruby-libs", "", ()),
    ]


def test_red_hat_hydra_takes_the_first_fix_and_says_what_has_none():
    found = [one for one in records_of(SAMPLES["hydra"]) if isinstance(one, Advisory)]
    assert [(one.id, one.affected[0].name, one.affected[0].spans[0].fixed) for one in found] == [
        ("RHSA-2024:6163", "src:python3.9", "0:3.9.18-3.el9_4.5"),
        ("CVE-2024-8088", "src:python36", ""),
    ]
    assert found[1].affected[0].module == "python36:3.6"


def test_vex_bounds_what_is_affected_and_does_not_trust_the_version_of_today():
    (one,) = records_of(SAMPLES["openvex"])
    assert [(each.ecosystem, each.name, each.spans) for each in one.affected] == [
        ("Ubuntu:16.04", "curl", (Span(last="7.47.0-1ubuntu2.19"),))
    ]


def test_microsoft_updates_by_branch_and_month():
    found = {one.id: one for one in records_of(SAMPLES["msrc"], "CVE_KB_Mapping_2026-Mar.json.gz")}
    assert found.keys() == {"KB5078766", "KB5078885"}  # .NET has no build of Windows
    kb = found["KB5078766"]
    assert (kb.severity, kb.exploited, kb.published_at.date()) == ("high", True, date(2026, 3, 10))
    assert [(one.name, one.spans[0].fixed) for one in kb.affected] == [("20348", "20348.4893")]
    # The feed said 22H2 and a build of 21H2: one update for both.
    assert [one.spans[0].fixed for one in found["KB5078885"].affected] == ["19044.7058", "19045.7058"]
    assert advisory(SAMPLES["msrc"]).published_at is None


def test_exploited_and_likely():
    known = Exploited("CVE-2026-0001", date(2026, 2, 1), date(2026, 2, 22), True, "curl")
    assert records_of(SAMPLES["kev"]) == [known]
    assert records_of(SAMPLES["kev-csv"])[0].title == "curl, a fault"
    assert records_of(SAMPLES["epss"]) == records_of(SAMPLES["epss-json"]) == [Likelihood("CVE-2026-0001", 0.97, 0.99)]
    mixed = (
        "CVE,CVSS3,EPSS,EPSS Percentile,Vendor,Product\n"
        "CVE-2026-0001,8.8,0.32,0.96,Haxx,curl\nCVE-2026-0002,,,,Haxx,curl\n"
    )
    found = records_of(mixed)
    assert [one.cve for one in found if isinstance(one, Exploited)] == ["CVE-2026-0001", "CVE-2026-0002"]
    assert [one.severity for one in found if isinstance(one, Rating)] == ["high"]
    assert len([one for one in found if isinstance(one, Likelihood)]) == 1


def test_nvd_rates_and_leaves_out_what_was_rejected():
    (one,) = records_of(SAMPLES["nvd"])
    assert (one.cve, one.severity, one.cvss, one.vector) == ("CVE-2026-0001", "critical", 9.8, "a")


def test_alpine_and_package_indices():
    (one,) = records_of(SAMPLES["secdb"])
    assert (one.id, one.affected[0].ecosystem, one.affected[0].spans) == (
        "CVE-2026-0007",
        "Alpine:v3.19",
        (Span(fixed="1.2.4-r3"),),
    )
    assert records_of(SAMPLES["packages"]) == [MadeFrom("Debian", "libssl3", "openssl")]


def test_constraints_as_trivy_writes_them():
    assert list(constraint("< 3.0.0")) == [Span(fixed="3.0.0")]
    assert list(constraint(">= 0, < 0.3.7")) == [Span(fixed="0.3.7")]
    assert list(constraint(">= 2.0.0, <= 2.9.10.3")) == [Span("2.0.0", last="2.9.10.3")]
    assert list(constraint("[2.9.0,2.9.10.7)")) == [Span("2.9.0", "2.9.10.7")]
    assert list(constraint("<1.2 || >=2.0 <2.1")) == [Span(fixed="1.2"), Span("2.0", "2.1")]


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:L/A:H", 6.6),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:H/I:N/A:N", 7.4),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
        ("CVSS:3.1/AV:N/AC:L", None),
        ("CVSS:4.0/AV:N/AC:L/AT:N", None),
        ("", None),
    ],
)
def test_scores_of_vectors(vector, score):
    assert severity.score(vector) == score


# --- files -------------------------------------------------------------------------------------------------


def test_packed_files_zips_and_folders(tmp_path: Path):
    text = json.dumps(CURL).encode()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.bin").write_bytes(gzip.compress(text))
    (tmp_path / "b.json.xz").write_bytes(lzma.compress(text))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("ALSA-2026:1.json", text)
        archive.writestr("broken.json", b'{"id": ')
        archive.writestr("README.md", b"# hello")
    (tmp_path / ".hidden").write_bytes(b"{")
    (tmp_path / "host.json").write_text('{"jsonVersion": 4, "family": "debian", "packages": {}}')
    feeds = read_feeds([tmp_path])
    assert len(feeds.records) == 3
    assert {re.sub(r".*/", "", name): what for name, what in feeds.skipped.items()} == {
        "README.md": "of no format that is known",
        "host.json": "an exported host",
    }
    (error,) = feeds.errors
    assert error.file.endswith("all.zip/broken.json")
    assert next(iter(FORMATS["osv"].read(tmp_path / "b.json.xz"))).id == "ALSA-2026:1"


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("forestall.server.vulnerabilities.feeds.files.LARGEST", 1000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"[" * 5000))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b"[" * 5000)
    assert [str(error).rpartition(": ")[2] for error in read_feeds([tmp_path]).errors] == ["is over 0 MiB"] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({**CURL, "affected": 3}), r"\$\.affected"),
        (json.dumps(CURL) + "\n" + json.dumps({**CURL, "id": 7}) + "\n", r"line 2: .*\$\.id"),
        (json.dumps(CURL) + "\n{broken\n", "line 2"),
        ('{"id": "X", "modified": "2026-01-01T00:00:00Z",\n "affected": [}', "line 2"),
        (json.dumps([CURL, {**CURL, "modified": "yesterday"}]), r"\[1\]: .*\$\.modified"),
        (json.dumps(TRACKER).replace('"resolved", "fixed_version": "3', '"solved", "fixed_version": "3'), "'solved'"),
        (NOTICES.replace("29 Mar", "39 Mar"), "line 1: '39 Mar 2023' is no date"),
        (NOTICES + "what is this\n", "line 7: 'what is this'"),
        (SAMPLES["kev"].replace("2026-02-01", "soon"), r"\$\.vulnerabilities\[.*\]\.dateAdded"),
        (SAMPLES["epss"].replace("0.97", "1.97"), "line 3: '1.97' is not between 0 and 1"),
        (SAMPLES["epss"].replace("CVE-2026-0001,0.97,0.99", "CVE-2026-0001,0.97"), "line 3: 2 columns, 3 are named"),
        (SAMPLES["epss"].replace("0.97", "much"), "line 3: 'much' is no number"),
        (SAMPLES["msrc"].replace("KB5078766", "KB"), "'KB' is no KB"),
        (SAMPLES["msrc"].replace('"7.8"', '"bad"'), "'bad' is no severity"),
        (SAMPLES["openvex"].replace('"fixed"', '"mended"'), "'mended' is no status"),
        (SAMPLES["packages"] + "no field\n", "line 5: 'no field' is no field"),
        (SAMPLES["trivy"] + "    - what", "expected"),
        (SAMPLES["trivy"].replace("pairs:\n    -", "pears:\n    -"), "a list of buckets or pairs was expected"),
    ],
)
def test_what_is_wrong_is_named_with_file_place_and_value_and_nothing_of_the_file_counts(tmp_path, text, says):
    (tmp_path / "bad.feed").write_text(text)
    (tmp_path / "good.feed").write_text(json.dumps(CURL))
    feeds = read_feeds([tmp_path])
    (error,) = feeds.errors
    assert error.file == str(tmp_path / "bad.feed")
    assert re.search(says, str(error)), str(error)
    assert list(feeds.files) == [str(tmp_path / "good.feed")]
    assert len(feeds.records) == 1


def test_a_format_refuses_what_is_of_another(tmp_path: Path):
    (tmp_path / "x").write_text(SAMPLES["kev"])
    with pytest.raises(FeedError, match="is not OSV"):
        list(FORMATS["osv"].read(tmp_path / "x"))
    (tmp_path / "y").write_text('{"id": ')
    with pytest.raises(FeedError, match="Input data was truncated"):
        list(FORMATS["osv"].read(tmp_path / "y"))
    assert read_file(tmp_path / "not there").errors[0].why == "No such file or directory"


# --- any bytes ---------------------------------------------------------------------------------------------

SEEDS = [text.encode() for text in SAMPLES.values()] + [gzip.compress(SAMPLES["osv"].encode())]


def zipped():
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("a.json", SAMPLES["osv"])
    return into.getvalue()


def tarred():
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        member = tarfile.TarInfo("a.json")
        member.size = len(SAMPLES["osv"])
        archive.addfile(member, io.BytesIO(SAMPLES["osv"].encode()))
    return into.getvalue()


SEEDS += [zipped(), tarred()]
SEEDS.append(lzma.compress(SAMPLES["msrc"].encode()))


@st.composite
def broken(draw):
    """A real feed with a few bytes changed, cut, or doubled."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0:
                data[place : place + 1] = draw(st.binary(max_size=3))
            case 1:
                del data[place : place + draw(st.integers(1, 40))]
            case 2:
                data[place:place] = draw(
                    st.sampled_from([b"null", b"[]", b"{}", b"1e999", b'"\\ud800"', b"\xff", b"\n"])
                )
            case _:
                data[place:place] = data[: draw(st.integers(1, 60))]
    return bytes(data)


def survive(data: bytes, folder: Path) -> None:
    file = folder / "feed"
    file.write_bytes(data)
    feeds = read_file(file)  # never raises: what is wrong is in errors
    assert all(isinstance(error, FeedError) for error in feeds.errors)
    assert feeds.files or not feeds.records


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken())
def test_no_bytes_break_the_readers(tmp_path, data):
    survive(data, tmp_path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_nor_do_bytes_of_chance(tmp_path, data):
    survive(data, tmp_path)


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken())
def test_no_bytes_break_the_readers_for_long(tmp_path, data):
    survive(data, tmp_path)
