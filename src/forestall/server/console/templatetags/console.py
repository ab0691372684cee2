"""Template tags of the console's parts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.checks.models import Check
from forestall.server.console import parts, titles

register = template.Library()


@register.simple_tag(takes_context=True)
def moment(context: dict[str, Any], at: datetime | None, never: str = "never") -> SafeString:
    """``{% moment device.last_check_in_at %}``."""
    return parts.moment(at, context.get("now") or timezone.now(), never)


@register.simple_tag
def status(value: str, word: str = "") -> SafeString:
    """``{% status check.status %}``."""
    return parts.status(value, word)


@register.simple_tag
def shape(value: str) -> SafeString:
    return parts.shape(value)


@register.simple_tag
def clock(value: parts.Clock | None) -> SafeString:
    return parts.clock(value)


@register.simple_tag
def clock_of(at: datetime) -> SafeString:
    """The time of day, for timelines."""
    return parts.exact_moment(at, f"{at.astimezone(UTC):%H:%M:%S}")


@register.filter
def day_of(at: datetime) -> str:
    return f"{at.astimezone(UTC):%A %-d %B %Y}, UTC"


@register.filter
def cut_words(text: str) -> list[str]:
    """``{% for name in "a b c"|cut_words %}``."""
    return text.split()


@register.simple_tag
def check_title(check: Check) -> str:
    """``{% check_title check %}``: ``Disk space: /``."""
    return titles.check_title(check.kind, check.target)


@register.filter
def ticks(text: str) -> SafeString:
    """Commands between backticks become code: the remedies are written so."""
    pieces = text.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", p) if i % 2 else p,) for i, p in enumerate(pieces))
    )
