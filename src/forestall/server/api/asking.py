"""What many routes need of a request: the time, the page, a kind of check."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from ninja import Field, Query
from pydantic import AfterValidator

from forestall.server.api.paging import DEFAULT, MOST
from forestall.server.api.schema import Schema
from forestall.server.checks.kinds import CHECK_KINDS


def current_time() -> datetime:
    return datetime.now(UTC)


class Paging(Schema):
    """Query parameters of every list."""

    limit: int = Field(DEFAULT, ge=1, le=MOST, description="Rows on a page.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")


def known_kind(slug: str) -> str:
    if slug not in CHECK_KINDS:
        raise ValueError(f"{slug[:80]!r} is no kind of check; /api/v1/checks/kinds lists them")
    return slug


KnownKind = Annotated[str, AfterValidator(known_kind)]
"""The slug of a kind of check. A filter nobody can match is a slip, and an empty list would not say so."""

PagingQuery = Annotated[Paging, Query(...)]
