"""What a protected system's backups and proofs are worth at a moment: decisions without I/O.

A proof counts for its level until ``test_every_days`` are over; then the system falls to what is newer. A restore that
failed takes away what older proofs of that backup showed at its level and above. What no backup holds, what is not
known and what only a part is held of are gaps with a sentence each: nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from forestall.server.checks.result import Status
from forestall.server.checks.words import clock, count, day, listing, span
from forestall.server.recovery.matching import Backup, Cover, Holding, Match, Wanted, match
from forestall.trust.proofs import PROOF_LEVELS, ProofLevel, at_least

STALE_AFTER = timedelta(hours=26)
"""A device that has told nothing of its backups for so long is not known any more."""
FIRST_TEST = timedelta(days=14)
"""From when a system is named until its first restore test is missed."""
RUN_GRACE = timedelta(hours=1)
"""For a run under way: so much past the objective only warns (or a tenth of the objective)."""
LEAD = timedelta(days=14)
"""So long before a proof lapses its next test is due at the latest; a quarter of a shorter interval."""
CLOCK = timedelta(hours=1)
"""A backup that lies further in the future was made by a clock that is wrong."""

LEVEL_WORDS: dict[ProofLevel, str] = {
    "reported": "the job reported success",
    "integrity": "the repository was checked",
    "sample": "sample files were restored and compared",
    "whole": "everything was restored and compared",
    "database": "the database was restored, started and queried",
    "application": "the application was checked on what was restored",
}
LEVELS_OF: dict[str, tuple[ProofLevel, ...]] = {
    "machine": ("reported", "integrity", "sample", "whole", "application"),
    "folder": ("reported", "integrity", "sample", "whole", "application"),
    "database": ("reported", "integrity", "database", "application"),
}
"""Kind of system → the levels that are meant for it, weakest first."""
RESTORES: tuple[ProofLevel, ...] = ("sample", "whole", "database", "application")
"""Levels at which something was brought back."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_WORST = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.STALE, Status.PASS)
BringBack = Literal["yes", "perhaps", "no"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is demanded of a system."""

    rpo: timedelta
    rto: timedelta | None
    retention: timedelta
    copies: int
    off_site: bool
    offline: bool
    level: ProofLevel
    every: timedelta
    created_at: datetime

    @property
    def lead(self) -> timedelta:
        """How long before a proof lapses the next test is due."""
        return min(LEAD, self.every / 4)


@dataclass(frozen=True, slots=True)
class Shown:
    """A proof, as far as it counts."""

    level: ProofLevel
    ok: bool
    at: datetime
    source: str
    """``signed``, ``reported``, ``attested``."""
    device: UUID
    backup: str
    """Empty: of an attested proof that names none."""
    seconds: float | None = None
    bytes: int = 0
    detail: str = ""
    pk: int = 0

    @property
    def key(self) -> tuple[UUID, str]:
        return self.device, self.backup


@dataclass(frozen=True, slots=True)
class RecoveryGap:
    """Something that is missing, with what to do."""

    code: str
    status: Status
    sentence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Covering:
    """A backup that holds the system, in whole or in part."""

    holding: Holding
    match: Match

    @property
    def is_whole(self) -> bool:
        return self.match.cover is Cover.WHOLE


@dataclass(frozen=True, slots=True)
class Rung:
    """One level of the ladder."""

    level: ProofLevel
    state: Literal["proved", "lapsed", "failed", "never"]
    proof: Shown | None
    """The newest proof at it or above; of a failed one: what failed."""
    until: datetime | None
    wanted: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long bringing it back takes."""

    seconds: float
    measured: bool
    """False: worked out from a sample and the size of the whole."""
    at: datetime
    within: bool | None
    """Whether it is within the objective; None: there is none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How a protected system stands at a moment."""

    status: Status
    why: str
    bring_back: BringBack
    gaps: tuple[RecoveryGap, ...]
    covering: tuple[Covering, ...]
    backup_at: datetime | None
    """Newest good backup that holds all of it."""
    level: ProofLevel | None
    """The strongest level that is proved and not lapsed."""
    proved_at: datetime | None
    """When that was shown."""
    proved_by: str
    """On whose word: ``signed``, ``reported``, ``attested``."""
    lapses_at: datetime | None
    """When the wanted level is not proved any more; None: it is not proved now."""
    verified: Shown | None
    """The last time that something was brought back, however long ago."""
    recovery: Recovery | None
    rungs: tuple[Rung, ...]
    copies: int
    """The live one included."""
    off_site: bool | None
    offline: bool | None
    test_due_at: datetime | None
    """From when on the next test is due; None: no backup can be tested."""

    @property
    def covered(self) -> bool:
        """Whether a backup holds all of it."""
        return any(one.is_whole for one in self.covering)


def judge(wanted: Wanted, terms: Terms, holdings: Iterable[Holding], proofs: Iterable[Shown], now: datetime) -> Judged:
    """How a system stands. ``holdings``: backups of its client; ``proofs``: of these, and attested ones of it."""
    covering = []
    for holding in holdings:
        found = match(wanted, holding)
        if found.cover is not Cover.NONE:
            covering.append(Covering(holding, found))
    covering.sort(key=lambda one: (not one.is_whole, -_newest(one).timestamp(), one.holding.key))
    whole = [one for one in covering if one.is_whole]
    shown = _counting(covering, proofs, terms)
    gaps = [
        *_cover_gaps(covering, whole, wanted),
        *_age_gaps(whole, terms, now),
        *_state_gaps(whole, terms, now),
    ]
    standing, failed = surviving(shown)
    best = _best(standing, terms, now)
    lapses_at = max((one.at + terms.every for one in standing if at_least(one.level, terms.level)), default=None)
    lapses_at = lapses_at if lapses_at is not None and lapses_at > now else None
    gaps += _proof_gaps(standing, failed, best, lapses_at, terms, now) if whole else []
    recovery = _recovery(standing, whole, terms)
    gaps += _time_gaps(recovery, terms) if whole else []
    copies, off_site, offline = _copies(whole, wanted)
    gaps += _copy_gaps(terms, copies=copies, off_site=off_site, offline=offline) if whole else []
    gaps.sort(key=lambda gap: _WORST.index(gap.status))
    backup_at = max(
        (at for one in whole if (at := one.holding.backup.last_success_at) and at <= now + CLOCK), default=None
    )
    verified = max((one for one in shown if one.ok and one.level in RESTORES), key=lambda one: one.at, default=None)
    return Judged(
        status=gaps[0].status if gaps else Status.PASS,
        why=gaps[0].sentence if gaps else _all_well(best, backup_at, terms, now),
        bring_back=_bring_back(whole, backup_at, standing, failed, terms, now),
        gaps=tuple(gaps),
        covering=tuple(covering),
        backup_at=backup_at,
        level=best.level if best else None,
        proved_at=best.at if best else None,
        proved_by=best.source if best else "",
        lapses_at=lapses_at,
        verified=verified,
        recovery=recovery,
        rungs=_rungs(wanted.kind, standing, failed, shown, terms, now),
        copies=copies,
        off_site=off_site,
        offline=offline,
        test_due_at=None if not whole else max(lapses_at - terms.lead, terms.created_at) if lapses_at else now,
    )


# --- proofs -----------------------------------------------------------------------------------------------------


def _counting(covering: Sequence[Covering], proofs: Iterable[Shown], terms: Terms) -> list[Shown]:
    """The proofs that are about this system: of the backups that hold all of it, what its device reports of their
    runs, and what people attest."""
    whole = {one.holding.key: one.holding for one in covering if one.is_whole}
    found = [one for one in proofs if one.source == "attested" or one.key in whole]
    for key, holding in whole.items():
        at = holding.backup.last_success_at
        if at is not None:
            found.append(Shown("reported", True, at, "reported", key[0], key[1]))  # noqa: FBT003 - it is ok
    return found


def surviving(shown: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """The good proofs that no later failure contradicts, and the failures that no later good proof makes good.

    A failure is about one backup: it takes away that backup's older proofs at its level and above. A good proof of the
    same backup at that level or above makes it good. What a person attests is taken away and made good by their word.
    """
    good, bad = [one for one in shown if one.ok], [one for one in shown if not one.ok]
    standing = [
        one
        for one in good
        if not any(fail.key == one.key and at_least(one.level, fail.level) and fail.at >= one.at for fail in bad)
    ]
    failed = [
        fail
        for fail in bad
        if not any(one.key == fail.key and at_least(one.level, fail.level) and one.at > fail.at for one in good)
    ]
    return standing, failed


def _best(standing: Sequence[Shown], terms: Terms, now: datetime) -> Shown | None:
    """The strongest proof that has not lapsed; of several at its level the newest."""
    fresh = [one for one in standing if now < one.at + terms.every]
    return max(fresh, key=lambda one: (PROOF_LEVELS.index(one.level), one.at), default=None)


def _rungs(
    kind: str,
    standing: Sequence[Shown],
    failed: Sequence[Shown],
    shown: Sequence[Shown],
    terms: Terms,
    now: datetime,
) -> tuple[Rung, ...]:
    rungs = []
    levels = LEVELS_OF.get(kind, PROOF_LEVELS)
    for level in levels if terms.level in levels else PROOF_LEVELS:
        holds = max((one for one in standing if at_least(one.level, level)), key=lambda one: one.at, default=None)
        fail = max((one for one in failed if one.level == level), key=lambda one: one.at, default=None)
        ever = max((one for one in shown if one.ok and one.level == level), key=lambda one: one.at, default=None)
        if holds is not None and now < holds.at + terms.every:
            rungs.append(Rung(level, "proved", holds, holds.at + terms.every, level == terms.level))
        elif fail is not None:
            rungs.append(Rung(level, "failed", fail, None, level == terms.level))
        elif holds is not None or ever is not None:
            old = holds or ever
            until = None if old is None else old.at + terms.every
            rungs.append(Rung(level, "lapsed", old, until, level == terms.level))
        else:
            rungs.append(Rung(level, "never", None, None, level == terms.level))
    return tuple(rungs)


# --- gaps -------------------------------------------------------------------------------------------------------


def _newest(one: Covering) -> datetime:
    at = one.holding.backup.last_success_at
    return at if at is not None else _NEVER


def _named(one: Covering) -> str:
    return one.holding.shown


def _cover_gaps(covering: Sequence[Covering], whole: Sequence[Covering], wanted: Wanted) -> list[RecoveryGap]:
    if whole:
        return []
    if wanted.named:
        names = listing(sorted(name for _, name in wanted.named))
        return [
            RecoveryGap(
                "no_backup", Status.FAIL, f"No job covers it: {names}, named for it, is told of by no device any more.",
                "Set the backup up again, or name another one.",
            )
        ]  # fmt: skip
    part = [one for one in covering if one.match.cover is Cover.PART]
    if part:
        said = "; ".join(f"{_named(one)} holds {one.match.why}" for one in part[:3])
        return [
            RecoveryGap(
                "part", Status.FAIL, f"Only a part of it is in a backup: {said}.",
                "Take the rest into the backup, or name the backup for it if that part is enough.",
            )
        ]  # fmt: skip
    if covering:
        names = listing([_named(one) for one in covering])
        return [
            RecoveryGap(
                "unsaid", Status.UNKNOWN, f"It may be in {names}: what is in there is not known.",
                "Say in the device's backups.toml what the backup protects (`paths`, `databases`), or name it here.",
            )
        ]  # fmt: skip
    return [
        RecoveryGap(
            "no_backup", Status.FAIL, "No job covers it: it is in no backup that any device tells of.",
            "Set up a backup of it and name it in the agent's backups.toml.",
        )
    ]  # fmt: skip


def _age_gaps(whole: Sequence[Covering], terms: Terms, now: datetime) -> list[RecoveryGap]:
    """Of the newest backup that holds it: how old it is against the objective."""
    if not whole:
        return []
    gaps: list[RecoveryGap] = []
    dated = [one for one in whole if one.holding.backup.last_success_at is not None]
    ahead = [one for one in dated if _newest(one) > now + CLOCK]
    for one in ahead:
        gaps.append(
            RecoveryGap(
                "clock", Status.UNKNOWN,
                f"The newest backup of {_named(one)} lies {span(_newest(one) - now)} in the future: a clock is wrong.",
                "Set the clock of the machine that makes the backup.",
            )
        )  # fmt: skip
    fit = [one for one in dated if one not in ahead]
    if not fit:
        if not ahead:
            read = [one for one in whole if one.holding.backup.unknown_why]
            if read:
                why = f"the state of {_named(read[0])} could not be read: {read[0].holding.backup.unknown_why}"
                gaps.append(RecoveryGap("unread", Status.UNKNOWN, f"How old its backup is, is not known: {why}."))
            else:
                names = listing([_named(one) for one in whole])
                gaps.append(
                    RecoveryGap(
                        "never_ran", Status.FAIL, f"No backup of it was ever completed: {names}.",
                        "Run the backup and read its log.",
                    )
                )  # fmt: skip
        return gaps
    newest = max(fit, key=_newest)
    age = now - _newest(newest)
    objective = f"the objective is {span(terms.rpo)}"
    if age > terms.rpo:
        late = age > terms.rpo + max(RUN_GRACE, terms.rpo / 10)
        gaps.append(
            RecoveryGap(
                "too_old", Status.FAIL if late else Status.WARN,
                f"Its newest backup is {span(age)} old ({clock(_newest(newest))}, {_named(newest)}); {objective}.",
                "Run the backup again and see why it did not run.",
            )
        )  # fmt: skip
    return gaps


def _state_gaps(whole: Sequence[Covering], terms: Terms, now: datetime) -> list[RecoveryGap]:
    gaps: list[RecoveryGap] = []
    for one in whole:
        backup, name = one.holding.backup, _named(one)
        told = one.holding.collected_at
        if told is None or now - told > STALE_AFTER:
            since = f" since {clock(told)}" if told else ""
            gaps.append(
                RecoveryGap(
                    "stale", Status.STALE, f"{one.holding.device_name} has told nothing of its backups{since}.",
                    "See why the device does not check in.",
                )
            )  # fmt: skip
        if backup.last_run_ok is False and not (
            backup.last_success_at and backup.last_run_at and backup.last_success_at > backup.last_run_at
        ):
            detail = f": {backup.last_run_detail.rstrip('.')}" if backup.last_run_detail else ""
            gaps.append(
                RecoveryGap(
                    "run_failed", Status.WARN, f"The last run of {name} failed{detail}.",
                    "Read its log, repair the cause and run it again.",
                )
            )  # fmt: skip
        if backup.chain_ok is False:
            detail = f": {backup.chain_detail.rstrip('.')}" if backup.chain_detail else ""
            gaps.append(
                RecoveryGap(
                    "chain", Status.FAIL, f"What the newest backup of {name} builds on is not all there{detail}.",
                    "Make a new full backup.",
                )
            )  # fmt: skip
        if backup.unknown_why and backup.last_success_at is not None:
            gaps.append(
                RecoveryGap("unread", Status.UNKNOWN, f"The state of {name} could not be read: {backup.unknown_why}.")
            )
        if backup.warnings:
            gaps.append(
                RecoveryGap(
                    "tampering", Status.WARN, f"{name}: {backup.warnings[0][1].rstrip('.')}.",
                    "Find out what changed before the next run overwrites what is still good.",
                )
            )  # fmt: skip
        span_kept = None if backup.oldest_at is None else now - backup.oldest_at
        if terms.retention and span_kept is not None and span_kept < terms.retention:
            running = now - one.holding.first_seen_at
            if running > terms.retention:
                gaps.append(
                    RecoveryGap(
                        "retention", Status.WARN,
                        f"{name} reaches back to {day(now - span_kept)}; wanted are {terms.retention.days} days.",
                        "Keep more of it: change the backup's retention.",
                    )
                )  # fmt: skip
    # Another backup that holds it and is well makes good what is wrong with one: then nothing is lost, and it warns.
    well = [one for one in whole if _is_well(one, terms, now)]
    if well:
        gaps = [
            RecoveryGap(gap.code, Status.WARN, gap.sentence, gap.fix) if gap.status is Status.FAIL else gap
            for gap in gaps
            if gap.status not in {Status.STALE, Status.UNKNOWN}
        ]
    return gaps


def _is_well(one: Covering, terms: Terms, now: datetime) -> bool:
    backup, told = one.holding.backup, one.holding.collected_at
    at = backup.last_success_at
    return (
        at is not None
        and now - terms.rpo <= at <= now + CLOCK
        and backup.chain_ok is not False
        and not backup.unknown_why
        and told is not None
        and now - told <= STALE_AFTER
    )


def _proof_gaps(
    standing: Sequence[Shown],
    failed: Sequence[Shown],
    best: Shown | None,
    lapses_at: datetime | None,
    terms: Terms,
    now: datetime,
) -> list[RecoveryGap]:
    gaps: list[RecoveryGap] = []
    for fail in sorted(failed, key=lambda one: one.at, reverse=True)[:3]:
        detail = f": {fail.detail.rstrip('.')}" if fail.detail else ""
        of = f" of {fail.backup}" if fail.backup else ""
        # Where another backup is proved at the wanted level, it can still be brought back from there.
        other = any(
            one.key != fail.key and at_least(one.level, terms.level) and now < one.at + terms.every for one in standing
        )
        status = Status.WARN if other else Status.FAIL
        gaps.append(
            RecoveryGap(
                "proof_failed", status,
                f"The proof{of} at level {fail.level} failed on {clock(fail.at)}{detail}.",
                "Find out what is wrong with the backup and prove it again.",
            )
        )  # fmt: skip
    if lapses_at is not None:
        left = lapses_at - now
        if left <= terms.lead / 2:
            gaps.append(
                RecoveryGap(
                    "lapsing", Status.WARN,
                    f"Its proof at level {terms.level} lapses in {span(left)} ({day(lapses_at)}).",
                    "Test the restore before then.",
                )
            )  # fmt: skip
        return gaps
    at_level = [one for one in standing if at_least(one.level, terms.level)]
    now_at = f"now only that {LEVEL_WORDS[best.level]} is shown" if best else "now nothing is shown"
    if at_level:
        last = max(at_level, key=lambda one: one.at)
        gaps.append(
            RecoveryGap(
                "lapsed", Status.FAIL,
                f"Its proof at level {terms.level} lapsed on {day(last.at + terms.every)}: {now_at}.",
                "Test the restore.",
            )
        )  # fmt: skip
    elif not failed:
        young = now - terms.created_at < FIRST_TEST
        gaps.append(
            RecoveryGap(
                "unproved", Status.WARN if young else Status.FAIL,
                f"It was never proved at level {terms.level}: {now_at}.",
                "Test the restore.",
            )
        )  # fmt: skip
    return gaps


def _recovery(standing: Sequence[Shown], whole: Sequence[Covering], terms: Terms) -> Recovery | None:
    timed = [one for one in standing if one.seconds is not None]
    measured = [one for one in timed if at_least(one.level, "whole")]
    if measured:
        last = max(measured, key=lambda one: one.at)
        seconds = last.seconds or 0.0
        return Recovery(seconds, True, last.at, _within(seconds, terms))  # noqa: FBT003 - measured
    sizes = {one.holding.key: one.holding.backup.size_bytes for one in whole}
    for sample in sorted(timed, key=lambda one: one.at, reverse=True):
        size = sizes.get(sample.key)
        if sample.level == "sample" and sample.bytes > 0 and size and sample.seconds:
            seconds = sample.seconds * max(1.0, size / sample.bytes)
            return Recovery(seconds, False, sample.at, _within(seconds, terms))  # noqa: FBT003 - not measured
    return None


def _within(seconds: float, terms: Terms) -> bool | None:
    return None if terms.rto is None else seconds <= terms.rto.total_seconds()


def _time_gaps(recovery: Recovery | None, terms: Terms) -> list[RecoveryGap]:
    if terms.rto is None or (recovery is not None and recovery.within):
        return []
    objective = f"the objective is {span(terms.rto)}"
    if recovery is None:
        return [
            RecoveryGap(
                "time_unknown", Status.UNKNOWN, f"How long bringing it back takes was never measured; {objective}.",
                "Restore all of it once: the test measures the time.",
            )
        ]  # fmt: skip
    if recovery.measured:
        said = f"Bringing it back took {span(recovery.seconds)} on {day(recovery.at)}; {objective}."
        return [RecoveryGap("too_slow", Status.FAIL, said, "Make the restore faster, or agree on another objective.")]
    said = f"By a sample of {day(recovery.at)}, bringing it back would take {span(recovery.seconds)}; {objective}."
    return [RecoveryGap("too_slow", Status.WARN, said, "Restore all of it once to measure it.")]


def _copies(whole: Sequence[Covering], wanted: Wanted) -> tuple[int, bool | None, bool | None]:
    """Copies (the live one included), whether one is elsewhere, and whether one is out of reach. None: not known."""
    kept = [one for one in whole if one.holding.backup.last_success_at is not None]
    places = {(one.holding.backup.location or str(one.holding.key)) for one in kept}
    away = [True if one.holding.device != wanted.device else one.holding.backup.remote for one in kept]
    apart = [_out_of_reach(one.holding.backup) for one in kept]
    return 1 + len(places), _any(away), _any(apart)


def _out_of_reach(backup: Backup) -> bool | None:
    if backup.offline or backup.immutable:
        return True
    return None if backup.offline is None or backup.immutable is None else False


def _any(said: Sequence[bool | None]) -> bool | None:
    if any(said):
        return True
    return None if None in said else False


def _copy_gaps(terms: Terms, *, copies: int, off_site: bool | None, offline: bool | None) -> list[RecoveryGap]:
    gaps = []
    if copies < terms.copies:
        gaps.append(
            RecoveryGap(
                "copies", Status.WARN,
                f"{count(copies, 'copy', 'copies')} of {terms.copies}, the live one included.",
                "Keep one more copy in another place.",
            )
        )  # fmt: skip
    if terms.off_site and not off_site:
        said = "No copy lies on another machine: it burns with this one."
        unknown = "Whether a copy lies on another machine is not known."
        gaps.append(
            RecoveryGap(
                "off_site", Status.UNKNOWN if off_site is None else Status.FAIL, unknown if off_site is None else said,
                "Keep a copy off-site, and say so in the agent's backups.toml (`remote`).",
            )
        )  # fmt: skip
    if terms.offline and not offline:
        said = "Every copy is within an attacker's reach: none is offline or immutable."
        unknown = "Whether a copy is offline or immutable is not known."
        gaps.append(
            RecoveryGap(
                "offline", Status.UNKNOWN if offline is None else Status.WARN, unknown if offline is None else said,
                "Keep a copy on a medium that is not attached, or where nothing can be deleted for a time.",
            )
        )  # fmt: skip
    return gaps


def _bring_back(
    whole: Sequence[Covering],
    backup_at: datetime | None,
    standing: Sequence[Shown],
    failed: Sequence[Shown],
    terms: Terms,
    now: datetime,
) -> BringBack:
    """``yes``: a restore of it is proved and counts. ``no``: no backup holds it, or all that was tried last failed."""
    sound = [one for one in whole if one.holding.backup.chain_ok is not False]
    if not sound or backup_at is None:
        return "no"
    restored = [one for one in standing if one.level in RESTORES and now < one.at + terms.every]
    broken = {one.key for one in failed}
    if any(one.key not in broken for one in restored):
        return "yes"
    return "no" if broken and not restored and {one.holding.key for one in sound} <= broken else "perhaps"


def _all_well(best: Shown | None, backup_at: datetime | None, terms: Terms, now: datetime) -> str:
    proved = f"{LEVEL_WORDS[best.level]} {span(now - best.at)} ago" if best else ""
    age = f"its newest backup is {span(now - backup_at)} old (objective {span(terms.rpo)})" if backup_at else ""
    said = "; ".join(part for part in (proved, age) if part)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of some; pass without any."""
    return min(statuses, key=_WORST.index, default=Status.PASS)


def rank(status: Status) -> int:
    """0 is worst."""
    return _WORST.index(status)
