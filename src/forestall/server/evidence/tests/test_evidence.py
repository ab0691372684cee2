"""Acts leave evidence that nobody can later change, fork or lose, and that verifies away from this server."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from forestall.ledger import merkle, records
from forestall.ledger.signed import signed_text
from forestall.server.evidence import bundle, queries, services
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import CheckpointRecord, ClientLog, Entry, LogNode
from forestall.server.evidence.rules import EvidenceError, ForeignCheckpointError
from forestall.server.people.models import Client, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import Role
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, person_create, site_create
from forestall.trust.keys import key_id, new_key, private_key, public_bytes
from forestall.trust.statements import CheckpointRef, DeviceNotice, JobResult, RoleKeys, Root
from forestall.verify import verify_bundle

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LOG_KEY = private_key(b"\x07" * 32)
EVERYTHING = Scope.system("ada")


@pytest.fixture
def acme(db) -> Client:
    return client_create(name="Acme Ltd", timezone="Europe/London")


@pytest.fixture
def bolt(db) -> Client:
    return client_create(name="Bolt & Söhne", timezone="Europe/Berlin")


class Machine:
    """A device of a client: enrolled in its log, with a key of its own."""

    def __init__(self, client: Client, *, site: Site | None = None) -> None:
        self.client, self.id, self.key = client, uuid.uuid4(), new_key()
        self.public = public_bytes(self.key)
        append(
            client,
            EvidenceKind.DEVICE_ENROLLED,
            {"device_id": str(self.id), "public_key": self.public.hex(), "name": "reception-pc"},
            device_id=self.id,
            site_id=site.pk if site else None,
        )

    def result(self, *, payload=None, signer=None, job_id="job-1", device_id=None, **said) -> Entry:
        statement = JobResult(
            **{
                "job_id": "job-1",
                "device_id": str(self.id),
                "client_id": str(self.client.pk),
                "outcome": "succeeded",
                "code": "done",
                "detail": "deleted 214 files",
                "runbook": "ab" * 32,
                "started_at": NOW,
                "finished_at": NOW,
                "steps": (),
                **said,
            }
        )
        return append(
            self.client,
            EvidenceKind.JOB_RESULT,
            payload if payload is not None else {"outcome": "succeeded"},
            device_id=device_id or self.id,
            job_id=job_id,
            envelope=signed_text(statement, self.key).encode(),
            signer=signer or self.public,
        )


def append(client: Client, kind: EvidenceKind = EvidenceKind.TICKET_OPENED, payload=None, **other) -> Entry:
    with transaction.atomic():
        return services.evidence_append(
            client=client, kind=kind, payload=payload or {"title": "disk fills"}, now=other.pop("now", NOW), **other
        )


def export(tmp_path: Path, scope: Scope = EVERYTHING, client: Client | None = None, now=NOW, **other) -> Path:
    path = tmp_path / f"bundle-{uuid.uuid4().hex}"
    bundle.bundle_write(
        scope=scope, client_id=client.pk if client else None, path=path, now=now, log_key=LOG_KEY, **other
    )
    return path


def every_leaf(client: Client) -> list[bytes]:
    return [bytes(e.leaf_hash) for e in Entry.objects.visible_to(EVERYTHING).filter(client=client).order_by("index")]


# Appending


def test_each_clients_log_counts_from_nought_without_holes(acme: Client, bolt: Client) -> None:
    entries = [append(acme), append(bolt), append(acme), append(acme)]
    assert [entry.index for entry in entries] == [0, 0, 1, 2]
    assert [entry.reference for entry in entries] == ["acme-ltd/#0", "bolt-sohne/#0", "acme-ltd/#1", "acme-ltd/#2"]


def test_the_log_row_and_the_nodes_are_those_of_the_whole_tree(acme: Client) -> None:
    for count in range(1, 40):
        append(acme)
        log = ClientLog.objects.visible_to(EVERYTHING).get(client=acme)
        assert log.size == count
        assert log.frontier.root() == merkle.root_of(every_leaf(acme))
    leaves = every_leaf(acme)
    for node in LogNode.objects.visible_to(EVERYTHING):
        width = 1 << node.level
        begin = node.index * width
        assert bytes(node.hash) == merkle.root_of(leaves[begin : begin + width])


def test_an_entry_gives_back_what_was_recorded(acme: Client) -> None:
    device, site = uuid.uuid4(), uuid.uuid4()
    payload = {"title": "naïve „quote“ \x00", "used": 0.93, "at": NOW, "id": device, "list": [1, None, True]}
    append(acme, payload=payload, device_id=device, site_id=site, ticket_id=12, job_id="j")
    entry = queries.entries(scope=EVERYTHING).get()
    assert entry.payload == {
        "title": "naïve „quote“ \x00",
        "used": 0.93,
        "at": "2026-03-02T09:00:00Z",
        "id": str(device),
        "list": [1, None, True],
    }
    assert (entry.device_id, entry.site_id, entry.ticket_id, entry.job_id) == (device, site, 12, "j")
    assert not entry.has_signature
    content = records.content_read(entry.content.encode())
    assert (content.device, content.site, content.ticket, content.job) == (str(device), str(site), 12, "j")
    leaf = records.leaf_read(entry.leaf.encode())
    assert (leaf.kind, leaf.at, leaf.client, leaf.index) == ("ticket:opened", NOW, str(acme.pk), 0)


def test_the_leaf_tells_nothing_of_the_content(acme: Client) -> None:
    first, second = append(acme), append(acme)
    assert "disk fills" not in first.leaf
    # The same content at the same time commits to another number each time: guesses cannot be confirmed.
    assert records.leaf_read(first.leaf.encode()).commitment != records.leaf_read(second.leaf.encode()).commitment


@pytest.mark.django_db(transaction=True)
def test_evidence_outside_the_transaction_of_its_act_is_refused() -> None:
    client = client_create(name="Acme", timezone="UTC")
    with pytest.raises(services.OutsideTransactionError, match="ticket:opened"):
        services.evidence_append(client=client, kind=EvidenceKind.TICKET_OPENED, payload={}, now=NOW)
    assert not ClientLog.objects.visible_to(EVERYTHING).exists()


def test_a_time_without_zone_and_a_payload_that_is_no_json_are_refused(acme: Client) -> None:
    with pytest.raises(EvidenceError, match="names no time zone"):
        append(acme, now=NOW.replace(tzinfo=None))
    with pytest.raises(EvidenceError, match="cannot be written as JSON"):
        append(acme, payload={"what": object()})
    with pytest.raises(EvidenceError, match="a job id of 65 characters"):
        append(acme, job_id="j" * 65)
    assert every_leaf(acme) == []


def test_a_second_writer_with_the_same_view_of_the_log_is_turned_away(acme: Client, monkeypatch) -> None:
    """Were the lock not there (or the row stale), the conditional update still lets only one of two writers in."""
    append(acme)
    stale = ClientLog.objects.visible_to(EVERYTHING).get(client=acme)
    append(acme)
    real = services.ClientLog.objects.visible_to

    class Stale:
        def __init__(self, rows) -> None:
            self.rows = rows

        def __getattr__(self, name: str):
            return getattr(self.rows, name)

        def select_for_update(self):
            return self

        def filter(self, **named):
            return self if named.keys() == {"client"} else self.rows.filter(**named)

        def first(self):
            return stale

    monkeypatch.setattr(services.ClientLog.objects, "visible_to", lambda scope: Stale(real(scope)))
    with pytest.raises(services.ForkedError, match="moved on from 1 entries"):
        append(acme)
    monkeypatch.undo()
    assert len(every_leaf(acme)) == 2


def test_the_database_itself_refuses_two_entries_at_one_place(acme: Client) -> None:
    entry = append(acme)
    entry.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        entry.save(force_insert=True)


def test_the_cost_of_appending_does_not_grow(acme: Client, django_assert_max_num_queries) -> None:
    for _ in range(31):
        append(acme)
    # Completing a tree of 32: the savepoint pair, take the log's row, move it, the entry, its nodes in one insert.
    with django_assert_max_num_queries(6):
        append(acme)


# A device's own words


def test_a_job_result_is_kept_in_the_devices_own_words(acme: Client, tmp_path: Path) -> None:
    machine = Machine(acme)
    entry = machine.result()
    assert entry.has_signature
    verdict = verify_bundle(export(tmp_path))
    assert verdict.valid
    assert verdict.device_signed == 1
    assert verdict.clients[0].devices[0].key == key_id(machine.public)


def test_what_would_not_verify_later_is_refused_now(acme: Client, bolt: Client) -> None:
    machine, other, foreign = Machine(acme), Machine(acme), Machine(bolt)
    with pytest.raises(EvidenceError, match="must carry the device's envelope"):
        append(acme, EvidenceKind.JOB_RESULT, {}, device_id=machine.id)
    with pytest.raises(EvidenceError, match="ticket:opened record is not a device's"):
        append(acme, envelope=b"{}", signer=machine.public)
    with pytest.raises(EvidenceError, match="not signed by device"):
        machine.result(signer=other.public)
    with pytest.raises(EvidenceError, match="device_id"):
        machine.result(device_id=other.id)
    with pytest.raises(EvidenceError, match="signed job_id 'job-1', the record says 'job-2'"):
        machine.result(job_id="job-2")
    with pytest.raises(EvidenceError, match="signed outcome 'failed', the payload says 'succeeded'"):
        machine.result(outcome="failed")
    with pytest.raises(EvidenceError, match="client_id"):
        machine.result(client_id=str(bolt.pk))
    foreign.client = acme
    with pytest.raises(EvidenceError, match="is not the key bound by a device:enrolled record"):
        foreign.result()
    assert len(every_leaf(acme)) == 2


def test_a_device_is_bound_to_one_key_for_good(acme: Client) -> None:
    machine = Machine(acme)
    payload = {"device_id": str(machine.id), "public_key": machine.public.hex()}
    append(acme, EvidenceKind.DEVICE_ENROLLED, payload, device_id=machine.id)
    with pytest.raises(EvidenceError, match="already bound to another key"):
        append(acme, EvidenceKind.DEVICE_ENROLLED, {**payload, "public_key": "ab" * 32}, device_id=machine.id)
    with pytest.raises(EvidenceError, match="public_key is 'short'"):
        append(acme, EvidenceKind.DEVICE_ENROLLED, {**payload, "public_key": "short"}, device_id=machine.id)
    with pytest.raises(EvidenceError, match="device_id is None"):
        append(acme, EvidenceKind.DEVICE_ENROLLED, {}, device_id=machine.id)


def test_a_device_may_name_checkpoints_of_this_log_only(acme: Client) -> None:
    machine = Machine(acme)
    services.checkpoints_sign(now=NOW, log_key=LOG_KEY)
    known = queries.checkpoint_latest(client_id=acme.pk)
    assert known is not None
    machine.result(checkpoint=CheckpointRef(size=known.size, root=bytes(known.root).hex()))
    with pytest.raises(ForeignCheckpointError, match="a checkpoint over 1 entries"):
        machine.result(checkpoint=CheckpointRef(size=1, root="cd" * 32))
    with pytest.raises(ForeignCheckpointError, match="a checkpoint over 99 entries"):
        machine.result(checkpoint=CheckpointRef(size=99, root=bytes(known.root).hex()))


def test_a_notice_is_a_devices_own_words_too(acme: Client) -> None:
    machine = Machine(acme)
    said = DeviceNotice(
        device_id=str(machine.id), client_id=str(acme.pk), at=NOW, event="spool_gap", detail="12 check-ins"
    )
    entry = append(
        acme,
        EvidenceKind.DEVICE_NOTICE,
        {"event": "spool_gap"},
        device_id=machine.id,
        envelope=signed_text(said, machine.key).encode(),
        signer=machine.public,
    )
    assert entry.has_signature


# Checkpoints


def test_new_entries_are_under_a_signed_checkpoint_and_old_ones_need_no_second(acme: Client, bolt: Client) -> None:
    append(acme)
    append(bolt)
    assert services.checkpoints_sign(now=NOW, log_key=LOG_KEY) == 2
    assert services.checkpoints_sign(now=NOW, log_key=LOG_KEY) == 0
    append(bolt)
    assert services.checkpoints_sign(now=NOW + timedelta(seconds=20), log_key=LOG_KEY) == 1
    newest = queries.checkpoint_latest(client_id=bolt.pk)
    assert newest is not None
    assert (newest.size, newest.at) == (2, NOW + timedelta(seconds=20))
    assert bytes(newest.root) == merkle.root_of(every_leaf(bolt))
    assert [(state.client, state.entries, state.uncovered) for state in queries.logs(scope=EVERYTHING)] == [
        (acme, 1, 0),
        (bolt, 2, 0),
    ]


def test_a_log_without_checkpoint_says_so(acme: Client, bolt: Client) -> None:
    append(acme)
    assert queries.checkpoint_latest(client_id=acme.pk) is None
    (state,) = queries.logs(scope=EVERYTHING)
    assert (state.checkpoint, state.uncovered) == (None, 1)


def test_an_agent_gets_a_proof_from_its_checkpoint_to_the_next(acme: Client) -> None:
    roots = [merkle.EMPTY_ROOT]
    for _ in range(20):
        append(acme)
        roots.append(merkle.root_of(every_leaf(acme)))
    for old in range(21):
        for new in range(old, 21):
            proof = queries.consistency(client_id=acme.pk, old_size=old, new_size=new)
            assert merkle.consistency_holds(
                old_size=old, old_root=roots[old], new_size=new, new_root=roots[new], proof=proof
            )
    with pytest.raises(ValueError, match="has 20 entries, not 21"):
        queries.consistency(client_id=acme.pk, old_size=3, new_size=21)
    with pytest.raises(ValueError, match="has 0 entries, not 1"):
        queries.consistency(client_id=uuid.uuid4(), old_size=0, new_size=1)
    entry = queries.entries(scope=EVERYTHING).get(index=7)
    proof = queries.inclusion(entry=entry, size=20)
    assert merkle.inclusion_holds(leaf=bytes(entry.leaf_hash), index=7, size=20, proof=proof, root=roots[20])


# Erasing


def test_erasure_leaves_every_proof_and_says_that_it_happened(acme: Client, tmp_path: Path) -> None:
    entries = [append(acme, payload={"who": "Mr Brown", "n": n}) for n in range(5)]
    machine = Machine(acme)
    signed = machine.result()
    services.checkpoints_sign(now=NOW, log_key=LOG_KEY)
    before = every_leaf(acme)
    for entry in (entries[2], signed):
        says = services.payload_erase(entry=entry, scope=EVERYTHING, reason="Mr Brown asked", now=NOW)
        assert says.payload == {"index": entry.index, "kind": entry.kind, "reason": "Mr Brown asked", "by": "ada"}
        entry.refresh_from_db()
        assert (entry.payload, entry.content, entry.has_signature) == ({}, "", False)
    assert every_leaf(acme)[:7] == before
    path = export(tmp_path)
    verdict = verify_bundle(path)
    assert verdict.valid
    assert verdict.clients[0].erased == 2
    assert path.read_bytes().count(b"Mr Brown") == 4 + 2  # the others, and the reasons


def test_erasure_is_an_owners_reasoned_act_done_once(acme: Client) -> None:
    entry, machine = append(acme), Machine(acme)
    technician = EVERYTHING.narrowed(permissions=set(Permission) - {Permission.EVIDENCE_ERASE})
    with pytest.raises(NotAllowedError):
        services.payload_erase(entry=entry, scope=technician, reason="asked", now=NOW)
    with pytest.raises(EvidenceError, match="needs a reason"):
        services.payload_erase(entry=entry, scope=EVERYTHING, reason=" ", now=NOW)
    enrolled = queries.entries(scope=EVERYTHING).get(device_id=machine.id)
    with pytest.raises(EvidenceError, match="other records rest on it"):
        services.payload_erase(entry=enrolled, scope=EVERYTHING, reason="asked", now=NOW)
    says = services.payload_erase(entry=entry, scope=EVERYTHING, reason="asked", now=NOW)
    with pytest.raises(EvidenceError, match="no content to erase"):
        services.payload_erase(entry=entry, scope=EVERYTHING, reason="asked", now=NOW)
    with pytest.raises(EvidenceError, match="other records rest on it"):
        services.payload_erase(entry=says, scope=EVERYTHING, reason="asked", now=NOW)
    assert len(every_leaf(acme)) == 3  # the second try left nothing


# Reading and exporting


def test_people_see_the_entries_of_their_sites_and_whole_clients(acme: Client, bolt: Client) -> None:
    """Ada owns all, Bea audits Acme, Carl works at one of Acme's two sites, Dora at Bolt's only site so far."""
    shop, depot, yard = (
        site_create(client=acme, name="shop"),
        site_create(client=acme, name="depot"),
        site_create(client=bolt, name="yard"),
    )
    append(acme, payload={"n": "acme"})
    append(acme, payload={"n": "shop"}, site_id=shop.pk)
    append(acme, payload={"n": "depot"}, site_id=depot.pk)
    append(bolt, payload={"n": "bolt"})
    append(bolt, payload={"n": "yard"}, site_id=yard.pk)
    people = {
        "ada": person_create(username="ada", password="x" * 12, role=Role.OWNER),
        "bea": person_create(username="bea", password="x" * 12, role=Role.AUDITOR, client=acme),
        "carl": person_create(username="carl", password="x" * 12, role=Role.TECHNICIAN, site=depot),
        "dora": person_create(username="dora", password="x" * 12, role=Role.TECHNICIAN, site=yard),
    }
    sees = {
        name: sorted(entry.payload["n"] for entry in queries.entries(scope=scope_of(person)))
        for name, person in people.items()
    }
    assert sees == {
        "ada": ["acme", "bolt", "depot", "shop", "yard"],
        "bea": ["acme", "depot", "shop"],
        "carl": ["depot"],
        "dora": ["yard"],
    }
    whole = {
        name: [queries.sees_whole_client(scope=scope_of(person), client_id=c.pk) for c in (acme, bolt)]
        for name, person in people.items()
    }
    assert whole == {"ada": [True, True], "bea": [True, False], "carl": [False, False], "dora": [False, False]}


def test_the_whole_log_of_a_client_is_for_those_who_see_all_of_it(acme: Client, bolt: Client, tmp_path: Path) -> None:
    shop, _depot = site_create(client=acme, name="shop"), site_create(client=acme, name="depot")
    append(acme, site_id=shop.pk)
    append(bolt)
    bea = scope_of(person_create(username="bea", password="x" * 12, role=Role.AUDITOR, client=acme))
    carl = scope_of(person_create(username="carl", password="x" * 12, role=Role.TECHNICIAN, site=shop))
    verdict = verify_bundle(export(tmp_path, scope=bea))
    assert [client.name for client in verdict.clients] == ["Acme Ltd"]
    assert verdict.covers == "chosen clients"
    with pytest.raises(NotAllowedError):
        export(tmp_path, scope=carl)
    with pytest.raises(bundle.NothingToExportError):  # Bolt is not Bea's to know of
        export(tmp_path, scope=bea, client=bolt)
    with pytest.raises(NotAllowedError):
        export(tmp_path, scope=EVERYTHING.narrowed(permissions=()))
    with pytest.raises(NotAllowedError):
        bundle.kept_checkpoints(scope=EVERYTHING.narrowed(permissions=()), now=NOW, log_key=LOG_KEY)


def test_an_export_of_every_client_verifies_elsewhere(acme: Client, bolt: Client, tmp_path: Path) -> None:
    machine = Machine(acme)
    for n in range(30):
        append(acme, payload={"n": n})
        append(bolt, payload={"n": n})
        if n % 7 == 0:
            services.checkpoints_sign(now=NOW + timedelta(seconds=n), log_key=LOG_KEY)
            machine.result()
    done: list[tuple[int, int]] = []
    path = export(tmp_path, on_progress=lambda at, of: done.append((at, of)), now=NOW + timedelta(minutes=1))
    verdict = verify_bundle(path, pinned_log_key=key_id(public_bytes(LOG_KEY)))
    assert verdict.problem is None
    assert verdict.pinned
    assert verdict.covers == "every client"
    assert [(c.name, c.entries, c.checkpoints) for c in verdict.clients] == [
        ("Acme Ltd", 36, 6),
        ("Bolt & Söhne", 30, 6),
    ]
    assert done[-1] == (66, 66)
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_log_longer_than_one_block_of_nodes_exports_with_true_proofs(
    acme: Client, tmp_path: Path, monkeypatch
) -> None:
    """With blocks of 8 leaves, 100 entries take every road of the reader: within blocks, above them, at the edge."""
    monkeypatch.setattr(queries, "BLOCK_LEVELS", 3)
    monkeypatch.setattr(queries, "BLOCKS_HELD", 2)
    monkeypatch.setattr(bundle, "_ROWS", 7)
    for n in range(100):
        append(acme, payload={"n": n})
        if n % 9 == 0:
            services.checkpoints_sign(now=NOW, log_key=LOG_KEY)
    assert verify_bundle(export(tmp_path)).valid


def test_a_kept_checkpoint_holds_against_the_log_as_it_grows(acme: Client, bolt: Client, tmp_path: Path) -> None:
    for _ in range(9):
        append(acme)
    kept, earlier = tmp_path / "kept", export(tmp_path)
    kept.write_bytes(bundle.kept_checkpoints(scope=EVERYTHING, now=NOW, log_key=LOG_KEY))
    for _ in range(9):
        append(acme)
    append(bolt)
    for memory in (kept, earlier):
        verdict = verify_bundle(export(tmp_path), kept=memory)
        assert verdict.valid
        assert [(client.name, client.kept_size) for client in verdict.clients] == [
            ("Acme Ltd", 9),
            ("Bolt & Söhne", None),
        ]
    assert verify_bundle(export(tmp_path, client=acme), kept=kept).valid
    assert not verify_bundle(export(tmp_path, client=bolt), kept=kept).valid


def test_nothing_yet_is_said_so(acme: Client, tmp_path: Path) -> None:
    with pytest.raises(bundle.NothingToExportError, match="there is no evidence yet"):
        export(tmp_path)
    with pytest.raises(bundle.NothingToExportError, match="this client has no evidence yet"):
        export(tmp_path, client=acme)
    with pytest.raises(bundle.NothingToExportError):
        bundle.kept_checkpoints(scope=EVERYTHING, now=NOW, log_key=LOG_KEY)
    assert list(tmp_path.iterdir()) == []


def test_what_is_erased_during_an_export_stops_it(acme: Client, tmp_path: Path) -> None:
    entry = append(acme)
    stream = bundle.bundle_lines(scope=EVERYTHING, client_id=None, now=NOW, log_key=LOG_KEY)
    services.payload_erase(entry=entry, scope=EVERYTHING, reason="asked", now=NOW)
    with pytest.raises(bundle.ErasedMeanwhileError, match="acme-ltd/#0"):
        list(stream)
    assert verify_bundle(export(tmp_path)).valid


def test_a_failed_export_leaves_no_file(acme: Client, tmp_path: Path) -> None:
    append(acme)

    def full_disk(_at: int, _of: int) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        export(tmp_path, on_progress=full_disk)
    assert list(tmp_path.iterdir()) == []


def test_the_root_of_authority_travels_along(acme: Client, tmp_path: Path) -> None:
    append(acme)
    key = new_key()
    role = RoleKeys(keys={key_id(public_bytes(key)): public_bytes(key).hex()}, threshold=1)
    root = Root(version=4, issued_at=NOW, expires_at=NOW + timedelta(days=90), root=role, operator=role, catalogue=role)
    verdict = verify_bundle(export(tmp_path, root=signed_text(root, key).encode()))
    assert (verdict.valid, verdict.root_version) == (True, 4)


def test_rows_changed_behind_the_servers_back_show_in_the_next_bundle(acme: Client, tmp_path: Path) -> None:
    """The database's owner edits, drops or swaps rows: the export, sealed by the unknowing server, convicts it."""
    for n in range(8):
        append(acme, payload={"n": n})
    rows = Entry.objects.visible_to(EVERYTHING).filter(client=acme)

    def edit() -> None:
        row = rows.get(index=3)
        rows.filter(pk=row.pk).update(content=row.content.replace('"n":3', '"n":4'))

    def rehash() -> None:
        edit()
        row = rows.get(index=3)
        commitment = records.commitment_of(salt=bytes(row.salt), content=row.content.encode(), envelope=b"", signer=b"")
        leaf = records.leaf_bytes(index=3, at=row.at, kind=row.kind, client=str(acme.pk), commitment=commitment)
        rows.filter(pk=row.pk).update(leaf=leaf.decode(), leaf_hash=merkle.leaf_hash(leaf))

    def forget() -> None:
        rows.filter(index=3).update(content="", salt=b"", erased_by=5)

    for change, what in ((edit, "commits to"), (rehash, "inclusion proof"), (forget, "erased")):
        with transaction.atomic():
            change()
            verdict = verify_bundle(export(tmp_path))
            transaction.set_rollback(True)
        assert verdict.problem is not None, change
        # A rehashed leaf spoils its neighbour's proof as well, and that one stands first.
        assert verdict.problem.index == (2 if change is rehash else 3), change
        assert what in str(verdict.problem), change
    for lost in (0, 3, 7):
        with transaction.atomic():
            rows.filter(index=lost).delete()
            with pytest.raises(queries.LogDamagedError, match=f"lacks its node {lost} of level 0"):
                export(tmp_path)
            transaction.set_rollback(True)
    assert verify_bundle(export(tmp_path)).valid


def test_a_bundle_reads_as_plain_json_lines(acme: Client, tmp_path: Path) -> None:
    append(acme, payload={"title": "disk fills"})
    kinds = [json.loads(line)["record"] for line in export(tmp_path).read_text().splitlines()]
    assert kinds == ["header", "checkpoint", "entry", "seal"]
    assert CheckpointRecord.objects.visible_to(EVERYTHING).count() == 1
    assert connection.in_atomic_block
