"""A report in words: every text, number and time as the PDF shows it. No I/O."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from forestall.server.reports.body import Done, Evidence, ReportBody, SlaClock, Stretch
from forestall.server.tickets.rules import span

MOST_STEPS = 12
MOST_STRETCHES = 14
MOST_EVIDENCE = 24
MOST_DONE = 24
LONGEST_TEXT = 600
"""Bounds of what one PDF shows; it says what it leaves out and where that is found."""

_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))

_CLOCK_WORDS = {
    "kept": "kept",
    "missed": "missed",
    "breached": "missed, still running",
}

_EVIDENCE_WORDS = {
    "alert:raised": "alert raised",
    "alert:cleared": "alert cleared",
    "check:changed": "check changed",
    "job:delivered": "job delivered",
    "job:queued": "job queued",
    "job:result": "job result",
    "ticket:answered": "the client's answer",
    "ticket:rated": "the client's rating",
    "ticket:acknowledged": "ticket acknowledged",
    "ticket:assigned": "ticket assigned",
    "ticket:commented": "ticket comment",
    "ticket:opened": "ticket opened",
    "ticket:reopened": "ticket reopened",
    "ticket:resolved": "ticket resolved",
}


def page_of(body: ReportBody) -> dict[str, Any]:
    """What the template shows: plain texts, nothing left to decide or to count there."""
    times = Times(body.timezone)
    verified = body.verification.state == "verified"
    return {
        "number": body.number,
        "title": cut(body.title),
        "place": [part.name for part in (body.device, body.site, body.client) if part is not None],
        "client": body.client.name,
        "made": times.full(body.made_at),
        "timezone": body.timezone,
        "supersedes": body.supersedes,
        "sentence": _sentence(body, times),
        "verified": verified,
        "by_hand": body.verification.state == "by_hand",
        "request": cut(body.request),
        "facts": _facts(body, times),
        "seen": [
            {
                "what": f"{seen.kind.replace('_', ' ')} {seen.target}".strip(),
                "status": seen.status,
                "reason": cut(seen.reason),
                "from": times.full(seen.first_seen_at),
                "until": times.full(seen.cleared_at) if seen.cleared_at else "not cleared yet",
            }
            for seen in body.seen[:MOST_DONE]
        ],
        "seen_left_out": left_out(len(body.seen), MOST_DONE, "more alerts are on the ticket"),
        "done": [_done(done, times) for done in body.done[:MOST_DONE]],
        "done_left_out": left_out(len(body.done), MOST_DONE, "more entries are on the ticket"),
        "resolution": cut(body.resolution),
        "verification": {
            "reason": cut(body.verification.reason),
            "at": times.full(body.verification.at) if body.verification.at else "",
            "rests_on": [cut(source, 120) for source in body.verification.evidence[:6]],
        },
        "sla": [_clock(clock, times) for clock in body.sla],
        "calendar_note": body.calendar_note,
        "evidence": [_evidence(entry, times) for entry in _worth_showing(body.evidence)],
        "log": body.evidence[0].reference.rpartition("/")[0] if body.evidence else "",
        "evidence_left_out": left_out(len(body.evidence), MOST_EVIDENCE, "more records are in the evidence log"),
        "checkpoint": {
            "size": f"{body.checkpoint.size}",
            "root": body.checkpoint.root,
            "at": times.full(body.checkpoint.at),
            "covers": all(entry.index < body.checkpoint.size for entry in body.evidence),
        }
        if body.checkpoint
        else None,
    }


class Times:
    """Times of a client's zone in words."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)

    def full(self, at: datetime) -> str:
        """``23 Nov 2026, 09:45:12 CET``."""
        local = at.astimezone(self._zone)
        return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"

    def short(self, at: datetime) -> str:
        """``Mon 23 Nov 09:45``."""
        local = at.astimezone(self._zone)
        return f"{local:%a} {local.day} {local:%b %H:%M}"


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, at most so long, and visibly cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def left_out(count: int, most: int, words: str) -> str:
    """``3 more records are …`` when not everything is shown; else empty."""
    return f"{count - most} {words}." if count > most else ""


def amount(name: str, count: int) -> str:
    """A counted effect: ``214 files``, ``1.3 GB``."""
    if name in {"bytes", "bytes_freed"}:
        unit, factor = next(((unit, factor) for unit, factor in _SIZES if count >= factor), ("bytes", 1.0))
        return f"{count / factor:.1f} {unit}" if factor > 1 else f"{count} bytes"
    words = name.replace("_", " ")
    # Effects are named in the plural (``files``, ``services``); one of them is one file, one service.
    words = words.removesuffix("s") if count == 1 else words
    return f"{count:,} {words}".replace(",", "\u202f")


def long_span(seconds: float) -> str:
    """Elapsed time in words: ``45 s``, ``45 min``, ``2 h 10 min``, ``3 days 4 h``."""
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 86400:
        return span(seconds)
    days, rest = divmod(int(seconds), 86400)
    hours = f" {rest // 3600} h" if rest >= 3600 else ""
    return f"{days} day{'s' if days > 1 else ''}{hours}"


def _sentence(body: ReportBody, times: Times) -> str:
    word = "Closed" if body.state == "closed" else "Resolved"
    took = long_span((body.resolved_at - body.first_seen_at).total_seconds())
    parts = [f"{word} on {times.full(body.resolved_at)}, {took} after it was first seen."]
    if body.verification.state == "verified":
        parts.append("A check has verified it.")
    elif body.verification.state == "by_hand":
        parts.append("It was a request: whether it is done, you say.")
    else:
        parts.append("No check has verified it yet.")
    states = {clock.kind: clock.state for clock in body.sla}
    if all(state == "kept" for state in states.values()):
        parts.append("The SLA was kept.")
    else:
        missed = [kind for kind, state in states.items() if state in {"missed", "breached"}]
        if missed:
            parts.append(f"The SLA was missed: {' and '.join(missed)}.")
    return " ".join(parts)


def _facts(body: ReportBody, times: Times) -> list[list[str]]:
    acknowledged = (
        f"{times.full(body.acknowledged_at)} by {body.acknowledged_by}"
        if body.acknowledged_at
        else "by nobody: it was resolved before"
    )
    resolved = f"{times.full(body.resolved_at)} by {'the check' if body.resolved_by == 'check' else body.resolved_by}"
    name = body.device.name if body.device else ""
    device = ", ".join(part for part in (name, body.device_role, body.device_os) if part)
    return [
        ["Ticket", f"#{body.ticket}"],
        *([["Asked for by", body.requested_by]] if body.requested_by else []),
        ["Priority, risk", f"{body.priority}, {body.risk}"],
        ["Device", cut(device, 200) or "none in particular"],
        ["Owner", body.owner or "nobody"],
        ["First seen", times.full(body.first_seen_at)],
        ["Opened", times.full(body.opened_at)],
        ["Acknowledged", acknowledged],
        [body.state.capitalize(), resolved],
    ]


def _done(done: Done, times: Times) -> dict[str, Any]:
    return {
        "at": times.short(done.at),
        "who": done.who,
        "authority": cut(done.authority, 200),
        "text": cut(done.text),
        "outcome": done.outcome,
        "steps": [
            {
                "action": step.action,
                "ok": step.ok,
                "summary": cut(step.summary, 300),
                "effects": ", ".join(amount(name, count) for name, count in sorted(step.changed.items())),
            }
            for step in done.steps[:MOST_STEPS]
        ],
        "steps_left_out": left_out(len(done.steps), MOST_STEPS, "more steps are on the job's page"),
        "reference": done.reference,
    }


def _clock(clock: SlaClock, times: Times) -> dict[str, Any]:
    return {
        "kind": clock.kind,
        "state": _CLOCK_WORDS.get(clock.state, clock.state),
        "kept": clock.state == "kept",
        "allowed": span(clock.total_seconds),
        "used": span(clock.used_seconds),
        "percent": f"{100 * clock.used_seconds / clock.total_seconds:.0f} %",
        "due": times.short(clock.due_at) if clock.due_at else "while it waited: none",
        "stopped": f"{times.short(clock.stopped_at)}, {clock.stopped_by}" if clock.stopped_at else "still running",
        "stretches": [_stretch(stretch, times) for stretch in clock.stretches[:MOST_STRETCHES]],
        "left_out": left_out(len(clock.stretches), MOST_STRETCHES, "more stretches are on the ticket"),
        "totals": _totals(clock.stretches),
    }


def _stretch(stretch: Stretch, times: Times) -> dict[str, Any]:
    return {
        "from": times.short(stretch.start),
        "until": times.short(stretch.end),
        "length": long_span((stretch.end - stretch.start).total_seconds()),
        "counted": stretch.counted,
        "why": stretch.why,
    }


def _totals(stretches: list[Stretch]) -> str:
    """``counted 2 h 10 min; weekend 2 days``: the sum of each reason, in order of appearance."""
    sums: Counter[str] = Counter()
    for stretch in stretches:
        sums[stretch.why] += int((stretch.end - stretch.start).total_seconds())
    return "; ".join(f"{why} {long_span(seconds)}" for why, seconds in sums.items())


def _worth_showing(evidence: list[Evidence]) -> list[Evidence]:
    """When not all fit: the device's own signed words and the last ones are never left out."""
    if len(evidence) <= MOST_EVIDENCE:
        return evidence
    signed = [entry for entry in evidence if entry.signed_by_device][-MOST_EVIDENCE:]
    rest = [entry for entry in evidence if not entry.signed_by_device]
    room = MOST_EVIDENCE - len(signed)
    return sorted([*signed, *(rest[-room:] if room else [])], key=lambda entry: entry.index)


def _evidence(entry: Evidence, times: Times) -> dict[str, str]:
    signed = ", signed by the device" if entry.signed_by_device else ""
    return {
        "reference": entry.reference,
        "place": f"#{entry.index}",
        "what": f"{_EVIDENCE_WORDS.get(entry.kind, entry.kind)}{signed}",
        "at": times.short(entry.at),
        "leaf": entry.leaf_hash,
    }
