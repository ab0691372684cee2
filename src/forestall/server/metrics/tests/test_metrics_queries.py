"""Samples are read through a scope: a device that is not seen has none."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest

from forestall.server.home import current_home
from forestall.server.inventory.models import Device
from forestall.server.metrics import queries
from forestall.server.metrics.store import Batch, open_store
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.services import client_create, site_create

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def device_at(site):
    return Device.objects.create(client=site.client, site=site, name="pc", public_key=b"k" * 32, enrolled_at=NOW)


@pytest.mark.django_db
def test_samples_of_a_device_out_of_scope_look_like_those_of_none():
    acme = site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")
    globex = site_create(client=client_create(name="Globex", timezone="UTC"), name="Main site")
    hers, others = device_at(acme), device_at(globex)
    store = open_store(current_home())
    for one in (hers, others):
        store.append([Batch(one.pk, ("cpu.used_percent",), [int(NOW.timestamp() * 1000)], np.array([[5.0]]))])
    ada = Scope.at("ada", 1, Permission, sites={acme.pk: acme.client_id})

    def read(device):
        span = {"start": NOW, "end": NOW + timedelta(minutes=1)}
        return (
            queries.samples_range(scope=ada, device=device, names=["cpu.used_percent"], **span),
            queries.samples_latest(scope=ada, devices=[device]),
            queries.series_names(scope=ada, device=device),
        )

    points, latest, names = read(hers)
    assert points["cpu.used_percent"].mean.tolist() == [5.0]
    assert latest == {hers.pk: {"cpu.used_percent": (NOW.timestamp(), 5.0)}}
    assert names == ["cpu.used_percent"]
    assert read(others) == read(uuid4()) == ({}, {}, [])
    assert queries.samples_latest(scope=ada, devices=[hers, others], metrics=["load.1m"]) == {}
    store.close()
