"""Every reason for which intake refuses a message. One list: the agent logs the code, the console shows it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RefusalCode(StrEnum):
    """Codes are part of the protocol: never renamed, never reused."""

    TOO_LARGE = "too_large"
    EXPANDS_TOO_FAR = "expands_too_far"
    MALFORMED = "malformed"
    SHAPE_WRONG = "shape_wrong"
    SESSION_MISSING = "session_missing"
    SESSION_UNKNOWN = "session_unknown"
    MAC_WRONG = "mac_wrong"
    SIGNATURE_WRONG = "signature_wrong"
    CHALLENGE_STALE = "challenge_stale"
    DEVICE_UNKNOWN = "device_unknown"
    DEVICE_PENDING = "device_pending"
    DEVICE_REVOKED = "device_revoked"
    TOKEN_UNUSABLE = "token_unusable"  # noqa: S105 - a code, not a secret
    SEQUENCE_AHEAD = "sequence_ahead"
    FROM_THE_FUTURE = "from_the_future"
    TOO_OLD = "too_old"
    CATALOGUE_UNKNOWN = "catalogue_unknown"
    RECORD_FOREIGN = "record_foreign"
    OVERLOADED = "overloaded"
    STORAGE_FAILED = "storage_failed"
    NOT_FOUND = "not_found"
    METHOD_WRONG = "method_wrong"


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    code: RefusalCode
    detail: str
    """Names the bad value: ``$.samples.values: 792 bytes, expected 800``."""
    next_sequence: int | None = None
    """With ``sequence_ahead``: where the server stands."""


HTTP_STATUS: dict[RefusalCode, int] = {
    RefusalCode.TOO_LARGE: 413,
    RefusalCode.EXPANDS_TOO_FAR: 413,
    RefusalCode.MALFORMED: 400,
    RefusalCode.SHAPE_WRONG: 400,
    RefusalCode.SESSION_MISSING: 401,
    RefusalCode.SESSION_UNKNOWN: 401,
    RefusalCode.MAC_WRONG: 401,
    RefusalCode.SIGNATURE_WRONG: 401,
    RefusalCode.CHALLENGE_STALE: 401,
    RefusalCode.DEVICE_UNKNOWN: 401,
    RefusalCode.DEVICE_PENDING: 403,
    RefusalCode.DEVICE_REVOKED: 403,
    RefusalCode.TOKEN_UNUSABLE: 403,
    RefusalCode.SEQUENCE_AHEAD: 409,
    RefusalCode.FROM_THE_FUTURE: 400,
    RefusalCode.TOO_OLD: 400,
    RefusalCode.CATALOGUE_UNKNOWN: 409,
    RefusalCode.RECORD_FOREIGN: 400,
    RefusalCode.OVERLOADED: 503,
    RefusalCode.STORAGE_FAILED: 503,
    RefusalCode.NOT_FOUND: 404,
    RefusalCode.METHOD_WRONG: 405,
}
