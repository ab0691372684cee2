"""Every address of the server."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from forestall.server.api.routes.calendar_feed import calendar_feed
from forestall.server.api.urls import urls as api_urls

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/", include("forestall.server.people.signin_urls")),
    path("api/v1/", api_urls),
    path("calendar/feed/<str:secret>.ics", calendar_feed, name="calendar_feed"),
    path("", include("forestall.server.console.urls")),
]

handler429 = "forestall.server.console.views.common.too_many"
