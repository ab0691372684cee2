"""Acme's people in the portal: Carla manages, Uwe works there; Tina is the provider's technician. Cleo manages Bolt."""

from __future__ import annotations

from forestall.server.people.models import Client, Grant, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.voice import reading_scope
from forestall.server.tickets import portal, queries, requests, services
from forestall.server.tickets.models import Ticket, TicketEvent
from forestall.server.tickets.rules import ClockKind, ClockView, Urgency
from forestall.server.tickets.tests.desk_story import Story


class PortalStory(Story):
    def __init__(self) -> None:
        super().__init__()
        self.lab = Site.objects.create(client=self.acme, name="Lab")
        self.tina = self._person("tina.internal", Role.TECHNICIAN, self.acme)
        self.tina.display_name = "Tina Tauber"
        self.tina.save()
        self.carla = self._own("carla", Role.CLIENT_MANAGER, self.acme)
        self.uwe = self._own("uwe", Role.CLIENT_USER, self.acme)
        self.ulla = self._own("ulla", Role.CLIENT_USER, self.acme)
        self.cleo = self._own("cleo", Role.CLIENT_MANAGER, self.bolt)
        self.owner = Person.objects.create(username="olga", password="!", display_name="Olga")
        Grant.objects.create(person=self.owner, role=Role.OWNER)

    def _own(self, name: str, role: Role, client: Client) -> Person:
        person = Person.objects.create(
            username=name, password="!", display_name=name.capitalize(), home_client=client, email=f"{name}@example.org"
        )
        Grant.objects.create(person=person, role=role, client=client)
        return person

    def reads(self, person: Person) -> Scope:
        return reading_scope(self.scope(person))

    def asks(self, person: Person, title: str = "Printer prints blank pages", **how) -> Ticket:
        """A request from the portal."""
        how = {"text": "Since this morning.", "urgency": Urgency.ONE, "site": self.munich, **how}
        return requests.request_open(title=title, scope=self.scope(person), now=self.now, **how)

    def fresh(self, ticket: Ticket) -> Ticket:
        return queries.ticket(scope=Scope.system("story"), number=ticket.number)

    def numbers(self, person: Person) -> set[int]:
        """Tickets that this person sees in the portal."""
        return {one.number for one in portal.tickets_for_client(scope=self.reads(person))}

    def lines(self, ticket: Ticket, person: Person | None = None) -> list[str]:
        """What the client reads of a ticket, as ``who: text``."""
        scope = self.reads(person or self.carla)
        return [f"{line.who}: {line.text}" for line in portal.public_lines(scope=scope, ticket=ticket)]

    def clock_of(self, ticket: Ticket) -> ClockView:
        return queries.clock(ticket=self.fresh(ticket), now=self.now, kind=ClockKind.RESOLUTION)

    def notes(self, ticket: Ticket, text: str, *, to_client: bool = False) -> TicketEvent:
        """Tina writes."""
        return services.ticket_comment(
            ticket=ticket, text=text, scope=self.scope(self.tina), now=self.now, to_client=to_client
        )
