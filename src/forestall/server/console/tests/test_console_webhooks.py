"""Ada makes a token for her script and a webhook for the desk's chat; an auditor and a technician look for ways in."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import browser_of, proven
from forestall.server.people.models import ApiToken, Client, Person
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create
from forestall.server.webhooks import services
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState

SYSTEM = Scope.system("test")
TOKENS, HOOKS = "/account/tokens/", "/webhooks/"


def webhook() -> Webhook:
    return Webhook.objects.visible_to(SYSTEM).get()


def test_a_token_is_shown_once_and_then_works_until_it_is_revoked(ada):
    proven(ada)
    made = ada.post(TOKENS, {"name": "nightly", "lifetime": "30", "place": "", "may": ["device.view"]})
    token = re.search(r"fsp_[\w-]{43}", made.content.decode()).group()
    assert made["cache-control"] == "no-store"
    page = ada.get(TOKENS).content.decode()
    assert token not in page
    assert "nightly" in page
    asked = {"headers": {"authorization": f"Bearer {token}"}}
    assert ada.get("/api/v1/devices", **asked).status_code == 200
    assert ada.get("/api/v1/tickets", **asked).status_code == 403
    row = ApiToken.objects.get(name="nightly")
    assert 29 <= (row.expires_at - datetime.now(UTC)).days <= 30
    assert ada.post(f"{TOKENS}{row.pk}/revoke").status_code == 302
    assert ada.get("/api/v1/devices", **asked).status_code == 401


def test_the_page_of_tokens_asks_first_who_one_is(ada):
    answer = ada.get(TOKENS)
    assert answer.status_code == 302
    assert "reauthenticate" in answer["location"] or "confirm" in answer["location"]


def test_a_token_that_cannot_be_keeps_what_was_typed(ada):
    proven(ada)
    for wrong in ({"may": ["make.coffee"]}, {"lifetime": "1000000"}, {"name": " "}, {"place": "client:x"}):
        answer = ada.post(TOKENS, {"name": "my script", "lifetime": "30", **wrong})
        assert answer.status_code == 200
        assert 'role="alert"' in answer.content.decode()
        assert ("my script" in answer.content.decode()) == ("name" not in wrong)
    assert not ApiToken.objects.filter(name="my script").exists()


def test_nobody_revokes_the_token_of_somebody_else(ada, auditor):
    person = Person.objects.get(username="ines")
    row = ApiToken.objects.create(person=person, name="theirs", digest="0" * 64)
    assert ada.post(f"{TOKENS}{row.pk}/revoke").status_code == 404
    row.refresh_from_db()
    assert row.revoked_at is None


def test_a_webhook_is_made_tried_and_its_messages_listed(ada):
    proven(ada)
    made = ada.post(
        f"{HOOKS}new", {"name": "desk chat", "url": "http://127.0.0.1:1/x?key=abc", "event": ["ticket.opened"]}
    )
    page = made.content.decode()
    secret = re.search(r"fsw_[\w-]{43}", page).group()
    assert "key=abc" not in page, "the path may be a secret"
    row = webhook()
    address = f"{HOOKS}{row.pk}/"
    assert secret not in ada.get(address).content.decode()
    assert ada.post(f"{address}ping").status_code == 302
    services.deliveries_send(now=datetime.now(UTC))
    page = ada.get(address).content.decode()
    assert "nothing listens there" in page
    assert "desk chat" in ada.get(HOOKS).content.decode()
    assert "do not take messages" in ada.get(HOOKS).content.decode()
    Delivery.objects.visible_to(SYSTEM).update(state=DeliveryState.FAILED, next_at=None)
    delivery = Delivery.objects.visible_to(SYSTEM).get()
    assert ada.post(f"{address}deliveries/{delivery.pk}/repeat").status_code == 302
    assert Delivery.objects.visible_to(SYSTEM).count() == 2
    assert re.search(r"fsw_[\w-]{43}", ada.post(f"{address}rotate").content.decode()).group() != secret
    for act, state in (("pause", WebhookState.PAUSED), ("resume", WebhookState.ACTIVE)):
        ada.post(f"{address}{act}")
        assert webhook().state == state
    ada.post(f"{address}remove")
    assert not Webhook.objects.visible_to(SYSTEM).exists()


def test_a_webhook_that_cannot_be_is_refused_with_the_reason(ada):
    proven(ada)
    answer = ada.post(f"{HOOKS}new", {"name": "x", "url": "ftp://example.org/<b>"})
    assert "is not taken" in answer.content.decode()
    assert ada.post(f"{HOOKS}new", {"name": "x", "url": "https://x.org", "client": "nobody"}).status_code == 200
    assert not Webhook.objects.visible_to(SYSTEM).exists()


def test_one_switched_off_says_so_and_why(ada):
    proven(ada)
    ada.post(f"{HOOKS}new", {"name": "desk chat", "url": "http://127.0.0.1:1/"})
    Webhook.objects.visible_to(SYSTEM).update(state="disabled", disabled_because="Nothing arrived since Monday.")
    assert "switched off after days" in ada.get(HOOKS).content.decode()
    assert "Nothing arrived since Monday." in ada.get(f"{HOOKS}{webhook().pk}/").content.decode()


def test_whoever_changes_no_client_has_no_webhooks(ada, auditor):
    proven(ada)
    ada.post(f"{HOOKS}new", {"name": "desk chat", "url": "http://127.0.0.1:1/"})
    assert auditor.get(HOOKS).status_code == 403
    assert auditor.get(f"{HOOKS}{webhook().pk}/").status_code == 403
    client = Client.objects.visible_to(SYSTEM).first()
    manager = person_create(username="mo", password=fleets.PASSWORD, role=Role.SERVICE_MANAGER, client=client)
    browser = proven(browser_of(manager))
    assert browser.get(HOOKS).status_code == 200
    assert browser.get(f"{HOOKS}{webhook().pk}/").status_code == 404
    assert browser.post(f"{HOOKS}{webhook().pk}/ping").status_code == 404
    assert browser.post(f"{HOOKS}new", {"name": "all", "url": "https://example.org"}).status_code == 403
    own = browser.post(f"{HOOKS}new", {"name": "own", "url": "https://example.org", "client": str(client.pk)})
    assert "fsw_" in own.content.decode()
