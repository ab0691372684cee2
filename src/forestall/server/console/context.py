"""What templates get besides their views' own: the pages of sign-in are rendered by allauth."""

from __future__ import annotations

from django.http import HttpRequest

from forestall.server.console.shell import theme_of


def theme(request: HttpRequest) -> dict[str, str]:
    """The theme of this browser."""
    return {"theme": theme_of(request)}
