"""Eve adds an address and forgets to say who may use it. The server does not start."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.urls import path
from ninja import Router

from forestall.server import urls
from forestall.server.api import declared
from forestall.server.api.routing import SIGNED_IN, OpenOperation, Routes, route_table
from forestall.server.api.urls import api


def test_every_address_declares_who_may_use_it():
    assert declared.every_route_declares_who_may_call_it(None) == []
    declared.require_declared()


def test_a_route_cannot_be_written_without_saying_who_may_call_it():
    with pytest.raises(TypeError, match="allow"):
        Routes().get("/everything")


def test_a_route_without_authorisation_stops_the_server(monkeypatch):
    forgotten = Router()
    forgotten.get("/everything")(lambda request: [])
    bound = api._get_bound_routers()
    monkeypatch.setattr(bound[0], "path_operations", bound[0].path_operations | forgotten.path_operations)
    found = declared.every_route_declares_who_may_call_it(None)
    assert [error.id for error in found] == ["api.E001"]
    assert "GET /everything" in found[0].msg
    with pytest.raises(ImproperlyConfigured, match="GET /everything"):
        declared.require_declared()


def test_a_page_beside_console_and_api_must_declare_itself_too(monkeypatch):
    monkeypatch.setattr(urls, "urlpatterns", [*urls.urlpatterns, path("backdoor/", lambda request: HttpResponse())])
    found = declared.every_route_declares_who_may_call_it(None)
    assert [error.id for error in found] == ["api.E003"]
    assert "backdoor/" in found[0].msg


def test_two_routes_of_one_name_are_an_error(monkeypatch):
    twice = Routes()

    @twice.get("/devices-again", allow=SIGNED_IN, summary="again")
    def device_list(request):
        return []

    bound = api._get_bound_routers()
    monkeypatch.setattr(bound[0], "path_operations", bound[0].path_operations | twice.path_operations)
    assert [error.id for error in declared.every_route_declares_who_may_call_it(None)] == ["api.E002"]


def test_the_route_table_says_all_that_a_matrix_needs():
    rows = {(row.method, row.path): row for row in route_table(api)}
    row = rows["POST", "/devices/{device_id}/approve"]
    assert (row.name, row.parameters, str(row.allow)) == ("device_approve", ("device_id",), "device.approve")
    assert all(isinstance(one.operation, OpenOperation) for one in rows.values())
