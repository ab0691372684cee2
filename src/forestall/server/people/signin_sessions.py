"""Where sessions are kept, and who sees and ends them.

The cookie holds the session's key; the database holds only a keyed digest of it and the session's sealed content. A
copy of the database, or of its backup, thus opens no session and tells no secret that a sign-in has in hand (such as
the one of an authenticator app that is being set up).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from forestall.server.people.models import Person
from forestall.server.sealing import SealError, seal, unseal

log = logging.getLogger(__name__)

PURPOSE = "session"
SEEN_GRAIN = timedelta(minutes=1)
"""A session's last use is written at most this often."""
USER_AGENT_LENGTH = 200


def session_digest(session_key: str) -> str:
    """What the database keeps instead of a session's key."""
    return salted_hmac("forestall.session", session_key, algorithm="sha256").hexdigest()[:40]


class SessionStore(db.SessionStore):
    """Django's sessions in the database, under a digest of their key, sealed."""

    def _get_session_from_db(self) -> Session | None:
        found = Session.objects.filter(
            session_key=session_digest(self.session_key or ""), expire_date__gt=timezone.now()
        ).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return bool(self.model.objects.filter(session_key=session_digest(session_key)).exists())

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        made = super().create_model_instance(data)
        made.session_key = session_digest(made.session_key)
        return made  # type: ignore[return-value]

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            self.model.objects.filter(session_key=session_digest(key)).delete()

    def encode(self, session_dict: dict[str, Any]) -> str:
        return seal(self.serializer().dumps(session_dict).decode("latin-1"), purpose=PURPOSE)

    def decode(self, session_data: str | bytes) -> dict[str, Any]:
        text = session_data.decode() if isinstance(session_data, bytes) else session_data
        try:
            content: dict[str, Any] = self.serializer().loads(unseal(text, purpose=PURPOSE).encode("latin-1"))
        except SealError:
            # Sealed under another secret, or from before sessions were sealed: whoever holds it signs in anew.
            return {}
        return content


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]
    """allauth's door to ending sessions: it knows them by their key, we by its digest."""

    def end_sessions(self, sessions: list[UserSession]) -> None:
        for session in sessions:
            if session.session_key != session_digest(self.request.session.session_key or ""):
                session_end(session=session)


def session_seen(*, request: HttpRequest, now: datetime, by_hand: bool) -> UserSession:
    """The list's line of this request's session, made when there is none; ``by_hand``: a person did something."""
    if not request.session.session_key:
        request.session.save()
    digest = session_digest(request.session.session_key or "")
    address = str(request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104 - an address that nobody has
    agent = request.headers.get("User-Agent", "")[:USER_AGENT_LENGTH]
    found = UserSession.objects.filter(session_key=digest).first()
    if found is None:
        made, _ = UserSession.objects.get_or_create(
            session_key=digest,
            defaults={
                "user": request.user, "ip": address, "user_agent": agent, "created_at": now, "last_seen_at": now,
            },
        )  # fmt: skip
        return made
    if by_hand and now - found.last_seen_at > SEEN_GRAIN:
        found.last_seen_before = found.last_seen_at
        try:
            UserSession.objects.filter(pk=found.pk).update(last_seen_at=now, ip=address, user_agent=agent)
        except OperationalError as error:
            # A full disk, above all: just then somebody has to be able to look.
            log.warning("the use of a session was not noted: %s", error)
    return found


def sessions_of(*, person: Person) -> list[UserSession]:
    """The sessions of ``person`` that are open, the last used first. Those that ended otherwise are taken away."""
    # As the database has them: a password hash that was renewed meanwhile would make every session look ended.
    person = Person.objects.get(pk=person.pk)
    listed = list(UserSession.objects.filter(user=person).order_by("-last_seen_at", "-pk"))
    stored = dict(
        Session.objects.filter(
            session_key__in=[one.session_key for one in listed], expire_date__gt=timezone.now()
        ).values_list("session_key", "session_data")
    )
    hashes = {person.get_session_auth_hash(), *person.get_session_auth_fallback_hash()}
    open_ones = []
    for one in listed:
        content = SessionStore().decode(stored[one.session_key]) if one.session_key in stored else {}
        # A password that changed since has ended it, though its row is still there.
        if content.get("_auth_user_hash") in hashes:
            open_ones.append(one)
    gone = [one.pk for one in listed if one not in open_ones]
    if gone:
        UserSession.objects.filter(pk__in=gone).delete()
    return open_ones


@transaction.atomic
def session_end(*, session: UserSession) -> None:
    """End a session: its next request is a stranger's."""
    Session.objects.filter(session_key=session.session_key).delete()
    session.delete()


@transaction.atomic
def sessions_end(*, person: Person, but: str | None = None) -> int:
    """End every session of ``person``, ``but`` the one with this key; how many there were."""
    keep = session_digest(but) if but else ""
    found = list(UserSession.objects.filter(user=person).exclude(session_key=keep))
    for session in found:
        session_end(session=session)
    return len(found)
