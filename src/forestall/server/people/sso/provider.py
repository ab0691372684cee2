"""The OpenID Connect provider type that allauth knows as ``openid_connect``."""

from __future__ import annotations

import secrets
from typing import Any

from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from forestall.server.people.sso.adapter import CheckedAdapter

KEPT_CLAIMS = ("sub", "email", "email_verified", "name", "preferred_username")
FRESH_PARAMETERS = {"prompt": "login"}
"""Asks the provider to let the person sign in anew, not to say again who they were this morning."""


class CheckedProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """Authorisation code with PKCE, state and nonce."""

    oauth2_adapter_class = CheckedAdapter
    pkce_enabled_default = True

    def get_pkce_params(self) -> dict[str, Any]:
        from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge

        params: dict[str, Any] = generate_code_challenge()
        return params

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        """What we ask for is ours to say, not the link's."""
        return list(self.get_scope())

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, str]:
        return dict(FRESH_PARAMETERS) if request.POST.get("anew") else {}

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **more: Any
    ) -> HttpResponse:
        """Remember state, PKCE verifier and nonce, and go to the provider."""
        nonce = secrets.token_urlsafe(24)
        parameters = {**(more.pop("auth_params", None) or {}), "nonce": nonce}
        answer: HttpResponse = super().redirect(
            request, process, next_url, data, auth_params=parameters, nonce=nonce, **more
        )
        if answer.status_code != 302:
            return answer
        # A page of ours in between: our content policy lets forms lead nowhere else, and a provider may itself
        # lead on to others whose addresses nobody knows beforehand.
        return render(request, "socialaccount/leaving.html", {"provider": self, "address": answer["Location"]})

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Only what the account page shows: the rest of what the provider knows is none of our business."""
        claims = {**(data.get("id_token") or {}), **(data.get("userinfo") or {})}
        return {"userinfo": {name: claims[name] for name in KEPT_CLAIMS if name in claims}}


provider_classes = [CheckedProvider]
