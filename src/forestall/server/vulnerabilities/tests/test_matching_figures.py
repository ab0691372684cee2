"""Real hosts, real feeds, and answers that others gave: the figures of docs/vulnerability-matching.md."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import tomllib
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from forestall.server.vulnerabilities.feeds import Advisory, Affected, Span, read_feeds, read_file
from forestall.server.vulnerabilities.feeds.ecosystems import ecosystem_of, normal_name
from forestall.server.vulnerabilities.feeds.files import documents
from forestall.server.vulnerabilities.feeds.packages import stanzas
from forestall.server.vulnerabilities.hosts import parse_host, read_host
from forestall.server.vulnerabilities.index import Index
from forestall.server.vulnerabilities.matching import match_host
from forestall.server.vulnerabilities.types import Host, Package
from forestall.server.vulnerabilities.versions import compare
from forestall.server.vulnerabilities.windows import split_build

DATA = Path(__file__).parents[6] / "shared" / "data" / "vuln-feeds"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the recorded feeds and hosts are not beside this folder")


@cache
def feeds(*names):
    read = read_feeds([DATA / name for name in names])
    assert not read.errors
    return read


def host(name):
    return read_host(DATA / "hosts" / f"{name}.json.gz")


def until(read, moment):
    return [
        one
        for one in read.records
        if not isinstance(one, Advisory) or one.published_at is None or one.published_at <= moment
    ]


# --- hosts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "feed", "figures", "candidates", "late"),
    [
        ("alma_9", "almalinux9", (218, 294, 1090), 369, {"gnutls", "grub2", "kernel"}),
        ("alma_10", "almalinux10", (47, 49, 164), 289, {"grub2", "kernel", "libpng", "sudo"}),
    ],
)
def test_almalinux_as_counted_by_a_plain_comparison_and_as_its_own_manager_said(name, feed, figures, candidates, late):
    machine = host(name)
    found = match_host(Index.build(until(feeds(f"osv/{feed}.jsonl.xz"), machine.scanned_at)), machine)
    packages, advisories = {one.package for one in found}, {one.advisory for one in found}
    assert (len(packages), len(advisories), len({cve for one in found for cve in one.cves})) == figures
    # dnf itself had a newer candidate for every one of them.
    assert len(machine.candidates) == candidates
    assert packages <= machine.candidates.keys()
    # Of these the export names a candidate older than a fix that was published by that day: a mirror, or the export.
    behind = {one.package for one in found if compare("AlmaLinux:9", machine.candidates[one.package], one.fixed) < 0}
    assert {re.sub(r"^(kernel|grub2)-.*", r"\1", package) for package in behind} == late


PENDING = {
    "debian_11": 134,
    "debian_12": 68,
    "ubuntu_2404": 309,
    "rocky_9": 307,
    "alma_9": 369,
    "alma_10": 289,
    "fedora_42": 251,
    "opensuse_leap_15": 21,
    "oracle_9": 227,
    "alpine_319": 13,
}


@pytest.mark.parametrize("name", PENDING)
def test_what_package_managers_called_newer_is_newer(name):
    machine = host(name)
    versions = {one.name: one for one in machine.packages}
    newer = [
        package
        for package, candidate in machine.candidates.items()
        if compare(versions[package].ecosystem, candidate, versions[package].version) > 0
    ]
    assert len(newer) == len(machine.candidates) == PENDING[name]


def test_candidates_of_debian_by_the_archives_own_lists():
    machine = host("debian_12")
    installed = {one.name: one.version for one in machine.packages}
    newest = {}
    for path in sorted((DATA / "debian-bookworm").glob("Packages.*")):
        for document in documents(path):
            for fields in stanzas(document):
                name, version = fields["Package"], fields["Version"]
                if name not in newest or compare("Debian:12", version, newest[name]) > 0:
                    newest[name] = version
    pending = {name for name in installed.keys() & newest if compare("Debian:12", newest[name], installed[name]) > 0}
    # The lists are of November, the host's own answer of March: its 68, and 46 since.
    assert len(pending) == 114
    assert machine.candidates.keys() <= pending
    for name, candidate in machine.candidates.items():
        assert compare("Debian:12", newest[name], candidate) >= 0


def test_debian_notices_name_nothing_that_apt_had_no_update_for():
    machine = host("debian_11")
    found = match_host(Index.build(feeds("debian-tracker").records), machine)
    packages = {one.package for one in found}
    assert (len(found), len(packages), len({one.advisory for one in found})) == (91, 45, 47)
    assert len({cve for one in found for cve in one.cves}) == 212
    # Kernels get no newer version of their own package but another package.
    assert packages - machine.candidates.keys() == {"linux-image-5.10.0-8-amd64"}
    for one in found:
        if one.package in machine.candidates:
            assert compare("Debian:11", machine.candidates[one.package], one.fixed) >= 0, one


WINDOWS = {
    "windows_server_2022": ("KB5078766", "20348.4893", 40),
    "windows_11_23h2": ("KB5078883", "22631.6783", 41),
    "windows_10_22h2": ("KB5078885", "19045.7058", 43),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_leads_to_the_update_of_march_from_the_build_alone(name):
    machine = host(name)
    found = {one.advisory: one for one in match_host(Index.build(feeds("windows").records), machine)}
    kb, build, cves = WINDOWS[name]
    assert (found[kb].fixed, len(found[kb].cves)) == (build, cves)
    assert found[kb].installed == machine.kernel_version
    # Windows 10 22H2 is out of support: it was offered nothing, and is open all the same.
    assert (kb in machine.kbs_offered) == (name != "windows_10_22h2")


def test_windows_february_is_open_too_where_march_is_and_nothing_is_that_runs():
    read = feeds("windows")
    server = match_host(Index.build(read.records), host("windows_server_2022"))
    assert [(one.advisory, len(one.cves)) for one in server] == [
        ("KB5075906", 27),
        ("KB5078766", 40),
        ("KB5082142", 115),  # of April, published six days after the scan
    ]
    seen = until(read, host("windows_server_2022").scanned_at)
    assert [one.advisory for one in match_host(Index.build(seen), host("windows_server_2022"))] == [
        "KB5075906",
        "KB5078766",
    ]
    assert match_host(Index.build(read.records), host("windows_11_22h2")) == []  # no longer in the feed after 2025


@pytest.mark.parametrize("path", sorted((DATA / "hosts").glob("windows_*")), ids=lambda path: path.name)
def test_windows_update_offers_no_cumulative_update_that_we_miss(path):
    """Each KB that Windows Update offered and the mapping knows for this branch is among our findings."""
    machine = read_host(path)
    read = feeds("windows")
    branch = split_build(machine.kernel_version)[0]
    known = {
        one.id
        for one in read.records
        if isinstance(one, Advisory) and any(affected.name == branch for affected in one.affected)
    }
    found = {one.advisory for one in match_host(Index.build(read.records), machine)}
    assert machine.kbs_offered & known <= found


# --- answers of others -------------------------------------------------------------------------------------


def test_osv_answers_of_whole_images():
    """The answers name ids, not their contents: given those contents, the same pairs come out, and no others."""
    figures = {}
    for path in sorted((DATA / "golden" / "osv").glob("*.json.gz")):
        golden = json.loads(gzip.decompress(path.read_bytes()))
        wanted, records = set(), []
        for query, answer in zip(golden["queries"], golden["results"], strict=True):
            ecosystem, name = query["package"]["ecosystem"], query["package"]["name"]
            for one in answer.get("vulns") or ():
                wanted.add((ecosystem, normal_name(ecosystem, name), query["version"], one["id"]))
                affected = {"package": query["package"], "versions": [query["version"]]}
                records.append({"id": one["id"], "modified": one["modified"], "affected": [affected]})
        merged = {}
        for one in records:
            known = merged.setdefault(one["id"], one)
            if known is not one:
                known["affected"] += one["affected"]
        text = "".join(json.dumps(one) + "\n" for one in merged.values())
        read = read_text(text)
        machine = parse_host(json.dumps(golden))
        found = {
            (one.ecosystem, one.package, one.installed, one.advisory) for one in match_host(Index.build(read), machine)
        }
        # One row for a package and advisory: a package that is there in two versions with one fault has one row.
        assert {row[:2] + row[3:] for row in found} == {row[:2] + row[3:] for row in wanted}, path.name
        pairs = sum(len(answer.get("vulns") or ()) for answer in golden["results"])
        figures[path.name.partition("__")[2].partition(".")[0].lower()] = (len(golden["queries"]), pairs)
    assert figures["scanning_ubuntu_image"] == (101, 323)
    assert figures["scanning_python_image_with_some_packages"] == (111, 125)


def read_text(text):
    from forestall.server.vulnerabilities.feeds.document import Document
    from forestall.server.vulnerabilities.feeds.reading import read_document

    read = read_document(Document("made", text.encode()))
    assert not read.errors
    return read.records


def test_osv_answers_about_advisories_that_are_here():
    """Of the advisories that OSV was asked about, Ubuntu's samples hold the contents of some: both sides agree."""
    read = feeds("formats/ubuntu/osv")
    known = {one.id for one in read.records if isinstance(one, Advisory)}
    answered = Counter()
    for path in sorted((DATA / "golden" / "osv").glob("*ubuntu*.json.gz")):
        golden = json.loads(gzip.decompress(path.read_bytes()))
        found = {
            (one.package, one.installed, one.advisory)
            for one in match_host(Index.build(read.records), parse_host(json.dumps(golden)))
        }
        wanted = {
            (query["package"]["name"], query["version"], one["id"])
            for query, answer in zip(golden["queries"], golden["results"], strict=True)
            for one in answer.get("vulns") or ()
            if one["id"] in known
        }
        assert found == wanted, path.name
        answered.update(one[2] for one in wanted)
    assert set(answered) <= known


LISTS = {
    "alpine-310": ("alpine-310", "alpine:3.10"),
    "amazon-2": ("amazon-2", "amazon:2"),
    "centos-6": ("centos-6", "centos:6"),
    "debian-buster": ("debian-buster", "debian:10"),
    "opensuse-leap-151": ("opensuse-leap-151", "opensuse-leap:15.1"),
    "oraclelinux-8": ("oraclelinux-8-slim", "oracle:8"),
    "ubi-7": ("ubi-7", "redhat:7"),
    "ubuntu-1804": ("ubuntu-18.04", "ubuntu:18.04"),
}
TRIVY = sorted((DATA / "golden" / "trivy" / "expected").glob("*.golden"))
LEFT_OUT = {
    "ignore-unfixed": lambda row: not row[2],
    "ignore-cveids": lambda row: row[1] in {"CVE-2019-1549", "CVE-2019-14697"},
}


def expected_of(report):
    return [
        (one["PkgName"], one["VulnerabilityID"], one.get("FixedVersion", ""), one["Severity"].lower())
        for result in report.get("Results") or ()
        for one in result.get("Vulnerabilities") or ()
    ]


def image_host(base, report):
    if base in LISTS:
        name, system = LISTS[base]
        return read_host(DATA / "golden" / "trivy" / "packages" / f"{name}.json.golden", system=system)
    # No package list of this image is here: the packages that its full report names.
    full = json.loads((DATA / "golden" / "trivy" / "expected" / f"{base}.json.golden").read_text())
    system = report["Metadata"]["OS"]
    ecosystem = ecosystem_of(system["Family"], system["Name"])
    sources = {"libcrypto1.1": "openssl", "libssl1.1": "openssl", "musl-utils": "musl"}
    packages = {
        Package(ecosystem, one["PkgName"], one["InstalledVersion"], sources.get(one["PkgName"], ""))
        for result in full["Results"]
        for one in result["Vulnerabilities"]
    }
    return Host(base, system["Family"], system["Name"], tuple(packages))


def locked(target):
    """Packages of a lock file, as its own tool writes it."""
    folder = DATA / "golden" / "trivy" / "lockfiles"
    match target.split("/")[-1]:
        case "go.mod":
            text = (folder / "gomod" / target).read_text()
            found = re.findall(r"^\s*(?:require )?([\w./-]+\.[\w./-]+) (v\S+)", text, re.MULTILINE)
            return [Package("Go", name, version) for name, version in found]
        case "Cargo.lock":
            packages = tomllib.loads((folder / "cargo" / target).read_text())["package"]
            return [Package("crates.io", one["name"], one["version"]) for one in packages]
        case "poetry.lock":
            packages = tomllib.loads((folder / "poetry" / target).read_text())["package"]
            return [Package("PyPI", normal_name("PyPI", one["name"]), one["version"]) for one in packages]
        case "requirements.txt":
            found = re.findall(r"^([\w.-]+)==([\w.]+)", (folder / "pip" / target).read_text(), re.MULTILINE)
            return [Package("PyPI", normal_name("PyPI", name), version) for name, version in found]
        case "composer.lock":
            packages = json.loads((folder / "composer" / target).read_text())["packages"]
            return [Package("Packagist", one["name"], one["version"]) for one in packages]
        case "pom.xml":
            space = {"m": "http://maven.apache.org/POM/4.0.0"}
            tree = ElementTree.parse(folder / "pom" / target)  # noqa: S314 - a recorded file
            fields = [
                [one.findtext(f"m:{field}", "", space) for field in ("groupId", "artifactId", "version")]
                for one in tree.iterfind(".//m:dependency", space)
            ]
            return [Package("Maven", f"{group}:{name}", version) for group, name, version in fields]
        case "datacollector.deps.json":
            names = json.loads((folder / "dotnet" / target).read_text())["libraries"]
            return [
                Package("NuGet", normal_name("NuGet", name), version)
                for name, version in (one.split("/") for one in names)
            ]
    return None


@pytest.mark.parametrize("path", TRIVY, ids=lambda path: path.name.partition(".json")[0])
def test_trivys_results(path):
    index = Index.build(feeds("golden/trivy/db").records)
    report = json.loads(path.read_text())
    name = path.name.removesuffix(".json.golden")
    base = re.sub(r"-(ignore-unfixed|ignore-cveids|high-critical|medium)$", "", name)
    option = name.removeprefix(base).lstrip("-")
    if report["ArtifactType"] == "container_image":
        found = match_host(index, image_host(base, report))
    else:
        packages = []
        for result in report["Results"]:
            more = locked(result["Target"])
            if more is None:  # npm: its lock file is not here, the report lists all of its packages
                more = [Package("npm", one["Name"], one["Version"]) for one in result["Packages"]]
            packages += more
        found = match_host(index, Host(base, "", "", tuple(dict.fromkeys(packages))))
    rows = set()
    for one in found:
        # Trivy gives a row to each CVE of a Red Hat advisory.
        for id_ in one.cves if one.advisory.startswith("RHSA-") else (one.advisory,):
            rows.add((one.package.lower(), id_, one.fixed.removeprefix("0:")))
    wanted = {(package.lower(), id_, fixed) for package, id_, fixed, _ in expected_of(report)}
    if option in LEFT_OUT:
        rows = {row for row in rows if not LEFT_OUT[option](row)}
    elif option:
        # By severity Trivy weighs several vendors' words; we take what the report without the option says.
        full = json.loads(path.with_name(f"{base}.json.golden").read_text())
        severities = {(package.lower(), id_): level for package, id_, _, level in expected_of(full)}
        levels = {"high-critical": {"high", "critical"}, "medium": {"medium"}}[option]
        rows = {row for row in rows if severities[row[:2]] in levels}
    assert rows == wanted


def test_labels_of_people():
    """Precision and recall where a feed that is here speaks of the package and the vulnerability."""
    lines = lzma.decompress((DATA / "golden" / "match-labels.jsonl.xz").read_bytes()).splitlines()
    labels = [json.loads(line) for line in lines]
    assert len(labels) == 10908
    indices = sorted(f"debian-bookworm/{path.name}" for path in (DATA / "debian-bookworm").glob("Packages.*"))
    read = feeds("osv", "debian-tracker", *indices)
    index = Index.build(read.records)
    spoken = defaultdict(set)
    for one in read.records:
        if isinstance(one, Advisory):
            for affected in one.affected:
                spoken[affected.ecosystem, affected.name] |= set(affected.cves or one.cves)
    images = defaultdict(Counter)
    for label in labels:
        version = label["package"]["version"] or ""
        if ".el9" in version:
            images[label["image"]]["AlmaLinux:9"] += 1
        elif found := re.search(r"[+~]deb(\d+)", version):
            images[label["image"]][f"Debian:{found[1]}"] += 1
    outcomes = defaultdict(Counter)
    wrong = set()
    for label in labels:
        if not images[label["image"]]:
            continue
        ecosystem = images[label["image"]].most_common(1)[0][0]
        name, version = label["package"]["name"], label["package"]["version"] or ""
        if ".el9" not in version if ecosystem == "AlmaLinux:9" else "-" not in version:
            continue  # a jar or a module on that image
        source = index.source_of(ecosystem, name) if ecosystem.startswith("Debian") else ""
        cve = label["effective_cve"] or label["vulnerability_id"]
        machine = Host("", "", "", (Package(ecosystem, name, version, source),))
        said = any(cve in one.cves for one in match_host(index, machine))
        answerable = cve in spoken[ecosystem, source or name]
        assert answerable or not said
        if answerable:
            system = ecosystem.partition(":")[0]
            outcomes[system][label["label"], said] += 1
            if label["label"] == "FP" and said:
                wrong.add((name, cve))
    # RHEL 9 images by AlmaLinux's notices: 69 of 69. None missed, none too many.
    assert outcomes["AlmaLinux"] == {("TP", True): 69}
    # Debian 9 to 11 by the list of notices: 74 of 74 true ones; 4 that people judged false.
    assert outcomes["Debian"] == {("TP", True): 74, ("??", True): 6, ("FP", True): 4}
    assert wrong == {
        ("libgssapi-krb5-2", "CVE-2021-36222"),  # in the KDC, which krb5's libraries are not
        ("libk5crypto3", "CVE-2021-36222"),
        ("libkrb5support0", "CVE-2021-36222"),
        ("libudev1", "CVE-2021-33910"),  # in systemd's process 1, not in its library
    }


# --- formats -----------------------------------------------------------------------------------------------


def test_the_whole_folder_is_read_without_an_error():
    read = read_feeds([DATA])
    assert not read.errors
    assert len(read.files) >= 70
    assert {what for what in read.skipped.values() if "SBOM" in what} == set()
    assert sum(what == "an exported host" for what in read.skipped.values()) == 22


def test_debian_tracker_as_vunnel_normalised_it():
    folder = DATA / "formats" / "debian-tracker"
    read = read_file(folder / "input" / "debian.json")
    assert not read.errors
    ours = {
        (affected.ecosystem, one.id, affected.name): affected.spans[0].fixed
        for one in read.records
        for affected in one.affected
    }
    checked = 0
    for path in sorted((folder / "snapshots").glob("debian_1[0-9]/*.json")):
        item = json.loads(path.read_text())["item"]["Vulnerability"]
        ecosystem = "Debian:" + item["NamespaceName"].partition(":")[2]
        for fix in item["FixedIn"]:
            version = fix["Version"]
            if not any(key[1] == item["Name"] for key in ours):
                continue  # of vunnel's own older records, not of this file
            mine = ours.get((ecosystem, item["Name"], fix["Name"]))
            checked += 1
            if version == "0":
                assert mine is None, path  # never affected
            else:
                assert mine == ("" if version == "None" else version), path
    assert checked == 9


def test_ubuntu_as_vunnel_normalised_it():
    """Open packages of the releases; where only subscribers get a fix, ours is named, vunnel's is "won't fix"."""
    folder = DATA / "formats" / "ubuntu"
    ours = {}
    for one in feeds("formats/ubuntu/osv").records:
        for affected in one.affected:
            ours[affected.ecosystem, one.id, affected.name] = affected.spans[0].fixed
    agreed, pro_only = 0, 0
    for path in sorted((folder / "snapshots").glob("ubuntu-[0-9]*/*.json")):
        item = json.loads(path.read_text())["item"]
        release = re.search(r"ubuntu-([0-9.]+)", str(path.parent))[1]
        for affected in item["affected"]:
            events = affected["ranges"][0]["events"]
            fixed = next((event["fixed"] for event in events if "fixed" in event), "")
            mine = ours[f"Ubuntu:{release}", item["id"], affected["package"]["name"]]
            anchore = (affected.get("database_specific") or {}).get("anchore") or {}
            if (anchore.get("inference") or {}).get("kind") == "pro-only-fix":
                pro_only += 1
            else:
                assert mine == fixed, path
                agreed += 1
    assert (agreed, pro_only) == (27, 10)


def test_nvd_as_vunnel_normalised_it():
    folder = DATA / "formats" / "rocky-nvd" / "nvd" / "test-fixtures"
    ours = {one.cve: one for one in read_file(folder / "full-page.json.gz").records}
    snapshots = sorted((folder / "snapshots").rglob("*.json"))
    for path in snapshots:
        item = json.loads(path.read_text())["item"]["cve"]
        metrics = (item.get("metrics") or {}).get("cvssMetricV31") or ()
        primary = next((one["cvssData"]["baseScore"] for one in metrics if one["type"] == "Primary"), None)
        if primary is not None:
            assert ours[item["id"]].cvss == primary
    assert len(snapshots) == len(ours) == 38


def test_changing_one_advisory_changes_that_package_alone():
    read = feeds("osv/almalinux9.jsonl.xz")
    before = Index.build(read.records)
    more = Advisory("ALSA-2099:1", (Affected("AlmaLinux:9", "vim-minimal", (Span(fixed="99-1"),)),))
    after = Index.build([*read.records, more])
    names = after.names_of("AlmaLinux:9")
    changed = {name for name in names if before.digest_of("AlmaLinux:9", name) != after.digest_of("AlmaLinux:9", name)}
    assert changed == {"vim-minimal"}


def test_an_older_day_shows_what_was_known_then():
    read = feeds("osv/almalinux9.jsonl.xz")
    machine = host("alma_9")
    then = replace(machine, scanned_at=machine.scanned_at.replace(year=2024))
    found = match_host(Index.build(until(read, then.scanned_at)), machine)
    assert 0 < len({one.advisory for one in found}) < 294


def plain(machine, kind):
    """The packages of a host as a plain list would have them."""
    rows = []
    for one in machine.packages:
        bare = one.version.rpartition(":")[2]
        if kind == "rpm -qa":
            rows.append(f"{one.name}-{bare}.{one.architecture or '(none)'}")
        elif kind == "dpkg -l":
            rows.append(f"ii  {one.name}  {one.version}  amd64  words about it")
        else:
            epoch = one.version.partition(":")[0] if ":" in one.version else "0"
            where = f"arch={one.architecture}&epoch={epoch}&distro=almalinux-{machine.release}"
            rows.append({"purl": f"pkg:rpm/almalinux/{one.name}@{bare.replace('+', '%2B')}?{where}"})
    if kind == "sbom":
        return json.dumps({"bomFormat": "CycloneDX", "components": rows})
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alma_9", "rpm -qa"),
        ("alma_10", "rpm -qa"),
        ("alma_9", "sbom"),
        ("debian_12", "dpkg -l"),
    ],
)
def test_a_plain_list_or_an_sbom_of_a_host_leads_to_the_same(name, kind):
    """``rpm -qa`` tells no epochs and ``dpkg -l`` no sources: feeds and package indices do."""
    machine = host(name)
    index = Index.build(feeds("osv", "debian-bookworm").records)
    found = {(one.package, one.advisory) for one in match_host(index, machine)}
    again = {(one.package, one.advisory) for one in match_host(index, parse_host(plain(machine, kind)))}
    assert again == found != set()
