"""Bodies of reports for tests of the page and the PDF: an ordinary one, and the awkward ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

from forestall.server.reports.body import (
    CheckpointOf,
    Done,
    Evidence,
    Party,
    ReportBody,
    Seen,
    SlaClock,
    Step,
    Stretch,
    Verification,
)

LONG_NAME = "Vereinigte Wasser- und Abwasserbetriebe Mittleres Niederbayern und Umgebung GmbH & Co. KG"
START = datetime(2026, 11, 23, 8, 5, 12, tzinfo=UTC)


def after(**span: float) -> datetime:
    return START + timedelta(**span)


def ordinary() -> ReportBody:
    """A full disk, cleaned by a standing order."""
    counted = [Stretch(start=after(minutes=1), end=after(minutes=4), counted=True, why="counted")]
    return ReportBody(
        number="SR-000017",
        made_at=after(minutes=5),
        timezone="Europe/Berlin",
        supersedes="",
        client=Party(id="c", name="Brauerei Sonnleitner"),
        site=Party(id="s", name="Munich"),
        device=Party(id="d", name="web-01"),
        device_role="server",
        device_os="Debian GNU/Linux 12 (bookworm)",
        ticket=42,
        title="Disk space: /var",
        state="resolved",
        risk="high",
        priority="urgent",
        owner="alice",
        first_seen_at=START,
        opened_at=after(minutes=1),
        acknowledged_at=None,
        acknowledged_by="",
        resolved_at=after(minutes=4),
        resolved_by="check",
        close_reason="verified by check at 2026-11-23 08:09 UTC",
        resolution="",
        seen=[
            Seen(
                kind="disk_space",
                target="/var",
                status="fail",
                risk="high",
                reason="/var is 93 % full (fails at 90 %); 1.4 GB free.",
                value=93.0,
                unit="%",
                first_seen_at=START,
                raised_at=after(minutes=1),
                cleared_at=after(minutes=4),
            )
        ],
        done=[
            Done(
                at=after(minutes=3),
                who="web-01",
                authority="standing order 3f2a9c01b7de… for disk_space, signed by operator 9c01aa77e213…",
                text="Runbook “Free disk space”: succeeded",
                job_id="j",
                outcome="succeeded",
                steps=[
                    Step(
                        action="packages.clean_cache",
                        ok=True,
                        summary="emptied the package cache",
                        changed={"files": 214, "bytes": 1288490188},
                    ),
                    Step(
                        action="journal.vacuum",
                        ok=True,
                        summary="removed journals older than 14 days",
                        changed={"bytes": 402653184},
                    ),
                    Step(
                        action="files.delete_older",
                        ok=True,
                        summary="nothing in /tmp is older than 30 days",
                        changed={},
                    ),
                ],
                reference="brauerei-sonnleitner/#117",
            )
        ],
        verification=Verification(
            state="verified",
            at=after(minutes=4),
            status="pass",
            reason="/var is 61 % full; 8.2 GB free.",
            value=61.0,
            unit="%",
            evidence=["df -B1 --output", "disk.used_percent{volume=/var}"],
        ),
        sla=[
            SlaClock(
                kind=kind,
                state="kept",
                used_seconds=180,
                total_seconds=hours * 3600,
                started_at=after(minutes=1),
                stopped_at=after(minutes=4),
                stopped_by="resolved by the check",
                due_at=after(hours=hours, minutes=1),
                stretches=counted,
            )
            for kind, hours in (("response", 4), ("resolution", 8))
        ],
        calendar_note="",
        evidence=[
            record(index, kind)
            for index, kind in enumerate(
                [
                    "check:changed",
                    "alert:raised",
                    "ticket:opened",
                    "job:queued",
                    "job:delivered",
                    "job:result",
                    "check:changed",
                    "alert:cleared",
                    "ticket:resolved",
                ],
                start=112,
            )
        ],
        checkpoint=CheckpointOf(size=121, root=sha256(b"root").hexdigest(), at=after(minutes=5)),
    )


def record(index: int, kind: str, reference: str = "brauerei-sonnleitner") -> Evidence:
    return Evidence(
        reference=f"{reference}/#{index}",
        index=index,
        kind=kind,
        at=after(seconds=index),
        leaf_hash=sha256(str(index).encode()).hexdigest(),
        signed_by_device=kind == "job:result",
    )


def awkward(text: str | None = None) -> ReportBody:
    """Long names, many steps, a long and broken clock, no verification; ``text`` in every place a person or a device
    can fill."""
    long = text or "a/very/long/path/" + "without-any-end-" * 8 + "x" * 70
    body = ordinary()
    start = after(days=-5)
    whys = ["counted", "outside working hours", "weekend", "paused: waiting for client", "public holiday: Epiphany"]
    stretches = [
        Stretch(
            start=start + timedelta(hours=7 * n),
            end=start + timedelta(hours=7 * n + 7),
            counted=n % 5 == 0,
            why=whys[n % 5],
        )
        for n in range(17)
    ]
    steps = [
        Step(action="files.delete_older", ok=n != 3, summary=f"{n}: {long}", changed={"files": n, "bytes": 10**n})
        for n in range(15)
    ]
    return msgspec.structs.replace(
        body,
        client=Party(id="c", name=text or LONG_NAME),
        site=Party(id="s", name=text or "Zentrale Leitwarte und Verwaltungsgebäude Nord"),
        device=Party(id="d", name=long[:200]),
        device_os=long[:200],
        title=f"Disk space: {long}"[:250],
        owner=text or "Maximiliane.von-und-zu-Hohenstaufen@dienstleister.example",
        resolution=text or "Deleted the old dumps by hand; the nightly job now keeps seven of them.",
        resolved_by=text or "alice",
        close_reason="resolved without verification",
        seen=[msgspec.structs.replace(body.seen[0], target=long, reason=f"{long} is 93 % full", cleared_at=None)] * 3,
        done=[
            msgspec.structs.replace(
                body.done[0], text=long, who=long[:200], authority=long, steps=steps, outcome="failed"
            ),
            Done(at=after(minutes=3), who=text or "alice", authority="", text=long),
        ],
        verification=Verification(
            state="unverified",
            at=after(minutes=1),
            status="fail",
            reason=f"{long} is 91 % full",
            value=91.0,
            unit="%",
            evidence=[long] * 3,
        ),
        sla=[
            msgspec.structs.replace(
                body.sla[0], state="missed", used_seconds=5 * 3600, stretches=stretches, due_at=None
            ),
            msgspec.structs.replace(
                body.sla[1], state="breached", used_seconds=9 * 3600, stretches=stretches, stopped_at=None
            ),
        ],
        calendar_note=text or "No public holidays are known for country 'XX'.",
        evidence=[
            record(n, kind, "vereinigte-wasser-und-abwasserbetriebe-mittleres-niederbayern")
            for n in range(20)
            for kind in ("ticket:commented", "job:result")
        ],
        checkpoint=msgspec.structs.replace(body.checkpoint, size=12),
        supersedes="SR-000016",
    )
