"""Mails to the client's people: that they were answered, that something is done, that something waits for them.

A mail is a row, written with the act it tells of and sent after the commit. It says what the portal shows and nothing
else. Where no mail server is set, or a person has no address, the row says so, and nothing breaks.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F

from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import SERVICE_DESK, speaks_for, voices
from forestall.server.tickets.models import ClientMail, MailState, Ticket
from forestall.server.tickets.rules import public_title

log = logging.getLogger(__name__)

_MAIL = Scope.system("mail")

CLAIM = timedelta(minutes=5)
FIRST_RETRY = timedelta(minutes=1)
MOST_ATTEMPTS = 6
NO_SERVER = "no mail server is set"
NO_ADDRESS = "this person has no mail address"


def mail_is_set() -> bool:
    """Whether mails leave this installation at all."""
    return bool(getattr(settings, "MAIL_IS_SET", False))


def tell_requester(*, ticket: Ticket, what: str, text: str, now: datetime) -> list[ClientMail]:
    """Tell whose request it is; nobody, when it is nobody's, or they no longer see the portal."""
    person = ticket.requested_by
    if person is None or not person.is_active:
        return []
    if not speaks_for(scope=scope_of(person, now=now), permission=Permission.PORTAL_VIEW, on=ticket, now=now):
        return []
    return _about_ticket([person], ticket, what, text, now)


def tell_voices(*, ticket: Ticket, what: str, text: str, now: datetime) -> list[ClientMail]:
    """Tell whose request it is; of a ticket that is nobody's request, those who approve for the client there."""
    if ticket.requested_by_id is not None:
        return tell_requester(ticket=ticket, what=what, text=text, now=now)
    return tell_approvers(ticket=ticket, what=what, text=text, now=now)


def tell_approvers(*, ticket: Ticket, what: str, text: str, now: datetime) -> list[ClientMail]:
    """Tell those who approve for the client at the ticket's site."""
    people = voices(client=ticket.client, site=ticket.site, permission=Permission.PORTAL_APPROVE, now=now)
    return _about_ticket(people, ticket, what, text, now)


def tell_of_window(*, site: Site, subject: str, text: str, now: datetime) -> list[ClientMail]:
    """Tell those who approve for the client at a site that a window waits for their answer."""
    people = voices(client=site.client, site=site, permission=Permission.PORTAL_APPROVE, now=now)
    return _write(
        people,
        client=site.client,
        site=site,
        ticket=None,
        subject=subject,
        text=text,
        path="/portal/calendar/",
        now=now,
    )


def tell_of_planned_work(
    *, people: Iterable[Person], site: Site, subject: str, text: str, calendar: str, now: datetime
) -> list[ClientMail]:
    """Tell these people of the client when work is planned, moved or called off; ``calendar``: the file with it."""
    return _write(
        people,
        client=site.client,
        site=site,
        ticket=None,
        subject=subject,
        text=text,
        path="/portal/calendar/",
        now=now,
        closing="Your calendar, where such mails can be switched on and off",
        calendar=calendar,
    )


def tell_of_health(
    *, person: Person, site: Site, subject: str, text: str, path: str, now: datetime
) -> list[ClientMail]:
    """Tell who owns a client's tickets how its systems stood this morning."""
    return _write(
        [person],
        client=site.client,
        site=site,
        ticket=None,
        subject=subject,
        text=text,
        path=path,
        now=now,
        closing="Every point and gap, with the checks behind it",
        otherwise="the console, under Health",
    )


def _about_ticket(people: Iterable[Person], ticket: Ticket, what: str, text: str, now: datetime) -> list[ClientMail]:
    title = public_title(kind=ticket.kind, title=ticket.title)
    return _write(
        people,
        client=ticket.client,
        site=ticket.site,
        ticket=ticket,
        subject=f"[#{ticket.number}] {what}: {title}",
        text=f"{what}: #{ticket.number} {title} ({ticket.about})\n\n{text}",
        path=f"/portal/tickets/{ticket.number}/",
        now=now,
    )


def _write(
    people: Iterable[Person],
    *,
    client: Client,
    site: Site,
    ticket: Ticket | None,
    subject: str,
    text: str,
    path: str,
    now: datetime,
    closing: str = "Read and answer it here",
    calendar: str = "",
    otherwise: str = "",
) -> list[ClientMail]:
    public_url = getattr(settings, "PUBLIC_URL", None)
    elsewhere = otherwise or ("the portal" if calendar else "the portal, under the same number")
    where = f"{public_url}{path}" if public_url else elsewhere
    made = []
    for person in people:
        result = NO_SERVER if not mail_is_set() else NO_ADDRESS if not person.email else ""
        made.append(
            ClientMail.objects.create(
                client=client,
                site=site,
                ticket=ticket,
                person=person,
                address=person.email,
                subject=" ".join(subject.split())[:250],
                text=f"Hello {person.shown_name},\n\n{text}\n\n{closing}: {where}\n\n{SERVICE_DESK}\n",
                calendar=calendar,
                state=MailState.NOT_SENT if result else MailState.WAITING,
                result=result,
                made_at=now,
                not_before=now,
            )
        )
    return made


Sender = Callable[..., None]
"""Takes address, subject and text, and the calendar file where there is one; raises OSError or SMTPException when it
cannot be sent."""


def send_by_server(address: str, subject: str, text: str, calendar: str = "") -> None:
    """Send now, and wait for the server's answer: this runs in the worker, where nobody waits for it."""
    background = settings.EMAIL_BACKEND.endswith(".InBackground")
    connection = get_connection("django.core.mail.backends.smtp.EmailBackend" if background else None)
    mail = EmailMessage(subject=subject, body=text, to=[address], connection=connection)
    if calendar:
        # Bytes, so that its line ends arrive as they are (RFC 5545, 3.1).
        mail.attach("planned-work.ics", calendar.encode(), "text/calendar")
    mail.send()


def client_mails_send(*, now: datetime, most: int = 20, send: Sender = send_by_server) -> int:
    """Send what waits; how many left. Claimed by conditional update: no two workers send one mail."""
    waiting = ClientMail.objects.visible_to(_MAIL).filter(state=MailState.WAITING, not_before__lte=now)
    sent = 0
    for pk in list(waiting.order_by("not_before", "pk").values_list("pk", flat=True)[:most]):
        mine = (
            ClientMail.objects.visible_to(_MAIL)
            .filter(pk=pk, state=MailState.WAITING, not_before__lte=now)
            .update(not_before=now + CLAIM, attempts=F("attempts") + 1)
        )
        if mine != 1:
            continue
        row: ClientMail = ClientMail.objects.visible_to(_MAIL).get(pk=pk)
        try:
            send(row.address, row.subject, row.text, *([row.calendar] if row.calendar else []))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # Never the text: it may be anything a client wrote.
            log.warning("mail %s to person %s was not sent: %s", row.pk, row.person_id, error)
            row.result = f"{type(error).__name__}: {error}"[:300]
            row.state = MailState.FAILED if row.attempts >= MOST_ATTEMPTS else MailState.WAITING
            row.not_before = now + FIRST_RETRY * 2 ** (row.attempts - 1)
        else:
            row.state, row.sent_at, row.result = MailState.SENT, now, ""
            sent += 1
        row.save()
    return sent
