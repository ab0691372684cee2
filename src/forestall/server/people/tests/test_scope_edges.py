"""Every way to a row asks for a scope first; places are put together without becoming more than they were."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db.models import Count

from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Place, Scope, UnscopedQueryError, place_of


@pytest.mark.django_db
@pytest.mark.parametrize(
    "touch",
    [
        list,
        lambda rows: next(rows.iterator()),
        lambda rows: rows.count(),
        lambda rows: rows.exists(),
        lambda rows: rows.aggregate(Count("pk")),
        lambda rows: rows.update(name="x"),
        lambda rows: rows.delete(),
    ],
)
def test_no_way_around_the_scope(touch):
    with pytest.raises(UnscopedQueryError, match="query on Site without a scope"):
        touch(Site.objects.all())


@pytest.mark.django_db
def test_with_a_scope_every_way_is_open():
    rows = Client.objects.visible_to(Scope.system("test"))
    assert (list(rows.iterator()), rows.count(), rows.aggregate(n=Count("pk"))["n"]) == ([], 0, 0)
    assert rows.delete()[0] == 0


def test_one_place_for_all_permissions():
    client, site, other = uuid4(), uuid4(), uuid4()
    bo = Scope.at("bo", 1, [Permission.TICKET_VIEW], clients=[client], sites={site: other})
    place = bo.place(Permission.TICKET_VIEW)
    assert place.covers(client)
    assert place.covers(other, site)
    assert not place.covers(other)
    assert (place.touches(client), place.touches(other), place.touches(uuid4())) == (True, True, False)
    assert Place(everywhere=True).touches(uuid4())
    assert Scope.at("cy", 1, [Permission.TICKET_VIEW]).everywhere(Permission.TICKET_VIEW)
    assert bo.place(Permission.JOB_PREPARE).is_empty


def test_what_belongs_to_no_client_has_no_place():
    with pytest.raises(TypeError, match="belongs to no client"):
        place_of(Session())
