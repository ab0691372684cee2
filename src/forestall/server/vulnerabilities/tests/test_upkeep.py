"""What devices have and what feeds say, kept together: matched once, told once, forgotten never."""

from __future__ import annotations

from datetime import timedelta

import pytest

from forestall.server.home import Home
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities import queries, upkeep
from forestall.server.vulnerabilities.models import (
    DeviceSoftware,
    DeviceVulnerability,
    PackageVersion,
    PackageVulnerability,
    Vulnerability,
)
from forestall.server.vulnerabilities.queries import MITIGATE, RESTART, UPGRADE, Wish
from forestall.server.vulnerabilities.rules import is_beside_the_kernel
from forestall.server.vulnerabilities.tests.story import (
    ALMA,
    ALMA_HOST,
    NEW_SUDO,
    NOW,
    OLD_SUDO,
    OPENSSL,
    SUDO,
    SYSTEM,
    deb,
    device,
    kev,
    report,
    rpm,
    settle,
    take,
    tracker,
)
from forestall.wire.facts import Socket

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def acme():
    return site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")


@pytest.fixture
def bolt():
    return site_create(client=client_create(name="Bolt", timezone="UTC"), name="Main site")


def names(found) -> list[str]:
    ranked = queries.vulnerabilities(found)
    rows = queries.names_of([one.pk for one in ranked])
    return [rows[one.pk].name for one in ranked]


def picture(**more):
    return queries.picture(scope=SYSTEM, now=NOW, **more)


def news() -> list[tuple[str, dict]]:
    found = OutboxEvent.objects.filter(name="vulnerability.found").order_by("pk")
    return [(one.subject.partition("/")[2], one.detail) for one in found]


def test_a_device_is_matched_when_its_software_comes_and_again_when_a_feed_does(home, acme):
    web = device(acme, "web")
    report(web, *ALMA_HOST)
    settle(home)
    assert picture().known == 1
    assert names(picture()) == []
    take(home, "almalinux", ALMA)
    settle(home)
    found = names(picture())
    assert SUDO in found
    assert OPENSSL in found
    rows = DeviceVulnerability.objects.visible_to(SYSTEM).filter(device=web)
    assert {row.package.name for row in rows} == {"sudo", "openssl", "openssl-libs"}
    assert upkeep.upkeep(home=home, now=NOW) == 0


def test_the_same_versions_on_many_devices_are_matched_once(home, acme, bolt):
    take(home, "almalinux", ALMA)
    for number in range(5):
        report(device(acme if number % 2 else bolt, f"web-{number}"), *ALMA_HOST)
    settle(home)
    assert PackageVersion.objects.count() == len(ALMA_HOST)
    assert {one.devices for one in queries.counted(picture(), queries.vulnerabilities(picture()))} == {5}
    only_acme = Scope.at("ada", 1, [Permission.DEVICE_VIEW], clients=[acme.client_id])
    assert queries.summary(queries.picture(scope=only_acme, now=NOW)).devices == 2
    assert len(DeviceVulnerability.objects.visible_to(SYSTEM).filter(package__name="sudo")) == 5


def test_an_upgrade_closes_its_row_and_the_past_stays_as_it_was(home, acme):
    web = device(acme, "web")
    report(web, rpm("sudo", OLD_SUDO))
    take(home, "almalinux", ALMA)
    settle(home)
    later = NOW + timedelta(days=3)
    report(web, rpm("sudo", NEW_SUDO), at=later)
    settle(home, later)
    assert names(queries.picture(scope=SYSTEM, now=later)) == []
    then = queries.open_at(scope=SYSTEM, at=NOW + timedelta(days=1))
    assert SUDO in names(then)
    assert [one.sentence for one in queries.actions(then)] == [f"Upgrade sudo to {NEW_SUDO} on 1 device"]
    assert names(queries.open_at(scope=SYSTEM, at=later)) == []
    assert names(queries.open_at(scope=SYSTEM, at=NOW - timedelta(days=1))) == []
    row = Vulnerability.objects.get(name=SUDO)
    place = queries.places_of(scope=SYSTEM, found=row, now=later)[0]
    assert (place.since, place.gone_at) == (NOW, later)


def test_what_a_feed_takes_back_is_gone_from_then_on_and_known_before(home, acme):
    report(device(acme, "web"), deb("openssl", "3.0.11-1"), os_id="debian", version="12")
    take(home, "debian-tracker", tracker(openssl={"CVE-2026-1": ("3.0.15-1", "high"), "CVE-2026-2": ("", "low")}))
    settle(home)
    assert set(names(picture())) == {"CVE-2026-1", "CVE-2026-2"}
    later = NOW + timedelta(days=1)
    take(home, "debian-tracker", tracker(openssl={"CVE-2026-1": ("3.0.15-1", "high")}), at=later)
    settle(home, later)
    assert names(queries.picture(scope=SYSTEM, now=later)) == ["CVE-2026-1"]
    assert set(names(queries.open_at(scope=SYSTEM, at=NOW + timedelta(hours=1)))) == {"CVE-2026-1", "CVE-2026-2"}
    assert PackageVulnerability.objects.filter(gone_at=later).count() == 1


def test_a_change_of_a_feed_touches_only_the_packages_that_it_is_about(home, acme, monkeypatch):
    report(device(acme, "web"), deb("openssl", "3.0.11-1"), deb("curl", "7.88.1-10"), os_id="debian", version="12")
    both = {"openssl": {"CVE-2026-1": ("3.0.15-1", "high")}, "curl": {"CVE-2026-3": ("7.88.1-11", "low")}}
    take(home, "debian-tracker", tracker(**both))
    settle(home)
    matched: list[str] = []
    real = upkeep.Engine.findings_of
    monkeypatch.setattr(upkeep.Engine, "findings_of", lambda self, key: (matched.append(key[1]), real(self, key))[1])
    both["curl"]["CVE-2026-4"] = ("7.88.1-12", "medium")
    take(home, "debian-tracker", tracker(**both))
    settle(home)
    assert matched == ["curl"]
    assert "CVE-2026-4" in names(picture())
    assert PackageVersion.objects.get(name="curl").fix == "7.88.1-12"


def test_a_version_that_was_harmless_becomes_vulnerable_on_every_device_that_has_it(home, acme, bolt):
    take(home, "debian-tracker", tracker(bash={"CVE-2020-1": ("1", "low")}))
    for site in (acme, bolt, acme):
        report(device(site, "web"), deb("libssl3", "3.0.11-1", "openssl"), os_id="debian", version="12")
    settle(home)
    assert DeviceVulnerability.objects.visible_to(SYSTEM).count() == 0
    take(home, "debian-tracker", tracker(openssl={"CVE-2026-1": ("3.0.15-1", "high")}))
    settle(home)
    rows = DeviceVulnerability.objects.visible_to(SYSTEM)
    assert rows.count() == 3
    assert {tuple(row.binaries) for row in rows} == {("libssl3",)}


def test_a_round_that_is_cut_short_goes_on_where_it_was(home, acme):
    packages = [deb(f"lib{number}", "1.0-1") for number in range(30)]
    report(device(acme, "web"), *packages, os_id="debian", version="12")
    settle(home)
    take(home, "debian-tracker", tracker(**{f"lib{n}": {f"CVE-2026-{n + 1}": ("2.0-1", "low")} for n in range(30)}))
    ticks = iter(range(1000))
    upkeep.VERSIONS_A_BATCH, before = 10, upkeep.VERSIONS_A_BATCH
    try:
        upkeep.upkeep(home=home, now=NOW, budget=3, clock=lambda: float(next(ticks)))
        done = len(names(picture()))
        assert 0 < done < 30
        settle(home)
    finally:
        upkeep.VERSIONS_A_BATCH = before
    assert len(names(picture())) == 30


def test_the_kernel_that_runs_on_after_its_upgrade_is_a_matter_of_a_reboot(home, acme):
    take(home, "almalinux", ALMA)
    old, new = "5.14.0-570.el9", "5.14.0-999.1.1.el9_9"
    report(device(acme, "web"), rpm("kernel-core", new), rpm("kernel-core", old), kernel=f"{old}.x86_64")
    settle(home)
    found = queries.actions(picture())
    assert [one.kind for one in found] == [RESTART]
    assert found[0].sentence == "Reboot into the installed kernel on 1 device"
    assert DeviceVulnerability.objects.visible_to(SYSTEM).get().only_running


def test_headers_of_a_kernel_that_is_not_there_are_open_to_nothing(home, acme):
    take(home, "debian-tracker", tracker(linux={"CVE-2026-0001": ("6.1.192-1", "high")}))
    headers = deb("linux-libc-dev", "6.1.187-1", "linux", "6.1.187-1")
    report(device(acme, "builder"), headers, os_id="debian", version="12.15")
    report(
        device(acme, "web"), headers, deb("linux-image-6.1.0-29-amd64", "6.1.123-1", "linux-signed-amd64", "6.1.123+1"),
        os_id="debian", version="12.15", kernel="6.1.0-29-amd64",
    )  # fmt: skip
    settle(home)
    [upgrade] = queries.actions(picture())
    assert upgrade.sentence == "Upgrade linux to 6.1.192-1 on 1 device"
    assert [row.device.name for row in DeviceVulnerability.objects.visible_to(SYSTEM)] == ["web"]


@pytest.mark.parametrize(
    ("package", "beside"),
    [
        ("linux-libc-dev", True),
        ("linux-headers-6.1.0-29-amd64", True),
        ("kernel-headers", True),
        ("kernel-devel-matched", True),
        ("kernel-rt-devel", True),
        ("linux-image-6.1.0-29-amd64", False),
        ("kernel-core", False),
        ("kernel-tools", True),
        ("linux-perf", True),
        ("linux-base", False),
    ],
)
def test_which_packages_are_no_kernel(package, beside):
    assert is_beside_the_kernel(package) is beside


def test_what_listens_beyond_the_machine_weighs_more(home, acme):
    take(
        home,
        "debian-tracker",
        tracker(openssh={"CVE-2026-7": ("1:9.9-1", "medium")}, zip={"CVE-2026-8": ("9-1", "medium")}),
    )
    out = Socket(protocol="tcp", address="::", port=22, process="sshd")
    inside = Socket(protocol="tcp", address="127.0.0.1", port=22, process="sshd")
    own = [deb("openssh-server", "1:9.2-1", "openssh"), deb("zip", "3-1")]
    report(device(acme, "open"), *own, os_id="debian", version="12", listening=(out,))
    report(device(acme, "shut"), *own, os_id="debian", version="12", listening=(inside,))
    settle(home)
    first, second = queries.actions(picture())
    assert (first.package, first.exposed) == ("openssh", 1)
    assert first.score == second.score + 20
    rows = DeviceVulnerability.objects.visible_to(SYSTEM).filter(package__name="openssh")
    assert {row.device.name: row.exposed for row in rows} == {"open": "sshd on tcp/22", "shut": ""}


def test_the_known_exploited_come_first_and_each_client_is_told_once(home, acme, bolt):
    take(home, "almalinux", ALMA)
    report(device(acme, "web"), *ALMA_HOST)
    settle(home)
    before = len(news())
    take(home, "kev", kev(SUDO))
    settle(home)
    assert names(picture())[0] == SUDO
    row = Vulnerability.objects.get(name=SUDO)
    assert (str(row.kev_added_on), str(row.kev_due_on)) == ("2026-11-10", "2026-12-01")
    told = news()[before:]
    assert [(name, detail["known_exploited"], detail["client"]) for name, detail in told] == [
        (SUDO, True, str(acme.client_id))
    ]
    report(device(acme, "second"), *ALMA_HOST)
    settle(home)
    assert len(news()) == before + 1
    report(device(bolt, "third"), *ALMA_HOST)
    settle(home)
    assert (SUDO, str(bolt.client_id)) in [(name, detail["client"]) for name, detail in news()[before + 1 :]]
    assert queries.summary(picture()).exploited == 1
    assert queries.actions(queries.narrowed(picture(), Wish(exploited=True)))[0].exploited == 1


def test_no_fix_yet_is_a_group_of_its_own_after_what_can_be_done(home, acme):
    take(home, "debian-tracker", tracker(zip={"CVE-2026-8": ("", "high")}, curl={"CVE-2026-9": ("8-1", "low")}))
    report(device(acme, "web"), deb("zip", "3-1"), deb("curl", "7-1"), os_id="debian", version="12")
    settle(home)
    found = queries.actions(picture())
    assert [one.kind for one in found] == [UPGRADE, MITIGATE]
    assert found[1].sentence == "No fix yet for zip on 1 device: mitigate"
    assert names(queries.narrowed(picture(), Wish(fixable=False))) == ["CVE-2026-8"]
    assert names(queries.narrowed(picture(), Wish(q="curl"))) == ["CVE-2026-9"]
    assert names(queries.narrowed(picture(), Wish(q="2026-8"))) == ["CVE-2026-8"]
    assert [one.vulnerabilities for one in queries.devices(picture())] == [2]


def test_a_revoked_device_no_longer_counts(home, acme):
    take(home, "almalinux", ALMA)
    web = device(acme, "web")
    report(web, *ALMA_HOST)
    settle(home)
    web.status, web.revoked_at, web.revoked_reason = "revoked", NOW, "sold"
    web.save()
    assert names(picture()) == []


def test_documents_that_say_nothing_of_software_wake_nobody(acme):
    web = device(acme, "web")
    upkeep.device_note(device_id=web.pk, documents=["access", "volumes"], now=NOW)
    assert not DeviceSoftware.objects.visible_to(SYSTEM).exists()
