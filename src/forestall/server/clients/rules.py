"""What a client, site or contact may be called, and what each way of working means. No I/O."""

from __future__ import annotations

import zoneinfo
from functools import lru_cache

import holidays
from holidays.registry import COUNTRIES

from forestall.server.people.models import OperatingModel

OPERATING_WORDS: dict[OperatingModel, str] = {
    OperatingModel.OUTSOURCED: "The provider does it all: watches, repairs, answers for it.",
    OperatingModel.CO_MANAGED: "The client's own IT works beside the provider: both see tickets, each does its part.",
    OperatingModel.IN_HOUSE: "The client's own IT does the work; the provider watches, and proves what was done.",
    OperatingModel.HOURLY: "By the hour, when called: watched as agreed, worked on when the client asks.",
}

MOST = {"name": 200, "reference": 40, "contact": 150, "phone": 60, "duty": 100, "notes": 10_000, "address": 1000}


class ClientError(ValueError):
    """A client, site or contact that cannot be so; the message names the bad value."""


@lru_cache(maxsize=1)
def timezones() -> tuple[str, ...]:
    """Every IANA name this machine knows that stands for a place, and UTC."""
    names = zoneinfo.available_timezones()
    places = (name for name in names if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/", "posix/")))
    return ("UTC", *sorted(places))


@lru_cache(maxsize=1)
def countries() -> dict[str, tuple[str, ...]]:
    """Country (ISO 3166-1 alpha-2) with known public holidays → its regions."""
    known = holidays.list_supported_countries(include_aliases=False)
    return {country: tuple(known[country]) for country in sorted(known)}


@lru_cache(maxsize=1)
def country_names() -> dict[str, str]:
    """Country → its name in English."""
    # The registry names classes: "UnitedKingdom".
    spaced = {
        codes[1]: "".join(f" {letter}" if letter.isupper() else letter for letter in codes[0]).strip()
        for codes in COUNTRIES.values()
    }
    return {country: spaced.get(country, country) for country in countries()}


def require_timezone(name: str) -> str:
    """The name; ClientError when it is no time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ClientError(f"timezone: {name[:80]!r} is not a known IANA time zone such as Europe/Berlin") from None
    return name


def require_place(country: str, region: str) -> None:
    """ClientError unless public holidays are known for the country and its region; both may be empty."""
    known = holidays.list_supported_countries()
    if country and country not in known:
        raise ClientError(f"country: no public holidays are known for {country[:20]!r}; a code such as DE or GB is")
    if region and region not in known.get(country, []):
        names = ", ".join(known.get(country, [])) or "none"
        raise ClientError(f"region: {region[:20]!r} is no region of {country or 'no country'}; known: {names}")


def text(field: str, value: str, *, most: int, empty: bool = True) -> str:
    """The value without spaces around it; ClientError when it is too long, has control characters, or is empty."""
    value = value.strip()
    if not value and not empty:
        raise ClientError(f"{field}: it needs a {field}")
    if len(value) > most:
        raise ClientError(f"{field}: {len(value)} characters, at most {most}")
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in value):
        raise ClientError(f"{field}: {value[:40]!r} has control characters")
    if most <= 200 and any(letter in "\n\r" for letter in value):
        raise ClientError(f"{field}: {value[:40]!r} has more than one line")
    return value
