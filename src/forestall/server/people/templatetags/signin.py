"""What the sign-in pages ask for besides what allauth gives them."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.adapter import get_adapter
from django import template
from django.http import HttpRequest

from forestall.server.people.signin import mail_is_set_up
from forestall.server.people.signin import passkeys_work as do_they_work

register = template.Library()


@register.simple_tag
def can_reset_by_mail() -> bool:
    return mail_is_set_up()


@register.simple_tag
def passkeys_work(request: HttpRequest) -> bool:
    return do_they_work(request)


@register.simple_tag
def sso_providers(request: HttpRequest) -> list[Any]:
    """The single sign-on providers that are set up, with their addresses."""
    return list(get_adapter().list_providers(request))


@register.simple_tag
def sso_address(provider: Any, request: HttpRequest, process: str = "login") -> str:
    """Where a sign-in by ``provider`` begins."""
    return str(provider.get_login_url(request, process=process))


@register.simple_tag
def linked_providers(request: HttpRequest) -> list[Any]:
    """The providers with which whoever is signed in may confirm who they are."""
    from forestall.server.people.signin import linked_accounts

    linked = {account.provider for account in linked_accounts(person=request.user)}  # type: ignore[arg-type]
    return [provider for provider in get_adapter().list_providers(request) if provider.sub_id in linked]


@register.filter
def grouped(code: str) -> str:
    """A long code in groups of four, as people read it out."""
    return " ".join(code[start : start + 4] for start in range(0, len(code), 4))
