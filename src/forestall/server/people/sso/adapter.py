"""Talking to an OpenID Connect provider: every answer is checked before it says who somebody is."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

import jwt
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import ProviderException
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest

SIGNED_BY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Public-key signatures alone: with a shared secret, whoever checks could also forge."""
LEEWAY_SECONDS = 60


class SsoRefusedError(ProviderException):  # type: ignore[misc]
    """What the provider said cannot be believed; the text says why, in words for whoever wanted to sign in."""


class CheckedAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """One sign-in by one provider."""

    nonce: str = ""
    """Set by the callback from what was remembered when the person left."""

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """By the console's public address, where there is one: the address that the provider was told."""
        address = str(super().get_callback_url(request, app))
        return address if settings.PUBLIC_URL is None else f"{settings.PUBLIC_URL}{urlsplit(address).path}"

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **more: Any) -> SocialLogin:
        """Who signed in. SsoRefusedError when the answer is not the one to our question."""
        id_token = more["response"].get("id_token")
        if not id_token:
            raise SsoRefusedError("The provider sent no identity.")
        claims = self._verified(app, id_token)
        said = str(claims.get("nonce", ""))
        if not self.nonce or not hmac.compare_digest(said.encode(), self.nonce.encode()):
            raise SsoRefusedError("The provider's answer belongs to another sign-in (nonce). Start again.")
        data: dict[str, Any] = {"id_token": claims}
        if app.settings.get("fetch_userinfo", True) and self.openid_config.get("userinfo_endpoint"):
            about = self._fetch_user_info(token.token)
            if about.get("sub") != claims["sub"]:
                raise SsoRefusedError("The provider named two different people in one answer.")
            data["userinfo"] = about
        return self.get_provider().sociallogin_from_response(request, data)

    def _verified(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(id_token)
            algorithm = header.get("alg")
            if algorithm not in SIGNED_BY:
                raise SsoRefusedError(f"The provider signs with {algorithm!r}, which is not accepted.")
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key=self._key(header.get("kid")),
                algorithms=[algorithm],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise SsoRefusedError("The provider's answer has expired. Are both clocks right?") from None
        except jwt.InvalidAudienceError:
            raise SsoRefusedError("The provider's answer is meant for another application.") from None
        except jwt.InvalidIssuerError:
            raise SsoRefusedError("The answer does not come from the provider it should come from.") from None
        except jwt.InvalidSignatureError:
            raise SsoRefusedError("The provider's signature is not right.") from None
        except jwt.PyJWTError:
            raise SsoRefusedError("The provider's answer cannot be read.") from None
        party = claims.get("azp")
        if party is not None and party != app.client_id:
            raise SsoRefusedError("The provider's answer is meant for another application.")
        return claims

    def _key(self, key_id: str | None) -> Any:
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
            keys = jwt.PyJWKSet.from_dict(answer.json()).keys
        fitting = [key for key in keys if key_id is None or key.key_id == key_id]
        if len(fitting) != 1:
            raise SsoRefusedError("The provider signed with a key that it does not publish.")
        return fitting[0].key
