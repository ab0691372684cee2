"""A fleet for tests and pictures: devices with facts, samples, checks, tickets, jobs and evidence.

The first devices are made as in life: facts are received, samples appended, checks judged, events routed through the
loop. Beyond ``MADE_FULLY`` the rest are copies of them in bulk, so that 500 devices take seconds.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import pi, sin
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from forestall.server.checks.models import Check, CheckChange
from forestall.server.checks.services import device_judge
from forestall.server.home import current_home
from forestall.server.inventory.models import Device, DeviceStatus, FactsChange, FactsDocument
from forestall.server.loop import HANDLERS
from forestall.server.metrics.store import Batch, open_store
from forestall.server.outbox.services import events_route
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, person_create, site_create
from forestall.wire import facts as f
from forestall.wire.series import series_name

MADE_FULLY = 12
SYSTEM = Scope.system("fleet")
PASSWORD = "correct horse battery"
CLIENTS = (
    ("Ashdown Dental", "Europe/London", ("Leeds", "York")),
    ("Brandt Maschinenbau GmbH", "Europe/Berlin", ("Werk 1", "Verwaltung")),
    ("Corvid Architects", "Europe/London", ("Studio",)),
)
NAMES = ("web", "db", "reception-pc", "files", "mail", "backup", "build", "gateway", "print", "erp", "vpn", "lab")
LIBRARIES = ("ssl", "curl", "xml", "png", "tiff")
LONG_NAME = "a-very-long-device-name-that-somebody-really-gave.finance-department.example-manufacturing.internal"
BYTES = 100_000_000_000


@dataclass
class Fleet:
    """What was built."""

    person: Person
    clients: list[Client]
    sites: list[Site]
    devices: list[Device] = field(default_factory=list)


@dataclass(frozen=True)
class Nature:
    """How a device is."""

    disk: float = 42.0
    disk_rise: float = 0.0
    """Percentage points in the last two hours."""
    security: int = 0
    other: int = 2
    backup_hours: float | None = 9.0
    failed_service: str = ""
    reboot: bool = False
    cpu: float = 12.0
    silent: timedelta = timedelta(0)
    certificate_days: float | None = None
    growth: float = 0.0
    """Percentage points a day."""


NATURES = (
    Nature(disk=72, disk_rise=22, security=3, cpu=38),
    Nature(failed_service="postgresql.service", cpu=55),
    Nature(certificate_days=9, other=14),
    Nature(disk=61, growth=1.6, backup_hours=7),
    Nature(security=5, reboot=True),
    Nature(backup_hours=70),
    Nature(cpu=24),
    Nature(silent=timedelta(hours=3)),
    Nature(other=0),
    Nature(backup_hours=None, security=1),
    Nature(disk=83),
    Nature(cpu=8),
)
EVERYTHING_FAILS = Nature(
    disk=97,
    security=41,
    other=120,
    backup_hours=400,
    failed_service="nginx.service",
    reboot=True,
    cpu=97,
    certificate_days=-3,
)


def owner() -> Person:
    """The person who may see and do everything."""
    return Person.objects.filter(username="ada").first() or person_create(
        username="ada", password=PASSWORD, role=Role.OWNER
    )


def places() -> tuple[list[Client], list[Site]]:
    clients = []
    for name, zone, _ in CLIENTS:
        known = Client.objects.visible_to(SYSTEM).filter(name=name).first()
        clients.append(known or client_create(name=name, timezone=zone))
    sites = []
    for client, (_, _, names) in zip(clients, CLIENTS, strict=True):
        for name in names:
            known_site = Site.objects.visible_to(SYSTEM).filter(client=client, name=name).first()
            sites.append(known_site or site_create(client=client, name=name))
    return clients, sites


def build(count: int, *, now: datetime, all_failing: bool = False, long_names: bool = False, days: int = 7) -> Fleet:
    """A fleet of ``count`` devices as of ``now``, with ``days`` of samples on the first ones."""
    clients, sites = places()
    fleet = Fleet(person=owner(), clients=clients, sites=sites)
    store = open_store(current_home())
    random = Random(7)
    natures = {}
    for number in range(min(count, MADE_FULLY)):
        nature = EVERYTHING_FAILS if all_failing else NATURES[number % len(NATURES)]
        made = _device(fleet, number, now - nature.silent, now, long_name=long_names and number % 2 == 0)
        natures[made.pk] = nature
        fleet.devices.append(made)
        _facts(made, nature, now - timedelta(days=3), random)
    earlier = now - timedelta(hours=3)
    for made in fleet.devices:
        store.append([_samples(made, natures[made.pk], now, days, before=earlier)])
        device_judge(device=made, kinds=None, now=earlier)
    _route(earlier)
    for made in fleet.devices:
        nature = natures[made.pk]
        if not nature.silent:
            store.append([_samples(made, nature, now, days, after=earlier)])
        if nature.failed_service:
            _facts(made, nature, now - timedelta(hours=2), random, failed=True)
        device_judge(device=made, kinds=None, now=now - timedelta(minutes=70))
    _route(now - timedelta(minutes=69))
    for made in fleet.devices:
        device_judge(device=made, kinds=None, now=now)
    _route(now)
    if count > len(fleet.devices):
        copies(fleet, count, now)
    store.compact(now=now)
    store.close()
    return fleet


def _route(now: datetime) -> None:
    for _ in range(20):
        if events_route(table=HANDLERS, now=now, most=500) == 0:
            return


def _device(fleet: Fleet, number: int, seen: datetime, now: datetime, *, long_name: bool) -> Device:
    site = fleet.sites[number % len(fleet.sites)]
    name = LONG_NAME if long_name else f"{NAMES[number % len(NAMES)]}-{number // len(NAMES) + 1:02d}"
    return Device.objects.create(
        client=site.client,
        site=site,
        name=name,
        hostname=name,
        status=DeviceStatus.APPROVED,
        public_key=uuid.uuid4().bytes * 2,
        agent_version="0.1.0",
        enrolled_at=now - timedelta(days=40),
        approved_at=now - timedelta(days=40),
        approved_by="ada",
        last_check_in_at=seen,
        last_made_at=seen,
        clock_offset_seconds=0.2,
        role="endpoint" if "pc" in name else "server",
        boot_id=str(uuid.uuid4()),
        os_name="Debian GNU/Linux 13 (trixie)",
    )


def _keep(device: Device, document: f.Document, at: datetime) -> None:
    body = msgspec.msgpack.encode(document)
    FactsDocument.objects.visible_to(SYSTEM).filter(device=device, name=document.name()).delete()
    FactsDocument.objects.create(
        device=device,
        name=document.name(),
        digest=uuid.uuid4().bytes * 2,
        body=zlib.compress(body),
        collected_at=max(at, device.last_check_in_at - timedelta(hours=1)),
        changed_at=at,
    )


def _facts(device: Device, nature: Nature, at: datetime, random: Random, *, failed: bool = False) -> None:
    seen = device.last_check_in_at
    if failed:
        FactsChange.objects.create(
            device=device, name="services", at=at, summary=f"{nature.failed_service} failed (was running)"
        )
    updates = [
        f.Update(
            name=f"lib{['ssl', 'curl', 'xml', 'png', 'tiff'][i % 5]}{i}",
            installed="3.0.17-1",
            candidate="3.0.18-1",
            security=i < nature.security,
            origin="Debian-Security:12" if i < nature.security else "Debian:12",
        )
        for i in range(nature.security + nature.other)
    ]
    services = [
        f.Service(name=f"{name}.service", description=text, state="running", enabled=True, since=at)
        for name, text in (
            ("ssh", "OpenBSD Secure Shell server"),
            ("cron", "Background program processing"),
            ("nginx", "Web server"),
        )
        if f"{name}.service" != nature.failed_service
    ]
    if nature.failed_service:
        services.append(
            f.Service(
                name=nature.failed_service,
                description="The service that matters here",
                enabled=True,
                state="failed" if failed else "running",
                since=at,
                detail="exit-code, status=1" if failed else "",
            )
        )
    repositories = ()
    if nature.backup_hours is not None:
        good = seen - timedelta(hours=nature.backup_hours)
        repositories = (
            f.BackupRepository(
                name="nightly",
                tool="restic",
                location="/srv/backup/nightly",
                last_success_at=good,
                snapshots=31,
                last_run_at=good,
                last_run_ok=True,
            ),
        )
    certificates = ()
    if nature.certificate_days is not None:
        certificates = (
            f.Certificate(
                address="0.0.0.0",  # noqa: S104 - a fact about a socket
                port=443,
                subject="CN=www.example.org",
                issuer="Example CA",
                names=("www.example.org",),
                not_before=at - timedelta(days=80),
                not_after=seen + timedelta(days=nature.certificate_days),
                process="nginx",
            ),
        )
    documents: list[f.Document] = [
        f.System(
            hostname=device.name,
            os_id="debian",
            os_name=device.os_name,
            os_version="13.2",
            os_codename="trixie",
            kernel="6.12.57-amd64",
            architecture="x86_64",
            manufacturer="Dell Inc.",
            model="PowerEdge R450",
            cpu_model="Xeon Silver 4310",
            cpu_count=8,
            memory_bytes=32 * 10**9,
            booted_at=at - timedelta(days=30),
            init="systemd",
            boot_id=device.boot_id,
            reboot_required=nature.reboot,
            reboot_reasons=("linux-image-6.12.58-amd64",) if nature.reboot else (),
            sources=("/etc/os-release", "/proc/cpuinfo"),
        ),
        f.Network(
            interfaces=(f.Interface(name="eth0", addresses=("192.0.2.7/24",), up=True),),
            listening=(
                f.Socket(protocol="tcp", address="0.0.0.0", port=22, process="sshd", user="root"),  # noqa: S104 - a fact
                f.Socket(protocol="tcp", address="127.0.0.1", port=5432, process="postgres", user="postgres"),
            ),
        ),
        f.Volumes(
            volumes=(
                f.Volume(
                    mountpoint="/", device="/dev/sda1", filesystem="ext4", total_bytes=BYTES, total_inodes=6_000_000
                ),
                f.Volume(mountpoint="/srv", device="/dev/sdb1", filesystem="xfs", total_bytes=10 * BYTES),
            ),
            sources=("/proc/self/mountinfo",),
        ),
        f.Disks(
            disks=(
                f.Disk(device="/dev/sda", model="PERC H755", size_bytes=BYTES, unknown_why="smartctl is not installed"),
            ),
            gaps=(f.Gap(what="SMART of /dev/sda", why="smartctl is not installed"),),
        ),
        f.Software(
            manager="dpkg",
            packages=tuple(
                f.Package(name=f"package-{i:04d}", version=f"1.{i}-1", architecture="amd64") for i in range(420)
            ),
        ),
        f.Updates(
            manager="apt",
            pending=tuple(updates),
            lists_refreshed_at=seen - timedelta(hours=5),
            security_sources=True,
            sources=("apt-get -s dist-upgrade",),
        ),
        f.Services(manager="systemd", services=tuple(services), sources=("systemctl list-units",)),
        f.Access(
            accounts=(
                f.Account(  # noqa: S604 - a fact, runs nothing
                    name="root",
                    uid=0,
                    shell="/bin/bash",
                    login=True,
                    administrator=True,
                    administrator_because=("uid 0",),
                    password="locked",
                ),
                f.Account(  # noqa: S604 - a fact, runs nothing
                    name="ada",
                    uid=1000,
                    shell="/bin/bash",
                    login=True,
                    administrator=True,
                    administrator_because=("group sudo",),
                    password="set",
                    ssh_keys=1,
                    last_login=seen,
                ),
                f.Account(name="www-data", uid=33, shell="/usr/sbin/nologin", password="locked"),  # noqa: S604 - a fact
            ),
            sudo_rules=("%sudo ALL=(ALL:ALL) ALL",),
        ),
        f.Sshd(
            installed=True,
            running=True,
            settings={"permitrootlogin": "no", "passwordauthentication": "no"},
            effective=True,
        ),
        f.Firewall(tool="nftables", active=True, default_inbound="drop", rules=24),
        f.Backups(tools=("restic",), repositories=repositories),
        f.Antivirus(
            products=(
                f.AntivirusProduct(
                    name="ClamAV", version="1.4", running=True, definitions_at=seen - timedelta(hours=8)
                ),
            )
        ),
        f.Certificates(certificates=certificates),
        f.Time(daemon="chronyd", synchronised=True, offset_seconds=0.0004),
    ]
    for document in documents:
        _keep(device, document, at)


def _samples(
    device: Device,
    nature: Nature,
    now: datetime,
    days: int,
    *,
    after: datetime | None = None,
    before: datetime | None = None,
) -> Batch:
    """Samples every five minutes (every minute in the last hour), between ``after`` and ``before``."""
    end = min(now, device.last_check_in_at).timestamp()
    coarse = np.arange(now.timestamp() - days * 86400, now.timestamp() - 3600, 300)
    times = np.concatenate([coarse, np.arange(now.timestamp() - 3600, now.timestamp(), 60)])
    times = times[times <= end]
    if after:
        times = times[times > after.timestamp()]
    if before:
        times = times[times <= before.timestamp()]
    # A night without power, so that there is a gap to draw.
    gap = now.timestamp() - 31 * 3600
    times = times[(times < gap) | (times > gap + 2 * 3600)]
    noise = np.random.default_rng(device.pk.int % 2**32)
    wave = np.array([sin(t / 86400 * 2 * pi) for t in times])
    cpu = np.clip(nature.cpu + 8 * wave + noise.normal(0, 3, len(times)), 0, 100)
    if nature.cpu > 90:
        cpu = np.clip(nature.cpu + noise.random(len(times)), 0, 100)
    age_days = (now.timestamp() - times) / 86400
    rise = np.clip((times - (now.timestamp() - 2 * 3600)) / 7200, 0, 1)
    disk = np.clip(nature.disk - nature.growth * age_days + nature.disk_rise * rise, 0, 100)
    memory = np.clip(48 + 6 * wave + noise.normal(0, 1, len(times)), 0, 100)
    rate = np.abs(noise.normal(2e5, 8e4, len(times))) * (1.2 + wave)
    columns = {
        "cpu.used_percent": cpu,
        "cpu.iowait_percent": np.abs(noise.normal(1, 0.8, len(times))),
        "memory.used_percent": memory,
        "memory.available_percent": 100 - memory,
        "swap.used_percent": np.full(len(times), 3.0),
        "load.1m": cpu / 12,
        "load.5m": cpu / 13,
        "load.15m": cpu / 14,
        series_name("disk.used_percent", volume="/"): disk,
        series_name("disk.free_bytes", volume="/"): (100 - disk) / 100 * BYTES,
        series_name("disk.total_bytes", volume="/"): np.full(len(times), float(BYTES)),
        series_name("inodes.used_percent", volume="/"): np.full(len(times), 12.0),
        series_name("disk.used_percent", volume="/srv"): np.full(len(times), 33.0),
        series_name("disk.free_bytes", volume="/srv"): np.full(len(times), 6.7 * BYTES),
        series_name("disk.read_bytes_per_second", disk="sda"): rate / 3,
        series_name("disk.write_bytes_per_second", disk="sda"): rate,
        series_name("network.receive_bytes_per_second", interface="eth0"): rate * 1.4,
        series_name("network.send_bytes_per_second", interface="eth0"): rate * 0.4,
        "processes.count": 180 + 10 * wave,
        "processes.running": np.ones(len(times)),
    }
    return Batch(
        device_id=device.pk,
        names=tuple(columns),
        times_ms=[int(t * 1000) for t in times],
        values=np.column_stack(list(columns.values())) if len(times) else np.empty((0, len(columns))),
    )


def copies(fleet: Fleet, count: int, now: datetime) -> None:
    """The rest of the fleet: healthy and less healthy copies of the first devices, written in bulk."""
    models = list(fleet.devices)
    healthy = [models[i] for i in (6, 8, 11) if i < len(models)] or models
    new = []
    for number in range(len(models), count):
        site = fleet.sites[number % len(fleet.sites)]
        name = f"{NAMES[number % len(NAMES)]}-{number // len(NAMES) + 1:02d}"
        new.append(
            Device(
                client=site.client,
                site=site,
                name=name,
                hostname=name,
                status=DeviceStatus.APPROVED,
                public_key=uuid.uuid4().bytes * 2,
                agent_version="0.1.0",
                enrolled_at=now - timedelta(days=30),
                approved_at=now - timedelta(days=30),
                approved_by="ada",
                last_check_in_at=now - timedelta(seconds=number % 60),
                role="endpoint" if "pc" in name else "server",
                os_name="Debian GNU/Linux 13 (trixie)",
            )
        )
    Device.objects.bulk_create(new)
    by_model = {model.pk: list(Check.objects.visible_to(SYSTEM).filter(device=model)) for model in models}
    checks = []
    for number, device in enumerate(new):
        model = models[number % len(models)] if number % 7 == 0 else healthy[number % len(healthy)]
        for row in by_model[model.pk]:
            values = {column.attname: getattr(row, column.attname) for column in Check._meta.concrete_fields}
            values |= {"id": None, "device_id": device.pk}
            checks.append(Check(**values))
    Check.objects.bulk_create(checks, batch_size=500)
    CheckChange.objects.bulk_create(
        [CheckChange(check_row=row, old="", new=row.status, reason=row.reason, at=row.since) for row in checks],
        batch_size=500,
    )
    fleet.devices += new


def forget_samples() -> None:
    """Remove the sample store of the test's data folder."""
    for file in Path(current_home().server).glob("samples.sqlite3*"):
        file.unlink()
