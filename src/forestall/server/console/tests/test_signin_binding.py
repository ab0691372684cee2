"""V11: what changes about somebody binds their very next request, in a browser and with a token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.test import Client as Browser

from forestall.server.console.tests.signing_in import PASSWORD
from forestall.server.people import signin, signin_sessions
from forestall.server.people.models import ApiToken, Grant, Person
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import Permission
from forestall.server.people.services import person_create, token_create
from forestall.server.people.signin_policy import mfa_policy_set

STEPS = 1_000
ROLES = (Role.OWNER, Role.TECHNICIAN, Role.AUDITOR, Role.CLIENT_USER)


class Model:
    """What should be true of Grace, kept apart from the product."""

    def __init__(self) -> None:
        self.active = True
        self.role: Role | None = Role.TECHNICIAN
        self.session = True
        self.token = True
        self.factor_missing = False

    def page(self) -> int:
        """The answer to her browser, which asks for /devices/."""
        if not self.active or not self.session or self.factor_missing:
            return 302
        return 200 if self.role and Permission.DEVICE_VIEW in ROLE_PERMISSIONS[self.role] else 403

    def api(self) -> int:
        """The answer to her program, which asks for /api/v1/devices."""
        if not self.active or not self.token:
            return 401
        return 200 if self.role and Permission.DEVICE_VIEW in ROLE_PERMISSIONS[self.role] else 403


class World:
    """Grace, with a browser and a program."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.model = Model()
        self.person = person_create(username="grace", password=PASSWORD, role=Role.TECHNICIAN)
        self.browser = Browser()
        self.token = ""
        self.come_back()
        self.make_token()

    def come_back(self) -> None:
        """She signs in anew, if she may."""
        if self.model.active:
            self.browser = Browser()
            self.browser.force_login(Person.objects.get(pk=self.person.pk))
            self.model.session = True

    def make_token(self) -> None:
        self.token = token_create(person=self.person, name="program")
        self.model.token = True

    def switch_off(self) -> None:
        signin.person_set_active(person=self.person, active=False, who="ada")
        self.model.active = self.model.session = False

    def switch_on(self) -> None:
        signin.person_set_active(person=self.person, active=True, who="ada")
        self.model.active = True

    def change_role(self) -> None:
        role = self.random.choice([None, *ROLES])
        Grant.objects.filter(person=self.person).delete()
        if role is not None:
            Grant.objects.create(person=self.person, role=role)
        self.model.role = role
        self._factor()

    def end_role_by_date(self) -> None:
        Grant.objects.filter(person=self.person).update(until=datetime.now(UTC) - timedelta(seconds=1))
        self.model.role = None

    def end_session(self) -> None:
        for session in signin_sessions.sessions_of(person=self.person):
            signin_sessions.session_end(session=session)
        self.model.session = False

    def new_password(self) -> None:
        signin.person_set_password(person=self.person, password=f"{PASSWORD} {self.random.random()}", who="ada")
        self.model.session = False

    def revoke_token(self) -> None:
        ApiToken.objects.filter(person=self.person).update(revoked_at=datetime.now(UTC))
        self.model.token = False

    def expire_token(self) -> None:
        ApiToken.objects.filter(person=self.person).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        self.model.token = False

    def ask_for_factor(self) -> None:
        self.asked = self.random.random() < 0.5
        mfa_policy_set(role=Role.TECHNICIAN, required=self.asked)
        self._factor()

    asked = False

    def _factor(self) -> None:
        # The policy counts grants that have ended too: rather one too many asked than one too few.
        self.model.factor_missing = self.asked and self.model.role is Role.TECHNICIAN

    def look(self, trail: list[str]) -> None:
        answer = self.browser.get("/devices/")
        assert answer.status_code == self.model.page(), trail[-6:]
        if answer.status_code == 302:
            to_factor = self.model.active and self.model.session
            assert answer["Location"].startswith("/account/secure/" if to_factor else "/accounts/login/"), trail[-6:]
        api = Browser().get("/api/v1/devices", headers={"Authorization": f"Bearer {self.token}"})
        assert api.status_code == self.model.api(), trail[-6:]


ACTS = (
    World.come_back, World.make_token, World.switch_off, World.switch_on, World.change_role, World.end_session,
    World.new_password, World.revoke_token, World.expire_token, World.ask_for_factor,
)  # fmt: skip


def walk(seed: int, steps: int) -> int:
    """Changes at random, each followed by requests; how many there were."""
    random = Random(seed)
    world = World(random)
    trail: list[str] = [f"seed {seed}"]
    for _ in range(steps):
        act = random.choice(ACTS)
        act(world)
        trail.append(act.__name__)
        world.look(trail)
    return steps


def test_v11_a_change_binds_the_next_request(house):
    assert walk(seed=11, steps=60) == 60


@pytest.mark.soak
def test_v11_a_thousand_changes_each_bind_the_next_request(house):
    assert walk(seed=2026, steps=STEPS) == STEPS


def test_a_role_that_ends_by_date_ends_at_the_next_request(house):
    world = World(Random(1))
    world.look([])
    world.end_role_by_date()
    world.look(["end_role_by_date"])


def test_somebody_switched_off_in_the_middle_is_out_at_the_next_click(house):
    world = World(Random(1))
    world.look([])
    Person.objects.filter(pk=world.person.pk).update(is_active=False)
    # Even when only the row changed, behind every service's back.
    assert world.browser.get("/devices/")["Location"].startswith("/accounts/login/")
    api = Browser().get("/api/v1/devices", headers={"Authorization": f"Bearer {world.token}"})
    assert api.status_code == 401
