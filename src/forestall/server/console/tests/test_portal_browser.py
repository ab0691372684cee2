"""The portal in a browser, on a phone: nothing wider than it, no errors, and the whole way with a thumb."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from forestall.server.calendar import services as calendar
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Scope
from forestall.server.tickets import approvals, services
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.tests.portal_story import PortalStory

CHROMIUM = Path("/usr/bin/chromium")
SYSTEM = Scope.system("test")
PASSWORD = "correct horse battery"
PAGES = (
    "/portal/", "/portal/tickets/", "/portal/tickets/?show=done", "/portal/tickets/new", "/portal/devices/",
    "/portal/calendar/", "/portal/reports/", "/account/",
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


@pytest.fixture(scope="module")
def chromium():
    # The driver runs an event loop in this thread, and Django would refuse its database there.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def story(house, transactional_db) -> PortalStory:
    world = PortalStory()
    world.now = datetime.now(UTC) - timedelta(hours=2)
    for person in (world.carla, world.uwe):
        person.set_password(PASSWORD)
        person.save()
    Device.objects.visible_to(SYSTEM).update(last_check_in_at=datetime.now(UTC))
    Device.objects.visible_to(SYSTEM).filter(pk=world.web.pk).update(name="a-very-long-device-name" * 4)
    world.report("fail")
    calendar.window_create(
        site=world.munich, name="Move of everything" * 5, starts_on=date(2030, 1, 5), starts_at="18:00", minutes=60,
        needs_approval=True, purpose="x" * 200, scope=world.scope(world.tina), now=world.now,
    )  # fmt: skip
    return world


def visit(chromium, address: str, name: str, *, width: int = 390, dark: bool = False):
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.errors = []
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{address}/accounts/login/")
    page.fill("#id_login", name)
    page.fill("#id_password", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(f"{address}/portal/")
    return page


def test_a_client_goes_the_whole_way_on_a_phone(chromium, story, live_server):
    uwe = visit(chromium, live_server.url, "uwe")
    uwe.click("text=New request")
    uwe.fill("#id_title", "Printer prints blank pages")
    uwe.fill("#id_text", "Since this morning, " + "and" * 100)
    uwe.check("text=One of us cannot work")
    uwe.select_option("#id_site", label="Munich")
    uwe.click("text=Send request")
    uwe.wait_for_selector("h1:has-text('Printer prints blank pages')")
    ticket = Ticket.objects.visible_to(SYSTEM).get(kind="request")
    tina = story.scope(story.tina)
    approvals.approval_ask(
        ticket=ticket, question="Replace it?", what_happens="A new one.", scope=tina, now=datetime.now(UTC)
    )
    carla = visit(chromium, live_server.url, "carla")
    carla.click("text=Replace it?")
    carla.fill("#reason", "The grey one.")
    carla.click("button:has-text('Approve')")
    carla.wait_for_selector("text=Approved. Thank you")
    services.ticket_resolve(ticket=ticket, reason="It prints.", scope=tina, now=datetime.now(UTC))
    uwe.goto(f"{live_server.url}/portal/tickets/{ticket.number}/")
    uwe.check("text=Very good")
    uwe.click("form[action$='/rate'] button")
    uwe.wait_for_selector("text=Thank you for telling us.")
    for path in (*PAGES, f"/portal/tickets/{ticket.number}/"):
        for page in (uwe, carla):
            page.goto(live_server.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.locator("h1").count() == 1, path
    assert uwe.errors + carla.errors == []


def test_no_page_complains_in_the_dark_at_a_desk(chromium, story, live_server):
    carla = visit(chromium, live_server.url, "carla", width=1440, dark=True)
    for path in (*PAGES, f"/portal/tickets/{story.ticket().number}/"):
        carla.goto(live_server.url + path)
        assert carla.evaluate("document.documentElement.scrollWidth") <= 1440, path
    assert carla.errors == []
