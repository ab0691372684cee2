"""V17: what people and devices write is words wherever it is read again.

A list of payloads goes through the services into every field that somebody controls; then every sink is read: pages,
CSV, mail, log, command line, export, evidence. Reports as PDF have tests of their own beside their rendering.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import zipfile
from contextlib import suppress
from datetime import UTC, date, datetime
from email import message_from_bytes
from html.parser import HTMLParser
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.conf import settings
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import DataError, transaction
from django.test import Client as Browser

from forestall.server.alerts.routes import route_create, send_by_apprise
from forestall.server.alerts.tests.desk_world import World
from forestall.server.calendar.services import closed_day_add, window_create
from forestall.server.checks.result import Risk
from forestall.server.clients.services import client_add, contact_add, site_add
from forestall.server.evidence.bundle import bundle_write
from forestall.server.evidence.log_key import log_key_read
from forestall.server.evidence.services import checkpoints_sign
from forestall.server.home import current_home, read_or_make_secret
from forestall.server.inventory.assets import asset_create
from forestall.server.inventory.labels import device_describe, devices_tag, group_create
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import device_enrol, enrolment_token_create, facts_receive
from forestall.server.metrics.embedded import EmbeddedStore
from forestall.server.metrics.store import Batch
from forestall.server.people.access_review import access_review_csv
from forestall.server.people.models import Client, Person
from forestall.server.people.persons import person_change
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.plaintext import OneLineFormatter, cell_inert
from forestall.server.tickets import mail as client_mail
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.requests import ticket_open
from forestall.server.tickets.rules import Urgency
from forestall.server.transfer.leaving import client_export
from forestall.server.transfer.services import import_apply
from forestall.server.webhooks.services import webhook_make
from forestall.verify.bundle import verify_bundle
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access, Account, Document, Package, Service, Services, Software, System

pytestmark = pytest.mark.django_db
# The infected world takes half a minute to make: one worker makes it, once.
infected_world = pytest.mark.xdist_group("infected")

SYSTEM = Scope.system("story")
NAMES = count()

SCRIPTS = [
    "<script>evil()</script>",
    "</script><script>evil()</script>",
    "</title><script>evil()</script>",
    "</textarea><script>evil()</script>",
    "<img src=x onerror=evil()>",
    '"><img src=x onerror=evil()>',
    "'><svg/onload=evil()>",
    '" onmouseover="evil()" x="',
    "' onfocus='evil()' autofocus='",
    "` onclick=`evil()`",
    "<x-evil>",
    "<iframe srcdoc='<script>evil()</script>'>",
    "<a href=javascript:evil()>x</a>",
    "javascript:evil()",
    "data:text/html,<script>evil()</script>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0>",
    "<form action=//evil.example/><input name=x>",
    "<style>@import '//evil.example/';</style>",
    "<!-- ",
    "]]>",
    "<![CDATA[",
    "&lt;script&gt;evil()&lt;/script&gt;",
    "<scr<script>ipt>evil()</scr</script>ipt>",
    "\u2028evil()//",
    "\\u003cscript\\u003e",
    "<table><tr><td>",
    "</main></body></html>",
    "<details open ontoggle=evil()>",
    "%3Cscript%3Eevil()%3C/script%3E",
]
TEMPLATES = [
    "{{ 91331|add:22 }}",
    "{% load static %}{{ 91331|add:22 }}",
    "{% debug %}",
    "{{ settings.SECRET_KEY }}",
    "{0.__class__}",
    "{settings.SECRET_KEY}",
    "%(password)s %s %n",
    "${91331+22}",
    "#{91331+22}",
    "<%= 91331+22 %>",
    "{percent:%}",
]
FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example";"x")',
    ";=1+1",
    '",=1+1',
    '"\n=1+1',
    "＝1+1",
]
LINES = [
    "x\r\nBcc: evil@example.org",
    "x\nSubject: evil",
    "x\r\n\r\nevil",
    "x\n2026-11-23 09:00:00 ERROR forged: record",
    "x\x85forged",
    "x\u2028forged",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x08\x08\x08",
    "[bold]x[/bold]",
    "[/]",
    "[link=http://evil.example]x[/link]",
    "\u202egnp.exe\u202c",
    "\u2066x\u2069",
    "\u200bzero\u200dwidth",
    "a\x00b",
    "\ufeff",
    "x" * 10_000,
]
PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "C:\\x",
    "x/../../y",
    "con",
    "a;b",
    'a"; filename="evil.exe',
    "$(id)",
    "`id`",
    "--help",
    "-rf",
    "~root",
    "file:///etc/passwd",
    '#read("/etc/passwd")',
    '#eval("1+1")',
]
PAYLOADS = [*SCRIPTS, *TEMPLATES, *FORMULAS, *LINES, *PATHS]


class Infected(World):
    """Acme, Bolt and their devices, with every payload in every field that takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self.refused: list[tuple[str, str]] = []
        self.people: list[Person] = []
        self.ada = person_create(username="ada", password="a long password", role=Role.OWNER)
        self.carl = person_create(
            username="carl", password="a long password", role=Role.CLIENT_MANAGER, client=self.acme
        )
        self.carl.email, self.carl.home_client = "carl@acme.example", self.acme
        self.carl.save()
        for payload in PAYLOADS:
            self.put(payload)
        self.report_facts()

    def put(self, payload: str) -> None:
        now, scope, number = self.now, SYSTEM, next(NAMES)
        person = person_create(username=f"person{number}", password="a long password", role=Role.AUDITOR)
        self.people.append(person)
        self._try("client", lambda: client_add(name=payload, timezone="UTC", notes=payload, scope=scope, now=now))
        self._try("site", lambda: site_add(client=self.acme, name=payload, address=payload, scope=scope, now=now))
        self._try(
            "contact",
            lambda: contact_add(
                client=self.acme, name=payload, email="", phone=payload[:40], duty=payload, scope=scope, now=now
            ),
        )
        self._try("display name", lambda: person_change(person=person, display_name=payload, scope=scope, now=now))
        self._try("token", lambda: token_create(person=person, name=payload))
        self._try(
            "window",
            lambda: window_create(
                site=self.munich,
                name=payload,
                purpose=payload,
                starts_on=date(2026, 12, 1),
                starts_at="22:00",
                minutes=60,
                scope=scope,
                now=now,
                needs_approval=bool(number % 2),
            ),
        )
        self._try(
            "group", lambda: group_create(name=payload, description=payload, client=self.acme, scope=scope, now=now)
        )
        self._try(
            "asset",
            lambda: asset_create(
                site=self.munich, values={"name": payload, "serial": payload, "notes": payload}, scope=scope, now=now
            ),
        )
        self._try("tag", lambda: devices_tag(devices=[self.web], add=[payload], scope=scope, now=now))
        self._try(
            "closed day",
            lambda: closed_day_add(
                client=self.acme, day=date.fromordinal(740_000 + number), why=payload, scope=scope, now=now
            ),
        )
        self._try(
            "route",
            lambda: route_create(name=payload, url="json://localhost/", minimum_risk=Risk.LOW, scope=scope, now=now),
        )
        self._try(
            "webhook",
            lambda: webhook_make(name=payload, url="http://127.0.0.1:9/", client=self.acme, scope=scope, now=now),
        )
        self._try("ticket", lambda: self.ticket(payload))
        cell = '"' + payload.replace('"', '""') + '"'
        self._try(
            "import",
            lambda: import_apply(
                kind="contacts",
                content=f"client,name,duty\nAcme,Imported {number},{cell}\n".encode(),
                filename=payload,
                scope=scope,
                now=now,
            ),
        )
        self._try("device", lambda: self.device(payload))
        self._try(
            "check",
            lambda: self.report("fail", payload, kind="service_down", target=payload[:100], device=self.leeds_box),
        )

    def ticket(self, payload: str) -> None:
        opened = ticket_open(
            title=payload, text=payload, urgency=Urgency.ONE, site=self.munich, scope=SYSTEM, now=self.now
        )
        tickets.ticket_comment(ticket=opened, text=payload, scope=SYSTEM, now=self.now, to_client=True)

    def device(self, payload: str) -> None:
        token = enrolment_token_create(
            site=self.munich, scope=SYSTEM, now=self.now, ca_fingerprint="c" * 64, root_fingerprint="r" * 64
        ).split(".")[1]
        device = device_enrol(
            token_secret=token,
            public_key=uuid4().bytes * 2,
            hostname=payload,
            machine_id=payload,
            agent_version=payload,
            now=self.now,
        )
        self._try("device's name", lambda: device_describe(device=device, name=payload, scope=SYSTEM, now=self.now))

    def report_facts(self) -> None:
        """What a device says of itself: every payload in its lists."""
        documents: list[Document] = [
            System(
                hostname="h",
                os_id="debian",
                os_name=PAYLOADS[0],
                os_version="12",
                kernel=PAYLOADS[4],
                cpu_model=PAYLOADS[5],
                manufacturer=PAYLOADS[6],
                model=PAYLOADS[7],
            ),
            Software(manager="dpkg", packages=tuple(Package(name=one, version=one) for one in PAYLOADS)),
            Services(
                manager="systemd",
                services=tuple(Service(name=one, description=one, detail=one, state="failed") for one in PAYLOADS),
            ),
            Access(
                accounts=tuple(
                    Account(
                        name=one,
                        uid=7,
                        groups=(one,),
                        shell=one,
                        login=True,
                        administrator=True,
                        administrator_because=(one,),
                    )
                    for one in PAYLOADS
                )
            ),
        ]
        for document in documents:
            self._try(
                "facts",
                lambda document=document: facts_receive(  # type: ignore[misc]
                    device=self.web,
                    report=FactsReport(collected_at=self.now, digest=facts_digest(document), document=document),
                    now=self.now,
                ),
            )

    def _try(self, what: str, act: Any) -> None:
        """Taken, or refused with words: both are answers."""
        try:
            with transaction.atomic():
                act()
        except (ValueError, ValidationError, DataError) as error:
            self.refused.append((what, str(error)))
        else:
            self.taken += 1


@pytest.fixture(scope="module")
def infected(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), transaction.atomic():
        read_or_make_secret(settings.HOME.log_key)
        world = Infected()
        yield world
        transaction.set_rollback(True)


class Page(HTMLParser):
    """What a browser would make of it: anything that a payload brought to life."""

    ACTIVE = frozenset({"x-evil", "iframe", "base", "object", "embed", "frame", "applet"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.inside = ""
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag if tag in {"script", "style"} else ""
        if tag in self.ACTIVE:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            plain = re.sub(r"[\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or name == "srcdoc":
                self.wrong.append(f"<{tag} {name}={value}>")
            if name in {"href", "src", "action", "formaction", "xlink:href"} and (
                plain.startswith(("javascript:", "data:text", "vbscript:")) or re.match(r"(https?:)?//evil", plain)
            ):
                self.wrong.append(f"<{tag} {name}={value}>")
            if tag == "meta" and name == "http-equiv":
                self.wrong.append(f"<meta http-equiv={value}>")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in {"script", "style"} and "evil" in data:
            self.wrong.append(f"<{self.inside}>{data[:80]}")
        self.text.append(data)


def pages_of(world: Infected) -> list[str]:
    acme, web = world.acme.pk, world.web.pk
    lists = [
        "/",
        "/devices/",
        "/checks/",
        "/tickets/",
        "/clients/",
        "/windows/",
        "/groups/",
        "/assets/",
        "/import/",
        "/people/",
        "/webhooks/",
        "/evidence/",
        "/jobs/",
        "/runbooks/",
        "/updates/",
        "/reports/",
        "/routing/",
        "/sla/",
        "/roles/",
        f"/devices/{world.leeds_box.pk}/",
        f"/devices/{web}/",
        f"/devices/{web}/describe",
        f"/clients/{acme}/",
        "/windows/new",
        "/portal/",
        f"/portal/?client={acme}",
        "/devices/enrol",
        "/assets/new",
        "/groups/new",
        "/tickets/new",
        *(
            f"/devices/{web}/{tab}/"
            for tab in ("software", "services", "access", "updates", "storage", "evidence", "metrics")
        ),
        *(
            f"/clients/{acme}/{tab}/"
            for tab in ("sites", "contacts", "hours", "sla", "windows", "routing", "people", "history")
        ),
    ]
    more = [f"{one}{'&' if '?' in one else '?'}page={page}" for one in lists for page in (2, 3)]
    some = [f"/tickets/{ticket.number}/" for ticket in Ticket.objects.visible_to(SYSTEM).order_by("number")]
    devices = [f"/devices/{one.pk}/" for one in Device.objects.visible_to(SYSTEM).exclude(pk=web)[:200:9]]
    clients = [f"/clients/{one.pk}/" for one in Client.objects.visible_to(SYSTEM)[:200:9]]
    people = [f"/people/{one.pk}/" for one in world.people[::9]]
    return [*lists, *more, *some[::9], *devices, *clients, *people]


def browser_of(person: Person) -> Browser:
    browser = Browser()
    browser.force_login(person)
    return browser


@infected_world
def test_v17_payloads_are_taken_or_refused_in_words(infected, django_db_blocker):
    assert len(PAYLOADS) > 60
    assert infected.taken > 8 * len(PAYLOADS), "most of what is odd is allowed: it must only stay words"
    assert all(message for _, message in infected.refused)


@infected_world
def test_v17_no_page_lets_a_payload_come_to_life(infected, django_db_blocker):
    with django_db_blocker.unblock():
        ada, carl = browser_of(infected.ada), browser_of(infected.carl)
        seen = 0
        asked = [(ada, path) for path in pages_of(infected)]
        asked += [(carl, path) for path in ("/portal/", "/portal/devices/", "/portal/tickets/", "/portal/calendar/")]
        asked += [(ada, f"/search?q={word}") for word in ("script", "evil", "%3Cscript%3Eevil()%3C/script%3E")]
        for browser, path in asked:
            answer = browser.get(path)
            assert answer.status_code < 500, path
            if answer.status_code != 200:
                continue
            seen += 1
            page, text = Page(), answer.content.decode()
            page.feed(text)
            page.close()
            assert not page.wrong, (path, page.wrong[:3])
            assert "91353" not in text, f"{path}: a template of a payload was run"
            assert settings.SECRET_KEY not in text, path
    assert seen > 80


@infected_world
def test_v17_what_somebody_types_into_an_address_is_words(infected, django_db_blocker):
    with django_db_blocker.unblock():
        ada = browser_of(infected.ada)
        for payload in [*SCRIPTS, *TEMPLATES, *LINES[:-1]]:
            for path in ("/devices/", "/search", "/tickets/", "/people/"):
                answer = ada.get(path, {"q": payload, "client": payload, "sort": payload, "page": payload})
                assert answer.status_code < 500, (path, payload)
                page = Page()
                page.feed(answer.content.decode())
                assert not page.wrong, (path, payload, page.wrong[:3])
                assert all("\n" not in value and "\r" not in value for _, value in answer.headers.items())


@infected_world
def test_v17_no_cell_of_a_table_is_a_formula(infected, tmp_path, django_db_blocker):
    with django_db_blocker.unblock():
        now = datetime.now(UTC)
        text = access_review_csv(scope=SYSTEM, now=now)
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) > len(PAYLOADS)
        assert not [cell for row in rows for cell in row if cell_inert(cell) != cell]
        ada = browser_of(infected.ada)
        assert next(csv.reader(io.StringIO(ada.get("/people/review.csv").content.decode()))) == rows[0]
        formulas = [one for one in PAYLOADS if cell_inert(one) != one]
        assert len(formulas) > 10
        store = EmbeddedStore(tmp_path / "samples.sqlite3")
        names = (*(f"disk.used_percent{{volume={one[:60]}}}" for one in formulas), "=1+1")
        at = int(infected.now.timestamp() * 1000) - 60_000
        store.append([Batch(infected.web.pk, names, [at], np.full((1, len(names)), 4.0))])
        archive = tmp_path / "acme.zip"
        client_export(
            client=infected.acme,
            path=archive,
            scope=SYSTEM,
            now=infected.now,
            log_key=log_key_read(home=current_home()),
            store=store,
        )
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                assert re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", member.filename), member.filename
                assert ".." not in member.filename
                if member.filename.endswith(".csv"):
                    cells = csv.reader(io.StringIO(zipped.read(member).decode(), newline=""))
                    assert not [cell for row in cells for cell in row if cell_inert(cell) != cell], member.filename


@infected_world
def test_v17_evidence_of_all_this_still_verifies(infected, tmp_path, django_db_blocker):
    with django_db_blocker.unblock():
        key = log_key_read(home=current_home())
        checkpoints_sign(now=infected.now, log_key=key)
        path = tmp_path / "acme.bundle"
        bundle_write(scope=SYSTEM, client_id=infected.acme.pk, path=path, now=infected.now, log_key=key)
        verdict = verify_bundle(path)
    assert verdict.valid, verdict.problem


@infected_world
def test_v17_no_payload_adds_a_header_to_a_mail(infected, settings, monkeypatch, django_db_blocker):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.MAIL_IS_SET = True
    with django_db_blocker.unblock(), transaction.atomic():
        mail.outbox = []
        # A zero byte never gets this far: PostgreSQL takes none, and forms and API refuse it.
        for payload in (one for one in PAYLOADS if "\0" not in one):
            client_mail.tell_of_window(site=infected.munich, subject=payload, text=payload, now=infected.now)
        client_mail.client_mails_send(now=infected.now, most=1000)
        transaction.set_rollback(True)
    assert len(mail.outbox) > 0.8 * len(PAYLOADS)
    expected = {
        "Subject",
        "From",
        "To",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    }
    for message in mail.outbox:
        read = message_from_bytes(message.message().as_bytes())
        assert set(read.keys()) <= expected, read.keys()
        assert len(read.get_all("Subject", [])) == 1
        assert read["To"] == "carl@acme.example"
        assert not read.is_multipart()


def test_v17_no_payload_adds_a_header_to_a_notification_by_mail(monkeypatch):
    """Notifications go through another library: the same holds."""
    import smtplib

    sent: list[bytes] = []

    class Listening:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def set_debuglevel(self, *_: Any) -> None: ...
        def starttls(self, *_: Any, **__: Any) -> None: ...
        def login(self, *_: Any) -> None: ...
        def quit(self) -> None: ...
        def sendmail(self, _sender: str, to: Any, content: str | bytes) -> None:
            assert list(to) == ["told@example.org"] or to == "told@example.org"
            sent.append(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(smtplib, "SMTP", Listening)
    monkeypatch.setattr(smtplib, "SMTP_SSL", Listening)
    for payload in [*SCRIPTS, *LINES]:
        with suppress(ValueError):
            send_by_apprise("mailto://u:p@mail.example.org?to=told@example.org&from=a@example.org", payload, payload)
    assert len(sent) > len(LINES)
    for content in sent:
        read = message_from_bytes(content)
        assert "Bcc" not in read
        assert len(read.get_all("Subject", [])) == 1
        assert "evil" not in str(read["To"])


@pytest.mark.parametrize("payload", LINES, ids=range(len(LINES)))
def test_v17_a_record_of_the_log_is_one_line(payload):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.Logger("t")
    logger.addHandler(handler)
    logger.warning("webhook %s is disabled: %s", payload, payload)
    written = out.getvalue()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", written)
    try:
        raise ValueError(payload)
    except ValueError:
        logger.exception("it failed")
    lines = out.getvalue().splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [lines[0], lines[1]], (
        "records begin a line, nothing else"
    )


def test_v17_the_servers_log_is_written_that_way():
    assert settings.LOGGING["formatters"]["line"]["()"].endswith("OneLineFormatter")


@infected_world
def test_v17_a_name_in_an_address_of_a_file_reads_no_file(infected, tmp_path, django_db_blocker):
    """Paths in addresses, numbers of reports, tabs and slugs."""
    with django_db_blocker.unblock():
        ada = browser_of(infected.ada)
        for payload in ("..%2f..%2fetc%2fpasswd", "....//etc/passwd", "%2e%2e%2fetc%2fpasswd", "%00", "passwd%00.pdf"):
            for path in (
                "/reports/{}.pdf",
                "/import/{}/template.csv",
                "/static/{}",
                "/runbooks/{}/",
                "/portal/reports/{}.pdf",
                f"/devices/{infected.web.pk}/{{}}/",
                "/devices/?view={}",
            ):
                answer = ada.get(path.format(payload))
                assert answer.status_code in {200, 301, 302, 400, 404}, (path, payload, answer.status_code)
                content = b"".join(answer.streaming_content) if answer.streaming else answer.content
                assert b"root:" not in content
