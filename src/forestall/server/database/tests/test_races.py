"""Two connections at once. On SQLite every transaction that may write waits its turn; here only what must, waits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db import OperationalError, connection, transaction

from forestall.ledger import merkle
from forestall.server.database.binding import tried_again
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SYSTEM = Scope.system("races")
ROUNDS = 15


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run each act in a thread with a connection of its own, as nearly at one moment as can be; what each gave back,
    or the error it raised."""
    gate, found = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        try:
            connection.ensure_connection()
            gate.wait(20)
            found[number] = act()
        except Exception as error:  # noqa: BLE001 - told to the test
            found[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=one) for one in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def model(label: str):
    return apps.get_model(label)


def device_at(name: str):
    client = client_create(name=name, timezone="UTC")
    return model("inventory.Device").objects.create(
        client=client, site=site_create(client=client, name="Shop"), name="pc", public_key=bytes(32),
        status="approved", approved_at=NOW, enrolled_at=NOW,
    )  # fmt: skip


def test_two_writers_of_one_log_never_fork_it() -> None:
    evidence = pytest.importorskip("forestall.server.evidence.services")
    kinds = pytest.importorskip("forestall.server.evidence.kinds")
    client = device_at("Acme").client

    def append(writer: int) -> Callable[[], None]:
        def many() -> None:
            for number in range(ROUNDS):
                with transaction.atomic():
                    evidence.evidence_append(
                        client=client,
                        kind=kinds.EvidenceKind.TICKET_OPENED,
                        payload={"writer": writer, "number": number},
                        now=NOW,
                    )

        return many

    # The first entry of a log makes its row: that, too, at once.
    assert at_once(*(append(writer) for writer in range(4))) == [None] * 4
    entries = model("evidence.Entry").objects.visible_to(SYSTEM).filter(client=client).order_by("index")
    assert [entry.index for entry in entries] == list(range(4 * ROUNDS))
    log = model("evidence.ClientLog").objects.visible_to(SYSTEM).get(client=client)
    assert log.frontier.root() == merkle.root_of([bytes(entry.leaf_hash) for entry in entries])


def test_two_alerts_of_one_condition_open_one_ticket() -> None:
    tickets = pytest.importorskip("forestall.server.tickets.services")
    for number in range(5):
        device = device_at(f"Acme {number}")
        alerts = []
        for kind in ("disk_space", "disk_inodes"):
            check = model("checks.Check").objects.create(
                device=device, kind=kind, target="/", status="fail", answered="fail", reason="full",
                risk="high", since=NOW, problem_since=NOW, judged_at=NOW, due_at=NOW,
            )  # fmt: skip
            alerts.append(
                model("alerts.Alert").objects.create(
                    check_row=check, device=device, kind=kind, target="/", status="fail", risk="high",
                    reason="full", state="open", group="g", first_seen_at=NOW, raised_at=NOW,
                )
            )  # fmt: skip
        same = pytest.MonkeyPatch()
        same.setattr(tickets, "condition_of", lambda **_: "one condition")
        found = at_once(*(lambda one=one: tickets.ticket_open_or_join(alert=one, now=NOW) for one in alerts))
        same.undo()
        assert found[0] == found[1], found
        assert found[0].ticket_alerts.count() == 2


def test_a_device_gets_each_counter_once() -> None:
    runbooks = pytest.importorskip("forestall.server.runbooks.services")
    device = device_at("Acme")
    counters = at_once(*(lambda: [runbooks._next_counter(device) for _ in range(ROUNDS)] for _ in range(3)))
    assert sorted(itertools.chain.from_iterable(counters)) == list(range(1, 3 * ROUNDS + 1))


def test_who_loses_a_deadlock_tries_again_and_nothing_is_half_done() -> None:
    one, other = device_at("Acme"), device_at("Bolt")
    devices = model("inventory.Device").objects.visible_to(SYSTEM)
    meet = threading.Barrier(2)

    def swap(first, second) -> Callable[[], int]:
        tries = 0

        def act() -> int:
            nonlocal tries
            tries += 1
            with transaction.atomic():
                devices.filter(pk=first.pk).update(job_counter=first.job_counter + 1)
                if tries == 1:
                    meet.wait(20)
                devices.filter(pk=second.pk).update(job_counter=second.job_counter + 1)
            return tries

        return lambda: tried_again(act)

    assert sorted(at_once(swap(one, other), swap(other, one))) == [1, 2]
    assert set(devices.values_list("job_counter", flat=True)) == {1}


def test_an_error_that_is_no_race_is_not_tried_again() -> None:
    tries = []

    def act() -> None:
        tries.append(1)
        raise OperationalError("no room left")

    with pytest.raises(OperationalError, match="no room left"):
        tried_again(act)
    assert len(tries) == 1
