"""The list by which somebody who is responsible goes through who may what: one line a grant."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from forestall.server.people import queries
from forestall.server.people.models import Person
from forestall.server.people.scope import Scope
from forestall.server.plaintext import cell_inert

COLUMNS = (
    "person", "name", "email", "client_of_their_own", "state", "role", "place", "given_by", "given_at", "until",
    "counts_now", "last_sign_in", "second_factor",
)  # fmt: skip


def access_review_csv(*, scope: Scope, now: datetime) -> str:
    """Every grant that ``scope`` may see, those that have ended included, as CSV (RFC 4180); times in UTC."""
    found = list(queries.grants(scope=scope).select_related("person__home_client", "custom", "client", "site"))
    people = Person.objects.filter(pk__in={grant.person_id for grant in found})
    secured = {person.pk for person in queries.with_second_factor(people) if person.has_factor}
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for grant in found:
        person = grant.person
        table.writerow(
            cell_inert(cell)
            for cell in (
                person.username,
                person.display_name,
                person.email,
                str(person.home_client or ""),
                "active" if person.is_active else "switched off",
                grant.role_name,
                queries.grant_where(grant),
                grant.granted_by,
                _time(grant.granted_at),
                _time(grant.until),
                "yes" if person.is_active and (grant.until is None or grant.until > now) else "no",
                _time(person.last_login) or "never",
                "yes" if person.pk in secured else "no",
            )
        )
    return out.getvalue()


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
