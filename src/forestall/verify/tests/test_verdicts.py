"""What a verdict says: which line is wrong and why, and what a server that holds the log's key can not do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.ledger import bundle, merkle, records
from forestall.ledger.signed import signed_text
from forestall.trust import dsse
from forestall.trust.keys import key_id, public_bytes
from forestall.trust.statements import Checkpoint, CheckpointRef, RoleKeys, Root, statement_bytes
from forestall.verify import Problem, Verdict, WrongFileError, verify_bundle
from forestall.verify.bundle import inert
from forestall.verify.tests.workbench import START, ClientLog, Device, Record, Workbench, honest, reseal, write


@pytest.fixture
def bench() -> Workbench:
    return Workbench(11)


@pytest.fixture
def acme(bench: Workbench) -> ClientLog:
    return bench.client("Acme")


@pytest.fixture
def pc(acme: ClientLog) -> Device:
    return acme.enrol()


def verdict_of(folder: Path, content: bytes, **options: object) -> Verdict:
    return verify_bundle(write(folder, content), **options)  # type: ignore[arg-type]


def problem_of(folder: Path, content: bytes, **options: object) -> Problem:
    verdict = verdict_of(folder, content, **options)
    assert verdict.problem is not None
    assert not verdict.valid
    return verdict.problem


def resealed(bench: Workbench, change: dict[int, dict[str, object]] | None = None, **how: object) -> bytes:
    """The bench's bundle with fields of some lines changed and the seal made right again, as the key's holder can."""
    raw = bench.bundle()
    lines = [json.loads(line) for line in raw.splitlines()]
    for number, fields in (change or {}).items():
        lines[number - 1] |= fields
    texts = [(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n").encode() for line in lines]
    return reseal(bench, raw, texts[1:-1])


# A story that holds


def test_a_verdict_tells_what_is_in_the_bundle(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    pc = acme.enrol()
    acme.append("ticket:opened", {"title": "disk fills"}, ticket=7)
    acme.checkpoint()
    acme.result(pc)
    gone = acme.append("ticket:commented", {"by": "Mr Brown"})
    acme.erase(gone)
    content = bench.bundle()
    verdict = verdict_of(tmp_path, content)
    assert verdict.valid
    assert verdict.problem is None
    assert not verdict.pinned
    assert verdict.log_key == key_id(public_bytes(bench.log_key))
    assert (verdict.exported_at, verdict.exported_by, verdict.covers) == (bench.now, "ada", "every client")
    assert (verdict.lines, verdict.entries, verdict.device_signed) == (content.count(b"\n"), 5, 1)
    (client,) = verdict.clients
    assert (client.name, client.entries, client.erased, client.checkpoints) == ("Acme", 5, 1, 2)
    assert (client.first_at, client.last_at) == (acme.records[0].at, acme.records[-1].at)
    assert client.root == acme.root(5).hex()
    (device,) = client.devices
    assert (device.id, device.key, device.signed) == (pc.id, key_id(public_bytes(pc.key)), 1)
    assert device.vouches_for == 2
    silent = bench.client("Bolt").enrol()
    (other,) = verdict_of(tmp_path, bench.bundle()).clients[1].devices
    assert (other.id, other.signed, other.vouches_for) == (silent.id, 0, 0)
    assert client.checkpoint_at == acme.checkpoints[-1][1]
    waits = [acme.checkpoints[0][1] - acme.records[0].at, acme.checkpoints[1][1] - acme.records[2].at]
    assert client.slowest_checkpoint_seconds == max(waits).total_seconds()


def test_a_pinned_key_is_compared(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    content = bench.bundle()
    assert verdict_of(tmp_path, content, pinned_log_key=key_id(public_bytes(bench.log_key))).pinned
    verdict = verdict_of(tmp_path, content, pinned_log_key="ab" * 32)
    assert not verdict.valid
    assert not verdict.pinned
    assert "not the pinned abab" in str(verdict.problem)
    for wrong in ("AB" * 32, "ab" * 31, "no"):
        with pytest.raises(ValueError, match="is not a key's fingerprint"):
            verdict_of(tmp_path, content, pinned_log_key=wrong)


def test_a_problem_names_line_record_kind_index_and_client() -> None:
    problem = Problem(line=7, record="entry", kind="job:result", index=4, client="Acme", what="is wrong")
    assert str(problem) == "line 7, entry #4 (job:result) of Acme: is wrong"
    assert str(Problem(line=9, record="seal", what="is wrong")) == "line 9, seal: is wrong"


# Wrong files


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}\n", b'{"record": "header"}', b"\n"])
def test_a_file_of_another_type_is_no_verdict(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(WrongFileError, match="is not an evidence bundle"):
        verdict_of(tmp_path, content)


def test_a_bundle_of_another_version_is_no_verdict(bench: Workbench, pc: Device, tmp_path: Path) -> None:
    content = bench.bundle().replace(b"bundle/1", b"bundle/2", 1)
    with pytest.raises(WrongFileError, match="has the format 'forestall-evidence-bundle/2'; this verifier reads"):
        verdict_of(tmp_path, content)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify_bundle(tmp_path / "none")


# The first wrong line is the one named


def test_an_altered_content_is_named(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    acme.append("ticket:opened", {"title": "disk fills"})
    problem = problem_of(tmp_path, bench.bundle().replace(b"disk fills", b"all is well"))
    assert str(problem) == "line 4, entry #1 (ticket:opened) of Acme: the content is not what the leaf commits to"


def test_lost_doubled_and_moved_entries_are_named(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    for n in range(5):
        acme.append("ticket:opened", {"n": n})
    lines = bench.bundle().splitlines(keepends=True)

    def at(chosen: list[bytes]) -> str:
        return str(problem_of(tmp_path, b"".join(chosen)))

    assert at(lines[:4] + lines[5:]).startswith("line 5, entry #3 (ticket:opened) of Acme: entry #3 stands where #2 b")
    assert at(lines[:4] + lines[3:]).startswith("line 5, entry #1 (ticket:opened) of Acme: entry #1 stands where #2 b")
    assert at([*lines[:3], lines[4], lines[3], *lines[5:]]).startswith("line 4, entry #2 (ticket:opened) of Acme")
    assert at(lines[:-1]) == "line 8, seal: the bundle ends before this line"
    assert at(lines[:-2]) == "line 7, entry of Acme: the bundle ends before this line"
    assert at(lines[1:]) == "line 1, header: here stands a line of another kind: checkpoint"
    assert at([*lines, lines[-1]]) == "line 9, end: the bundle goes on after its seal"
    assert at([*lines, b" "]) == "line 9, end: the bundle goes on after its seal"
    assert at([lines[0], lines[2]]) == "line 2, checkpoint of Acme: here stands a line of another kind: entry"
    assert "is not in canonical encoding" in at([lines[0][:-1] + b" \n", *lines[1:]])
    assert "cannot be read" in at([lines[0][:-2] + b"\n", *lines[1:]])


def test_a_line_without_end_is_bounded(bench: Workbench, pc: Device, tmp_path: Path, monkeypatch) -> None:
    content = bench.bundle()
    longest = max(map(len, content.splitlines(keepends=True)))
    monkeypatch.setattr(bundle, "MAX_LINE_BYTES", longest)
    assert verdict_of(tmp_path, content).valid
    monkeypatch.setattr(bundle, "MAX_LINE_BYTES", longest - 1)
    assert f"longer than {longest - 1} bytes" in str(problem_of(tmp_path, content))


# A server that holds the log's key and lies. It can sign any header, checkpoint and seal.


def test_it_can_not_alter_what_a_device_signed(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    """It rewrites the whole log around the record and signs everything anew, but the device's key is not its own."""
    index = acme.result(pc)
    record = acme.records[index]
    envelope = dsse.decode(record.envelope)
    altered = msgspec.json.decode(envelope.body()) | {"detail": "deleted 0 files"}
    body = msgspec.json.encode(altered)
    forged = dsse.sign(body, envelope.payloadType, [bench.log_key])
    acme.records[index] = replace(record, envelope=forged)
    assert "is not signed by device" in str(problem_of(tmp_path, bench.bundle()))
    # Or with a key of its own in the device's place:
    acme.records[index] = replace(record, envelope=forged, signer=public_bytes(bench.log_key))
    assert "is not the key that device" in str(problem_of(tmp_path, bench.bundle()))


def test_it_can_not_bind_a_second_key_to_a_device(
    bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    mine = bench.key()
    payload = {"device_id": pc.id, "public_key": public_bytes(mine).hex()}
    acme.append("device:enrolled", payload, device=pc)
    problem = problem_of(tmp_path, bench.bundle())
    assert problem.index == 1
    assert "is already bound to the key" in problem.what
    acme.records.pop()
    acme.append("device:enrolled", {"device_id": pc.id, "public_key": public_bytes(pc.key).hex()}, device=pc)
    assert verdict_of(tmp_path, bench.bundle()).valid  # the same key twice says nothing new


def test_it_can_not_pass_its_own_words_off_as_a_devices(
    bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    acme.append("job:result", {"outcome": "succeeded"}, device=pc, job="job-1")
    assert "must carry the device's envelope" in str(problem_of(tmp_path, bench.bundle()))
    acme.records.pop()
    acme.append("ticket:opened", {}, device=pc, envelope=b"{}", signer=public_bytes(pc.key))
    assert "is not a device's, yet it carries" in str(problem_of(tmp_path, bench.bundle()))


@pytest.mark.parametrize(
    ("signs", "what"),
    [
        ({"client_id": "another"}, "signed client_id 'another'"),
        ({"device_id": "another"}, "signed device_id 'another'"),
        ({"job_id": "job-2"}, "signed job_id 'job-2', the record says 'job-1'"),
        ({"outcome": "failed"}, "signed outcome 'failed', the payload says 'succeeded'"),
        ({"code": "timeout"}, "signed code 'timeout', the payload says 'done'"),
    ],
)
def test_it_can_not_put_a_devices_words_around_another_act(
    signs: dict[str, object], what: str, bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    acme.result(pc, **signs)
    problem = problem_of(tmp_path, bench.bundle())
    assert (problem.index, problem.kind) == (1, "job:result")
    assert what in problem.what


def test_a_forked_log_convicts_itself(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    """A device saw the log, then the server rewrote an entry before that: the device's next record tells."""
    acme.append("ticket:opened", {"title": "disk fills"})
    acme.checkpoint()
    acme.result(pc)
    assert verdict_of(tmp_path, bench.bundle()).clients[0].devices[0].vouches_for == 2
    record = acme.records[1]
    acme.records[1] = replace(record, content=record.content.replace(b"disk fills", b"all is well"))
    problem = problem_of(tmp_path, bench.bundle())
    assert (problem.index, problem.kind) == (2, "job:result")
    assert "had seen a checkpoint over 2 entries" in problem.what


def test_a_dropped_checkpoint_convicts_too(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    acme.checkpoint()
    acme.append("ticket:opened", {})
    acme.result(pc)
    acme.checkpoints = []
    assert "which this log never had" in str(problem_of(tmp_path, bench.bundle()))


def test_a_record_moved_before_the_checkpoint_it_names_is_seen(
    bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    """Reordering a log changes the very roots that its devices signed."""
    for n in range(3):
        acme.append("ticket:opened", {"n": n})
    acme.checkpoint()
    acme.result(pc)
    assert verdict_of(tmp_path, bench.bundle()).valid
    acme.records.insert(2, acme.records.pop())
    problem = problem_of(tmp_path, bench.bundle())
    assert (problem.index, problem.kind) == (2, "job:result")
    assert "had seen a checkpoint over 4 entries" in problem.what


@pytest.mark.parametrize("size", [-1, 0, 2, 99])
def test_a_checkpoint_that_never_was_can_not_be_vouched_for(
    size: int, bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    acme.result(pc, checkpoint=CheckpointRef(size=size, root=merkle.EMPTY_ROOT.hex()))
    assert f"a checkpoint over {size} entries" in str(problem_of(tmp_path, bench.bundle()))


def test_a_customer_who_kept_a_checkpoint_sees_every_rewrite(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    """Without any device's signature: the file kept, or an earlier bundle kept, does it."""
    for n in range(6):
        acme.append("ticket:opened", {"n": n})
    earlier = write(tmp_path, bench.bundle(), "earlier")
    kept = write(tmp_path, bench.kept(), "kept")
    acme.append("ticket:resolved", {"n": 0})
    honest_now = bench.bundle()
    for memory in (kept, earlier):
        verdict = verdict_of(tmp_path, honest_now, kept=memory)
        assert verdict.valid
        assert verdict.clients[0].kept_size == 6
    acme.records[2] = replace(acme.records[2], content=acme.records[2].content.replace(b'"n":2', b'"n":9'))
    acme.checkpoints = []
    rewritten = bench.bundle()
    assert verdict_of(tmp_path, rewritten).valid  # nobody can tell from the bundle alone
    for memory in (kept, earlier):
        problem = problem_of(tmp_path, rewritten, kept=memory)
        assert problem.index == 5
        assert "not the one whose checkpoint you kept (6 entries)" in problem.what


def test_a_log_that_was_cut_short_is_seen(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    for n in range(6):
        acme.append("ticket:opened", {"n": n})
    bench.bundle()
    kept = write(tmp_path, bench.kept(), "kept")
    acme.records, acme.checkpoints = acme.records[:4], []
    assert "has 4 entries; the checkpoint you kept is over 6" in str(problem_of(tmp_path, bench.bundle(), kept=kept))


def test_a_client_that_vanished_is_seen(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    bolt = bench.client("Bolt")
    bolt.append("ticket:opened", {})
    bench.bundle()
    kept = write(tmp_path, bench.kept(), "kept")
    only = verdict_of(tmp_path, bench.bundle([acme]), kept=kept)
    assert only.valid
    assert only.not_compared == (bolt.id,)
    said_all = bench.bundle([acme], covers="every client")
    assert f"checkpoint of client {bolt.id}" in str(problem_of(tmp_path, said_all, kept=kept))
    foreign = write(tmp_path, bench.kept([bolt]), "foreign")
    assert "none of this bundle's clients" in str(problem_of(tmp_path, bench.bundle([acme]), kept=foreign))


def test_another_log_key_than_the_one_kept_is_seen(
    bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    bench.bundle()
    kept = write(tmp_path, bench.kept(), "kept")
    bench.log_key = bench.key()
    assert "another than that of the checkpoint you kept" in str(problem_of(tmp_path, bench.bundle(), kept=kept))


def test_a_kept_file_that_is_none_is_an_error(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    content = bench.bundle()
    kept = bench.kept()

    def error(memory: bytes) -> str:
        with pytest.raises(WrongFileError) as caught:
            verdict_of(tmp_path, content, kept=write(tmp_path, memory, "kept"))
        return str(caught.value)

    assert "neither a checkpoint file nor a bundle: it cannot be read" in error(b"hello")
    assert "has the format 'forestall-checkpoints/9'" in error(kept.replace(b"checkpoints/1", b"checkpoints/9"))
    fields = json.loads(kept)
    assert "log_key is not a public key" in error(json.dumps(fields | {"log_key": "ab"}).encode())
    assert "not signed by the log's key" in error(json.dumps(fields | {"log_key": "ab" * 32}).encode())
    assert "not one checkpoint for client" in error(
        json.dumps(fields | {"checkpoints": fields["checkpoints"] * 2}).encode()
    )
    nothing = signed_text(Checkpoint(client_id=acme.id, size=0, root="", at=START), bench.log_key)
    assert "not one checkpoint for client" in error(json.dumps(fields | {"checkpoints": [nothing]}).encode())
    assert "the earlier bundle does not hold: line 5, end: the bundle goes on after" in error(content + b"x")


def test_an_erasure_must_be_owned_up_to(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    gone = acme.append("ticket:opened", {"by": "Mr Brown"})
    acme.append("ticket:opened", {})
    acme.records[gone] = replace(acme.records[gone], erased=True)
    problem = problem_of(tmp_path, bench.bundle())
    assert str(problem) == (
        "line 4, entry #1 (ticket:opened) of Acme: the content was erased, and no later entry says so"
    )
    acme.erase(gone)
    assert verdict_of(tmp_path, bench.bundle()).clients[0].erased == 1


@pytest.mark.parametrize("index", [None, -1, True, "1", 3, 99, 1.0])
def test_an_erasure_names_an_earlier_entry(index: object, bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    for n in range(3):
        acme.append("ticket:opened", {"n": n})
    acme.append("evidence:erased", {"index": index})
    assert f"the payload's index is {index!r}" in str(problem_of(tmp_path, bench.bundle()))


def test_what_others_rest_on_can_not_be_erased(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    acme.erase(0)
    assert "a device:enrolled record cannot be erased" in str(problem_of(tmp_path, bench.bundle()))


def test_a_half_erased_record_is_refused(bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path) -> None:
    acme.erase(acme.result(pc))
    for field, value in (("salt", "00" * 32), ("envelope", "{}"), ("signer", "00" * 32)):
        problem = problem_of(tmp_path, resealed(bench, {4: {field: value}}))
        assert "the content is missing, but not all that belongs to it" in problem.what
    assert verdict_of(tmp_path, resealed(bench)).valid


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("salt", None, "the salt is not 64"),
        ("salt", "AB" * 32, "the salt is not 64"),
        ("signer", "ab", "the signer is not a public key"),
        ("envelope", "", "the envelope is empty"),
        ("proof", ["ab"], "'ab' is not a hash"),
        ("proof", [], "the inclusion proof does not lead"),
        ("proof", ["00" * 32], "the inclusion proof does not lead"),
        ("leaf", "{}", "the leaf cannot be read"),
        ("content", "{}", "the content is not what the leaf commits to"),
    ],
)
def test_fields_out_of_form_are_named(
    field: str, value: object, what: str, bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    acme.append("ticket:opened", {})
    problem = problem_of(tmp_path, resealed(bench, {4: {field: value}}))
    assert (problem.line, problem.record) == (4, "entry")
    assert what in problem.what


def test_leaves_and_contents_that_its_key_could_cover_are_still_refused(
    bench: Workbench, acme: ClientLog, tmp_path: Path, monkeypatch
) -> None:
    """A log whose very leaves are odd: not canonical, of another client, or committing to what is no record."""
    acme.append("ticket:opened", {})
    true = acme.leaves()[0]
    for leaf, what in (
        (true.replace(b'index":0', b'index": 0'), "the leaf is not in canonical JSON"),
        (true.replace(b"Z", b"+00:00"), "the leaf is not in canonical JSON"),
        (true.replace(b"Z", b"+02:00"), "the leaf is not in canonical JSON"),
        (true.replace(b"Z", b""), "the leaf cannot be read"),
        (true.replace(b"ticket:opened", b"ticket opened"), "the leaf cannot be read"),
        (true.replace(b"ticket:opened", b"ticket:opened\\n"), "the leaf cannot be read"),
        (true.replace(acme.id.encode(), b"another"), "the entry is of client another"),
    ):
        assert leaf != true
        monkeypatch.setattr(acme, "leaves", lambda leaf=leaf: [leaf])
        assert what in str(problem_of(tmp_path, bench.bundle())), leaf
    monkeypatch.undo()
    acme.checkpoints = []
    acme.records[0] = replace(acme.records[0], content=b'{"payload":[]}')
    assert "the content is not that of a record" in str(problem_of(tmp_path, bench.bundle()))


@pytest.mark.parametrize(
    ("device", "payload", "what"),
    [
        (None, {"device_id": None, "public_key": "ab" * 32}, "is about device None"),
        ("a", {"device_id": "b", "public_key": "ab" * 32}, "the payload's device_id is 'b'"),
        ("a", {"device_id": "a", "public_key": "AB" * 32}, "the payload's public_key is 'ABAB"),
        ("a", {"device_id": "a", "public_key": 7}, "the payload's public_key is 7"),
    ],
)
def test_an_enrolment_binds_one_device_to_one_key(
    device: str | None, payload: dict[str, object], what: str, bench: Workbench, acme: ClientLog, tmp_path: Path
) -> None:
    acme.append("device:enrolled", payload, device=device)
    assert what in str(problem_of(tmp_path, bench.bundle()))


def test_a_devices_envelope_has_one_signature_in_one_spelling(
    bench: Workbench, acme: ClientLog, pc: Device, tmp_path: Path
) -> None:
    index = acme.result(pc)
    record: Record = acme.records[index]
    body = dsse.decode(record.envelope).body()
    kind = dsse.decode(record.envelope).payloadType
    text = json.loads(record.envelope)
    sig = text["signatures"][0]["sig"]
    assert sig.endswith("==")
    respelt = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="  # the spare bits of the last digit
    for envelope, what in (
        (dsse.sign(body, kind, [pc.key, bench.key()]), "carries 2 signatures, expected one"),
        (dsse.sign(body, kind, []), "carries 0 signatures, expected one"),
        (dsse.sign(body, "text/plain", [pc.key]), "holds text/plain"),
        (dsse.sign(body + b" ", kind, [pc.key]), "the JobResult statement is not in canonical JSON"),
        (dsse.sign(b"{}", kind, [pc.key]), "not a JobResult statement"),
        (b"{}", "the envelope is malformed"),
        (record.envelope.replace(sig.encode(), respelt.encode()), "is not signed by device"),
        (record.envelope.replace(sig.encode(), b"?"), "is not signed by device"),
    ):
        acme.records[index] = replace(record, envelope=envelope)
        assert what in str(problem_of(tmp_path, bench.bundle())), what


# Checkpoints, header and seal out of form


def checkpoint_line(bench: Workbench, log: ClientLog, **other: object) -> dict[str, object]:
    said = {"client_id": log.id, "size": 2, "root": log.root(2).hex(), "at": START, **other}
    return {"envelope": signed_text(Checkpoint(**said), bench.log_key)}  # type: ignore[arg-type]


def test_checkpoints_out_of_form_are_named(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    acme.append("ticket:opened", {})
    acme.append("ticket:opened", {})
    acme.checkpoint()
    acme.append("ticket:opened", {})

    def what(change: dict[str, object], line: int = 2) -> str:
        problem = problem_of(tmp_path, resealed(bench, {line: change}))
        assert problem.record == "checkpoint"
        return str(problem)

    assert "the checkpoint is of client x" in what(checkpoint_line(bench, acme, client_id="x"))
    assert "names no time zone" in what(checkpoint_line(bench, acme, at=START.replace(tzinfo=None)))
    assert "is not a hash" in what(checkpoint_line(bench, acme, root="xyz"))
    assert "a checkpoint over 0 entries does not follow one over 0" in what(checkpoint_line(bench, acme, size=0))
    assert "over 2 entries does not follow one over 2" in what(checkpoint_line(bench, acme), line=3)
    assert "the consistency proof does not lead" in what({"consistency": ["00" * 32]})
    assert "the consistency proof does not lead" in what({"consistency": []}, line=3)
    assert "the consistency proof does not lead" in what(checkpoint_line(bench, acme, root="00" * 32))
    forged = dsse.sign(
        statement_bytes(Checkpoint(client_id=acme.id, size=2, root="00" * 32, at=START)),
        Checkpoint.PAYLOAD_TYPE,
        [bench.key()],
    )
    assert "is not signed by the log's key" in what({"envelope": forged.decode()})


def test_a_checkpoint_over_other_entries_is_found_where_they_end(
    bench: Workbench, acme: ClientLog, tmp_path: Path, monkeypatch
) -> None:
    """Were the consistency proof fooled, the entries themselves would tell: an earlier root is not theirs."""
    for n in range(3):
        acme.append("ticket:opened", {"n": n})
    acme.checkpoints = [(1, START), (3, START)]
    monkeypatch.setattr(merkle, "consistency_holds", lambda **_: True)
    raw = resealed(bench, {2: checkpoint_line(bench, acme, size=1, root="11" * 32)})
    problem = problem_of(tmp_path, raw)
    assert (problem.line, problem.index) == (4, 0)
    assert "do not make the root of the checkpoint over 1" in problem.what


def test_sections_are_as_long_as_the_header_says(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    acme.append("ticket:opened", {})
    for entries, checkpoints, what in (
        (2, 1, "the last checkpoint is over 1 entries, the header names 2"),
        (0, 0, "the last checkpoint is over 0 entries, the header names 0"),
        (-1, -1, "the last checkpoint is over 0 entries, the header names -1"),
        (1, 2, "here stands a line of another kind: entry"),
    ):
        section = bundle.BundleClient(id=acme.id, name="Acme", checkpoints=checkpoints, entries=entries)
        assert what in str(problem_of(tmp_path, bench.bundle(clients=(section,))))


def test_headers_out_of_form_are_named(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    acme.append("ticket:opened", {})
    assert "names no client" in str(problem_of(tmp_path, bench.bundle([])))
    assert "names a client twice" in str(problem_of(tmp_path, bench.bundle([acme, acme])))
    raw = bench.bundle()
    key = public_bytes(bench.log_key).hex()
    assert "log_key is not a public key" in str(problem_of(tmp_path, raw.replace(key.encode(), b"k" * 64, 1)))
    problem = problem_of(tmp_path, raw.replace(key.encode(), b"ab" * 32, 1))
    assert "line 1, header: the envelope is not signed by the log's key" in str(problem)


def test_the_seal_is_over_all_lines(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    acme.append("ticket:opened", {})
    lines = bench.bundle().splitlines(keepends=True)
    seals = [
        (bundle.BundleSeal(lines=2, digest="00" * 32), "the seal is over 2 lines, 3 stand before it"),
        (bundle.BundleSeal(lines=3, digest="00" * 32), "the seal is not that of the lines before it"),
    ]
    for seal, what in seals:
        line = bundle.line_bytes(bundle.SealLine(envelope=signed_text(seal, bench.log_key)))
        assert what in str(problem_of(tmp_path, b"".join([*lines[:-1], line])))


def test_the_root_of_authority_must_be_signed_by_its_own_threshold(
    bench: Workbench, acme: ClientLog, tmp_path: Path
) -> None:
    acme.append("ticket:opened", {})
    keys = [bench.key() for _ in range(3)]
    names = {key_id(public_bytes(key)): public_bytes(key).hex() for key in keys}

    def root(threshold: int, keys_of: dict[str, str] = names) -> Root:
        role = RoleKeys(keys=keys_of, threshold=threshold)
        expires = START + timedelta(days=9)
        return Root(version=3, issued_at=START, expires_at=expires, root=role, operator=role, catalogue=role)

    def signed(said: Root, signers: int, kind: str = Root.PAYLOAD_TYPE) -> str:
        return dsse.sign(statement_bytes(said), kind, keys[:signers]).decode()

    good = verdict_of(tmp_path, bench.bundle(root=signed(root(2), 2)))
    assert (good.valid, good.root_version) == (True, 3)
    assert verdict_of(tmp_path, bench.bundle(root=signed(root(1), 1))).valid
    for envelope, what in (
        (signed(root(2), 1), "has 1 of its 2 signatures"),
        (signed(root(0), 1), "has 1 of its 0 signatures"),
        (signed(root(1, {"ab": "zz"}), 1), "the root of authority: non-hexadecimal"),
        (signed(root(2), 2, "text/plain"), "the root of authority: the envelope holds text/plain"),
        ("{}", "the root of authority: not an envelope"),
    ):
        assert what in str(problem_of(tmp_path, bench.bundle(root=envelope)))


def test_names_from_the_file_are_shown_inert(bench: Workbench, tmp_path: Path) -> None:
    evil = bench.client("Acme\x1b[2J\u202e\n")
    evil.append("ticket:opened", {})
    verdict = verdict_of(tmp_path, bench.bundle(exported_by="\x07ada"))
    assert verdict.clients[0].name == "Acme\\x1b[2J\\u202e\\n"
    assert verdict.exported_by == "\\x07ada"
    evil.records[0] = replace(evil.records[0], erased=True)
    assert problem_of(tmp_path, bench.bundle()).client == "Acme\\x1b[2J\\u202e\\n"
    assert inert("é – naïve") == "é – naïve"
    assert len(inert("x" * 9999)) == 400


def test_the_salt_has_one_length() -> None:
    with pytest.raises(records.RecordError, match="a salt of 3 bytes"):
        records.commitment_of(salt=b"abc", content=b"", envelope=b"", signer=b"")


def test_the_same_seed_makes_the_same_bundle() -> None:
    assert honest(4).bundle() == honest(4).bundle()
