"""After a restored backup a device remembers a log that is no more. It is heard all the same, and the proof holds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from django.db import transaction

from forestall.ledger.signed import signed_text
from forestall.server.evidence import bundle, services
from forestall.server.evidence.forked import device_word_append
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.rules import EvidenceError
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope
from forestall.trust.keys import new_key, private_key, public_bytes
from forestall.trust.statements import CheckpointRef, DeviceNotice
from forestall.verify import verify_bundle

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LOG_KEY = private_key(b"\x07" * 32)


def test_a_device_that_remembers_a_lost_log_is_put_on_record_and_the_evidence_holds(db, tmp_path):
    acme = Client.objects.create(name="Acme Ltd", timezone="Europe/London")
    device, key = uuid.uuid4(), new_key()
    public = public_bytes(key)

    def says(detail: str, signer: bytes = public, **said):
        notice = DeviceNotice(
            device_id=str(device), client_id=str(acme.pk), at=NOW, event="counter_reset", detail=detail, **said
        )
        with transaction.atomic():
            return device_word_append(
                client=acme,
                kind=EvidenceKind.DEVICE_NOTICE,
                payload={"event": "counter_reset", "detail": detail},
                now=NOW,
                device_id=device,
                envelope=signed_text(notice, key).encode(),
                signer=signer,
            )

    with transaction.atomic():
        payload = {"device_id": str(device), "public_key": public.hex()}
        services.evidence_append(
            client=acme, kind=EvidenceKind.DEVICE_ENROLLED, payload=payload, now=NOW, device_id=device
        )
    assert says("nothing unusual").kind == EvidenceKind.DEVICE_NOTICE
    forked = says("the server lost what I know", checkpoint=CheckpointRef(size=90, root="cd" * 32))
    assert forked.kind == EvidenceKind.DEVICE_FORKED
    assert forked.payload["kind"] == "device:notice"
    assert forked.payload["says"]["detail"] == "the server lost what I know"
    assert "over 90 entries" in forked.payload["why"]
    assert "payload" in forked.payload["envelope"], "the device's own signature goes with it"
    with pytest.raises(EvidenceError, match="is not signed by device"):
        says("with another key", signer=public_bytes(new_key()))

    file = tmp_path / "bundle"
    bundle.bundle_write(scope=Scope.system("ada"), client_id=None, path=file, now=NOW, log_key=LOG_KEY)
    verdict = verify_bundle(file)
    assert verdict.valid
    assert (verdict.clients[0].entries, verdict.clients[0].device_signed) == (3, 1)
