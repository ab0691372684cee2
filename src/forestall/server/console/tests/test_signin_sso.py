"""Single sign-on against a real provider in a process of its own: authorisation code, PKCE, state and nonce over HTTP.

Ada and Grace work here. The provider knows anybody by the name they give.
"""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client as Browser

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.signing_in import PASSWORD, is_in, set_up_app, sign_in
from forestall.server.people import signin
from forestall.server.people.models import Person
from forestall.server.people.roles import Role
from forestall.server.people.services import person_create
from forestall.server.people.signin_models import SignInEvent, SignInEventKind
from forestall.server.people.signin_policy import (
    SignInPolicyError,
    discover,
    mfa_policy_set,
    provider_add,
    provider_remove,
)
from forestall.server.people.signin_settings import PublicUrl

SECRET = "a client secret of the provider's"


@dataclass
class Provider:
    """The other process."""

    url: str

    def lie(self, **lies) -> None:
        requests.put(f"{self.url}/lies", json=lies, timeout=10).raise_for_status()

    def knows(self, sub: str, **claims) -> None:
        requests.put(f"{self.url}/users/{sub}", json=claims, timeout=10).raise_for_status()

    def agree(self, address: str, sub: str, action: str = "") -> str:
        """Somebody says at the provider who they are; where it sends them."""
        form = {"sub": sub} | ({"action": action} if action else {})
        answer = requests.post(address, data=form, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def asked(self) -> list[dict]:
        return requests.get(f"{self.url}/asked", timeout=10).json()


@pytest.fixture(scope="module")
def running_provider():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("oidc_provider.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    provider = Provider(f"http://127.0.0.1:{port}")
    try:
        for _ in range(300):
            try:
                requests.get(f"{provider.url}/jwks", timeout=1)
                break
            except requests.ConnectionError:
                assert process.poll() is None
                time.sleep(0.1)
        yield provider
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def provider(running_provider, house):
    running_provider.lie()
    provider_add(
        provider_id="acme", name="Acme", issuer=running_provider.url, client_id="forestall", secret=SECRET,
        link_by_email=True,
    )  # fmt: skip
    return running_provider


@pytest.fixture
def ada(house) -> Person:
    person = fleets.owner()
    Person.objects.filter(pk=person.pk).update(email="ada@example.org")
    return Person.objects.get(pk=person.pk)


def leave(browser: Browser, process: str = "login", **form) -> str:
    """Press the button; the provider's address that the page in between leads to."""
    page = browser.post(f"/accounts/oidc/acme/login/?process={process}", form)
    assert page.status_code == 200
    text = page.content.decode()
    address = html.unescape(re.search(r'<a href="([^"]+)" id="onward"', text).group(1))
    assert html.unescape(re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', text).group(1)) == address
    return address


def come_back(browser: Browser, location: str):
    parts = urlsplit(location)
    return browser.get(f"{parts.path}?{parts.query}")


def by_acme(provider: Provider, sub: str, browser: Browser | None = None, **form) -> Browser:
    browser = browser or Browser()
    browser.answer = come_back(browser, provider.agree(leave(browser, **form), sub))
    return browser


def words(browser: Browser) -> str:
    return browser.answer.content.decode()


def test_a_linked_person_signs_in(provider, ada):
    provider.knows("ada-at-acme", email="other@example.org", email_verified=True)
    browser = sign_in("ada")
    come_back(browser, provider.agree(leave(browser, process="connect"), "ada-at-acme"))
    assert SocialAccount.objects.get().user == ada
    fresh = by_acme(provider, "ada-at-acme")
    assert is_in(fresh)
    event = SignInEvent.objects.filter(person=ada).first()
    assert (event.kind, event.detail) == (SignInEventKind.IN, "single sign-on (acme)")
    request = provider.asked()[-1]
    assert request["code_challenge_method"] == "S256"
    assert len(request["code_challenge"]) == 43
    assert len(request["nonce"]) >= 32
    assert sorted(request["scope"].split()) == ["email", "openid", "profile"]


def test_a_verified_address_links_once_and_is_told(provider, ada):
    provider.knows("sub-1", email="Ada@Example.org", email_verified=True)
    assert is_in(by_acme(provider, "sub-1"))
    assert ada.has_usable_password()
    assert SignInEventKind.SSO_LINKED in SignInEvent.objects.filter(person=ada).values_list("kind", flat=True)
    # From then on by subject, whatever address the provider says.
    provider.knows("sub-1", email="married@example.org", email_verified=False)
    assert is_in(by_acme(provider, "sub-1"))
    assert sorted(SocialAccount.objects.get().extra_data["userinfo"]) == ["email", "email_verified", "sub"]


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ada@example.org", "email_verified": False},
        {"email": "ada@example.org"},
        {"email": "ada@example.org", "email_verified": "false"},
        {"email": "ada@example.org", "email_verified": "true"},
        {"email": "nobody@example.org", "email_verified": True},
        {"email_verified": True},
        {"preferred_username": "ada"},
    ],
)
def test_nobody_is_let_in_or_made_by_less(provider, ada, claims):
    provider.knows("stranger", **claims)
    people = Person.objects.count()
    browser = by_acme(provider, "stranger")
    assert browser.answer.status_code == 403
    assert "Nobody here goes by that account" in words(browser)
    assert not is_in(browser)
    assert Person.objects.count() == people
    assert not SocialAccount.objects.exists()


def test_an_address_of_two_people_links_neither(provider, ada):
    other = person_create(username="ada2", password=PASSWORD, role=Role.AUDITOR)
    Person.objects.filter(pk=other.pk).update(email="ada@example.org")
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    assert "Nobody here goes by" in words(by_acme(provider, "sub-1"))


def test_addresses_link_only_where_an_administrator_allowed_it(provider, ada):
    app = SocialApp.objects.get()
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    app.settings = app.settings | {"email_domains": ["other.example"]}
    app.save()
    assert "Nobody here goes by" in words(by_acme(provider, "sub-1"))
    app.settings = app.settings | {"email_domains": [], "link_by_email": False}
    app.save()
    assert "Nobody here goes by" in words(by_acme(provider, "sub-1"))


def test_somebody_switched_off_is_told_so(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    browser = by_acme(provider, "sub-1")
    signin.person_set_active(person=ada, active=False, who="grace")
    assert not is_in(browser)
    again = by_acme(provider, "sub-1")
    assert "switched off" in words(again)
    assert not is_in(again)
    # By address nobody who is off is found at all.
    SocialAccount.objects.all().delete()
    assert "Nobody here goes by" in words(by_acme(provider, "sub-1"))


def test_a_second_factor_is_asked_for_after_it_too(provider, ada, monkeypatch):
    monkeypatch.setattr("django.db.transaction.on_commit", lambda done, **_: done())
    phone, _ = set_up_app(sign_in("ada"))
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    browser = by_acme(provider, "sub-1")
    assert browser.answer["Location"] == "/accounts/2fa/authenticate/"
    assert not is_in(browser)
    browser.post("/accounts/2fa/authenticate/", {"code": phone.code()})
    assert is_in(browser)


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        ({"claims": {"nonce": "of another sign-in"}}, "belongs to another sign-in"),
        ({"expired": True}, "has expired"),
        ({"claims": {"aud": "another-application"}}, "meant for another application"),
        ({"claims": {"azp": "another-application"}}, "meant for another application"),
        ({"claims": {"iss": "https://evil.example"}}, "does not come from the provider"),
        ({"claims": {"sub": "sub-2"}}, "named two different people"),
        ({"userinfo": {"sub": "sub-2", "email": "ada@example.org"}}, "named two different people"),
        ({"foreign_key": True}, "signature is not right"),
        ({"unsigned": True}, "which is not accepted"),
    ],
)
def test_a_provider_that_lies_is_not_believed(provider, ada, lies, why):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    provider.lie(**lies)
    browser = by_acme(provider, "sub-1")
    assert browser.answer.status_code == 403
    assert why in words(browser)
    assert not is_in(browser)


def test_an_answer_to_somebody_elses_question_opens_nothing(provider, ada):
    """Login CSRF: Mallory sends Ada a link that would sign her in as Mallory."""
    provider.knows("mallory", email="ada@example.org", email_verified=True)
    location = provider.agree(leave(Browser()), "mallory")
    victim = Browser()
    victim.answer = come_back(victim, location)
    assert "is not known here" in words(victim)
    assert not is_in(victim)
    changed = location.replace("state=", "state=x")
    assert "is not known here" in come_back(Browser(), changed).content.decode()


def test_a_code_is_good_once(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    browser = Browser()
    location = provider.agree(leave(browser), "sub-1")
    assert come_back(browser, location).status_code == 302
    browser.post("/accounts/logout/")
    assert "is not known here" in come_back(browser, location).content.decode()
    # With a state of one's own, but the code that was used: the provider refuses.
    other = Browser()
    state = parse_qs(urlsplit(leave(other)).query)["state"][0]
    used = re.sub(r"state=[^&]+", f"state={state}", location)
    assert "Acme refused" in come_back(other, used).content.decode()


def test_a_stolen_code_is_worthless_without_its_verifier(provider, ada):
    """PKCE."""
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    stolen = parse_qs(urlsplit(provider.agree(leave(Browser()), "sub-1")).query)["code"][0]
    mallory = Browser()
    state = parse_qs(urlsplit(leave(mallory)).query)["state"][0]
    answer = mallory.get("/accounts/oidc/acme/login/callback/", {"code": stolen, "state": state})
    assert "Acme refused" in answer.content.decode()
    assert not is_in(mallory)


def test_whoever_takes_too_long_starts_again(provider, ada):
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        browser = Browser()
        location = provider.agree(leave(browser), "sub-1")
        clock.shift(timedelta(minutes=11))
        # States are swept when the next one is made.
        leave(browser)
        assert "is not known here" in come_back(browser, location).content.decode()


def test_whoever_stops_at_the_provider_is_told_that_nothing_happened(provider, ada):
    browser = Browser()
    location = provider.agree(leave(browser), "sub-1", action="deny")
    assert "You stopped the sign-in" in come_back(browser, location).content.decode()


def test_a_provider_that_is_gone_is_named(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    browser = Browser()
    location = provider.agree(leave(browser), "sub-1")
    app = SocialApp.objects.get()
    app.settings = app.settings | {"server_url": "http://127.0.0.1:9"}
    app.save()
    browser.answer = come_back(browser, location)
    assert "Acme cannot be reached" in words(browser)
    pressed = Browser().post("/accounts/oidc/acme/login/?process=login")
    assert "Acme cannot be reached" in pressed.content.decode()


def test_an_account_linked_to_somebody_else_is_not_taken_over(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    by_acme(provider, "sub-1")
    person_create(username="grace", password=PASSWORD, role=Role.TECHNICIAN)
    grace = sign_in("grace")
    come_back(grace, provider.agree(leave(grace, process="connect"), "sub-1"))
    assert SocialAccount.objects.get().user == ada
    assert "linked to somebody else" in grace.get("/account/").content.decode()


def test_linking_and_unlinking_need_a_fresh_proof(provider, ada):
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        browser = sign_in("ada")
        come_back(browser, provider.agree(leave(browser, process="connect"), "sub-1"))
        clock.shift(timedelta(minutes=16))
        asked = browser.get("/accounts/oidc/acme/login/?process=connect")
        assert asked["Location"].startswith("/accounts/reauthenticate/")
        link = SocialAccount.objects.get()
        browser.post("/accounts/sso/", {"account": link.pk})
        assert SocialAccount.objects.exists()
        browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
        browser.post("/accounts/sso/", {"account": link.pk})
        assert not SocialAccount.objects.exists()


def test_the_only_way_in_is_not_unlinked(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    by_acme(provider, "sub-1")
    ada.set_unusable_password()
    ada.save()
    browser = by_acme(provider, "sub-1")
    answer = browser.post("/accounts/sso/", {"account": SocialAccount.objects.get().pk})
    assert "cannot be unlinked" in answer.content.decode()
    assert SocialAccount.objects.exists()


def test_whoever_has_no_password_confirms_at_the_provider(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    by_acme(provider, "sub-1")
    ada.set_unusable_password()
    ada.save()
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        browser = by_acme(provider, "sub-1")
        clock.shift(timedelta(minutes=16))
        asked = browser.get("/accounts/2fa/totp/activate/")
        assert asked["Location"].startswith("/accounts/reauthenticate/")
        page = browser.get(asked["Location"]).content.decode()
        assert "Sign in again with Acme" in page
        by_acme(provider, "sub-1", browser=browser, anew="1")
        assert provider.asked()[-1]["prompt"] == "login"
        assert browser.get("/accounts/2fa/totp/activate/").status_code == 200


def test_whoever_lacks_a_factor_confirms_at_the_provider_but_links_nothing(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    browser = by_acme(provider, "sub-1")
    mfa_policy_set(role=Role.OWNER, required=True)
    assert browser.get("/")["Location"] == "/account/secure/"
    assert browser.get("/accounts/oidc/acme/login/?process=connect")["Location"] == "/account/secure/"
    by_acme(provider, "sub-1", browser=browser, anew="1")
    assert browser.get("/accounts/2fa/totp/activate/").status_code == 200


def test_the_provider_is_told_the_public_address(provider, ada, settings):
    settings.PUBLIC_URL = PublicUrl("https", "forestall.example.org")
    query = parse_qs(urlsplit(leave(Browser())).query)
    assert query["redirect_uri"] == ["https://forestall.example.org/accounts/oidc/acme/login/callback/"]


def test_links_to_a_provider_cannot_say_what_is_asked_of_it(provider, ada):
    browser = Browser()
    page = browser.post("/accounts/oidc/acme/login/?process=login&scope=admin&auth_params=prompt%3Dnone%26nonce%3Dx")
    query = parse_qs(
        urlsplit(html.unescape(re.search(r'<a href="([^"]+)" id="onward"', page.content.decode())[1])).query
    )
    assert sorted(query["scope"][0].split()) == ["email", "openid", "profile"]
    assert "prompt" not in query
    assert query["nonce"] != ["x"]


def test_the_client_secret_is_sealed(provider):
    """V19."""
    assert SECRET not in json.dumps(list(SocialApp.objects.values()), default=str)


def test_removing_a_provider_removes_its_links(provider, ada):
    provider.knows("sub-1", email="ada@example.org", email_verified=True)
    by_acme(provider, "sub-1")
    assert provider_remove(provider_id="acme") == 1
    assert Browser().post("/accounts/oidc/acme/login/").status_code == 404
    assert "Acme" not in Browser().get("/accounts/login/").content.decode()


def test_what_is_no_provider_is_not_set_up(running_provider, house):
    for issuer, why in (
        ("http://login.example.org", "no https address"),
        ("http://127.0.0.1:9", "cannot be read"),
        (running_provider.url + "/users", "cannot be read"),
        (running_provider.url.replace("127.0.0.1", "localhost"), ""),
    ):
        if why:
            with pytest.raises(SignInPolicyError, match=why):
                discover(issuer)
        else:
            assert discover(issuer)["issuer"] == issuer
