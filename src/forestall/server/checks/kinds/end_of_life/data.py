"""End-of-support dates of operating systems: ``eol.json``, made by ``refresh.py``."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import msgspec


class Release(msgspec.Struct, frozen=True, kw_only=True):
    cycle: str
    """``12``, ``22.04``, ``11-24h2-w``."""
    released: date
    codename: str = ""
    ends: date | None = None
    """Last day of regular security support; None: no end has been announced."""
    extended_ends: date | None = None
    """Last day of the extended support."""
    build: str = ""
    """Newest version at the data's date (Windows: the build)."""


class Product(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    extended: str
    """Name of the extended support; empty: there is none."""
    extended_free: bool
    """It comes to everyone, without a contract."""
    releases: list[Release]


class Dates(msgspec.Struct, frozen=True, kw_only=True):
    data_date: date
    source: str
    licence: str
    products: dict[str, Product]
    """By the ``ID`` of os-release (``windows``, ``windows-server`` and ``macos`` beside them)."""


@cache
def dates() -> Dates:
    return msgspec.json.decode(Path(__file__).with_name("eol.json").read_bytes(), type=Dates)


def find_release(*, os_id: str, os_version: str, os_name: str) -> tuple[Product | None, Release | None]:
    """Product and release of a system; each None where the data does not know it."""
    key = {"darwin": "macos", "mac os": "macos"}.get(os_id.lower(), os_id.lower())
    if key == "windows" and "server" in os_name.lower():
        key = "windows-server"
    product = dates().products.get(key)
    if product is None or (key == "centos" and "stream" in os_name.lower()):
        return None, None
    if key.startswith("windows"):
        return product, _windows_release(product, os_version, os_name)
    # The longest cycle that the version begins with, at a dot: 12.11 is 12, 10.15.7 is 10.15 and not 10.
    fitting = [each for each in product.releases if os_version == each.cycle or os_version.startswith(f"{each.cycle}.")]
    return product, max(fitting, key=lambda each: len(each.cycle), default=None)


def _windows_release(product: Product, os_version: str, os_name: str) -> Release | None:
    """By build number; the shorter support of Home and Pro unless the name says Enterprise or Education."""
    build = ".".join(os_version.split(".")[:3])
    fitting = [each for each in product.releases if each.build and each.build == build]
    lower = os_name.lower()
    long_term = any(word in lower for word in ("ltsc", "ltsb", "iot"))
    enterprise = "enterprise" in lower or "education" in lower
    for wanted in (
        lambda cycle: ("lts" in cycle) == long_term and cycle.endswith("-e" if enterprise else "-w"),
        lambda cycle: ("lts" in cycle) == long_term and not cycle.endswith(("-e", "-w", "-sac", "-ac")),
        lambda cycle: ("lts" in cycle) == long_term,
    ):
        found = next((each for each in fitting if wanted(each.cycle)), None)
        if found:
            return found
    return None
