"""``Idempotency-Key``: a POST that is sent again, because its answer was lost, is done once.

The row that claims the key, everything the handler changes, and the answer are written in one transaction. Of two
requests at the same time the second waits for the first, and gets its answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from forestall.server.api.models import KeptAnswer
from forestall.server.api.problems import problem
from forestall.server.api.routing import ApiRequest

KEPT = timedelta(hours=24)
KEY = re.compile(r"[\x21-\x7e]{1,255}")
HEADERS = ("Content-Type", "ETag", "Location")
NONCE = 12


def done_once(request: ApiRequest, *, key: str, do: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The answer of ``do``, or of the time before."""
    if not KEY.fullmatch(key):
        return problem(400, "Wrong request", "Idempotency-Key: 1 to 255 visible ASCII characters.")
    now = datetime.now(UTC)
    named = {
        "person_id": request.scope.person_id,
        "route": request.operation.view_func.__name__,
        "key_digest": _digest(key.encode()),
    }
    wanted = _digest(f"{request.method} {request.get_full_path()}\n".encode() + request.body)
    KeptAnswer.objects.filter(**named, at__lte=now - KEPT).delete()
    secret = _secret(request, key)
    try:
        with transaction.atomic():
            kept = KeptAnswer.objects.create(**named, request_digest=wanted, at=now)
            response = do()
            if connection.needs_rollback:
                return response  # the database refused in the middle: nothing of it stays, the claim included
            if not 200 <= response.status_code < 300 or not isinstance(response, HttpResponse):
                # Refused: whatever the handler wrote about it stays, the key is free to be used again.
                kept.delete()
                if response.status_code >= 500:
                    transaction.set_rollback(True)
                return response
            kept.status, kept.sealed = response.status_code, _seal(secret, response)
            kept.save()
            return response
    except IntegrityError:
        found = KeptAnswer.objects.filter(**named).first()
        if found is None:
            raise
    if found.request_digest != wanted:
        return problem(422, "Key used before", "Idempotency-Key: it was used for another request; take a new one.")
    replayed = _unseal(secret, found)
    if replayed is None:
        return problem(422, "Key used before", "Idempotency-Key: it was used with another token; take a new one.")
    return replayed


def answers_forget(*, now: datetime) -> int:
    """Forget the answers that are older than a day; how many."""
    return KeptAnswer.objects.filter(at__lte=now - KEPT).delete()[0]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _secret(request: ApiRequest, key: str) -> bytes:
    # Of the token and the key, of both of which the server keeps digests alone.
    material = f"{request.headers.get('Authorization', '')}\n{key}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"forestall kept answer").derive(material)


def _seal(secret: bytes, response: HttpResponse) -> bytes:
    headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
    plain = json.dumps(headers).encode() + b"\n" + response.content
    nonce = os.urandom(NONCE)
    return nonce + ChaCha20Poly1305(secret).encrypt(nonce, plain, None)


def _unseal(secret: bytes, kept: KeptAnswer) -> HttpResponse | None:
    sealed = bytes(kept.sealed)
    try:
        plain = ChaCha20Poly1305(secret).decrypt(sealed[:NONCE], sealed[NONCE:], None)
    except InvalidTag:
        return None
    headers, _, content = plain.partition(b"\n")
    response = HttpResponse(content, status=kept.status)
    del response["Content-Type"]
    for name, value in json.loads(headers).items():
        response[name] = value
    response["Idempotency-Replayed"] = "true"
    return response
