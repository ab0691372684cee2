"""What a browser calls itself, in the words people use: ``Firefox on Windows``."""

from __future__ import annotations

from functools import lru_cache

from ua_parser import parse

UNKNOWN = "a browser"


@lru_cache(maxsize=256)
def browser_name(user_agent: str) -> str:
    """Browser and system of a User-Agent header."""
    if not user_agent:
        return UNKNOWN
    found = parse(user_agent[:500])
    browser = found.user_agent.family if found.user_agent else ""
    system = found.os.family if found.os else ""
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or UNKNOWN
