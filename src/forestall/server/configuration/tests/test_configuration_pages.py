"""The pages and the routes of configuration, as Ada uses them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client as Browser

from forestall.server.configuration import services
from forestall.server.configuration.tests.workshop import SOUND, SYSTEM
from forestall.server.people.roles import Role
from forestall.server.people.services import person_create
from forestall.wire.facts import Assessment, AssessmentFinding, Sshd

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(workshop):
    person = person_create(username="ada", password="a long password", role=Role.OWNER)
    browser = Browser()
    browser.force_login(person)
    return browser


def words(answer):
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def drifted(workshop):
    workshop.settle(more={("login", "UMASK"): "022"})
    workshop.report(Sshd(installed=True, running=True, settings={**SOUND, "permitrootlogin": "yes"}, effective=True))
    services.assessment_import(
        device=workshop.device, scope=SYSTEM, now=workshop.now,
        assessment=Assessment(
            tool="lynis", score=59.0, findings=(AssessmentFinding(id="AUTH-9328", result="suggestion"),)
        ),
    )  # fmt: skip


def test_the_list_says_who_drifted_and_links_to_the_device(workshop, ada):
    drifted(workshop)
    page = words(ada.get("/configuration/"))
    assert "1 device drifted" in page
    assert workshop.device.name in page
    assert workshop.device.name in words(ada.get("/configuration/?show=drifted"))
    controls = words(ada.get("/configuration/controls/?role=server"))
    assert "Most often not met" in controls
    assert "5.4.3.3" in controls
    assert "No deviation" in words(ada.get("/configuration/deviations/"))


def test_without_devices_the_page_teaches(ada):
    assert "No device has told yet" in words(ada.get("/configuration/"))


def test_on_the_device_ada_accepts_drift_and_gives_leave(workshop, ada):
    drifted(workshop)
    base = f"/devices/{workshop.device.pk}/configuration/"
    page = words(ada.get(base))
    assert "permitrootlogin" in page
    assert "wanted: 027" in page
    assert "Lynis" in page
    acts = f"/configuration/devices/{workshop.device.pk}"
    refused = words(ada.post(f"{acts}/accept", {"act": "picked", "reason": "x"}, follow=True))
    assert "Nothing is picked" in refused
    assert "1 difference accepted" in words(ada.post(f"{acts}/accept", {"act": "all", "reason": "Meant."}, follow=True))
    until = (workshop.now + timedelta(days=3000)).date().isoformat()
    form = {"control": "umask", "reason": "Shared folder.", "where": "device"}
    assert "not within a year" in words(ada.post(f"{acts}/deviate", {**form, "until": until}, follow=True))
    assert "is no day" in words(ada.post(f"{acts}/deviate", {**form, "until": "soon"}, follow=True))
    said = words(ada.post(f"{acts}/assign", {"level": "2", "where": "device", "reason": "Pay data."}, follow=True))
    assert "judged anew" in said
    assert workshop.row.level == 2
