"""The API with all its routes."""

from __future__ import annotations

from forestall.server.api.app import api
from forestall.server.api.routes import (
    access,
    alerts,
    authority,
    bulk,
    calendar,
    calendar_feed,
    check_policies,
    checks,
    clients,
    configuration,
    contacts,
    deployments,
    devices,
    drafts,
    evidence,
    health,
    jobs,
    labels,
    obligations,
    patch_compliance,
    patch_policies,
    people,
    portal,
    recovery,
    reports,
    roles,
    rollouts,
    routing,
    sites,
    sla,
    tickets,
    tokens,
    transfer,
    vulnerabilities,
    webhooks,
    windows,
)

for routes in (
    devices, checks, alerts, tickets, jobs, drafts, authority, reports, evidence, tokens, bulk, webhooks, people, roles,
    portal, labels, transfer, clients, sites, contacts, calendar, calendar_feed, sla, windows, routing, vulnerabilities,
    obligations, patch_compliance, deployments, patch_policies,
    rollouts, recovery, check_policies, access, health, configuration,
):  # fmt: skip
    api.add_router("", routes.router)

urls = api.urls
