"""Passkeys and single sign-on in a real browser, with Chromium's virtual authenticator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.signing_in import PASSWORD, Phone
from forestall.server.console.tests.test_console_browser import CHROMIUM, chromium  # noqa: F401 - a fixture
from forestall.server.console.tests.test_signin_sso import running_provider  # noqa: F401 - a fixture
from forestall.server.people import signin
from forestall.server.people.models import Person
from forestall.server.people.signin_policy import provider_add

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


class Desk:
    """Ada's browser, with a device that knows her finger."""

    def __init__(self, browser, address: str, *, width: int = 1440) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 844})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = address
        self.device = self.context.new_cdp_session(self.page)
        self.device.send("WebAuthn.enable")
        self.authenticator = self.device.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                    "isUserVerified": True, "automaticPresenceSimulation": True,
                }
            },
        )["authenticatorId"]  # fmt: skip

    def keys(self) -> list[dict]:
        return self.device.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})["credentials"]

    def wrong_finger(self) -> None:
        self.device.send("WebAuthn.setUserVerified", {"authenticatorId": self.authenticator, "isUserVerified": False})

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)

    def sign_in(self) -> None:
        self.open("/accounts/login/")
        self.page.fill("#id_login", "ada")
        self.page.fill("#id_password", PASSWORD)
        self.page.click("main button.primary")

    def sign_out(self) -> None:
        self.open("/accounts/logout/")
        self.page.click("main button.primary")
        self.page.wait_for_url("**/accounts/login/")


@pytest.fixture
def ada(house, transactional_db) -> Person:
    person = fleets.owner()
    Person.objects.filter(pk=person.pk).update(email="ada@example.org")
    return Person.objects.get(pk=person.pk)


@pytest.fixture
def desk(chromium, ada, live_server):  # noqa: F811
    made = Desk(chromium, live_server.url)
    yield made
    made.context.close()
    assert made.errors == []


def test_a_passkey_is_made_signs_in_alone_and_is_removed(desk, ada):
    page = desk.page
    desk.sign_in()
    page.wait_for_selector(".nav")
    desk.open("/accounts/2fa/webauthn/add/")
    page.fill("#id_name", "Ada's laptop")
    page.click("#mfa_webauthn_add")
    page.wait_for_selector(".codes")
    assert len(desk.keys()) == 1
    assert desk.keys()[0]["isResidentCredential"]
    desk.open("/account/")
    assert "Ada's laptop" in page.inner_text(".ways")
    assert "signs in alone" in page.inner_text(".ways")
    desk.sign_out()
    page.click("#passkey_login")
    page.wait_for_selector(".nav")
    desk.open("/account/")
    page.click("text=Remove >> nth=0")
    page.click("main button.primary")
    page.wait_for_url("**/account/")
    assert "Ada's laptop" not in page.inner_text(".ways")
    assert not signin.has_second_factor(person=ada)
    desk.sign_out()
    page.click("#passkey_login")
    page.wait_for_selector(".notice-fail")
    assert page.url.endswith("/accounts/login/")


def test_a_passkey_is_the_second_step_after_a_password(desk, ada):
    page = desk.page
    desk.sign_in()
    page.wait_for_selector(".nav")
    desk.open("/accounts/2fa/webauthn/add/")
    page.uncheck("#id_passwordless")
    page.click("#mfa_webauthn_add")
    page.wait_for_selector(".codes")
    desk.sign_out()
    desk.sign_in()
    page.wait_for_url("**/accounts/2fa/authenticate/")
    page.click("#mfa_webauthn_authenticate")
    page.wait_for_selector(".nav")


def test_a_passkey_that_is_refused_is_explained_in_words(desk, ada):
    page = desk.page
    desk.open("/accounts/login/")
    desk.wrong_finger()
    page.click("#passkey_login")
    page.wait_for_selector("[data-passkey-error]:not([hidden])")
    assert "No passkey was used" in page.inner_text("[data-passkey-error]")


def test_a_passkey_confirms_who_sits_there(desk, ada):
    page = desk.page
    desk.sign_in()
    page.wait_for_selector(".nav")
    desk.open("/accounts/2fa/webauthn/add/")
    page.click("#mfa_webauthn_add")
    page.wait_for_selector(".codes")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16), tick=True):
        desk.open("/accounts/password/change/")
        page.wait_for_url("**/accounts/2fa/webauthn/reauthenticate/**")
        page.click("#mfa_webauthn_reauthenticate")
        page.wait_for_selector("#id_oldpassword")


def test_an_authenticator_app_is_set_up_and_its_codes_are_kept(desk, ada):
    page = desk.page
    desk.sign_in()
    page.wait_for_selector(".nav")
    desk.open("/accounts/2fa/totp/activate/")
    picture = page.evaluate(
        "(async () => { const i = document.querySelector('.qr img'); await i.decode(); return i.naturalWidth; })()"
    )
    assert picture > 100
    secret = page.eval_on_selector("details code", "code => code.textContent").replace(" ", "")
    page.fill("#id_code", Phone(secret).code())
    page.click("main button.primary")
    page.wait_for_selector(".codes")
    with page.expect_download() as download:
        page.click("[data-download]")
    text = download.value.path().read_text()
    shown = page.eval_on_selector_all(".codes code", "codes => codes.map((code) => code.textContent)")
    assert all(code in text for code in shown)
    assert "recovery codes for ada" in text


def test_single_sign_on_leads_there_and_back(desk, ada, running_provider):  # noqa: F811
    running_provider.lie()
    running_provider.knows("sub-1", email="ada@example.org", email_verified=True)
    provider_add(
        provider_id="acme", name="Acme", issuer=running_provider.url, client_id="forestall", secret="secret",
        link_by_email=True,
    )  # fmt: skip
    page = desk.page
    desk.open("/accounts/login/?next=/devices/")
    page.click("text=Sign in with Acme")
    page.wait_for_url(f"{running_provider.url}/**")
    page.fill("[name=sub]", "sub-1")
    page.click("button[type=submit]:has-text('Authorize')")
    page.wait_for_url("**/devices/")
    # What the provider's own pages complain of is not ours.
    desk.errors.clear()


@pytest.mark.parametrize(
    "path",
    ["/account/", "/accounts/password/change/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/",
     "/accounts/logout/", "/accounts/password/reset/", "/accounts/reauthenticate/", "/account/secure/"],
)  # fmt: skip
def test_no_page_is_wider_than_a_phone(chromium, ada, live_server, path):  # noqa: F811
    phone = Desk(chromium, live_server.url, width=390)
    phone.sign_in()
    phone.page.wait_for_selector(".nav")
    phone.open(path)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    phone.context.close()
    assert phone.errors == []
