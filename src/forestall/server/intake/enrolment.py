"""Enrolment: the one thing intake writes to the main database."""

from __future__ import annotations

from datetime import datetime

from django.db import close_old_connections

from forestall.server.home import Home
from forestall.server.intake.refused import RefusedError
from forestall.server.inventory.services import TokenUnusableError, device_enrol
from forestall.server.runbooks.queries import root_envelope
from forestall.trust.keys import private_key, public_bytes, signature_holds
from forestall.wire.refusals import RefusalCode
from forestall.wire.session import EnrolReply, EnrolRequest, enrol_message


def enrol(*, request: EnrolRequest, now: datetime, home: Home) -> EnrolReply:
    """Enrol the device that sent ``request``. RefusedError when it does not hold its key or the token is unusable."""
    message = enrol_message(
        token=request.token,
        public_key=request.public_key,
        hostname=request.hostname,
        machine_id=request.machine_id,
    )
    if not signature_holds(public=request.public_key, signature=request.signature, message=message):
        raise RefusedError(RefusalCode.SIGNATURE_WRONG, "$.signature: not by $.public_key")
    close_old_connections()
    # Before the token is used up: without a root there is nothing for the device to pin.
    root = root_envelope()
    try:
        device = device_enrol(
            token_secret=request.token,
            public_key=request.public_key,
            hostname=request.hostname,
            machine_id=request.machine_id,
            agent_version=request.agent_version,
            now=now,
        )
    except TokenUnusableError as error:
        raise RefusedError(RefusalCode.TOKEN_UNUSABLE, str(error)) from None
    return EnrolReply(
        device_id=str(device.pk),
        client_id=str(device.client_id),
        client=device.client.name,
        site=device.site.name,
        status=device.status,
        root=root,
        log_key=public_bytes(private_key(home.log_key.read_bytes())),
    )
