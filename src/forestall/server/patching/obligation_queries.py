"""Reads of obligations: what is in force at a client, what is known of an update, what stands before its deadline."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from forestall.server.calendar.queries import WindowBook
from forestall.server.calendar.windows import Occurrence, Window, occurrences
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.patching.models import (
    SETTLED,
    Deployment,
    ObligationException,
    ObligationRule,
    PatchPolicy,
    UpdateDecision,
)
from forestall.server.patching.obligations import (
    LEAST_WINDOW,
    Ahead,
    Binding,
    Due,
    Exploit,
    Leave,
    Rated,
    Rule,
    binding,
    covers,
    dues_of,
    miss,
    rules_in_force,
    worst,
)
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.vulnerabilities.models import Vulnerability

SELF = Scope.system("obligations")
"""Which obligations bind does not depend on who asks."""

AT_ONCE = 4000
"""Names asked of the database in one question."""
KEPT_CLOCKS = timedelta(days=400)
"""How far back an older version that was never installed is looked for."""
KEPT = ("Held ", "Forestall only lists ")
"""How ``rules.may_install_now`` begins to say that an update is kept until somebody acts."""
IN_PLACE = ("installed", "pending_reboot")


def rules(*, scope: Scope) -> QuerySet[ObligationRule]:
    """Clients' own rules that ``scope`` may see, ended ones too."""
    found: QuerySet[ObligationRule] = ObligationRule.objects.visible_to(scope).select_related("client")
    return found


def exceptions(*, scope: Scope) -> QuerySet[ObligationException]:
    """Exceptions that ``scope`` may see, ended ones too: of one device only with the device."""
    found: QuerySet[ObligationException] = ObligationException.objects.visible_to(scope).select_related("client")
    if scope.everywhere(Permission.DEVICE_VIEW):
        return found
    return found.filter(Q(device_id=None) | Q(device_id__in=Device.objects.visible_to(scope).values("pk")))


def exceptions_in_force(*, scope: Scope, now: datetime) -> QuerySet[ObligationException]:
    """Those that are in force now."""
    return exceptions(scope=scope).filter(
        Q(ended_at=None) | Q(ended_at__gt=now), granted_at__lte=now, expires_at__gt=now
    )


def obligations_of(*, scope: Scope, client: Client, at: datetime) -> list[Rule]:
    """What is in force at a client at ``at``, in the order in which it is shown."""
    rows = rules(scope=scope).filter(client=client)
    return rules_in_force(rows.values_list("slug", "terms", "in_force_from", "in_force_until"), at)


class Key(NamedTuple):
    """A package on a device, whatever its version."""

    device_id: UUID
    manager: str
    name: str
    architecture: str


class Known(NamedTuple):
    """What is read of a deployment to judge it: thousands are read at once."""

    pk: int
    client_id: UUID
    site_id: UUID
    device_id: UUID
    manager: str
    name: str
    architecture: str
    candidate: str
    kind: str
    security: bool
    severity: str
    cves: Sequence[str]
    released_at: datetime | None
    first_seen_at: datetime
    state: str
    why: str
    rollout_id: UUID | None
    settled_at: datetime | None
    verified_at: datetime | None
    skip_until: datetime | None
    due_at: datetime | None
    bound_by: str
    misses: bool

    @property
    def key(self) -> Key:
        return Key(self.device_id, self.manager, self.name, self.architecture)


class Score(NamedTuple):
    """What is known of one vulnerability."""

    severity: str
    cvss: float | None
    kev_added_on: date | None
    kev_due_on: date | None


@dataclass(slots=True)
class Book:
    """What obligations rest on, loaded once for many deployments; asked about at any date."""

    rows: dict[UUID, list[tuple[str, Mapping[str, Any], datetime, datetime | None]]] = field(default_factory=dict)
    leaves: dict[UUID, list[tuple[ObligationException, Leave]]] = field(default_factory=dict)
    timezones: dict[UUID, str] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    _rules: dict[tuple[UUID, datetime], list[Rule]] = field(default_factory=dict)

    @classmethod
    def load(cls, *, clients: Collection[UUID], cves: Iterable[str]) -> Book:
        """For the deployments of these clients, which fix these vulnerabilities."""
        book = cls()
        book.timezones = dict(Client.objects.visible_to(SELF).filter(pk__in=clients).values_list("pk", "timezone"))
        own = rules(scope=SELF).filter(client__in=clients)
        for client, *row in own.values_list("client_id", "slug", "terms", "in_force_from", "in_force_until"):
            book.rows.setdefault(client, []).append(tuple(row))
        for one in ObligationException.objects.visible_to(SELF).filter(client__in=clients):
            leave = Leave(one.pk, one.obligation, one.granted_at, one.expires_at, one.ended_at)
            book.leaves.setdefault(one.client_id, []).append((one, leave))
        book.scores = scores_of(cves)
        return book

    def rules_at(self, client: UUID, at: datetime) -> list[Rule]:
        """The obligations in force at a client at ``at``."""
        found = self._rules.get((client, at))
        if found is None:
            found = self._rules[client, at] = rules_in_force(self.rows.get(client, ()), at)
        return found

    def leaves_of(self, one: Known) -> list[Leave]:
        """The exceptions that cover a deployment, whenever they were in force."""
        return [
            leave
            for row, leave in self.leaves.get(one.client_id, ())
            if row.device_id in {None, one.device_id}
            and covers((row.manager, row.name, row.candidate), (one.manager, one.name, one.candidate))
        ]

    def rated(self, one: Known) -> Rated:
        """A deployment's update with what is known of the vulnerabilities it fixes."""
        known = [(cve, self.scores[cve]) for cve in one.cves if cve in self.scores]
        bases = [score.cvss for _cve, score in known if score.cvss is not None]
        return Rated(
            kind=one.kind,
            security=one.security or bool(one.cves),
            severity=worst([one.severity, *(score.severity for _cve, score in known)]),
            first_seen_at=one.first_seen_at,
            released_at=one.released_at,
            cvss=max(bases, default=None),
            exploits=tuple(
                Exploit(cve, score.kev_added_on, score.kev_due_on) for cve, score in known if score.kev_added_on
            ),
        )

    def dues(self, one: Known, at: datetime, earlier: Sequence[Known] = ()) -> tuple[Due, ...]:
        """What each obligation in force at ``at`` demands of a deployment."""
        return dues_of(
            self.rated(one),
            self.rules_at(one.client_id, at),
            at,
            timezone=self.timezones.get(one.client_id, "UTC"),
            leaves=self.leaves_of(one),
            earlier=[self.rated(older) for older in earlier],
        )

    def binding(self, one: Known, at: datetime, earlier: Sequence[Known] = ()) -> Binding | None:
        """The obligation that binds a deployment at ``at``."""
        return binding(
            self.rated(one),
            self.rules_at(one.client_id, at),
            at,
            timezone=self.timezones.get(one.client_id, "UTC"),
            leaves=self.leaves_of(one),
            earlier=[self.rated(older) for older in earlier],
        )


def known_deployments(found: QuerySet[Deployment]) -> list[Known]:
    """Deployments as they are judged."""
    # Many fix the same vulnerabilities: each list of names is read once, and shared.
    lists: dict[str, Sequence[str]] = {}
    fields = ["cves_text" if name == "cves" else name for name in Known._fields]
    at = fields.index("cves_text")
    known = []
    for row in found.order_by("pk").annotate(cves_text=Cast("cves", TextField())).values_list(*fields):
        text = row[at]
        if text not in lists:
            lists[text] = json.loads(text)
        known.append(Known._make((*row[:at], lists[text], *row[at + 1 :])))
    return known


def scores_of(cves: Iterable[str]) -> dict[str, Score]:
    """Name → what is known of the vulnerability, of those that are known."""
    wanted = sorted(set(cves))
    found: dict[str, Score] = {}
    for start in range(0, len(wanted), AT_ONCE):
        rows = Vulnerability.objects.filter(name__in=wanted[start : start + AT_ONCE])
        for name, severity, cvss, added, due in rows.values_list(
            "name", "severity", "cvss", "kev_added_on", "kev_due_on"
        ):
            found[name] = Score(severity, cvss, added, due)
    return found


def earlier_versions(rows: Sequence[Known], *, now: datetime) -> dict[Key, list[Known]]:
    """Package on a device → the versions that newer ones replaced before they were installed, and that no later
    installation made good."""
    if not rows:
        return {}
    devices, names = {one.device_id for one in rows}, {one.name for one in rows}
    before = Deployment.objects.visible_to(SELF).filter(settled_at__gte=now - KEPT_CLOCKS)
    if len(devices) < AT_ONCE and len(names) < AT_ONCE:
        before = before.filter(device__in=devices, name__in=names)
    settled = known_deployments(before)
    wanted = {one.key for one in rows}
    good: dict[Key, datetime] = {}
    for one in settled:
        at = one.verified_at if one.verified_at else one.settled_at if one.state == "withdrawn" else None
        if at is not None:
            good[one.key] = max(good.get(one.key, at), at)
    found: dict[Key, list[Known]] = defaultdict(list)
    for one in settled:
        if one.state != "superseded" or one.verified_at or one.key not in wanted or one.settled_at is None:
            continue
        if one.key not in good or good[one.key] < one.settled_at:
            found[one.key].append(one)
    return dict(found)


@dataclass(slots=True)
class Way:
    """What stands between deployments and their installation, loaded once for many."""

    windows: WindowBook
    now: datetime
    policies: dict[tuple[UUID, UUID | None], PatchPolicy] = field(default_factory=dict)
    approved: dict[UUID, list[UpdateDecision]] = field(default_factory=dict)
    tests: dict[int, str] = field(default_factory=dict)
    _opens: dict[tuple[UUID, UUID | None, timedelta], datetime | None] = field(default_factory=dict)

    @classmethod
    def load(cls, rows: Sequence[Known], book: Book, *, now: datetime) -> Way:
        clients = {one.client_id for one in rows}
        way = cls(
            windows=WindowBook.load(scope=SELF, since=now, sites={one.site_id for one in rows}),
            now=now,
        )
        for policy in PatchPolicy.objects.visible_to(SELF).filter(client__in=clients):
            way.policies[policy.client_id, policy.site_id] = policy
        decisions = UpdateDecision.objects.visible_to(SELF).filter(
            Q(until=None) | Q(until__gt=now), client__in=clients, decision="approve", ended_at=None
        )
        for decision in decisions:
            way.approved.setdefault(decision.client_id, []).append(decision)
        way.tests = _tests_missing(rows, book, now)
        return way

    def ahead(self, one: Known) -> Ahead:
        """What stands before one deployment."""
        policy = self.policies.get((one.client_id, one.site_id)) or self.policies.get((one.client_id, None))
        needed = LEAST_WINDOW
        if policy is not None and "minutes_needed" in policy.terms:
            needed = timedelta(minutes=int(policy.terms["minutes_needed"]))
        return Ahead(
            opens_at=self.opens(one.site_id, one.device_id, needed),
            skipped=one.state == "skipped",
            skip_until=one.skip_until,
            kept=self._kept(one, policy),
            waits_for_test=self.tests.get(one.pk, ""),
            needed=needed,
            nothing_to_install=one.state in {"installed", "installing"},
        )

    def opens(self, site: UUID, device: UUID | None, needed: timedelta = LEAST_WINDOW) -> datetime | None:
        """When the next window of a device opens in which there is time enough; now while such a one is open."""
        own = device if device in self.windows.devices else None
        key = (site, own, needed)
        if key not in self._opens:
            found = [first_of(window, self.now, needed) for window in self.windows.covering(site, own)]
            self._opens[key] = min((max(one.start, self.now) for one in found if one is not None), default=None)
        return self._opens[key]

    def why_missed(self, one: Known, due_at: datetime | None) -> str:
        """Why the next approved window misses a deadline; empty: it does not."""
        return "" if due_at is None or one.state in SETTLED else miss(due_at, self.ahead(one), self.now)

    def _kept(self, one: Known, policy: PatchPolicy | None) -> str:
        """What keeps an update until somebody acts, as ``rules.may_install_now`` decides it; empty: nothing."""
        if one.state in IN_PLACE:
            return ""
        if one.state == "blocked" and one.why.startswith(KEPT):
            return f"{one.why[:1].lower()}{one.why[1:]}".rstrip(".")
        if one.rollout_id is not None or self._is_approved(one):
            return ""
        if policy is None:
            return "no patch policy covers the device, so nothing installs it by itself"
        if policy.choose == "nothing" or (policy.choose == "security" and not one.security):
            return "the patch policy does not install it by itself, and nobody approved it"
        return "it waits for approval" if policy.approval == "manual" else ""

    def _is_approved(self, one: Known) -> bool:
        return any(
            decision.device_id in {None, one.device_id}
            and covers((decision.manager, decision.name, decision.candidate), (one.manager, one.name, one.candidate))
            for decision in self.approved.get(one.client_id, ())
        )


def first_of(window: Window, now: datetime, needed: timedelta) -> Occurrence | None:
    """The first time from now on that a window has so much time left; None: none within 400 days."""
    for one in occurrences(window, now, now + timedelta(days=400)):
        if one.end - max(one.start, now) >= needed:
            return one
    return None


def _tests_missing(rows: Sequence[Known], book: Book, now: datetime) -> dict[int, str]:
    """Deployment → why it may not be installed yet: the obligation about it asks for a test on a named device first."""
    asked: list[tuple[Known, str]] = []
    for one in rows:
        needs = [
            rule.terms for rule in book.rules_at(one.client_id, now)
            if rule.terms.needs_test and (not rule.terms.kinds or one.kind in rule.terms.kinds)
        ]  # fmt: skip
        if needs:
            asked.append((one, next((terms.test_device for terms in needs if terms.test_device), "")))
    if not asked:
        return {}
    devices = {UUID(device) for _one, device in asked if device}
    passed = {
        (row.device_id, row.manager, row.name, row.candidate)
        for row in known_deployments(Deployment.objects.visible_to(SELF).filter(device__in=devices, state="verified"))
    }
    found = {}
    for one, device in asked:
        if not device:
            found[one.pk] = "no test device is named for it, and it has to be tested before it is installed"
        elif str(one.device_id) != device and (UUID(device), one.manager, one.name, one.candidate) not in passed:
            found[one.pk] = "it is not verified on the test device yet"
    return found


def test_waits(*, scope: Scope, deployments: Iterable[Deployment], now: datetime) -> dict[int, str]:
    """Deployment → why it may not be installed before its pre-change test; those that may are left out."""
    wanted = [one.pk for one in deployments]
    rows = known_deployments(Deployment.objects.visible_to(scope).filter(pk__in=wanted))
    book = Book.load(clients={one.client_id for one in rows}, cves=())
    return _tests_missing(rows, book, now)


def open_deployments(*, scope: Scope) -> QuerySet[Deployment]:
    """Updates that are not settled, on devices that are served."""
    found: QuerySet[Deployment] = Deployment.objects.visible_to(scope).filter(settled_at=None)
    # Few are revoked: looked up once, not with each of thousands of rows.
    revoked = Device.objects.visible_to(SELF).filter(status=DeviceStatus.REVOKED).order_by()
    return found.exclude(device__in=revoked.values("pk"))
