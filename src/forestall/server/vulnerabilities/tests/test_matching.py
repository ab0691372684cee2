"""Which advisories a host is open to: stories of packages, kernels, modules and builds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.vulnerabilities.feeds import Advisory, Affected, Likelihood, Rating, Span
from forestall.server.vulnerabilities.feeds.records import MadeFrom, SameAs
from forestall.server.vulnerabilities.index import Index, IndexUnreadableError
from forestall.server.vulnerabilities.matching import kernels_without_running, lookups, match_host
from forestall.server.vulnerabilities.types import Exploited, Host, Package
from forestall.server.vulnerabilities.versions import compare
from forestall.server.vulnerabilities.windows import branches_of, split_build


def advisory(id_, ecosystem, name, *, fixed="", introduced="", last="", cves=("CVE-2026-0001",), **more):
    made_of = {key: more.pop(key) for key in ("module", "architectures", "versions") if key in more}
    spans = () if "versions" in made_of else (Span(introduced, fixed, last),)
    return Advisory(id_, (Affected(ecosystem, name, spans, **made_of),), cves, **more)


def host(*packages, os_id="debian", **more):
    return Host("web-01", os_id, "12", packages=packages, **more)


def deb(name, version, source="", source_version="", **more):
    return Package("Debian:12", name, version, source, source_version, **more)


def rpm(name, version, **more):
    return Package("AlmaLinux:9", name, version, **more)


def open_to(records, machine):
    return [(one.package, one.advisory, one.fixed) for one in match_host(Index.build(records), machine)]


# --- versions ----------------------------------------------------------------------------------------------


def test_a_source_package_is_matched_for_each_package_made_from_it():
    records = [advisory("DSA-1", "Debian:12", "openssl", fixed="3.0.15-1~deb12u1")]
    machine = host(
        deb("libssl3", "3.0.13-1~deb12u1+b1", "openssl", "3.0.13-1~deb12u1"),
        deb("openssl", "3.0.13-1~deb12u1"),
        deb("libfoo", "1.0-1"),
    )
    assert open_to(records, machine) == [
        ("libssl3", "DSA-1", "3.0.15-1~deb12u1"),
        ("openssl", "DSA-1", "3.0.15-1~deb12u1"),
    ]


def test_a_backported_fix_counts_whatever_the_number_upstream():
    records = [advisory("DSA-1", "Debian:12", "curl", fixed="7.88.1-10+deb12u8")]
    assert open_to(records, host(deb("curl", "7.88.1-10+deb12u7")))
    assert not open_to(records, host(deb("curl", "7.88.1-10+deb12u8")))
    # Of another release: its own number.
    assert not open_to(records, host(Package("Debian:11", "curl", "7.74.0-1")))


def test_an_epoch_outweighs_everything():
    records = [advisory("ALSA-1", "AlmaLinux:9", "NetworkManager", fixed="1:1.54.0-4.el9_7")]
    assert open_to(records, host(rpm("NetworkManager", "99.0-1.el9")))
    assert not open_to(records, host(rpm("NetworkManager", "2:0.1-1.el9")))
    # rpm -qa leaves epochs out: that of the fix is meant.
    assert open_to(records, host(rpm("NetworkManager", "?:1.36.0-4.el9_0")))
    assert not open_to(records, host(rpm("NetworkManager", "?:1.54.0-4.el9_7")))


def test_spans_and_single_versions():
    records = [
        advisory("GHSA-1", "PyPI", "django", introduced="4.2", fixed="4.2.11"),
        advisory("GHSA-2", "PyPI", "django", introduced="3.2", last="3.2.24"),
        advisory("MAL-1", "PyPI", "django", versions=("4.2.99",)),
        advisory("GHSA-3", "PyPI", "django"),
    ]

    def advisories(version):
        return [one for _, one, _ in open_to(records, host(Package("PyPI", "django", version)))]

    assert advisories("4.1") == ["GHSA-3"]
    assert advisories("4.2.0") == ["GHSA-1", "GHSA-3"]
    assert advisories("4.2.11") == ["GHSA-3"]
    assert advisories("3.2.24") == ["GHSA-2", "GHSA-3"]
    assert advisories("4.2.99") == ["GHSA-3", "MAL-1"]


def test_what_was_withdrawn_is_not_open():
    gone = datetime(2026, 3, 1, tzinfo=UTC)
    records = [advisory("DSA-1", "Debian:12", "curl", fixed="8-1", withdrawn_at=gone)]
    assert not open_to(records, host(deb("curl", "7-1")))


def test_of_two_with_one_id_the_later_counts_and_parts_are_joined():
    old = advisory("ALSA-1", "AlmaLinux:9", "curl", fixed="1-1", modified_at=datetime(2026, 1, 1, tzinfo=UTC))
    new = advisory("ALSA-1", "AlmaLinux:9", "curl", fixed="2-1", modified_at=datetime(2026, 2, 1, tzinfo=UTC))
    for records in ([old, new], [new, old], [new, new, old]):
        assert open_to(records, host(rpm("curl", "0-1"))) == [("curl", "ALSA-1", "2-1")]
    parts = [
        advisory("KB1", "Windows", "20348", fixed="20348.10", cves=("CVE-2026-0001",)),
        advisory("KB1", "Windows", "20348", fixed="20348.10", cves=("CVE-2026-0002",)),
    ]
    machine = Host("dc", "windows", "Windows Server 2022", kernel_version="10.0.20348.9")
    assert match_host(Index.build(parts), machine)[0].cves == ("CVE-2026-0001", "CVE-2026-0002")


def test_cves_of_one_package_of_several():
    several = Advisory(
        "RHSA-1",
        (
            Affected("AlmaLinux:9", "a", (Span(fixed="2-1"),), cves=("CVE-2026-0001",)),
            Affected("AlmaLinux:9", "b", (Span(fixed="2-1"),)),
        ),
        ("CVE-2026-0001", "CVE-2026-0002"),
    )
    found = match_host(Index.build([several]), host(rpm("a", "1-1"), rpm("b", "1-1")))
    assert [one.cves for one in found] == [("CVE-2026-0001",), ("CVE-2026-0001", "CVE-2026-0002")]


def test_architectures():
    records = [advisory("RHSA-1", "Red Hat:9", "sudo", fixed="2-1", architectures=("s390x",))]
    assert not open_to(records, host(Package("Red Hat:9", "sudo", "1-1", architecture="x86_64")))
    assert open_to(records, host(Package("Red Hat:9", "sudo", "1-1", architecture="s390x")))
    assert open_to(records, host(Package("Red Hat:9", "sudo", "1-1")))


def test_red_hat_names_packages_and_of_what_has_no_fix_sources():
    records = [
        advisory("RHSA-1", "Red Hat:9", "python3-libs", fixed="1:3.9.18-3.el9"),
        advisory("CVE-2026-0009", "Red Hat:9", "src:python3.9", fixed="0:3.9.19-8.el9"),
        SameAs("Red Hat CPE:9", "Red Hat:9"),
        advisory("RHSA-2", "Red Hat CPE:9", "python3-libs", fixed="1:3.9.19-1.el9"),
    ]
    machine = host(Package("Red Hat:9", "python3-libs", "1:3.9.18-1.el9", "python3.9", "3.9.18-1.el9"))
    # The source's version has no epoch in its file's name: it is the package's.
    assert [one for _, one, _ in open_to(records, machine)] == ["RHSA-1", "RHSA-2"]


# --- modules -----------------------------------------------------------------------------------------------


def test_only_the_stream_that_is_installed_counts():
    fixed = {"16": "16.20.2-4.module_el9.3.0+77+1f", "18": "18.19.0-1.module_el9.3.0+88+2f"}
    records = [
        advisory(f"ALSA-{stream}", "AlmaLinux:9", "nodejs", fixed=one, module=f"nodejs:{stream}")
        for stream, one in fixed.items()
    ]
    records.append(advisory("ALSA-plain", "AlmaLinux:9", "nodejs", fixed="1:16.20.1-2.el9_2"))
    labelled = rpm("nodejs", "16.18.1-1.module_el9.1.0+1+1", module="nodejs:16:8090020")
    assert [one for _, one, _ in open_to(records, host(labelled))] == ["ALSA-16"]
    # Without the label the stream is told by the number.
    assert [one for _, one, _ in open_to(records, host(replace(labelled, module="")))] == ["ALSA-16"]
    assert [one for _, one, _ in open_to(records, host(rpm("nodejs", "18.1.0-1.module_el9.1.0+1+1")))] == ["ALSA-18"]
    assert [one for _, one, _ in open_to(records, host(rpm("nodejs", "1:16.1.0-1.el9")))] == ["ALSA-plain"]


# --- kernels -----------------------------------------------------------------------------------------------

KERNEL = [
    advisory("CVE-2026-0100", "Debian:12", "linux", fixed="6.1.140-1", cves=("CVE-2026-0100",)),
    advisory("CVE-2026-0200", "Debian:12", "linux", cves=("CVE-2026-0200",)),
]


def image(abi, version):
    return deb(f"linux-image-{abi}-amd64", version, "linux-signed-amd64", version.replace("-", "+"))


def test_an_old_kernel_that_still_runs_is_open_and_one_that_only_lies_there_is_not():
    old, middle, new = image("6.1.0-20", "6.1.85-1"), image("6.1.0-29", "6.1.123-1"), image("6.1.0-39", "6.1.140-1")
    found = match_host(Index.build(KERNEL), host(old, middle, new, kernel_release="6.1.0-29-amd64"))
    assert [(one.package, one.advisory, one.only_running) for one in found] == [
        ("linux-image-6.1.0-29-amd64", "CVE-2026-0100", True),
        ("linux-image-6.1.0-29-amd64", "CVE-2026-0200", True),
        ("linux-image-6.1.0-39-amd64", "CVE-2026-0200", False),
    ]
    rebooted = match_host(Index.build(KERNEL), host(old, middle, new, kernel_release="6.1.0-39-amd64"))
    assert [(one.package, one.advisory) for one in rebooted] == [("linux-image-6.1.0-39-amd64", "CVE-2026-0200")]


def test_a_kernel_that_runs_and_was_removed_is_open():
    machine = host(image("6.1.0-39", "6.1.140-1"), kernel_release="6.1.0-29-amd64", kernel_version="6.1.123-1")
    found = match_host(Index.build(KERNEL[:1]), machine)
    assert [(one.package, one.installed, one.only_running) for one in found] == [
        ("linux-image-6.1.0-29-amd64", "6.1.123-1", True)
    ]


def test_it_is_said_when_nobody_knows_which_kernel_runs():
    several = host(image("6.1.0-29", "6.1.123-1"), image("6.1.0-39", "6.1.140-1"))
    assert kernels_without_running(several)
    assert not kernels_without_running(replace(several, kernel_release="6.1.0-39-amd64"))
    assert not kernels_without_running(host(image("6.1.0-29", "6.1.123-1"), deb("curl", "1-1")))
    assert not match_host(Index.build(KERNEL[:1]), several)  # the newest is taken, it has the fix


def test_kernels_of_rpm_systems_stand_side_by_side_under_one_name():
    records = [advisory("ALSA-1", "AlmaLinux:9", "kernel-core", fixed="5.14.0-503.el9")]
    old, new = rpm("kernel-core", "5.14.0-70.13.1.el9_0"), rpm("kernel-core", "5.14.0-503.el9")
    older = rpm("kernel-core", "5.14.0-1.el9")
    running = match_host(
        Index.build(records), host(older, old, new, kernel_release="5.14.0-70.13.1.el9_0.x86_64", os_id="almalinux")
    )
    assert [(one.package, one.installed, one.only_running) for one in running] == [
        ("kernel-core", "5.14.0-70.13.1.el9_0", True)
    ]
    assert not open_to(records, host(older, old, new, kernel_release="5.14.0-503.el9.x86_64"))
    # The running one was removed by hand.
    gone = match_host(Index.build(records), host(new, kernel_release="5.14.0-70.13.1.el9_0.x86_64"))
    assert [(one.installed, one.only_running) for one in gone] == [("5.14.0-70.13.1.el9_0", True)]
    # In a container another system's kernel runs.
    assert not open_to(records, host(new, kernel_release="6.8.0-60-generic"))


def test_a_fault_that_the_newest_kernel_still_has_does_not_only_wait_for_a_restart():
    records = [advisory("ALSA-2", "AlmaLinux:9", "kernel-core", fixed="5.14.0-600.el9")]
    machine = host(
        rpm("kernel-core", "5.14.0-70.el9"), rpm("kernel-core", "5.14.0-503.el9"), kernel_release="5.14.0-70.el9.x86_64"
    )
    (one,) = match_host(Index.build(records), machine)
    assert (one.installed, one.only_running) == ("5.14.0-503.el9", False)


def test_signed_packages_are_asked_under_the_name_of_what_was_signed():
    def names(*packages):
        return {(one.name, one.version) for one in lookups(host(*packages))}

    assert names(image("6.1.0-29", "6.1.123-1")) == {("linux", "6.1.123-1")}
    assert names(deb("linux-image-amd64", "6.1.123-1", "linux-signed-amd64", "6.1.123+1")) == {("linux", "6.1.123-1")}
    assert names(deb("grub-efi-amd64-signed", "1+2.06+13+deb12u1")) == {("grub2", "2.06-13+deb12u1")}
    ubuntu = Package("Ubuntu:22.04", "linux-image-5.15.0-69-generic", "5.15.0-69.76", "linux-signed")
    assert names(ubuntu) == {("linux", "5.15.0-69.76")}


# --- Windows -----------------------------------------------------------------------------------------------


def test_windows_is_matched_by_its_build_and_updates_are_cumulative():
    records = [
        advisory("KB5075906", "Windows", "20348", fixed="20348.4773"),
        advisory("KB5078766", "Windows", "20348", fixed="20348.4893"),
        advisory("KB5000000", "Windows", "20348", fixed="20348.4648"),
        advisory("KB5078885", "Windows", "19045", fixed="19045.7058"),
    ]
    server = Host("dc", "windows", "Windows Server 2022", kernel_version="10.0.20348.4648")
    assert open_to(records, server) == [
        ("Windows Server 2022", "KB5075906", "20348.4773"),
        ("Windows Server 2022", "KB5078766", "20348.4893"),
    ]
    # Windows Update offers it nothing any more; it is open all the same.
    old = Host("desk", "windows", "Windows 10 Version 22H2 for x64-based Systems", kernel_version="10.0.19045.6456")
    assert [one for _, one, _ in open_to(records, old)] == ["KB5078885"]
    waiting = replace(server, kbs_applied=frozenset({"KB5078766"}))
    assert [(one.advisory, one.only_running) for one in match_host(Index.build(records), waiting)] == [
        ("KB5075906", False),
        ("KB5078766", True),
    ]


def test_builds():
    assert split_build("10.0.20348.4648") == ("20348", "20348.4648")
    assert split_build("6.3.9600.21620") == ("9600", "9600.21620")
    assert split_build("4.8.4801.0") is None
    assert branches_of("Windows 11 Version 22H2", "22631.5624") == (("22631", "22631.5624"), ("22621", "22621.5624"))
    assert branches_of("Windows Server 2012 R2 (Server Core installation)", "6.3.9600.22826") == (
        ("9600", "9600.22826"),
    )


# --- the index ---------------------------------------------------------------------------------------------

EVERYTHING = [
    *KERNEL,
    advisory("DSA-1", "Debian:12", "curl", fixed="8-1", title="curl", published_at=datetime(2026, 3, 1, tzinfo=UTC)),
    advisory("DSA-2", "Debian:12", "curl", introduced="7-1", fixed="9-1", cves=("CVE-2026-0002",), severity="low"),
    advisory("MVN-1", "Maven", "org.x:y", introduced="1.0", fixed="1.2"),
    Exploited("CVE-2026-0001", date(2026, 3, 2), date(2026, 3, 20), True, "curl"),
    Likelihood("CVE-2026-0001", 0.9, 0.99),
    Rating("CVE-2026-0001", "critical", 9.8, "CVSS:3.1/x", "a fault", datetime(2026, 2, 1, tzinfo=UTC)),
    MadeFrom("Debian", "libcurl4", "curl"),
]


def test_an_index_that_was_saved_says_the_same(tmp_path):
    made = Index.build(EVERYTHING)
    made.save(tmp_path / "index")
    opened = Index.open(tmp_path / "index")
    assert opened.digest == made.digest
    assert opened.ecosystems == made.ecosystems
    for ecosystem, name, version in (
        ("Debian:12", "curl", "7-1"),
        ("Debian:12", "curl", "8-1"),
        ("Debian:12", "linux", "6.1.1-1"),
        ("Maven", "org.x:y", "1.1"),
        ("Maven", "org.x:y", "0.9"),
        ("Debian:12", "nothing", "1"),
        ("Debian:99", "curl", "1"),
    ):
        assert opened.findings_of(ecosystem, name, version) == made.findings_of(ecosystem, name, version)
        assert opened.digest_of(ecosystem, name) == made.digest_of(ecosystem, name)
    assert opened.exploited == made.exploited
    assert opened.likelihoods == made.likelihoods
    assert opened.ratings == made.ratings
    assert opened.source_of("Debian:12", "libcurl4") == "curl"
    assert opened.names_of("Debian:12") == {"curl", "linux"}
    # Unrated by its vendor: the vulnerability's own rating. Exploited: by the catalogue.
    one = opened.findings_of("Debian:12", "curl", "7-1")[0]
    assert (one.advisory, one.severity, one.known_exploited, one.title) == ("DSA-1", "critical", True, "curl")
    assert one.published_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_saving_again_replaces_and_an_open_index_keeps_what_it_had(tmp_path):
    Index.build(EVERYTHING).save(tmp_path)
    before = Index.open(tmp_path)
    assert before.findings_of("Debian:12", "linux", "6.1.1-1")
    Index.build(EVERYTHING[2:4]).save(tmp_path)
    after = Index.open(tmp_path)
    assert not after.findings_of("Debian:12", "linux", "6.1.1-1")
    assert len(before.findings_of("Debian:12", "curl", "7-1")) == 2
    assert len({file.name.partition("-")[0] for file in tmp_path.glob("*.data")}) == 1  # nothing stale is left


def test_digests_change_with_what_is_said_of_a_package_alone():
    one = Index.build(EVERYTHING)
    other = Index.build([*EVERYTHING, advisory("AAA-1", "Debian:12", "vim", fixed="9-1")])
    assert one.digest != other.digest
    assert one.digest_of("Debian:12", "curl") == other.digest_of("Debian:12", "curl") != ""
    assert Index.build(list(reversed(EVERYTHING))).digest == one.digest
    changed = Index.build([*EVERYTHING, advisory("DSA-3", "Debian:12", "curl", fixed="9-1")])
    assert changed.digest_of("Debian:12", "curl") != one.digest_of("Debian:12", "curl")


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        Index.open(tmp_path)
    (tmp_path / "index.msgpack").write_bytes(b"what")
    with pytest.raises(IndexUnreadableError):
        Index.open(tmp_path)


VERSIONS = st.from_regex(r"[0-3](\.[0-9]){0,2}(~rc1)?-[0-9]", fullmatch=True)


@given(st.lists(st.tuples(VERSIONS, VERSIONS, st.integers(0, 2)), max_size=12), VERSIONS)
def test_the_bisection_finds_what_a_plain_loop_finds(spans, version):
    records = []
    for place, (one, other, kind) in enumerate(spans):
        span = (Span(fixed=one), Span(one, other), Span(last=one))[kind]
        records.append(Advisory(f"A-{place:02}", (Affected("Debian:12", "x", (span,)),)))
    expected = []
    for record in records:
        span = record.affected[0].spans[0]
        if (
            (not span.introduced or compare("Debian:12", version, span.introduced) >= 0)
            and (not span.fixed or compare("Debian:12", version, span.fixed) < 0)
            and (not span.last or compare("Debian:12", version, span.last) <= 0)
        ):
            expected.append(record.id)
    found = Index.build(records).findings_of("Debian:12", "x", version)
    assert sorted(one.advisory for one in found) == expected
