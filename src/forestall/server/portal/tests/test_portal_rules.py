"""The portal's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from forestall.server.portal.rules import TICKET_WORDS, Health, health_of, promise, sentence
from forestall.server.tickets.models import TicketState
from forestall.server.tickets.rules import ClockKind, ClockState, ClockView

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WELL, FAULT, ATTENTION, UNSEEN, NEW = Health.WELL, Health.FAULT, Health.ATTENTION, Health.UNSEEN, Health.NEW


@pytest.mark.parametrize(
    ("counts", "seen", "health"),
    [
        ({"pass": 9}, NOW, WELL),
        ({"pass": 9, "unknown": 1}, NOW, WELL),
        ({"pass": 9, "unknown": 8}, NOW, WELL),
        ({"pass": 9, "unknown": 5, "stale": 4}, NOW, NEW),
        ({"pass": 1, "unknown": 20}, NOW, NEW),
        ({"pass": 9, "warn": 1}, NOW, ATTENTION),
        ({"pass": 9, "warn": 1, "fail": 1}, NOW, FAULT),
        ({"pass": 9}, NOW - timedelta(minutes=31), UNSEEN),
        ({"fail": 1}, NOW - timedelta(days=1), FAULT),
        ({"stale": 9}, NOW, NEW),
        ({"unknown": 9}, NOW, NEW),
        ({}, NOW, NEW),
        ({}, None, NEW),
    ],
)
def test_health_in_the_clients_words(counts: dict, seen: datetime | None, health: Health) -> None:
    assert health_of(counts=counts, last_seen_at=seen, now=NOW) is health


@pytest.mark.parametrize(
    ("healths", "waiting", "open_tickets", "said"),
    [
        ([WELL] * 12, 1, 3, "All 12 devices are well; 1 thing waits for you."),
        ([WELL], 0, 0, "Your device is well; nothing waits for you."),
        ([FAULT], 2, 1, "Your device has a fault; 2 things wait for you."),
        ([], 0, 1, "No device of yours is watched yet; we work on 1 ticket, and nothing waits for you."),
        (
            [WELL, WELL, FAULT, ATTENTION, ATTENTION, NEW],
            0,
            2,
            "2 of 6 devices are well, 1 has a fault, 2 need attention and 1 is not judged yet; "
            "we work on 2 tickets, and nothing waits for you.",
        ),
        ([WELL, UNSEEN], 0, 0, "1 of 2 devices are well, 1 was not seen lately; nothing waits for you."),
    ],
)
def test_the_sentence_first(healths: list[Health], waiting: int, open_tickets: int, said: str) -> None:
    assert str(sentence(healths=healths, waiting=waiting, open_tickets=open_tickets)) == said


def test_every_state_of_a_ticket_has_words() -> None:
    assert set(TICKET_WORDS) == set(TicketState.values)


def test_every_health_has_a_rank_and_a_shape() -> None:
    assert [one.rank for one in (FAULT, ATTENTION, UNSEEN, NEW, WELL)] == [0, 1, 2, 3, 4]
    assert [str(one.status) for one in (FAULT, ATTENTION, UNSEEN, NEW, WELL)] == [
        "fail", "warn", "stale", "unknown", "pass",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state", "due", "said"),
    [
        (ClockKind.RESPONSE, ClockState.RUNNING, NOW + timedelta(hours=2), "We answer by 12:00."),
        (ClockKind.RESOLUTION, ClockState.RESTING, NOW + timedelta(days=1), "We want to be done by Tuesday 10:00."),
        (ClockKind.RESOLUTION, ClockState.PAUSED, None, "We wait for you; our clock stands still until you answer."),
        (ClockKind.RESPONSE, ClockState.BREACHED, NOW, "We wanted to answer by 10:00, and are late."),
        (ClockKind.RESPONSE, ClockState.RUNNING, None, ""),
    ],
)
def test_what_was_promised(kind: ClockKind, state: ClockState, due: datetime | None, said: str) -> None:
    view = ClockView(
        kind=kind, used_seconds=0, total_seconds=3600, percent=0, due_at=due, state=state, resumes_at=None, text=""
    )
    assert promise(view=view, timezone="Europe/Berlin", now=NOW) == said
