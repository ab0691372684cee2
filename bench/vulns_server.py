"""Keeping 10,000 devices in line with a feed of advisories: seconds and memory in the server's own database.

A fleet is made in a temporary data folder: each device has 600 of 2,000 packages, each at one of three versions; the
feed (in Debian's format) knows 20 vulnerabilities of each of 300 packages, so that a device has about 90 of these.
Measured are three rounds, and the page's question:

- every device's software is new (a fleet that has just enrolled, with the feed there);
- the feed changed a little: new vulnerabilities of 1 % of the packages;
- the feed changed badly: five packages that were harmless have a hole now, on thousands of devices.

The aim is at most 60 s for a changed feed (seconds on the clock and of the processor; other work on the machine counts
in the first alone).

    python -m bench.vulns_server [--devices 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
AIM_SECONDS = 60
PACKAGES, EACH, HARMLESS, HOLES = 2000, 600, 1700, 20
KINDS = 500
"""Different lists of packages; devices share them, and matching does not know."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as home:
        os.environ |= {
            "FORESTALL_HOME": home, "DJANGO_SETTINGS_MODULE": "forestall.server.settings", "FORESTALL_FEEDS": "off",
        }  # fmt: skip
        Path(home, "server", "static").mkdir(parents=True)
        Path(home, "server", "log.key").write_bytes(os.urandom(32))
        rows = measure(asked.devices)
    print(f"\n{asked.devices:,} devices of {EACH} packages\n")
    print(f"{'what':<46}{'s':>8}{'cpu s':>8}{'MiB':>7}{'rows':>12}")
    for row in rows:
        over = "" if row["seconds"] <= AIM_SECONDS else f"  over the aim of {AIM_SECONDS} s"
        print(f"{row['what']:<46}{row['seconds']:>8.1f}{row['cpu']:>8.1f}{row['mib']:>7.0f}{row['rows']:>12,}{over}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "vulns_server.json").write_text(json.dumps({"devices": asked.devices, "rounds": rows}, indent=2) + "\n")
    return 0


def feed(changed: range = range(0), broken: range = range(0)) -> str:
    """The tracker's file: package → vulnerability → its state in the release."""

    def hole(fixed: str) -> dict[str, object]:
        release = {"status": "resolved", "repositories": {}, "urgency": "medium", "fixed_version": fixed}
        return {"description": "d", "releases": {"bookworm": release}}

    found: dict[str, dict[str, object]] = {}
    for number in range(PACKAGES - HARMLESS):
        found[f"package-{number}"] = {
            f"CVE-2024-{number * 100 + one:06}": hole(f"{one % 4}.5-1") for one in range(HOLES)
        }
    for number in changed:
        found[f"package-{number}"][f"CVE-2026-{number:06}"] = hole("9.0-1")
    for number in broken:
        found[f"package-{number}"] = {f"CVE-2026-{number:06}": hole("9.0-1")}
    return json.dumps(found)


def measure(devices: int) -> list[dict[str, float | int | str]]:
    import django

    django.setup()
    import msgspec
    from django.core.management import call_command

    from forestall.server.home import current_home
    from forestall.server.inventory.models import Device, FactsDocument
    from forestall.server.people.scope import Scope
    from forestall.server.people.services import client_create, site_create
    from forestall.server.vulnerabilities import queries, taking, upkeep
    from forestall.server.vulnerabilities.models import DeviceSoftware, DeviceVulnerability, Feed
    from forestall.wire.facts import Package, Software, System

    call_command("migrate", verbosity=0)
    scope, now, home = Scope.system("bench"), datetime.now(UTC), current_home()
    chance = random.Random(5)
    sites = [site_create(client=client_create(name=f"Client {n}", timezone="UTC"), name="Site") for n in range(20)]
    bodies = [
        zlib.compress(
            msgspec.msgpack.encode(
                Software(
                    manager="dpkg",
                    packages=tuple(
                        Package(name=f"package-{number}", version=f"{chance.randrange(1, 4)}.0-1", architecture="amd64")
                        for number in chance.sample(range(PACKAGES), EACH)
                    ),
                )
            )
        )
        for _ in range(min(KINDS, devices))
    ]
    system = zlib.compress(
        msgspec.msgpack.encode(System(hostname="x", os_id="debian", os_name="Debian 12", os_version="12.9"))
    )
    made = Device.objects.bulk_create(
        [
            Device(client=site.client, site=site, name=f"d{n}", status="approved", enrolled_at=now, approved_at=now,
                   public_key=uuid.uuid4().bytes * 2)
            for n in range(devices) for site in (sites[n % len(sites)],)
        ],
        batch_size=500,
    )  # fmt: skip
    for name, body_of in (("system", lambda n: system), ("software", lambda n: bodies[n % len(bodies)])):
        FactsDocument.objects.bulk_create(
            [
                FactsDocument(
                    device=one, name=name, digest=b"d" * 32, body=body_of(n), collected_at=now, changed_at=now
                )
                for n, one in enumerate(made)
            ],
            batch_size=500,
        )
    DeviceSoftware.objects.bulk_create([DeviceSoftware(device=one, stale=True, at=now) for one in made], batch_size=500)
    row = Feed.objects.create(slug="debian-tracker", title="Debian", format="debian-tracker", ecosystem="Debian")

    def take(text: str, at: datetime) -> None:
        path = home.root / "feed.json"
        path.write_text(text)
        row.refresh_from_db()
        began = time.perf_counter()
        taking.feed_take(home=home, feed=row, file=path, now=at)
        row.refresh_from_db()
        if row.error:
            raise SystemExit(row.error)
        print(f"feed of {row.advisories:,} records read in {time.perf_counter() - began:.1f} s (a process of its own)")

    def settle(at: datetime) -> None:
        while upkeep.upkeep(home=home, now=at, budget=1000):
            pass

    def timed(what: str, do: Callable[[], None]) -> dict[str, float | int | str]:
        began, spent = time.perf_counter(), time.process_time()
        do()
        found: dict[str, float | int | str] = {
            "what": what,
            "seconds": round(time.perf_counter() - began, 1),
            "cpu": round(time.process_time() - spent, 1),
            "mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "rows": DeviceVulnerability.objects.visible_to(scope).count(),
        }
        print(found)
        return found

    rows = []
    take(feed(), now)
    rows.append(timed("every device's software is new", lambda: settle(now)))
    later = now + timedelta(hours=12)
    take(feed(range(20)), later)
    rows.append(timed("the feed changed: 1 % of the packages", lambda: settle(later)))
    latest = now + timedelta(hours=24)
    take(feed(range(20), range(PACKAGES - HARMLESS, PACKAGES - HARMLESS + 5)), latest)
    rows.append(timed("the feed changed: five packages became vulnerable", lambda: settle(latest)))

    def look() -> None:
        print(len(queries.actions(queries.picture(scope=scope, now=latest))), "actions")

    rows.append(timed("what to do first, of the whole fleet", look))
    return rows


if __name__ == "__main__":
    sys.exit(main())
