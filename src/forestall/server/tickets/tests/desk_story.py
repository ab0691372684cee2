"""The desk's world with tickets: alerts open and close them, people work on them."""

from __future__ import annotations

from forestall.server.alerts.tests.desk_world import SYSTEM, World
from forestall.server.inventory.models import Device
from forestall.server.outbox.events import Event
from forestall.server.people.models import Grant, Person
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.tickets import queries, services
from forestall.server.tickets.models import Ticket, TicketEvent
from forestall.server.tickets.rules import ClockKind, ClockView


class Story(World):
    """Alice owns Acme's desk, Bob is her technician, Dora audits; Charlie works for Bolt and must not see Acme."""

    def __init__(self) -> None:
        super().__init__()
        self.alice = self._person("alice", Role.OWNER, self.acme)
        self.bob = self._person("bob", Role.TECHNICIAN, self.acme)
        self.bob.display_name = "Bob Baker"
        self.bob.save()
        self.dora = self._person("dora", Role.AUDITOR, self.acme)
        self.charlie = self._person("charlie", Role.TECHNICIAN, self.bolt)

    def _person(self, name: str, role: Role, client) -> Person:
        # Nobody signs in here, and hashing passwords is slow on purpose.
        person = Person.objects.create(username=name, password="!")
        Grant.objects.create(person=person, role=role, client=client)
        return person

    def scope(self, person: Person) -> Scope:
        return scope_of(person)

    def table(self) -> dict:
        table = super().table()
        table[Event.ALERT_RAISED].append(
            lambda event, now: services.ticket_open_or_join_by_id(alert_id=event.subject, now=now)
        )
        table[Event.ALERT_CLEARED].append(
            lambda event, now: services.ticket_follow_alert_cleared_by_id(alert_id=event.subject, now=now)
        )
        return table

    def tick(self) -> None:
        super().tick()
        services.tickets_tick(now=self.now)
        self.route()

    def ticket(self, device: Device | None = None) -> Ticket:
        """The newest ticket of a device."""
        return queries.tickets(scope=SYSTEM).filter(device=device or self.web).order_by("-number").first()

    def tickets(self) -> list[Ticket]:
        return list(queries.tickets(scope=SYSTEM).order_by("number"))

    def acknowledge(self, person: Person) -> Ticket:
        return services.ticket_acknowledge(ticket=self.ticket(), scope=self.scope(person), now=self.now)

    def wait(self, person: Person, reason: str = "which files may go?") -> Ticket:
        return services.ticket_wait(ticket=self.ticket(), reason=reason, scope=self.scope(person), now=self.now)

    def resume(self, person: Person) -> Ticket:
        return services.ticket_resume(ticket=self.ticket(), scope=self.scope(person), now=self.now)

    def resolve(self, person: Person, reason: str = "deleted old logs") -> Ticket:
        return services.ticket_resolve(ticket=self.ticket(), reason=reason, scope=self.scope(person), now=self.now)

    def job(self, text: str, kind: str = "succeeded") -> TicketEvent:
        return services.ticket_note_job(ticket=self.ticket(), job_id="j1", text=text, kind=kind, now=self.now)

    def clock(self, kind: ClockKind | None = None) -> ClockView:
        return queries.clock(ticket=self.ticket(), now=self.now, kind=kind)

    def events(self) -> list[str]:
        return [event.kind for event in TicketEvent.objects.visible_to(SYSTEM).filter(ticket=self.ticket())]

    def texts(self, kind: str) -> list[str]:
        lines = TicketEvent.objects.visible_to(SYSTEM).filter(ticket=self.ticket(), kind=kind)
        return [event.text for event in lines]
