"""Two clients with devices, and the feeds that say what is wrong with their software."""

from __future__ import annotations

import json
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from forestall.server.home import Home
from forestall.server.inventory.models import Device, FactsDocument
from forestall.server.people.models import Site
from forestall.server.people.scope import Scope
from forestall.server.vulnerabilities import taking, upkeep
from forestall.server.vulnerabilities.indexing import index_make
from forestall.server.vulnerabilities.models import Feed
from forestall.wire.facts import Network, Package, Socket, Software, System

SYSTEM = Scope.system("test")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
FEEDS = Path(__file__).parent / "feeds"
ALMA = FEEDS / "almalinux9.jsonl"
SUDO, OPENSSL = "CVE-2025-32462", "CVE-2025-15467"
"""Real ones, of ALSA-2025:9978 and ALSA-2026:1473."""
OLD_SUDO, NEW_SUDO = "1.9.5p2-9.el9", "1.9.5p2-15.el9_7"


def rpm(name: str, version: str, source: str = "") -> Package:
    return Package(name=name, version=version, architecture="x86_64", source=source)


def deb(name: str, version: str, source: str = "", source_version: str = "") -> Package:
    return Package(name=name, version=version, architecture="amd64", source=source, source_version=source_version)


ALMA_HOST = (
    rpm("sudo", OLD_SUDO),
    rpm("openssl", "1:3.5.1-4.el9_7"),
    rpm("openssl-libs", "1:3.5.1-4.el9_7", "openssl"),
    rpm("bash", "5.1.8-9.el9"),
)


def device(site: Site, name: str) -> Device:
    return Device.objects.create(
        client=site.client, site=site, name=name, hostname=name, status="approved", enrolled_at=NOW - timedelta(days=9),
        approved_at=NOW - timedelta(days=9), public_key=uuid.uuid4().bytes * 2, os_name="AlmaLinux 9.7",
    )  # fmt: skip


def report(
    of: Device,
    *packages: Package,
    os_id: str = "almalinux",
    version: str = "9.7",
    kernel: str = "",
    listening: tuple[Socket, ...] = (),
    at: datetime = NOW,
) -> None:
    """A device says what it has, and the loop hears of it."""
    for document in (
        System(hostname=of.name, os_id=os_id, os_name=f"{os_id} {version}", os_version=version, kernel=kernel),
        Software(manager="dpkg" if os_id == "debian" else "rpm", packages=packages),
        Network(listening=listening),
    ):
        FactsDocument.objects.visible_to(SYSTEM).update_or_create(
            device=of,
            name=document.name(),
            defaults={
                "digest": uuid.uuid4().bytes * 2, "body": zlib.compress(msgspec.msgpack.encode(document)),
                "collected_at": at, "changed_at": at,
            },
        )  # fmt: skip
    upkeep.device_note(device_id=of.pk, documents=["software"], now=at)


def take(home: Home, slug: str, file: Path | str, *, at: datetime = NOW, **more: object) -> Feed:
    """A feed comes, as a file or as the text of one."""
    if isinstance(file, str):
        path = home.root / f"{slug}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    else:
        path = home.root / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())
    feed, _ = Feed.objects.get_or_create(slug=slug, defaults={"title": slug, **more})
    taking.feed_take(home=home, feed=feed, file=path, now=at, make=index_make)
    feed.refresh_from_db()
    return feed


def kev(*cves: str, due: str = "2026-12-01", ransomware: str = "Unknown") -> str:
    """A catalogue of CISA's form."""
    return json.dumps(
        {
            "title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.11.20",
            "dateReleased": "2026-11-20T15:00:00.000Z", "count": len(cves),
            "vulnerabilities": [
                {
                    "cveID": cve, "vendorProject": "V", "product": "P", "vulnerabilityName": f"P {cve}",
                    "dateAdded": "2026-11-10", "shortDescription": "S", "requiredAction": "Apply", "dueDate": due,
                    "knownRansomwareCampaignUse": ransomware, "notes": "", "cwes": [],
                }
                for cve in cves
            ],
        }
    )  # fmt: skip


def tracker(**packages: dict[str, tuple[str, str]]) -> str:
    """Debian's tracker: package → vulnerability → (fixed version or "", urgency)."""
    return json.dumps(
        {
            name: {
                cve: {
                    "description": f"about {cve}", "scope": "local",
                    "releases": {
                        "bookworm": {
                            "status": "resolved" if fixed else "open", "repositories": {"bookworm": "0"},
                            "urgency": urgency, **({"fixed_version": fixed} if fixed else {}),
                        }
                    },
                }
                for cve, (fixed, urgency) in found.items()
            }
            for name, found in packages.items()
        }
    )  # fmt: skip


def settle(home: Home, now: datetime = NOW) -> None:
    """Rounds of upkeep until nothing is left to do."""
    for _ in range(20):
        if upkeep.upkeep(home=home, now=now) == 0:
            return
    raise AssertionError("upkeep never ends")
