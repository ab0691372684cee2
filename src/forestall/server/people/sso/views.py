"""Leaving for a provider, and coming back."""

from __future__ import annotations

import logging
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from requests import RequestException

from forestall.server.people.signin import confirm_first, is_fresh
from forestall.server.people.sso.adapter import CheckedAdapter
from forestall.server.people.sso.rules import NO_ANSWER, refusal

log = logging.getLogger(__name__)

LIMITS = {"sso": "30/m/ip"}


class _Callback(OAuth2CallbackView):  # type: ignore[misc]
    def _get_state(self, request: HttpRequest, provider: Any) -> Any:
        state, answer = super()._get_state(request, provider)
        if state is not None:
            self.adapter.nonce = str(state.get("nonce", ""))
        return state, answer


@never_cache
def leave(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Go to a provider: to sign in, or (signed in, and freshly so) to link its account with one's own."""
    if request.GET.get("process") == AuthProcess.CONNECT:
        if not request.user.is_authenticated:
            raise Http404
        if not is_fresh(request):
            return confirm_first(request)
    return _limited(request) or _run(OAuth2LoginView, request, provider_id)


@never_cache
def come_back(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Back from a provider with a code, or with the word that nothing came of it."""
    return _limited(request) or _run(_Callback, request, provider_id)


def _limited(request: HttpRequest) -> HttpResponse | None:
    answer: HttpResponse | None = ratelimit.consume_or_429(
        request, app="forestall.signin", action="sso", config=LIMITS, limit_get=True
    )
    return answer


def _run(view: type[Any], request: HttpRequest, provider_id: str) -> HttpResponseBase:
    try:
        answer: HttpResponseBase = view.adapter_view(CheckedAdapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    except ImmediateHttpResponse as immediate:
        return immediate.response  # type: ignore[no-any-return]
    except (RequestException, KeyError) as error:
        # Before anything was asked of it: the provider does not answer, or no longer says where its pages are.
        log.warning("single sign-on provider %s: %r", provider_id, error)
        name = SocialApp.objects.get(provider_id=provider_id).name
        return refusal(request, f"{name} cannot be reached", NO_ANSWER)
    return answer
