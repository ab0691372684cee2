"""The API with all its routes."""

from __future__ import annotations

from forestall.server.api.app import api
from forestall.server.api.routes import (
    alerts,
    authority,
    bulk,
    calendar,
    checks,
    clients,
    contacts,
    devices,
    evidence,
    jobs,
    labels,
    people,
    reports,
    roles,
    routing,
    sites,
    sla,
    tickets,
    tokens,
    transfer,
    windows,
)

for routes in (devices, checks, alerts, tickets, jobs, authority, reports, evidence, tokens, bulk, people, roles):
    api.add_router("", routes.router)
for served in (labels, transfer, clients, sites, contacts, calendar, sla, windows, routing):
    api.add_router("", served.router)

urls = api.urls
