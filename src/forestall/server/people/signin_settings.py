"""What an operator may set about sign-in, from the environment (docs/operating.md). Read by Django's settings; no I/O.

FORESTALL_PUBLIC_URL, FORESTALL_TRUSTED_PROXIES, FORESTALL_SESSION_HOURS, FORESTALL_SESSION_IDLE_MINUTES,
FORESTALL_MAIL_URL, FORESTALL_MAIL_FROM.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MAIL_TIMEOUT_SECONDS = 10
_MAIL_WANTED = "wanted: smtp://user:password@host:587?tls=starttls (tls: starttls, implicit or none)"
_TLS_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


class SignInSettingError(ValueError):
    """A setting that cannot be used; the text names it and never a password."""


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """Where people open the console, when that is not the listen address: behind a reverse proxy, above all."""

    scheme: str
    host: str
    """With the port, when it is not the scheme's own."""

    @property
    def name(self) -> str:
        """The host's name alone."""
        return urlsplit(f"//{self.host}").hostname or ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def public_url(environment: Mapping[str, str]) -> PublicUrl | None:
    """FORESTALL_PUBLIC_URL; None when it is not set."""
    text = environment.get("FORESTALL_PUBLIC_URL", "").strip()
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise SignInSettingError(f"FORESTALL_PUBLIC_URL={text!r} is no address like https://forestall.example.org")
    return PublicUrl(parts.scheme, parts.netloc.rpartition("@")[2])


def trusted_proxies(environment: Mapping[str, str]) -> list[str]:
    """FORESTALL_TRUSTED_PROXIES: addresses and networks whose word about the client is believed."""
    found = [one.strip() for one in environment.get("FORESTALL_TRUSTED_PROXIES", "").split(",") if one.strip()]
    for one in found:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise SignInSettingError(f"FORESTALL_TRUSTED_PROXIES: {one!r} is no address or network") from None
    return found


def positive(environment: Mapping[str, str], name: str, default: float) -> float:
    """A positive number; SignInSettingError names the bad value."""
    text = environment.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0
    if not 0 < value < 10_000:
        raise SignInSettingError(f"{name}={text!r} is no number above 0")
    return value


def mail_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Django's mail settings from FORESTALL_MAIL_URL and FORESTALL_MAIL_FROM."""
    text = environment.get("FORESTALL_MAIL_URL", "").strip()
    sender = environment.get("FORESTALL_MAIL_FROM", "").strip()
    if not text:
        return {
            "EMAIL_BACKEND": "forestall.server.people.signin_mail.NoMail",
            "MAIL_IS_SET": False,
            "DEFAULT_FROM_EMAIL": sender or "forestall@localhost",
        }
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SignInSettingError(f"FORESTALL_MAIL_URL is no address; {_MAIL_WANTED}") from None
    tls = parse_qs(parts.query).get("tls", ["starttls"])[-1]
    if parts.scheme != "smtp" or not parts.hostname:
        raise SignInSettingError(f"FORESTALL_MAIL_URL names no mail server; {_MAIL_WANTED}")
    if tls not in _TLS_PORTS:
        raise SignInSettingError(f"FORESTALL_MAIL_URL: tls={tls!r} is not known; {_MAIL_WANTED}")
    if not sender:
        raise SignInSettingError("FORESTALL_MAIL_FROM is not set: from which address are mails sent?")
    return {
        "EMAIL_BACKEND": "forestall.server.people.signin_mail.InBackground",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or _TLS_PORTS[tls],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": tls == "starttls",
        "EMAIL_USE_SSL": tls == "implicit",
        "EMAIL_TIMEOUT": MAIL_TIMEOUT_SECONDS,
        "DEFAULT_FROM_EMAIL": sender,
        "SERVER_EMAIL": sender,
        "MAIL_IS_SET": True,
    }
