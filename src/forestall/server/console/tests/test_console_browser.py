"""The console in a real browser: keys, live updates, charts, no errors, nothing wider than a phone."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.server.console.shell import has_bundle
from forestall.server.console.tests import fleet as fleets
from forestall.server.people.scope import Scope
from forestall.server.runbooks import queries as runbooks
from forestall.server.runbooks.services import job_prepare
from forestall.server.tickets.models import Ticket

CHROMIUM = Path("/usr/bin/chromium")
SYSTEM = Scope.system("test")

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
def fleet(house, transactional_db):
    return fleets.build(6, now=datetime.now(UTC), days=1)


class Visit:
    """A signed-in page that remembers everything that went wrong on it."""

    def __init__(self, chromium, address: str, *, width: int = 1440, dark: bool = False) -> None:
        self.context = chromium.new_context(
            viewport={"width": width, "height": 844}, color_scheme="dark" if dark else "light"
        )
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = address
        self.page.goto(f"{address}/accounts/login/")
        self.page.fill("#id_login", "ada")
        self.page.fill("#id_password", fleets.PASSWORD)
        self.page.click("button.primary")
        self.page.wait_for_selector(".nav")
        self.page.wait_for_load_state("load")

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("load")


@pytest.fixture
def visit(chromium, fleet, live_server):
    made: list[Visit] = []

    def make(**how) -> Visit:
        made.append(Visit(chromium, live_server.url, **how))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        assert one.errors == []


def all_pages(fleet) -> list[str]:
    device = fleet.devices[0].pk
    ticket = Ticket.objects.visible_to(SYSTEM).get(device=device, kind="disk_space").number
    record = runbooks.runbook(scope=SYSTEM, slug="free-disk-space")
    # With a job that waits for its signature: the longest line a page has is the command that signs it.
    job = job_prepare(
        scope=SYSTEM, runbook=record, device=fleet.devices[0], parameters={"volume": "/"}, reason="Full.",
        ticket_id=ticket, now=datetime.now(UTC),
    )  # fmt: skip
    tabs = ("", "metrics/", "updates/", "software/", "services/", "storage/", "access/", "backups/", "evidence/")
    return [
        "/", "/devices/", "/checks/", "/tickets/", "/updates/", "/runbooks/", "/runbooks/free-disk-space/", "/jobs/",
        "/evidence/", "/reports/", "/devices/enrol", "/search?q=web", "/keys", "/styleguide", f"/tickets/{ticket}/",
        f"/jobs/{job.pk}/",
        *(f"/devices/{device}/{tab}" for tab in tabs),
    ]  # fmt: skip


def test_no_page_is_wider_than_a_phone_and_none_complains(visit, fleet):
    phone = visit(width=390)
    for path in all_pages(fleet):
        phone.open(path)
        assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_a_short_phone_reaches_every_line_of_more_and_the_bar_of_picked_devices(visit, fleet):
    phone = visit(width=390)
    phone.page.set_viewport_size({"width": 390, "height": 480})
    phone.open("/devices/")
    phone.page.check("td.pick input >> nth=0")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    bar, foot = (phone.page.locator(part).bounding_box() for part in (".bulk", ".rail"))
    assert bar["y"] + bar["height"] <= foot["y"] + 1, "the navigation covers the bar"
    phone.page.click(".nav-more summary")
    assert phone.page.locator(".nav-more ul").bounding_box()["y"] >= 0


def test_of_many_tabs_the_current_one_is_in_sight_on_a_phone(visit, fleet):
    phone = visit(width=390)
    phone.open(f"/clients/{fleet.clients[0].pk}/history/")
    tab = phone.page.locator(".tabs [aria-current]").bounding_box()
    assert 0 <= tab["x"] <= 390 - tab["width"]


def test_no_page_complains_in_the_dark_at_a_desk(visit, fleet):
    desk = visit(dark=True)
    for path in all_pages(fleet):
        desk.open(path)


def test_the_keyboard_goes_everywhere(visit, fleet):
    desk = visit()
    page = desk.page
    for key, path in (
        ("d", "/devices/"),
        ("c", "/checks/"),
        ("k", "/tickets/"),
        ("p", "/updates/"),
        ("e", "/evidence/"),
        ("t", "/"),
    ):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(desk.address + path)
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    desk.open("/devices/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    name = page.inner_text("tr[data-cursor] td.lead")
    page.keyboard.press("o")
    page.wait_for_url("**/devices/*-*/")
    assert page.inner_text("h1") == name


def test_the_palette_finds_a_device_and_opens_it(visit, fleet):
    desk = visit()
    page = desk.page
    page.keyboard.press("Control+k")
    page.wait_for_selector("#palette[open] input")
    page.keyboard.type("reception")
    page.keyboard.press("Enter")  # at once: before the last answer is there
    page.wait_for_url("**/devices/*-*/")
    assert page.inner_text("h1") == "reception-pc-01"


def test_the_first_tab_stop_skips_to_the_content(visit, fleet):
    desk = visit()
    desk.open("/devices/")
    desk.page.keyboard.press("Tab")
    assert desk.page.evaluate("document.activeElement.className") == "skip"
    desk.page.keyboard.press("Enter")
    assert desk.page.evaluate("document.activeElement.id") == "main"


def test_a_page_updates_in_place_and_leaves_the_focus_where_it_is(visit, fleet):
    desk = visit()
    desk.open("/devices/")
    page = desk.page
    device = fleet.devices[2]
    page.focus(f"#device-{device.pk} a")
    fleet.devices[0].checks.filter(kind="cpu").update(status="fail")
    fleet.devices[0].checks.filter(kind="memory").update(status="fail")
    page.wait_for_selector("text=3 checks fail", timeout=15_000)
    assert page.evaluate("document.activeElement.closest('tr').id") == f"device-{device.pk}"


def test_what_a_person_types_is_never_swapped_away(visit, fleet):
    desk = visit()
    ticket = Ticket.objects.visible_to(SYSTEM).first()
    desk.open(f"/tickets/{ticket.number}/")
    desk.page.fill("#text", "half a sentence")
    desk.page.evaluate("document.activeElement.blur()")
    Ticket.objects.visible_to(SYSTEM).filter(pk=ticket.pk).update(priority="urgent", title="changed meanwhile")
    desk.page.wait_for_timeout(6_000)
    assert desk.page.input_value("#text") == "half a sentence"


def test_a_check_opens_in_place_and_its_address_can_be_shared(visit, fleet):
    desk = visit()
    desk.open("/checks/")
    page = desk.page
    page.click(".matrix .shape-fail >> nth=0")
    page.wait_for_selector("#panel h2")
    assert re.search(r"\?check=\d+", page.url)
    title = page.inner_text("#panel h2")
    page.reload()
    assert page.inner_text("#panel h2") == title
    page.keyboard.press("Escape")
    assert page.inner_text("#panel") == ""


def test_the_theme_is_toggled_and_kept(visit, fleet):
    desk = visit()
    page = desk.page
    page.click("[data-theme-form] button")
    assert page.get_attribute("html", "data-theme") == "light"
    page.click("[data-theme-form] button")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.skipif(not has_bundle(), reason="the chart scripts were not built with this installation")
def test_charts_hover_together_zoom_by_dragging_and_go_back(visit, fleet):
    desk = visit()
    desk.open(f"/devices/{fleet.devices[0].pk}/metrics/")
    page = desk.page
    page.wait_for_selector("#chart-cpu .u-over")
    page.wait_for_selector("#chart-memory .u-over")
    place = page.locator("#chart-cpu .u-over").bounding_box()
    middle = place["y"] + place["height"] / 2
    page.mouse.move(place["x"] + place["width"] * 0.6, middle)
    page.wait_for_selector("#chart-cpu .reading-time:not(:text('now'))")
    page.wait_for_selector("#chart-memory .reading-time:not(:text('now'))")
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.9, middle, steps=5)
    page.mouse.up()
    page.wait_for_url("**from=*to=*")
    page.wait_for_timeout(500)
    page.locator("#chart-cpu .u-over").dblclick()
    page.wait_for_url(lambda address: "from=" not in address)


def test_charts_are_there_without_scripts(chromium, visit, fleet, live_server):
    signed_in = visit()
    context = chromium.new_context(java_script_enabled=False, storage_state=signed_in.context.storage_state())
    page = context.new_page()
    page.goto(f"{live_server.url}/devices/{fleet.devices[0].pk}/metrics/")
    assert page.locator("#chart-cpu svg .svg-line").count() >= 1
    page.goto(f"{live_server.url}/checks/")
    page.click(".matrix .shape-fail >> nth=0")
    assert page.inner_text("#panel h2")
    context.close()


def test_the_style_guide_is_pictured(visit, fleet, tmp_path):
    desk = visit()
    desk.open("/styleguide")
    picture = tmp_path / "styleguide.png"
    desk.page.screenshot(path=str(picture), full_page=True)
    assert picture.stat().st_size > 100_000
    for theme in ("light", "dark"):
        assert desk.page.locator(f".specimen[data-theme={theme}] .status").count() >= 5
    # AA: each status colour against each theme's background.
    for ratio, where in desk.page.evaluate(CONTRASTS):
        assert ratio >= 4.5, where


CONTRASTS = """() => {
  const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const text = ".status, .muted, .none, p, dt, dd, .who, .note, .when, .tag, th, .words, h3, .count";
  const found = [];
  for (const specimen of document.querySelectorAll(".specimen")) {
    const ground = light(getComputedStyle(specimen).backgroundColor);
    for (const element of specimen.querySelectorAll(text)) {
      if (element.closest(".toast, .notice, button")) continue;
      const ink = light(getComputedStyle(element).color);
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      found.push([ratio, `${specimen.dataset.theme} ${element.className} ${element.textContent.slice(0, 30)}`]);
    }
  }
  return found;
}"""
