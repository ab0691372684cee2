"""Sign-in settings of the whole installation: which roles need a second factor, and single sign-on providers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from forestall.server.people.models import CustomRole, RolePolicy
from forestall.server.people.roles import Role
from forestall.server.people.sso.rules import EMAIL_DOMAINS, LINK_BY_EMAIL, SEALED, SECRET_PURPOSE
from forestall.server.sealing import seal

DISCOVERY_SECONDS = 10
PROVIDER = "openid_connect"
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WANTED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class SignInPolicyError(ValueError):
    """A setting that cannot be made; the text names the bad value."""


def role_named(name: str) -> Role | CustomRole:
    """A built-in role by its slug, or a custom one by its name. SignInPolicyError lists what there is."""
    if name in set(Role):
        return Role(name)
    found = CustomRole.objects.filter(name=name).first()
    if found is None:
        known = [*(role.value for role in Role), *CustomRole.objects.values_list("name", flat=True)]
        raise SignInPolicyError(f"role: {name!r} is none; known: {', '.join(known)}")
    return found


@transaction.atomic
def mfa_policy_set(*, role: Role | CustomRole, required: bool) -> RolePolicy:
    """Whether everybody with this role needs a second factor: from their next request on."""
    named: dict[str, Any] = {"role": "", "custom": role} if isinstance(role, CustomRole) else {"role": role.value}
    policy, _ = RolePolicy.objects.update_or_create(**named, defaults={"mfa_required": required})
    return policy


def roles_with_mfa() -> list[str]:
    """The roles that need a second factor, by slug or name."""
    policies = RolePolicy.objects.filter(mfa_required=True).select_related("custom")
    return sorted(policy.custom.name if policy.custom else policy.role for policy in policies)


def providers() -> list[SocialApp]:
    """The single sign-on providers that are set up, by their id."""
    return list(SocialApp.objects.filter(provider=PROVIDER).order_by("provider_id"))


def redirect_address(provider_id: str, *, console: str) -> str:
    """What the provider has to know as the redirect URI. ``console``: its address, when no public one is set."""
    base = str(settings.PUBLIC_URL or console).rstrip("/")
    return base + reverse("openid_connect_callback", kwargs={"provider_id": provider_id})


@transaction.atomic
def provider_add(
    *,
    provider_id: str,
    name: str,
    issuer: str,
    client_id: str,
    secret: str,
    link_by_email: bool = False,
    email_domains: Sequence[str] = (),
) -> SocialApp:
    """Set up single sign-on by a provider, after asking it whether it is one. The secret is sealed.

    ``link_by_email``: a verified address that exactly one active person has links the two, within ``email_domains``
    when some are named. Nobody is ever created.
    """
    if not SLUG.fullmatch(provider_id):
        raise SignInPolicyError(f"provider: {provider_id!r} is no short name of a-z, 0-9 and -")
    if SocialApp.objects.filter(provider=PROVIDER, provider_id=provider_id).exists():
        raise SignInPolicyError(f"provider: {provider_id!r} is there already; remove it first")
    if not client_id.strip() or not secret:
        raise SignInPolicyError("client id and secret: the provider gave you both")
    if email_domains and not link_by_email:
        raise SignInPolicyError("e-mail domains: they count only where people are linked by e-mail")
    discover(issuer)
    app: SocialApp = SocialApp.objects.create(
        provider=PROVIDER,
        provider_id=provider_id,
        name=name[:40],
        client_id=client_id.strip(),
        settings={
            "server_url": issuer.rstrip("/"),
            SEALED: seal(secret, purpose=SECRET_PURPOSE),
            LINK_BY_EMAIL: link_by_email,
            EMAIL_DOMAINS: sorted(domain.strip().lower() for domain in email_domains),
        },
    )
    return app


@transaction.atomic
def provider_remove(*, provider_id: str) -> int:
    """Take a provider away, with every link to it: whoever sets up another one by that name begins afresh."""
    app = SocialApp.objects.filter(provider=PROVIDER, provider_id=provider_id).first()
    if app is None:
        raise SignInPolicyError(f"provider: {provider_id!r} is not set up")
    links, _ = SocialAccount.objects.filter(provider=provider_id).delete()
    app.delete()
    return int(links)


def discover(issuer: str) -> dict[str, Any]:
    """What a provider says about itself. SignInPolicyError when it cannot be reached or is not what it should be."""
    parts = urlsplit(issuer)
    if not parts.hostname or (parts.scheme != "https" and parts.hostname not in LOOPBACK):
        raise SignInPolicyError(f"issuer: {issuer!r} is no https address")
    address = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        answer = requests.get(address, timeout=DISCOVERY_SECONDS)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
    except requests.RequestException as error:
        raise SignInPolicyError(f"issuer: {address} cannot be read: {error}") from None
    if str(said.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise SignInPolicyError(f"issuer: the provider calls itself {said.get('issuer')!r}, not {issuer!r}")
    missing = [name for name in WANTED if not said.get(name)]
    if missing:
        raise SignInPolicyError(f"issuer: {address} does not name its {', '.join(missing)}")
    return said
