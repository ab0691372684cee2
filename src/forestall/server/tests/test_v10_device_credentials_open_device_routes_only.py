"""V10: what a device holds opens the routes of that device, and what a person holds opens none of a device's."""

from __future__ import annotations

import asyncio
import base64
import time
from uuid import UUID

import msgspec
import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client as Browser

from forestall.server.api.routing import route_table
from forestall.server.api.urls import api
from forestall.server.intake.serving import Request
from forestall.server.intake.tests.near_intake import NearIntake
from forestall.server.inventory.services import TokenUnusableError, device_enrol, enrolment_token_create
from forestall.server.tests.matrix_world import NOW, PASSWORD, SYSTEM, Caller, caller
from forestall.server.tests.test_matrix_api import address, things_of, world  # noqa: F401 - the fixture
from forestall.server.tests.test_matrix_console import pages, tried, values_of
from forestall.trust.keys import private_bytes, public_bytes
from forestall.wire import codec
from forestall.wire.refusals import Refusal
from forestall.wire.session import SessionRequest, check_in_mac, session_message

pytestmark = pytest.mark.django_db


def device_credentials(near: NearIntake, number: int = 0) -> list[dict[str, str]]:
    """Everything a device could send, one set of headers each: its session and MAC, and its keys as a bearer."""
    session, key = near.opened[number], near.keys[number]
    mac = check_in_mac(key=session.key, session=session.token, body=b"").hex()
    secrets = (
        session.token, mac, public_bytes(key).hex(), private_bytes(key).hex(),
        base64.b64encode(private_bytes(key)).decode(), base64.urlsafe_b64encode(public_bytes(key)).decode(),
        str(near.devices[number]),
    )  # fmt: skip
    basic = base64.b64encode(f"{near.devices[number]}:{session.token}".encode()).decode()
    return [
        {codec.SESSION_HEADER: session.token, codec.MAC_HEADER: mac},
        *({"authorization": f"Bearer {secret}"} for secret in secrets),
        {"authorization": f"Basic {basic}"},
        {"cookie": f"{settings.SESSION_COOKIE_NAME}={session.token}"},
    ]


def test_v10_no_route_of_the_api_opens_for_what_a_device_holds(world, tmp_path, django_db_blocker):  # noqa: F811
    near = NearIntake(tmp_path / "journal")
    credentials = device_credentials(near)
    cases = 0
    with django_db_blocker.unblock():
        for route in route_table(api):
            values = {name: thing.value for name, thing in things_of(route, world, "own").items()}
            # All of them where something is read; the two that a device really sends where something is changed.
            for headers in credentials if route.is_read else credentials[:2]:
                with transaction.atomic():
                    answer = Browser().generic(
                        route.method, f"/api/v1{address(route, values)}", b"{}", content_type="application/json",
                        headers=headers,
                    )  # fmt: skip
                    transaction.set_rollback(True)
                assert answer.status_code == 401, (route.method, route.path, headers, answer.content[:100])
                cases += 1
    assert cases > 700


def test_v10_no_page_opens_for_what_a_device_holds(world, tmp_path, django_db_blocker):  # noqa: F811
    credentials = device_credentials(NearIntake(tmp_path / "journal"))
    with django_db_blocker.unblock():
        for page in pages():
            path = page.address(values_of(page, world, "own"))
            for headers in (credentials[0], credentials[1], credentials[-1]):
                for method in ("GET", "POST"):
                    status, _, _, where = tried(Browser(), method, path, **headers)
                    assert (status, where.partition("?")[0]) == (302, "/accounts/login/"), (page, method, headers)


def person_credentials(who: Caller) -> list[str]:
    who.browser.force_login(who.person)
    token = who.headers["authorization"].removeprefix("Bearer ")
    cookie = who.browser.cookies[settings.SESSION_COOKIE_NAME].value
    return [token, token.rpartition("_")[2], cookie, PASSWORD]


def test_v10_no_route_of_intake_opens_for_what_a_person_holds(world, tmp_path, django_db_blocker):  # noqa: F811
    with django_db_blocker.unblock():
        who = caller(world, "owner everywhere")
        held = person_credentials(who)
        device: UUID = world.things["own"]["device_id"].value  # type: ignore[assignment]
        who.person.delete()
    near = NearIntake(tmp_path / "journal")

    async def story() -> list[tuple[str, int, str]]:
        found = []
        async with near.running():
            for secret in held:
                body = codec.pack(near.message(1))
                bearer = {b"authorization": f"Bearer {secret}".encode(), b"cookie": f"sessionid={secret}".encode()}
                mac = check_in_mac(key=secret.encode(), session=secret, body=body).hex().encode()
                session = {**bearer, codec.SESSION_HEADER.encode(): secret.encode(), codec.MAC_HEADER.encode(): mac}
                signature = secret.encode()[:64].ljust(64, b"x")
                challenge = near.sessions.challenge_make(now=time.time())
                opening = codec.encode(
                    SessionRequest(device_id=str(near.devices[0]), challenge=challenge, signature=signature)
                )
                theirs = codec.encode(SessionRequest(device_id=str(device), challenge=challenge, signature=signature))
                for path, headers, content in (
                    (codec.CHECK_IN_PATH, bearer, body),
                    (codec.CHECK_IN_PATH, session, body),
                    (codec.SESSION_PATH, bearer, opening),
                    (codec.SESSION_PATH, bearer, theirs),
                ):
                    status, answer = await near.app.respond(Request("POST", path, headers, content))
                    found.append((path, status, str(msgspec.msgpack.decode(answer, type=Refusal).code)))
        return found

    answers = asyncio.run(story())
    assert len(answers) == 4 * len(held)
    assert {status for _, status, _ in answers} <= {401, 403}, answers
    assert near.stored() == {0: [], 1: [], 2: []}


def test_v10_the_session_of_one_device_stores_nothing_of_another(tmp_path):
    """Every pair of a session, a key and a body that is not whole of one device."""
    near = NearIntake(tmp_path / "journal")

    async def story() -> list[tuple[int, str]]:
        found = []
        async with near.running():
            for mine, theirs in ((0, 1), (1, 2), (2, 0)):
                body = codec.pack(near.message(1))
                own, other = near.opened[mine], near.opened[theirs]
                for token, key, named in (
                    (other.token, own.key, other.token), (own.token, other.key, own.token),
                    (other.token, own.key, own.token), (own.token, own.key, other.token),
                ):  # fmt: skip
                    mac = check_in_mac(key=key, session=named, body=body).hex().encode()
                    headers = {codec.SESSION_HEADER.encode(): token.encode(), codec.MAC_HEADER.encode(): mac}
                    status, answer = await near.app.respond(Request("POST", codec.CHECK_IN_PATH, headers, body))
                    found.append((status, str(msgspec.msgpack.decode(answer, type=Refusal).code)))
                # Another's key opens no session in this one's name.
                challenge = near.sessions.challenge_make(now=time.time())
                message = session_message(device_id=str(near.devices[theirs]), challenge=challenge)
                request = SessionRequest(
                    device_id=str(near.devices[theirs]), challenge=challenge, signature=near.keys[mine].sign(message)
                )
                status, answer = await near.app.respond(Request("POST", codec.SESSION_PATH, {}, codec.encode(request)))
                found.append((status, str(msgspec.msgpack.decode(answer, type=Refusal).code)))
        return found

    answers = asyncio.run(story())
    assert len(answers) == 15
    assert set(answers) <= {(401, "mac_wrong"), (401, "signature_wrong"), (403, "signature_wrong")}, answers
    assert near.stored() == {0: [], 1: [], 2: []}


def test_v10_a_token_of_a_person_enrols_nothing_and_one_of_enrolment_signs_nobody_in(world, django_db_blocker):  # noqa: F811
    with django_db_blocker.unblock(), transaction.atomic():
        who = caller(world, "owner everywhere")
        for secret in person_credentials(who):
            with pytest.raises(TokenUnusableError):
                device_enrol(
                    token_secret=secret, public_key=b"p" * 32, hostname="h", machine_id="m", agent_version="1", now=NOW
                )
        _, site = world.place("own")
        enrolment = enrolment_token_create(
            site=site, scope=SYSTEM, now=NOW, ca_fingerprint="c" * 64, root_fingerprint="r" * 64
        )
        for secret in (enrolment, enrolment.split(".")[1]):
            answer = Browser().get("/api/v1/devices", headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code == 401
        transaction.set_rollback(True)
