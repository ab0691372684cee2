"""What check kinds are called on pages."""

from __future__ import annotations

from forestall.server.checks.kinds import CHECK_KINDS


def kind_title(slug: str) -> str:
    """``Disk space``; the slug itself for a kind of another version of the product."""
    kind = CHECK_KINDS.get(slug)
    return kind.texts.title if kind else slug


def check_title(kind: str, target: str) -> str:
    """``Disk space: /``."""
    return f"{kind_title(kind)}: {target}" if target else kind_title(kind)
