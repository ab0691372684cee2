"""Decisions about webhooks, without I/O: signatures, when to try again, which addresses are taken."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from datetime import datetime, timedelta
from urllib.parse import urlsplit

SIGNATURE = "Forestall-Signature"
TOLERANCE = timedelta(minutes=5)
"""How old a message may be that a receiver still believes."""
FIRST_RETRY = timedelta(seconds=10)
LAST_RETRY = timedelta(hours=2)
TRIED_FOR = timedelta(hours=24)
DISABLED_AFTER = timedelta(days=3)
"""So long nothing may have succeeded before a webhook is switched off."""
KEPT = timedelta(days=30)
"""How long the log remembers a delivery."""
MOST_URL = 2000

REFUSED = tuple(
    ipaddress.ip_network(one)
    for one in (
        "169.254.0.0/16", "fe80::/10",  # link-local, where clouds answer with a machine's own credentials
        "fd00:ec2::254/128", "100.100.100.200/32", "192.0.0.192/32",  # where others do
        "0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32",  # nobody in particular
    )
)  # fmt: skip


class WebhookError(ValueError):
    """A webhook that cannot be; the message names what is wrong."""


def signature(*, secret: str, body: bytes, at: datetime) -> str:
    """``t=UNIX SECONDS,v1=HEX``: HMAC-SHA256 of the seconds, a dot and the body, under the secret."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_mac(secret, seconds, body)}"


def signature_holds(*, secret: str, body: bytes, header: str, now: datetime) -> bool:
    """What a receiver does: whether the message is ours, unchanged, and not an old one played again."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    try:
        seconds = int(parts.get("t", ""))
    except ValueError:
        return False
    fresh = abs(now.timestamp() - seconds) <= TOLERANCE.total_seconds()
    return fresh and hmac.compare_digest(parts.get("v1", ""), _mac(secret, seconds, body))


def _mac(secret: str, seconds: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()


def next_attempt(*, made_at: datetime, attempts: int, now: datetime) -> datetime | None:
    """When to try again after so many attempts; None when it has been tried for a day."""
    wait = min(FIRST_RETRY * 2 ** min(attempts - 1, 16), LAST_RETRY)
    following = now + wait
    return following if following <= made_at + TRIED_FOR else None


def is_success(status: int) -> bool:
    """Whether an answer means that the message arrived. A redirect does not: it is never followed."""
    return 200 <= status < 300


def address_check(url: str) -> str:
    """Scheme, name and port of a webhook's address; WebhookError names what is wrong with it."""
    if len(url) > MOST_URL:
        raise WebhookError(f"url: at most {MOST_URL} characters, not {len(url)}")
    if any(character <= " " or character == "\x7f" for character in url):
        raise WebhookError("url: spaces and control characters have no place in an address")
    try:
        parts = urlsplit(url)
        port = parts.port
        parts.hostname and parts.hostname.encode("idna")
    except (ValueError, UnicodeError):
        raise WebhookError(f"url: {url[:80]!r} is no address") from None
    if parts.scheme not in ("http", "https"):
        raise WebhookError(f"url: {parts.scheme[:20]!r} is not taken; use https, or http inside your own network")
    if not parts.hostname:
        raise WebhookError(f"url: {url[:80]!r} names no host")
    if parts.username is not None or parts.password is not None:
        raise WebhookError("url: no user and password in an address; messages are signed instead")
    if parts.fragment:
        raise WebhookError("url: what follows # is never sent; leave it out")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{'' if port is None else f':{port}'}"


def is_refused(address: str) -> bool:
    """Whether an IP address is one that no webhook may reach: link-local, a cloud's metadata, or nobody's."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_refused(str(inner))
    return any(found in one for one in REFUSED if one.version == found.version)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
