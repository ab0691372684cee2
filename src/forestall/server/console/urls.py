"""Addresses of the console. Each says in one word what it shows; filters, tabs and spans live in the question."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from forestall.server.console.views import (
    account,
    checks,
    common,
    device,
    devices,
    enrol,
    evidence,
    patches,
    reports,
    search,
    tickets,
    today,
    work,
)

app_name = "console"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", today.today, name="today"),
    path("devices/", devices.devices, name="devices"),
    path("devices/approve", devices.approve, name="approve"),
    path("devices/views", devices.save_view, name="save_view"),
    path("devices/enrol", enrol.enrol, name="enrol"),
    path("devices/<uuid:device_id>/", device.device, name="device"),
    path("devices/<uuid:device_id>/series.json", device.series, {"form": "json"}, name="series_json"),
    path("devices/<uuid:device_id>/series.csv", device.series, {"form": "csv"}, name="series_csv"),
    path("devices/<uuid:device_id>/approve", device.device_act, {"act": "approve"}, name="device_approve"),
    path("devices/<uuid:device_id>/revoke", device.device_act, {"act": "revoke"}, name="device_revoke"),
    path("devices/<uuid:device_id>/<slug:tab>/", device.device, name="device_tab"),
    path("checks/", checks.checks, name="checks"),
    path("checks/<int:pk>/panel", checks.panel, name="check_panel"),
    path("checks/<int:pk>/accept", checks.accept, name="check_accept"),
    path("tickets/", tickets.tickets, name="tickets"),
    path("tickets/<int:number>/", tickets.ticket, name="ticket"),
    path("tickets/<int:number>/prepare/<slug:slug>/<int:check_id>", work.prepare, name="prepare"),
    *(
        path(f"tickets/<int:number>/{act}", tickets.ticket_act, {"act": act}, name=f"ticket_{act}")
        for act in tickets.ACTS
    ),
    path("patches/", patches.patches, name="patches"),
    path("runbooks/", work.runbooks, name="runbooks"),
    path("runbooks/<slug:slug>/", work.runbook, name="runbook"),
    path("orders/<uuid:order_id>/", work.order, name="order"),
    path("jobs/", work.jobs, name="jobs"),
    path("jobs/<uuid:job_id>/", work.job, name="job"),
    path("jobs/<uuid:job_id>/cancel", work.job_cancel, name="job_cancel"),
    path("evidence/", evidence.evidence, name="evidence"),
    path("evidence/bundle/<uuid:client_id>", evidence.bundle, name="bundle"),
    path("reports/", reports.reports, name="reports"),
    path("reports/<slug:number>/", reports.report, name="report"),
    path("reports/<slug:number>.pdf", reports.report_pdf, name="report_pdf"),
    path("account/", account.account, name="account"),
    path("account/secure/", account.secure, name="account_secure"),
    path("account/sessions/end", account.sessions_end, name="account_sessions_end"),
    path("account/sessions/<int:pk>/end", account.session_end, name="account_session_end"),
    path("search", search.search, name="search"),
    path("theme", common.theme, name="theme"),
    path("keys", common.keys, name="keys"),
    path("styleguide", common.styleguide, name="styleguide"),
]
