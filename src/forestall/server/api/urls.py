"""The API with all its routes."""

from __future__ import annotations

from forestall.server.api.app import api
from forestall.server.api.routes import alerts, checks, devices, evidence, jobs, reports, tickets

for routes in (devices, checks, alerts, tickets, jobs, reports, evidence):
    api.add_router("", routes.router)

urls = api.urls
