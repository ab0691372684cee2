"""The bill of materials: valid CycloneDX, purls as their specification has them, the same for the same facts."""

from __future__ import annotations

import json
import uuid

import pytest

from forestall.server.home import Home
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities import services
from forestall.server.vulnerabilities.documents import NotReportedError, sbom_text
from forestall.server.vulnerabilities.sbom import purl, sbom_of
from forestall.server.vulnerabilities.tests.story import (
    ALMA,
    ALMA_HOST,
    NOW,
    SUDO,
    SYSTEM,
    deb,
    device,
    report,
    settle,
    take,
)
from forestall.wire.facts import Package, Software, System

pytestmark = pytest.mark.django_db
DEBIAN = System(hostname="web", os_id="debian", os_name="Debian 12", os_version="12")


@pytest.mark.parametrize(
    ("package", "manager", "os_id", "expected"),
    [
        (deb("openssl", "3.0.17-1~deb12u2"), "dpkg", "debian",
         "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12"),
        (deb("libssl3", "3.0.17-1", "openssl"), "dpkg", "debian",
         "pkg:deb/debian/libssl3@3.0.17-1?arch=amd64&distro=debian-12&upstream=openssl"),
        (deb("libstdc++6", "1:12.2.0-14"), "dpkg", "debian",
         "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14?arch=amd64&distro=debian-12"),
        (Package(name="openssl", version="1:3.5.1-4.el9", architecture="x86_64"), "rpm", "almalinux",
         "pkg:rpm/almalinux/openssl@3.5.1-4.el9?arch=x86_64&distro=almalinux-12&epoch=1"),
        (Package(name="Flask_Login", version="0.6", manager="pip"), "dpkg", "debian", "pkg:pypi/flask-login@0.6"),
        (Package(name="@angular/core", version="17.0.1", manager="npm"), "dpkg", "debian",
         "pkg:npm/%40angular/core@17.0.1"),
        (Package(name="7-Zip", version="24.07", manager="winget"), "", "windows", "pkg:generic/7-Zip@24.07"),
    ],
)  # fmt: skip
def test_purls_are_as_the_specification_has_them(package, manager, os_id, expected):
    system = System(hostname="web", os_id=os_id, os_name="x", os_version="12")
    assert purl(package, manager=manager, system=system) == expected


def valid(document: dict) -> None:
    schema = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion

    error = schema.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    assert error is None, str(error)[:2000]


def test_a_device_has_a_valid_bill_with_what_was_said_of_its_holes(tmp_path):
    home = Home(tmp_path / "home")
    take(home, "almalinux", ALMA)
    web = device(site_create(client=client_create(name="Acme", timezone="UTC"), name="Main"), "web")
    with pytest.raises(NotReportedError):
        sbom_text(scope=SYSTEM, device=web, now=NOW)
    report(web, *ALMA_HOST)
    settle(home)
    services.vulnerability_mark(
        client=web.client, device=web, vulnerability=SUDO, mark="not_applicable", reason="nobody may sudo here",
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    plain = json.loads(sbom_text(scope=SYSTEM, device=web, now=NOW))
    assert "vulnerabilities" not in plain
    assert len(plain["components"]) == len(ALMA_HOST) + 1
    valid(plain)
    whole = json.loads(sbom_text(scope=SYSTEM, device=web, now=NOW, vulnerabilities=True))
    valid(whole)
    sudo = next(one for one in whole["vulnerabilities"] if one["id"] == SUDO)
    assert sudo["analysis"] == {
        "state": "not_affected", "detail": "nobody may sudo here", "justification": "code_not_reachable",
    }  # fmt: skip
    assert sudo["affects"][0]["ref"].startswith("pkg:rpm/almalinux/sudo@")


def test_the_same_facts_give_the_same_bill_whatever_their_order():
    packages = (deb("a", "1"), deb("b", "2"), deb("b", "2"))
    ident = uuid.uuid4()
    one, other = (
        sbom_of(
            device_id=ident, name="web", system=DEBIAN, software=Software(manager="dpkg", packages=order),
            collected_at=NOW,
        )
        for order in (packages, packages[::-1])
    )  # fmt: skip
    assert one == other
    assert len(one["components"]) == 3
    valid(one)
