"""A client whose devices' configuration a test writes, and the loop turned by hand."""

from __future__ import annotations

from typing import Any

from forestall.server.configuration import queries
from forestall.server.configuration.models import DeviceConfiguration, Drift
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_receive
from forestall.server.loop import HANDLERS
from forestall.server.outbox.services import events_route
from forestall.server.people.scope import Scope
from forestall.server.runbooks.tests.conftest import Office
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Document, Hardening, HardeningSetting, Sshd

SYSTEM = Scope.system("tests")
GOOD = {
    ("kernel", "net.ipv4.ip_forward"): "0",
    ("kernel", "net.ipv6.conf.all.forwarding"): "0",
    ("kernel", "kernel.randomize_va_space"): "2",
    ("file", "/etc/shadow"): "0640 root:shadow",
    ("login", "UMASK"): "027",
}
SOUND = {"port": "22", "permitrootlogin": "no", "passwordauthentication": "no", "maxauthtries": "4"}


def hardening(**changed: Any) -> Hardening:
    """What a sound machine says; ``more`` and ``without`` change it."""
    settings = {**GOOD, **changed.get("more", {})}
    for key in changed.get("without", ()):
        settings.pop(key)
    return Hardening(
        settings=tuple(HardeningSetting(area=area, name=name, value=value) for (area, name), value in settings.items()),
        sources=("/proc/sys",),
        gaps=changed.get("gaps", ()),
    )


class Workshop:
    """Devices report how they are set up; the loop hears of it."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.device: Device = office.device

    @property
    def now(self):
        return self.office.now

    def report(self, *documents: Document, device: Device | None = None) -> None:
        """Time passes, and a device tells how it is set up."""
        self.office.later(minutes=5)
        for document in documents:
            report = FactsReport(digest=facts_digest(document), collected_at=self.now, document=document)
            facts_receive(device=device or self.device, report=report, now=self.now)
        self.turn()

    def settle(self, **changed: Any) -> None:
        """A sound machine, but for what is changed."""
        self.report(hardening(**changed), Sshd(installed=True, running=True, settings=SOUND, effective=True))

    def turn(self) -> None:
        while events_route(table=HANDLERS, now=self.now):
            pass

    @property
    def row(self) -> DeviceConfiguration:
        found = queries.configuration_of(scope=SYSTEM, device=self.device)
        assert found is not None
        return found

    def result(self, control: str) -> tuple[str, str]:
        """Outcome and reason of a control."""
        return next((outcome, why) for name, outcome, why in self.row.results if name == control)

    @property
    def drift(self) -> list[tuple[str, str, str, str]]:
        """What is open."""
        rows = Drift.objects.visible_to(SYSTEM).filter(device=self.device, settled_at=None).order_by("area", "name")
        return [(one.area, one.name, one.before, one.after) for one in rows]
