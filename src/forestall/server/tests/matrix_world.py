"""Two clients and three sites, each with one of everything; and everybody who might ask for it.

Each thing is known by the name that stands for it in a route (``device_id``, ``number``): a route whose parameter has
no thing here fails the matrix, so that no route stays untried. Whatever can hold words holds a canary: the name of
the place it belongs to, which must never be read by those who do not see that place.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.test import Client as Browser

from forestall.server.access import services as access
from forestall.server.access.models import AccessChange, AccessReview, ReviewItem
from forestall.server.alerts.routes import route_create
from forestall.server.calendar.models import CalendarFeed
from forestall.server.calendar.services import blackout_add, closed_day_add, window_create
from forestall.server.checks import services as checking
from forestall.server.checks.models import Check, PolicyChange
from forestall.server.checks.result import Risk
from forestall.server.clients.services import client_add, contact_add, site_add
from forestall.server.configuration import services as configuration
from forestall.server.configuration.models import Drift
from forestall.server.health.services import coverage_except
from forestall.server.inventory.assets import asset_create
from forestall.server.inventory.labels import devices_tag, group_create
from forestall.server.inventory.models import Device, FactsChange, FactsDocument
from forestall.server.inventory.services import facts_receive
from forestall.server.patching.models import Deployment, Rollout, RolloutDevice, RolloutRing, UpdateHold
from forestall.server.patching.obligation_services import exception_grant, obligation_rule_set
from forestall.server.patching.planning import policy_set, update_decide
from forestall.server.patching.rules import Move, State
from forestall.server.patching.writing import moves_write
from forestall.server.people.models import ApiToken, Client, CustomRole, Grant, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Place, Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.recovery.models import KnownBackup
from forestall.server.recovery.services import proof_attest, system_add
from forestall.server.reports import services as reports
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.draft_services import draft_create
from forestall.server.runbooks.models import AuthorityProposal
from forestall.server.runbooks.operator import operator_init
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import Ticket, TicketApproval
from forestall.server.tickets.routing import routing_rule_add
from forestall.server.tickets.rules import Priority
from forestall.server.tickets.sla import sla_policy_set
from forestall.server.transfer.services import import_apply
from forestall.server.vulnerabilities.models import (
    DeviceSoftware,
    DeviceVulnerability,
    Feed,
    PackageVersion,
    PackageVulnerability,
    Vulnerability,
    VulnerabilityMark,
)
from forestall.server.vulnerabilities.services import vulnerability_mark
from forestall.server.webhooks.services import webhook_make, webhook_ping
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access as AccessFacts
from forestall.wire.facts import (
    Account,
    Assessment,
    AssessmentFinding,
    Hardening,
    HardeningSetting,
    Package,
    Software,
    System,
)

SYSTEM = Scope.system("matrix")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PASSWORD = "a long password"

OWN, SIBLING, OTHER = "OWNBRANCH", "SIBLINGBRANCH", "OTHERBRANCH"
"""Canaries of the three sites."""
ACME, BOLT = "ACMECANARY", "BOLTCANARY"
"""Canaries of the two clients."""
INTERNAL = "INTERNALCANARY"
"""What staff tell each other."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something a route can name."""

    value: object
    client: UUID | None
    """None: of the installation."""
    site: UUID | None
    view: Permission | None
    """With which permission one sees it; None: with any there."""
    whole: bool = False
    """Of a client: only those see it who see the client as a whole."""
    mine: int | None = None
    """The one person who sees it besides."""
    whole_for_acts: bool = False
    """To act on it takes the permission at its client as a whole."""
    private: bool = False
    """Nobody but that one person sees it."""

    def seen_by(self, scope: Scope) -> bool:
        if self.mine is not None and scope.person_id == self.mine:
            return True
        if self.private:
            return False
        place = scope.place(self.view)
        if self.client is None:
            return place.everywhere if self.whole else not place.is_empty
        if self.site is None and not self.whole:
            return place.touches(self.client)
        return place.covers(self.client, self.site)

    def allowed_to(self, scope: Scope, permission: Permission | None, *, reads: bool) -> bool:
        """Whether who sees it may do to it what needs ``permission``."""
        if permission is None:
            return True
        place = scope.place(permission)
        if self.client is None:
            return not place.is_empty if reads and not self.whole else place.everywhere
        if self.whole_for_acts:
            return place.covers(self.client)
        if reads and self.site is None and not self.whole:
            return place.touches(self.client)
        return place.covers(self.client, self.site)


Things = dict[str, Thing]


@dataclass
class Matrix:
    """The world: relation → name in a route → thing."""

    things: dict[str, Things] = field(default_factory=dict)
    shared: Things = field(default_factory=dict)
    """Of the installation: the same for every relation."""
    clients: dict[str, Client] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)

    def absent(self, name: str) -> object:
        """A value of the same form that nothing has."""
        known = self.shared.get(name) or self.things["own"][name]
        if isinstance(known.value, UUID):
            return uuid4()
        if isinstance(known.value, int):
            return 987_654_321
        if isinstance(known.value, date):
            return date(2031, 5, 5)
        return {"priority": "low", "digest": "f" * 64, "report_number": "SR-987654"}.get(name, "nothing-of-that-name")

    def place(self, relation: str) -> tuple[Client, Site]:
        site = self.sites[relation]
        return site.client, site


def build(folder: Path) -> Matrix:
    """The world. ``folder``: for the operator's keys."""
    world = Matrix()
    runbooks.authority_install(bundle=operator_init(folder=folder / "operator", now=NOW), now=NOW)
    acme = client_add(name=f"Acme {ACME}", timezone="Europe/Berlin", notes=f"{ACME} {INTERNAL}", scope=SYSTEM, now=NOW)
    bolt = client_add(name=f"Bolt {BOLT}", timezone="Europe/London", notes=BOLT, scope=SYSTEM, now=NOW)
    world.clients = {"own": acme, "sibling": acme, "other": bolt}
    for relation, client, canary in (("own", acme, OWN), ("sibling", acme, SIBLING), ("other", bolt, OTHER)):
        world.sites[relation] = site_add(client=client, name=canary, address=canary, scope=SYSTEM, now=NOW)
    worker = person_create(username="worker-bee", password=PASSWORD, role=Role.TECHNICIAN)
    custom = CustomRole.objects.create(name="Night watch", permissions=["ticket.view"], created_at=NOW)
    proposal = AuthorityProposal.objects.create(
        kind="root", digest="a" * 64, envelope=b"{}", proposed_at=NOW, proposed_by="x", changed_at=NOW, changed_by="x"
    )
    world.shared = {
        "role_id": Thing(str(custom.pk), None, None, Permission.PEOPLE_VIEW),
        "tier_slug": Thing("standard", None, None, Permission.CLIENT_VIEW),
        "feed_slug": Thing(
            Feed.objects.create(slug="feed", url="http://127.0.0.1:9/").slug, None, None, Permission.DEVICE_VIEW
        ),
        "hold_id": Thing(
            UpdateHold.objects.create(manager="apt", name="held", candidate="2", why="elsewhere", since=NOW).pk,
            None,
            None,
            Permission.DEVICE_VIEW,
        ),
        "draft_slug": Thing(
            draft_create(scope=SYSTEM, slug="a-draft", now=NOW).slug, None, None, Permission.RUNBOOK_CHANGE
        ),
        "digest": Thing(proposal.digest, None, None, Permission.AUTHORITY_CHANGE, whole=True),
    }
    for relation, canary in (("own", OWN), ("sibling", SIBLING), ("other", OTHER)):
        world.things[relation] = _things(world, relation, canary, worker)
    return world


def _things(world: Matrix, relation: str, canary: str, worker: Person) -> Things:
    client, site = world.place(relation)
    device = Device.objects.create(
        client=client, site=site, name=f"pc-{canary}", hostname=f"host-{canary}", status="approved", enrolled_at=NOW,
        approved_at=NOW, public_key=uuid4().bytes * 2, os_name=f"Debian {canary}",
    )  # fmt: skip
    FactsChange.objects.create(device=device, name="system", at=NOW, summary=f"changed {canary}")
    devices_tag(devices=[device], add=[f"tag-{canary}"], scope=SYSTEM, now=NOW)
    mark = _vulnerable(device, canary)
    check = Check.objects.create(
        device=device, kind="new_administrator", target=f"adm-{canary}", status="fail", answered="fail",
        reason=f"because {canary}", risk="high", since=NOW, problem_since=NOW, judged_at=NOW,
        due_at=NOW + timedelta(days=1),
    )  # fmt: skip
    ticket = _ticket(device, canary, "open work")
    tickets.ticket_comment(ticket=ticket, text=f"{INTERNAL} about {canary}", scope=SYSTEM, now=NOW)
    approval = TicketApproval.objects.create(
        ticket=ticket,
        question=f"May we, {canary}?",
        what_happens=f"It works {canary}",
        asked_at=NOW,
        asked_by="worker-bee",
    )
    done = _ticket(device, canary, "done work")
    tickets.ticket_resolve(ticket=done, reason=f"did {canary}", scope=SYSTEM, now=NOW)
    report = reports.service_report_make(ticket=done, now=NOW, render=lambda *_: f"%PDF {canary}".encode())
    job = runbooks.job_prepare(
        scope=SYSTEM, runbook="free-disk-space", device=device, parameters={"volume": "/"}, reason=f"for {canary}",
        now=NOW,
    )  # fmt: skip
    person = person_create(username=f"p-{canary.lower()}", password=PASSWORD, role=Role.ON_CALL, site=site)
    person.email = f"{canary}@example.org"
    person.save()
    grant = Grant.objects.get(person=person)
    token_create(person=person, name=f"token {canary}")
    contact = contact_add(client=client, site=site, name=f"Carla {canary}", email="", scope=SYSTEM, now=NOW)
    window = window_create(
        site=site, name=f"window {canary}", starts_on=date(2026, 12, 1), starts_at="22:00", minutes=60, scope=SYSTEM,
        now=NOW, needs_approval=True,
    )  # fmt: skip
    blackout = blackout_add(
        site=site,
        why=f"freeze {canary}",
        starts_on=date(2026, 12, 24),
        ends_on=date(2026, 12, 27),
        scope=SYSTEM,
        now=NOW,
    )
    feed = CalendarFeed.objects.create(
        person=person, name=f"phone {canary}", digest=hashlib.sha256(canary.encode()).hexdigest(), created_at=NOW
    )
    rule = routing_rule_add(owner=worker, site=site, scope=SYSTEM, now=NOW)
    update = _update(device, canary)
    policy = policy_set(client=client, site=site, scope=SYSTEM, now=NOW)
    checking.policy_set(
        kind="disk_space",
        values={"every_minutes": 30},
        device=device,
        scope=SYSTEM,
        now=NOW,
        reason=f"because {canary}",
    )
    check_policy_change = PolicyChange.objects.visible_to(SYSTEM).get(device=device)
    coverage_exception = coverage_except(
        column="antivirus", device=device, reason=f"because {canary}", expires_at=NOW + timedelta(days=300),
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    decision = update_decide(
        client=client, device=device, decision="exclude", name=update.name, reason=f"because {canary}", scope=SYSTEM,
        now=NOW,
    )  # fmt: skip
    leave = exception_grant(
        client=client, device_id=device.pk, reason=f"because {canary}", compensating_control=f"a wall {canary}",
        expires_at=NOW + timedelta(days=300), scope=SYSTEM, now=NOW,
    )  # fmt: skip
    KnownBackup.objects.create(
        client=client, site=site, device=device, name=f"backup-{canary}", tool="restic", first_seen_at=NOW, seen_at=NOW,
        state={"name": f"backup-{canary}", "tool": "restic", "protects": ["/"], "last_success_at": NOW.isoformat(),
               "told": True},
    )  # fmt: skip
    system = system_add(device=device, kind="machine", name=f"system {canary}", scope=SYSTEM, now=NOW)
    proof = proof_attest(
        system=system, level="whole", ok=True, at=NOW, detail=f"Restored {canary}.", scope=SYSTEM, now=NOW,
        attachment=(f"protocol-{canary}.txt", f"All of {canary} came back.".encode()),
    )  # fmt: skip
    review = _review(device, canary)
    access_change = AccessChange.objects.create(
        client=client, site=site, device=device, at=NOW, about=f"account:{canary}", field="account", was="gone",
        now="there", words=f"account {canary} is new", risk="medium", state="open",
    )  # fmt: skip
    umask = Hardening(settings=(HardeningSetting(area="login", name="UMASK", value=f"022 {canary}"),))
    facts_receive(
        device=device, report=FactsReport(document=umask, digest=facts_digest(umask), collected_at=NOW), now=NOW
    )
    configuration.device_judge(device=device, now=NOW)
    Drift.objects.create(
        client=client, site=site, device=device, area="login", name=f"banner {canary}", before="x", after=canary,
        seen_at=NOW,
    )  # fmt: skip
    deviation = configuration.deviation_accept(
        client=client, device_id=device.pk, control="umask", reason=f"because {canary}",
        ends_at=NOW + timedelta(days=300), scope=SYSTEM, now=NOW,
    )  # fmt: skip
    assessment = configuration.assessment_import(
        device=device, scope=SYSTEM, now=NOW,
        assessment=Assessment(tool="lynis", findings=(AssessmentFinding(id="X-1", title=canary, result="warning"),)),
    )  # fmt: skip
    asset = asset_create(site=site, values={"name": f"asset-{canary}", "serial": canary}, scope=SYSTEM, now=NOW)
    things = {
        "client_id": Thing(client.pk, client.pk, None, None),
        "site_id": Thing(site.pk, client.pk, site.pk, None),
        "device_id": Thing(device.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "check_id": Thing(check.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "approval_id": Thing(approval.pk, client.pk, site.pk, Permission.PORTAL_APPROVE),
        "number": Thing(ticket.number, client.pk, site.pk, Permission.TICKET_VIEW),
        "report_number": Thing(report.number, client.pk, site.pk, Permission.REPORT_VIEW),
        "job_id": Thing(job.pk, client.pk, site.pk, Permission.RUNBOOK_VIEW),
        "person_id": Thing(person.pk, client.pk, site.pk, Permission.PEOPLE_VIEW),
        "grant_id": Thing(grant.pk, client.pk, site.pk, Permission.PEOPLE_VIEW),
        "token_id": Thing(ApiToken.objects.get(person=person).pk, client.pk, site.pk, Permission.PEOPLE_VIEW),
        "contact_id": Thing(contact.pk, client.pk, site.pk, Permission.CLIENT_VIEW),
        "window_id": Thing(window.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "blackout_id": Thing(blackout.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "feed_id": Thing(feed.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "rule_id": Thing(rule.pk, client.pk, site.pk, Permission.CLIENT_VIEW),
        "asset_id": Thing(asset.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "exception_id": Thing(leave.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "deployment_id": Thing(update.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "check_policy_change_id": Thing(check_policy_change.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "protected_system_id": Thing(system.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "proof_id": Thing(proof.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "access_change_id": Thing(access_change.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "access_review_id": Thing(review.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "review_item_id": Thing(
            ReviewItem.objects.visible_to(SYSTEM).get(review=review).pk, client.pk, site.pk, Permission.DEVICE_VIEW
        ),
        "coverage_exception_id": Thing(coverage_exception.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "deviation_id": Thing(deviation.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "assessment_id": Thing(assessment.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "patch_policy_id": Thing(policy.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "update_decision_id": Thing(decision.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
        "vulnerability_name": Thing(mark.vulnerability, client.pk, site.pk, Permission.DEVICE_VIEW),
        "mark_id": Thing(mark.pk, client.pk, site.pk, Permission.DEVICE_VIEW),
    }
    if relation == "sibling":
        return {**things, **{name: thing for name, thing in world.things["own"].items() if name not in things}}
    canary = ACME if relation == "own" else BOLT
    route = route_create(
        name=f"route {canary}", url="json://localhost/", minimum_risk=Risk.LOW, client=client, scope=SYSTEM, now=NOW
    )
    group = group_create(name=f"group {canary}", client=client, devices=[device], scope=SYSTEM, now=NOW)
    webhook, _ = webhook_make(name=f"hook {canary}", url="http://127.0.0.1:9/", client=client, scope=SYSTEM, now=NOW)
    delivery = webhook_ping(webhook=webhook, scope=SYSTEM, now=NOW)
    day = closed_day_add(client=client, day=date(2026, 12, 30), why=f"closed {canary}", scope=SYSTEM, now=NOW).day
    obligation = obligation_rule_set(
        client=client, slug=f"own-{canary.lower()}", reason=f"because {canary}", scope=SYSTEM, now=NOW,
        terms={"title": f"Own {canary}", "deadline": {"kind": "after", "hours": 24}},
    )  # fmt: skip
    review_plan = access.plan_set(
        client=client, site=None, every_months=6, answer_days=14, assigned_to=None, scope=SYSTEM, now=NOW
    )
    sla_policy_set(
        client=client, priority=Priority.URGENT, response_minutes=10, resolution_minutes=100, scope=SYSTEM, now=NOW
    )
    rollout = Rollout.objects.create(
        client=client, name=f"rollout {canary}", state="running", ring=1, created_at=NOW, created_by="x",
        changed_at=NOW, terms={"rings": [{"percent": 100}], "strict_rings": 1},
    )  # fmt: skip
    RolloutRing.objects.create(rollout=rollout, number=1, cap=1, started_at=NOW)
    RolloutDevice.objects.create(rollout=rollout, client=client, site=site, device=device, ring=1)
    run = import_apply(
        kind="contacts", content=f"client,name\n{client.name},Imported {canary}\n".encode(), scope=SYSTEM, now=NOW
    )
    run.person = worker
    run.save()
    return {
        **things,
        "review_plan_id": Thing(review_plan.pk, client.pk, None, Permission.DEVICE_VIEW),
        "obligation_rule_id": Thing(obligation.pk, client.pk, None, Permission.DEVICE_VIEW),
        "route_id": Thing(route.pk, client.pk, None, Permission.CLIENT_VIEW, whole=True),
        "group_id": Thing(group.pk, client.pk, None, Permission.DEVICE_VIEW),
        "rollout_id": Thing(rollout.pk, client.pk, None, Permission.DEVICE_VIEW),
        "webhook_id": Thing(webhook.pk, client.pk, None, Permission.CLIENT_CHANGE, whole=True),
        "delivery_id": Thing(delivery.pk, client.pk, None, Permission.CLIENT_CHANGE, whole=True),
        "day": Thing(day, client.pk, None, None),
        "priority": Thing("urgent", client.pk, None, None),
        "import_id": Thing(run.pk, None, None, Permission.CLIENT_CHANGE, whole=True, mine=worker.pk),
    }


def _review(device: Device, canary: str) -> AccessReview:
    """An open review of the device's site, with one account to remove."""
    told = AccessFacts(accounts=(Account(name=f"user-{canary}", uid=1000, login=True, password="set", ssh_keys=0),))
    facts_receive(
        device=device, report=FactsReport(document=told, digest=facts_digest(told), collected_at=NOW), now=NOW
    )
    review = access.review_begin(client=device.client, site=device.site, scope=SYSTEM, now=NOW)
    item = ReviewItem.objects.visible_to(SYSTEM).get(review=review)
    access.items_decide(
        review=review, item_ids=[item.pk], decision="remove", reason=f"because {canary}", prepare=False, scope=SYSTEM,
        now=NOW,
    )  # fmt: skip
    return review


def _vulnerable(device: Device, canary: str) -> VulnerabilityMark:
    """Software with a hole that no other device has, and what somebody said of it."""
    for document in (
        System(hostname=canary, os_id="debian", os_name="Debian", os_version="12"),
        Software(manager="dpkg", packages=(Package(name=f"lib-{canary.lower()}", version="1"),)),
    ):
        FactsDocument.objects.create(
            device=device, name=document.name(), digest=uuid4().bytes * 2, collected_at=NOW, changed_at=NOW,
            body=zlib.compress(msgspec.msgpack.encode(document)),
        )  # fmt: skip
    hole = Vulnerability.objects.create(name=f"CVE-{canary}", severity="high", score=20, changed_at=NOW)
    package = PackageVersion.objects.create(
        ecosystem="Debian:12", name=f"lib-{canary.lower()}", version="1", fix="2",
        fixable=hole.pk.to_bytes(4, "little"),
    )  # fmt: skip
    PackageVulnerability.objects.create(
        package=package, vulnerability=hole, advisory=f"DSA-{canary}", fixed="2", known_at=NOW
    )
    DeviceSoftware.objects.create(
        device=device, packages=package.pk.to_bytes(4, "little"), stale=False, at=NOW, digest=b"x"
    )
    DeviceVulnerability.objects.create(
        client=device.client, site=device.site, device=device, package=package, binaries=[package.name],
        first_seen_at=NOW,
    )  # fmt: skip
    return vulnerability_mark(
        client=device.client, device=device, vulnerability=hole.name, package="another", mark="not_applicable",
        reason=f"because {canary}", scope=SYSTEM, now=NOW,
    )  # fmt: skip


def _update(device: Device, canary: str) -> Deployment:
    row = Deployment(
        client=device.client, site=device.site, device=device, manager="apt", name=f"pkg-{canary}", installed="1",
        candidate="2", security=True, first_seen_at=NOW,
    )  # fmt: skip
    moves_write(moves=[(row, Move(State.BLOCKED, f"because {canary}"))], actor="matrix", now=NOW)
    return row


def _ticket(device: Device, canary: str, title: str) -> Ticket:
    found: Ticket = Ticket.objects.create(
        client=device.client, site=device.site, device=device, kind="disk_space", condition=f"disk_space {title}",
        title=f"{title} {canary}", risk="high", priority="standard", first_seen_at=NOW, opened_at=NOW,
        response_minutes=60, resolution_minutes=600,
    )  # fmt: skip
    return found


# --- who asks ----------------------------------------------------------------------------------------------------


@dataclass
class Caller:
    """Somebody with a token and a browser."""

    name: str
    person: Person
    headers: Mapping[str, str]
    browser: Browser

    @property
    def scope(self) -> Scope:
        return scope_of(self.person)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        more: dict[str, Any] = {}
        if method in {"POST", "PUT", "PATCH"}:
            more = {"data": json.dumps(body or {}), "content_type": "application/json"}
        return self.browser.generic(method, f"/api/v1{path}", headers=self.headers, **more)

    def sees(self) -> set[str]:
        """The canaries they may read."""
        place, found = self._reach(), set()
        for canary, (client, site) in self.canaries.items():
            if place.everywhere or (place.touches(client) if site is None else place.covers(client, site)):
                found.add(canary)
        return found

    canaries: dict[str, tuple[UUID, UUID | None]] = field(default_factory=dict)

    def _reach(self) -> Place:
        return self.scope.place()


PLACES = ("everywhere", "client", "site")
MIXED = "technician at a site, auditor elsewhere"
CUSTOM = "role of one's own at a site"
NOBODY = "nobody's role"
CALLERS: tuple[str, ...] = (
    *(
        f"{role.value} {place}"
        for role in Role
        for place in PLACES
        if not (role in {Role.CLIENT_MANAGER, Role.CLIENT_USER} and place == "everywhere")
    ),
    MIXED,
    CUSTOM,
    NOBODY,
)


def caller(world: Matrix, name: str) -> Caller:
    """Somebody of ``CALLERS``."""
    client, site = world.place("own")
    person = person_create(username="asker", password=PASSWORD, role=Role.AUDITOR)
    person.grants.all().delete()
    for kwargs in _grants(name, world):
        Grant.objects.create(person=person, **kwargs)
    role = name.split(" ")[0]
    if role in {Role.CLIENT_MANAGER, Role.CLIENT_USER}:
        person.home_client = client
        person.save()
    browser = Browser(raise_request_exception=False)
    headers = {"authorization": f"Bearer {token_create(person=person, name='t')}"}
    canaries = {
        OWN: (client.pk, site.pk),
        SIBLING: (client.pk, world.sites["sibling"].pk),
        OTHER: (world.clients["other"].pk, world.sites["other"].pk),
        ACME: (client.pk, None),
        BOLT: (world.clients["other"].pk, None),
    }
    return Caller(name=name, person=person, headers=headers, browser=browser, canaries=canaries)


def _grants(name: str, world: Matrix) -> Iterable[dict[str, Any]]:
    client, site = world.place("own")
    if name == NOBODY:
        return []
    if name == MIXED:
        return [
            {"role": Role.TECHNICIAN, "client": client, "site": site},
            {"role": Role.AUDITOR, "client": world.clients["other"]},
        ]
    if name == CUSTOM:
        own = CustomRole.objects.create(
            name="Half", permissions=["device.view", "ticket.view", "ticket.work"], created_at=NOW
        )
        return [{"custom": own, "client": client, "site": site}]
    role, _, place = name.partition(" ")
    where: dict[str, Any] = {}
    if place != "everywhere":
        where["client"] = client
    if place == "site":
        where["site"] = site
    return [{"role": Role(role), **where}]
