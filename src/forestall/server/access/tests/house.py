"""A client whose devices' accounts a test writes, and the loop turned by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forestall.server.access import services
from forestall.server.access.models import AccessChange, AccessReview, ReviewItem
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_receive
from forestall.server.loop import HANDLERS
from forestall.server.outbox.services import events_route
from forestall.server.people.scope import Scope
from forestall.server.runbooks.tests.conftest import Office
from forestall.server.tickets.models import Ticket
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access, Account, PasswordPolicy, SshKey, SudoRule

SYSTEM = Scope.system("tests")


def account(name: str, uid: int, **more: Any) -> Account:
    keys = more.get("keys", ())
    return Account(
        **{
            "name": name, "uid": uid, "shell": "/bin/bash", "login": True, "password": "set", "kind": "person",
            "home": f"/home/{name}", "ssh_keys": len(keys), "disabled": False, **more,
        }
    )  # fmt: skip


ROOT = account("root", 0, kind="system", administrator=True, administrator_because=("uid 0",), password="locked")
ADA = account("ada", 1000, groups=("ada", "sudo"), administrator=True, administrator_because=("group sudo",))
BOB = account("bob", 1001, groups=("bob",))
DAEMON = account("daemon", 1, kind="system", login=False, password="locked")
KEY = SshKey(type="ssh-ed25519", bits=256, fingerprint="SHA256:abc", comment="bob@laptop")


class House:
    """Devices report their accounts; the loop hears of it."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.device: Device = office.device

    @property
    def now(self):
        return self.office.now

    def report(
        self,
        *accounts: Account,
        sudo: Sequence[SudoRule] = (),
        device: Device | None = None,
        **document: Any,
    ) -> None:
        """Time passes, and a device tells who has access to it."""
        self.office.later(minutes=5)
        told = Access(
            accounts=accounts,
            sudo=tuple(sudo),
            sudo_rules=document.pop("sudo_rules", tuple(rule.line for rule in sudo)),
            password_policy=PasswordPolicy(min_length=8),
            **document,
        )
        report = FactsReport(document=told, digest=facts_digest(told), collected_at=self.now)
        facts_receive(device=device or self.device, report=report, now=self.now)
        self.turn()

    def turn(self) -> None:
        while events_route(table=HANDLERS, now=self.now):
            pass

    def changes(self) -> list[tuple[str, str]]:
        rows = AccessChange.objects.visible_to(SYSTEM).order_by("at", "pk")
        return list(rows.values_list("words", "state"))

    def ticket(self, kind: str) -> Ticket:
        return Ticket.objects.visible_to(SYSTEM).filter(kind=kind).latest("number")

    def begin(self, **more: Any) -> AccessReview:
        return services.review_begin(
            client=self.office.client, scope=self.office.scope, now=self.office.later(minutes=1), **more
        )

    def item(self, name: str, review: AccessReview | None = None) -> ReviewItem:
        rows = ReviewItem.objects.visible_to(SYSTEM).filter(account=name)
        return (rows.filter(review=review) if review else rows).latest("pk")

    def decide(self, review: AccessReview, decision: str, *names: str, reason: str = "", **more: Any) -> None:
        rows = ReviewItem.objects.visible_to(SYSTEM).filter(review=review, account__in=names)
        services.items_decide(
            review=review, item_ids=[row.pk for row in rows], decision=decision, reason=reason,
            scope=self.office.scope, now=self.office.later(minutes=1), **more,
        )  # fmt: skip

    def sign(self, review: AccessReview) -> AccessReview:
        return services.review_sign(review=review, scope=self.office.scope, now=self.office.later(minutes=1))
