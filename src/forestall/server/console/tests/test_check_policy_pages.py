"""The page on which policies of checks are set: what is typed holds, is on record, and can be undone."""

from __future__ import annotations

import pytest

from forestall.server.checks import queries
from forestall.server.inventory import queries as inventory
from forestall.server.people.scope import Scope

SYSTEM = Scope.system("test")
PAGE = "/checks/policies/"


@pytest.fixture
def place(fleet):
    return f"client:{inventory.devices(scope=SYSTEM).first().client_id}"


def text(ada, address):
    answer = ada.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_ada_sets_how_often_and_from_where_on_and_undoes_it(ada, place):
    assert "judged by its defaults" in text(ada, PAGE)
    form = text(ada, f"{PAGE}?kind=disk_space&place={place}")
    assert 'name="set-every_minutes"' in form
    assert 'name="set-warn_percent"' in form
    typed = {"kind": "disk_space", "place": place, "set-every_minutes": "30", "set-warn_percent": "85", "reason": "lab"}
    after = ada.post(PAGE, typed, follow=True).content.decode()
    assert "devices are judged anew at once" in after
    assert "judged every 30 min" in after
    (policy,) = queries.policy_list(scope=SYSTEM)
    assert policy.values == {"every_minutes": 30, "warn_percent": 85}
    change = queries.policy_changes(scope=SYSTEM).get()
    assert "is as it was" in ada.post(f"{PAGE}changes/{change.pk}/undo", follow=True).content.decode()
    assert not queries.policy_list(scope=SYSTEM).exists()


def test_what_cannot_be_is_said_and_nothing_is_kept(ada, place):
    for typed, says in (
        ({"set-warn_percent": "a lot", "reason": "x"}, "warn_percent"),
        ({"set-every_minutes": "0", "reason": "x"}, "every_minutes"),
        ({"set-every_minutes": "5"}, "Say why"),
    ):
        answer = ada.post(PAGE, {"kind": "disk_space", "place": place, **typed}, follow=True).content.decode()
        assert says in answer
    assert not queries.policy_list(scope=SYSTEM).exists()


def test_lists_are_divided_by_commas(ada, place):
    typed = {"kind": "service_down", "place": place, "set-ignore": "cups, bluetooth", "reason": "desktops"}
    ada.post(PAGE, typed)
    assert queries.policy_list(scope=SYSTEM).get().values == {"ignore": ["cups", "bluetooth"]}
