"""Signing in: Ada owns the installation, Grace is a technician, Mallory knows their names."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client as Browser

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import browser_of
from forestall.server.console.tests.signing_in import PASSWORD, is_in, set_up_app, sign_in
from forestall.server.people import signin
from forestall.server.people.models import Person
from forestall.server.people.roles import Role
from forestall.server.people.services import person_create
from forestall.server.people.signin_events import METHODS
from forestall.server.people.signin_models import SignInEvent, SignInEventKind
from forestall.server.people.signin_policy import mfa_policy_set
from forestall.server.people.signin_sessions import session_digest, sessions_of

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(autouse=True)
def commits(monkeypatch):
    """What waits for the end of a transaction is done at once: a test's own never ends."""
    monkeypatch.setattr("django.db.transaction.on_commit", lambda done, **_: done())


@pytest.fixture
def ada(house) -> Person:
    person = fleets.owner()
    Person.objects.filter(pk=person.pk).update(email="ada@example.org")
    person.refresh_from_db()
    return person


@pytest.fixture
def grace(house) -> Person:
    return person_create(username="grace", password=PASSWORD, role=Role.TECHNICIAN)


def kinds(person: Person) -> list[str]:
    return list(SignInEvent.objects.filter(person=person).order_by("pk").values_list("kind", flat=True))


# --- second factors ----------------------------------------------------------------------------------------------


def test_a_code_from_the_phone_is_asked_for_once_it_is_set_up(ada):
    browser = sign_in("ada")
    phone, codes = set_up_app(browser)
    assert len(set(codes)) == 10
    fresh = sign_in("ada")
    assert fresh.answer["Location"] == "/accounts/2fa/authenticate/"
    assert not is_in(fresh)
    wrong = fresh.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert "This code is not right" in wrong.content.decode()
    assert fresh.post("/accounts/2fa/authenticate/", {"code": phone.code()}).status_code == 302
    assert is_in(fresh)
    assert kinds(ada)[-2:] == [SignInEventKind.FACTOR_FAILED, SignInEventKind.IN]
    assert SignInEvent.objects.filter(person=ada).first().detail == "password and authenticator app"


def test_a_code_counts_once_for_as_long_as_it_is_valid(ada):
    phone, _ = set_up_app(sign_in("ada"))
    start = datetime(2026, 11, 24, 9, 0, 15, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        code = phone.code()
        first = sign_in("ada")
        assert first.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
        for _ in range(2):
            second = sign_in("ada")
            assert second.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
            # A minute's tolerance for slow clocks would let it pass again.
            clock.shift(timedelta(seconds=31))


def test_a_recovery_code_works_once_and_as_it_is_written(ada):
    _, codes = set_up_app(sign_in("ada"))
    assert sign_in("ada").post("/accounts/2fa/authenticate/", {"code": codes[3]}).status_code == 302
    again = sign_in("ada")
    assert again.post("/accounts/2fa/authenticate/", {"code": codes[3]}).status_code == 200
    assert again.post("/accounts/2fa/authenticate/", {"code": codes[4].replace(" ", "")}).status_code == 302
    assert is_in(again)


def test_recovery_codes_are_shown_once_and_new_ones_replace_them(ada):
    browser = sign_in("ada")
    _, codes = set_up_app(browser)
    again = browser.get("/accounts/2fa/recovery-codes/").content.decode()
    assert not [code for code in codes if code in again]
    assert browser.get("/accounts/2fa/recovery-codes/download/").status_code == 404
    answer = browser.post("/accounts/2fa/recovery-codes/generate/")
    new = re.findall(r"<code>(\d{4} \d{4})</code>", browser.get(answer["Location"]).content.decode())
    assert len(new) == 10
    assert not set(new) & set(codes)
    assert sign_in("ada").post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code == 200


def test_secrets_are_sealed_where_they_are_kept(ada):
    """V19, for second factors and sessions."""
    browser = sign_in("ada")
    page = browser.get("/accounts/2fa/totp/activate/").content.decode()
    secret = re.search(r"<details>.*?<code>([A-Z2-7 ]+)</code>", page, re.DOTALL).group(1).replace(" ", "")
    # While it is being set up the secret waits in the session.
    kept = json.dumps(list(Session.objects.values_list("session_key", "session_data")))
    assert secret not in kept
    assert browser.session.session_key not in kept
    _, codes = set_up_app(browser)
    stored = json.dumps([one.data for one in Authenticator.objects.filter(user=ada)])
    assert secret not in stored
    assert not [code for code in codes if code.replace(" ", "") in stored]


def test_a_copy_of_the_database_opens_no_session(ada):
    browser = sign_in("ada")
    assert is_in(browser)
    for key in Session.objects.values_list("session_key", flat=True):
        thief = Browser()
        thief.cookies["sessionid"] = key
        assert not is_in(thief)


# --- a role that needs one ---------------------------------------------------------------------------------------


def test_whoever_needs_a_second_factor_reaches_only_the_page_where_it_is_set_up(grace, ada):
    browser = sign_in("grace")
    assert is_in(browser)
    mfa_policy_set(role=Role.TECHNICIAN, required=True)
    for address in ("/", "/devices/", "/tickets/", "/account/", "/keys"):
        answer = browser.get(address)
        assert (answer.status_code, answer["Location"]) == (302, "/account/secure/"), address
    assert browser.post("/devices/approve").status_code == 403
    assert browser.get("/devices/", headers={"X-Live": "x"}).status_code == 403
    assert "needs a second factor" in browser.get("/account/secure/").content.decode()
    # Others go on.
    assert is_in(sign_in("ada"))
    set_up_app(browser)
    assert is_in(browser)
    mfa_policy_set(role=Role.TECHNICIAN, required=False)


def test_the_last_second_factor_stays_while_the_role_needs_one(grace):
    browser = sign_in("grace")
    set_up_app(browser)
    mfa_policy_set(role=Role.TECHNICIAN, required=True)
    browser.post("/accounts/2fa/totp/deactivate/")
    assert signin.has_second_factor(person=grace)
    mfa_policy_set(role=Role.TECHNICIAN, required=False)
    browser.post("/accounts/2fa/totp/deactivate/")
    assert not signin.has_second_factor(person=grace)


def test_a_lost_phone_is_taken_away_by_whoever_runs_the_server(grace):
    browser = sign_in("grace")
    set_up_app(browser)
    assert signin.person_reset_factors(person=grace, who="a test") == 2
    assert not is_in(browser)
    assert is_in(sign_in("grace"))
    assert SignInEventKind.FACTOR_RESET in kinds(grace)


# --- step-up -----------------------------------------------------------------------------------------------------


def test_what_could_do_harm_asks_again_after_a_quarter_of_an_hour(ada):
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        browser = sign_in("ada")
        assert browser.get("/accounts/password/change/").status_code == 200
        clock.shift(timedelta(minutes=15, seconds=1))
        asked = browser.get("/accounts/password/change/?from=x")
        assert asked.status_code == 302
        where = "/accounts/reauthenticate/?next=%2Faccounts%2Fpassword%2Fchange%2F%3Ffrom%3Dx"
        assert asked["Location"] == where
        wrong = browser.post(where, {"password": "wrong"})
        assert "not your password" in wrong.content.decode()
        back = browser.post(where, {"password": PASSWORD, "next": "/accounts/password/change/?from=x"})
        assert back["Location"] == "/accounts/password/change/?from=x"
        assert browser.get(back["Location"]).status_code == 200
        assert kinds(ada)[-1] == SignInEventKind.CONFIRMED


def test_a_form_sent_too_late_is_shown_again_and_nothing_was_done(ada):
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        browser = sign_in("ada")
        clock.shift(timedelta(minutes=16))
        form = {"oldpassword": PASSWORD, "password1": "another good one here", "password2": "another good one here"}
        asked = browser.post(
            "/accounts/password/change/", form, headers={"Referer": "http://testserver/accounts/password/change/"}
        )
        assert asked.status_code == 302
        assert "next=http%3A%2F%2Ftestserver%2Faccounts%2Fpassword%2Fchange%2F" in asked["Location"]
        assert "send the form again" in browser.get(asked["Location"]).content.decode()
        ada.refresh_from_db()
        assert ada.check_password(PASSWORD)
        foreign = browser.post("/accounts/password/change/", form, headers={"Referer": "https://evil.example/"})
        assert foreign["Location"].endswith("?next=%2F")


def test_with_a_second_factor_the_password_alone_proves_too_little(ada):
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        browser = sign_in("ada")
        phone, _ = set_up_app(browser)
        clock.shift(timedelta(minutes=16))
        asked = browser.get("/accounts/password/change/")
        by_password = browser.get(asked["Location"])
        assert by_password["Location"].startswith("/accounts/2fa/reauthenticate/")
        assert browser.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
        assert browser.get("/accounts/password/change/").status_code == 302
        browser.post("/accounts/2fa/reauthenticate/", {"code": phone.code(), "next": "/account/"})
        assert browser.get("/accounts/password/change/").status_code == 200


def test_a_page_that_asks_for_fresh_proof_stops_a_stale_session(ada, monkeypatch):
    from django.http import HttpResponse
    from django.test import RequestFactory

    from forestall.server.console.access import SIGNED_IN, page

    done = []

    @page(permission=SIGNED_IN, methods=("GET", "POST"), fresh=True)
    def dangerous(request):
        done.append(request.method)
        return HttpResponse("done")

    request = RequestFactory().post("/danger/", {}, headers={"Referer": "http://testserver/form/"})
    browser = browser_of(ada)
    request.session, request.user = browser.session, ada
    from django.contrib.messages.storage.fallback import FallbackStorage

    request._messages = FallbackStorage(request)
    session = request.session
    session["account_authentication_methods_user"] = str(ada.pk)
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - 901}]
    assert dangerous(request).status_code == 302
    assert done == []
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - 890}]
    assert dangerous(request).content == b"done"


# --- sessions ----------------------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended_one_by_one(ada):
    here, there = sign_in("ada"), sign_in("ada", headers={"user-agent": FIREFOX})
    page = here.get("/account/").content.decode()
    assert "Firefox on Windows" in page
    assert "You are signed in in 2 browsers" in page
    other = next(one for one in sessions_of(person=ada) if "Firefox" in one.user_agent)
    here.post(f"/account/sessions/{other.pk}/end")
    assert is_in(here)
    assert not is_in(there)
    assert kinds(ada)[-1] == SignInEventKind.SESSION_ENDED


def test_nobody_ends_the_session_of_somebody_else(ada, grace):
    victim, mallory = sign_in("ada"), sign_in("grace")
    session = sessions_of(person=ada)[0]
    foreign = mallory.post(f"/account/sessions/{session.pk}/end")
    absent = mallory.post("/account/sessions/987654321/end")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content
    assert is_in(victim)


def test_signing_out_everywhere_else_leaves_this_browser(ada):
    here, others = sign_in("ada"), [sign_in("ada") for _ in range(3)]
    here.post("/account/sessions/end")
    assert is_in(here)
    assert not any(is_in(other) for other in others)
    assert [one.session_key for one in sessions_of(person=ada)] == [session_digest(here.session.session_key)]


def test_a_changed_password_ends_every_other_session(ada):
    here, there = sign_in("ada"), sign_in("ada")
    form = {"oldpassword": PASSWORD, "password1": "another good one here", "password2": "another good one here"}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert is_in(here)
    assert not is_in(there)
    assert len(sessions_of(person=ada)) == 1


def test_a_session_ends_by_itself(ada):
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        browser = sign_in("ada")
        for _ in range(5):
            clock.shift(timedelta(hours=1, minutes=50))
            assert is_in(browser)
        clock.shift(timedelta(hours=2, minutes=1))
        assert not is_in(browser)
        browser = sign_in("ada")
        for _ in range(11):
            clock.shift(timedelta(hours=1))
            assert is_in(browser)
        clock.shift(timedelta(hours=1, minutes=1))
        # Twelve hours, however busy.
        assert not is_in(browser)


def test_a_page_that_refreshes_itself_is_nobody_at_work(ada):
    start = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        browser = sign_in("ada")
        browser.get("/keys")
        for _ in range(13):
            clock.shift(timedelta(minutes=10))
            answer = browser.get("/", headers={"X-Live": "none"})
        assert answer.status_code == 302


# --- what is closed, and what is told -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["signup/", "email/", "confirm-email/", "confirm-email/x:y/", "login/code/confirm/", "sso/signup/",
     "sso/login/cancelled/", "2fa/recovery-codes/download/", "3rdparty/", "2fa/trust/", "login/code/"],
)  # fmt: skip
def test_pages_without_a_use_are_closed(ada, address):
    browser = sign_in("ada")
    assert browser.get(f"/accounts/{address}").status_code == 404
    assert browser.post(f"/accounts/{address}", {"email": "x@example.org", "username": "x"}).status_code == 404


def test_nobody_signs_up(house):
    before = Person.objects.count()
    Browser().post("/accounts/signup/", {"username": "mallory", "password1": PASSWORD, "password2": PASSWORD})
    assert Person.objects.count() == before


def test_a_disabled_person_is_told_so_only_with_the_right_password(grace):
    signin.person_set_active(person=grace, active=False, who="ada")
    right = sign_in("grace")
    assert right.answer["Location"] == "/accounts/inactive/"
    wrong = sign_in("grace", "wrong")
    nobody = sign_in("nobody-here", "wrong")
    assert "do not fit together" in wrong.answer.content.decode()
    assert "do not fit together" in nobody.answer.content.decode()
    assert SignInEventKind.REFUSED in kinds(grace)


def test_people_are_told_by_mail_what_changed(ada, settings):
    settings.MAIL_IS_SET = True
    browser = sign_in("ada")
    form = {"oldpassword": PASSWORD, "password1": "another good one here", "password2": "another good one here"}
    browser.post("/accounts/password/change/", form)
    assert [one.subject for one in mail.outbox] == ["[Forestall] Your password was changed"]
    assert mail.outbox[0].to == ["ada@example.org"]
    assert "sign out everywhere else" in mail.outbox[0].body


def test_a_password_is_reset_by_mail_once(ada, settings):
    settings.MAIL_IS_SET = True
    there, forgetful = sign_in("ada"), Browser()
    known = forgetful.post("/accounts/password/reset/", {"email": "ada@example.org"})
    unknown = Browser().post("/accounts/password/reset/", {"email": "nobody@example.org"})
    assert known["Location"] == unknown["Location"]
    assert len(mail.outbox) == 1
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", mail.outbox[0].body).group(1)
    form_page = forgetful.get(link, follow=True)
    new = {"password1": "another good one here", "password2": "another good one here"}
    assert forgetful.post(form_page.redirect_chain[-1][0], new).status_code == 302
    assert not is_in(there)
    assert is_in(sign_in("ada", "another good one here"))
    assert "no longer works" in Browser().get(link, follow=True).content.decode()


def test_the_reset_link_names_the_public_address_not_the_requests_host(ada, settings):
    from forestall.server.people.signin_settings import PublicUrl

    settings.MAIL_IS_SET = True
    settings.PUBLIC_URL = PublicUrl("https", "forestall.example.org")
    Browser().post("/accounts/password/reset/", {"email": "ada@example.org"})
    assert "https://forestall.example.org/accounts/password/reset/key/" in mail.outbox[0].body


def test_without_a_mail_server_the_page_says_what_to_do_instead(house):
    page = Browser().get("/accounts/password/reset/").content.decode()
    assert "forestall person passwd" in page
    assert "Forgotten?" not in Browser().get("/accounts/login/").content.decode()


def test_a_mail_that_cannot_be_sent_stops_nothing(ada, settings, monkeypatch):
    def broken(*_, **__):
        raise ConnectionRefusedError("no mail server")

    monkeypatch.setattr("django.core.mail.message.EmailMessage.send", broken)
    browser = sign_in("ada")
    set_up_app(browser)
    assert signin.has_second_factor(person=ada)
    assert SignInEventKind.MAIL_FAILED in kinds(ada)


def test_the_account_page_tells_what_happened(ada):
    sign_in("ada", "wrong")
    browser = sign_in("ada")
    page = browser.get("/account/").content.decode()
    assert "Sign-in failed" in page
    assert METHODS["password"] in page
    assert "Your password alone opens your account" in page


def test_events_are_kept_for_400_days(ada):
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False):
        sign_in("ada")
    assert SignInEvent.objects.filter(person=ada).count() == 1
    with time_machine.travel(datetime(2027, 3, 1, tzinfo=UTC), tick=False):
        sign_in("ada")
    assert SignInEvent.objects.filter(person=ada).count() == 1


# --- behind a proxy, and what is swept -----------------------------------------------------------------------------


def test_over_https_cookies_are_for_https_alone(ada, settings):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    browser = sign_in("ada", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.7")
    for name in ("sessionid", "csrftoken", "forestall_known"):
        assert browser.answer.cookies[name]["secure"], name
        assert browser.answer.cookies[name]["samesite"] == "Lax"
    assert browser.answer.cookies["sessionid"]["httponly"]
    assert SignInEvent.objects.filter(person=ada).first().address == "192.0.2.7"
    # A header that no trusted proxy sent makes nothing secure.
    settings.TRUSTED_PROXIES = []
    plain = sign_in("ada", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.7")
    assert not plain.answer.cookies["sessionid"]["secure"]
    assert SignInEvent.objects.filter(person=ada).first().address == "127.0.0.1"


def test_expired_sessions_are_swept_at_the_next_sign_in(ada):
    with time_machine.travel(datetime(2026, 11, 1, tzinfo=UTC), tick=False):
        sign_in("ada")
    with time_machine.travel(datetime(2026, 11, 24, tzinfo=UTC), tick=False):
        sign_in("ada")
        assert Session.objects.count() == 1
        assert len(sessions_of(person=ada)) == 1


def test_sign_in_leads_on_to_where_one_wanted_to_be_and_nowhere_else(ada):
    for asked, reached in (
        ("/devices/?site=1", "/devices/?site=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ):
        browser = Browser()
        form = {"login": "ada", "password": PASSWORD, "next": asked}
        assert browser.post("/accounts/login/", form)["Location"] == reached, asked
