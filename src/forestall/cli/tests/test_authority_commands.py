"""Ada, Grace and Heidi share the authority: each with a folder of her own, none with another's key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.cli import operator as commands
from forestall.cli.errors import CommandError
from forestall.cli.sign import ROOT_ENDS_SOON, covered_devices
from forestall.cli.tests.conftest import ADA
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Scope
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import AuthorityProposal, Job, JobState, OrderRecord, OrderState
from forestall.server.runbooks.operator import OperatorError, OperatorFolder, read_public
from forestall.trust.keys import key_id, new_key, private_bytes, public_bytes
from forestall.trust.sign import sign_job, sign_statement

replace = msgspec.structs.replace


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch):
    monkeypatch.setattr("forestall.trust.keyfile.COST", 1 << 4)
    monkeypatch.setattr(
        "forestall.server.runbooks.operator.seal",
        lambda raw, passphrase, **given: __import__("forestall.trust.keyfile", fromlist=["x"]).seal(
            raw, passphrase, cost=1 << 4, **given
        ),
    )


@pytest.fixture
def grace(tmp_path) -> Path:
    return tmp_path / "grace"


def prepare(device, **given):
    changes = {"runbook": "free-disk-space", "parameters": {"volume": "/"}, "reason": "full", **given}
    return services.job_prepare(scope=ADA, device=device, now=datetime.now(UTC), **changes)


def join(forestall, grace: Path, *options: str) -> str:
    """Grace makes a key; Ada names it in the next root; Grace fetches that root. Her key id."""
    made = forestall("operator", "key", "new", "grace", "--plain", "--folder", str(grace))
    assert made.return_value == 0, made.output
    public = grace / "operator-grace.pub"
    proposed = forestall("operator", "root", "propose", "--add", str(public), *options, answer="y\n")
    assert proposed.return_value == 0, proposed.output
    assert "● In force" in proposed.output
    fetched = forestall("operator", "root", "fetch", "--folder", str(grace), "--root-key", queries.root_key_id())
    assert fetched.return_value == 0, fetched.output
    return key_id(read_public(public).raw)


def test_a_second_operator_joins_and_two_sign_what_reaches_far(forestall, device, folder, grace):
    identifier = join(forestall, grace)
    assert queries.root_newest().version == 2
    assert identifier in queries.root_newest().operator.keys
    assert OperatorFolder.open(folder).root.version == 2  # Ada's own folder follows
    shown = forestall("operator", "show", "--folder", str(grace))
    assert "operator-grace.key" in shown.output
    assert "not in this folder" in shown.output
    assert "1 of 2" in shown.output
    assert "no limits of its own" in shown.output
    # Five devices by one hand; the sixth needs both.
    devices = [device, *(another(device, number) for number in range(2, 8))]
    jobs = [prepare(one) for one in devices]
    for job in jobs[:5]:
        assert forestall("sign", str(job.pk), "--yes").return_value == 0
    looked = forestall("sign", str(jobs[5].pk), "--dry-run")
    assert looked.return_value == 0
    assert "Reaches 6 devices, 86 % of the 7 that the server counts: more than the 5" in looked.output
    assert "A dry run: not signed." in looked.output
    by_yes = forestall("sign", str(jobs[5].pk), "--yes")
    assert by_yes.return_value == 1
    assert "--yes does not cover that" in by_yes.output
    first = forestall("sign", str(jobs[5].pk), answer="y\n")
    assert "another operator's signature is needed (2 in all)" in first.output
    assert state(jobs[5]) == JobState.AWAITING_SIGNATURE
    second = forestall("sign", str(jobs[5].pk), "--folder", str(grace), answer="y\n")
    assert "Signed already by operator (key" in second.output or "Signed already by key" in second.output
    assert "Needs 2 signatures; has 1" in second.output
    assert state(jobs[5]) == JobState.QUEUED


def another(device, number: int) -> Device:
    made = Device.objects.visible_to(ADA).get(pk=device.pk)
    made.pk, made.name, made.machine_id = None, f"web-{number:02}", f"m{number}"
    made.public_key, made.job_counter = public_bytes(new_key()), 0
    made._state.adding = True
    made.id = __import__("uuid").uuid4()
    made.save()
    return made


def state(job) -> str:
    return str(Job.objects.visible_to(ADA).get(pk=job.pk).state)


def test_a_server_that_forgets_is_remembered_by_the_signer(forestall, device, folder, monkeypatch):
    """The server says each job is the first of its kind; Ada's own journal knows how many she signed."""
    now = datetime.now(UTC)
    job = prepare(device)
    from forestall.server.runbooks.journal import JOURNAL, journal_add
    from forestall.trust.statements import Job as JobStatement
    from forestall.trust.statements import read_statement

    statement = read_statement(bytes(job.statement), JobStatement)
    for number in range(5):
        journal_add(folder, statement=replace(statement, devices={f"d{number}": 1}), slug="free-disk-space", now=now)
    journal_add(folder, statement=replace(statement, devices={"dry": 1}, dry_run=True), slug="free-disk-space", now=now)
    journal_add(folder, statement=statement, slug="another", now=now)
    journal_add(folder, statement=replace(statement, devices={"old": 1}), slug="free-disk-space",
                now=now - timedelta(days=2))  # fmt: skip
    with (folder / JOURNAL).open("ab") as file:
        file.write(b'{"torn": ')
    given = {"client_id": statement.client_id, "slug": "free-disk-space", "now": now}
    assert covered_devices(folder, **given) == {"d0", "d1", "d2", "d3", "d4"}
    looked = forestall("sign", str(job.pk), "--dry-run")
    assert "Reaches 6 devices" in looked.output
    assert "Needs 2 signatures" in looked.output
    assert (folder / JOURNAL).stat().st_mode & 0o777 == 0o600


def test_the_key_under_a_passphrase(forestall, device, folder, monkeypatch):
    job = prepare(device)
    done = forestall("operator", "key", "protect", str(folder / "operator.key"),
                     answer="correct horse battery\ncorrect horse battery\n")  # fmt: skip
    assert done.return_value == 0, done.output
    assert "under a passphrase" in forestall("operator", "show").output
    with_prompt = forestall("sign", str(job.pk), answer="correct horse battery\ny\n")
    assert with_prompt.return_value == 0, with_prompt.output
    assert "correct horse" not in with_prompt.output
    wrong = forestall("sign", str(prepare(device, parameters={"volume": "/srv"}).pk), answer="incorrect horse\n")
    assert "not its passphrase" in str(wrong.exception)
    with pytest.raises(OperatorError, match="set FORESTALL_KEY_PASSPHRASE"):
        OperatorFolder.open(folder).operator_keys()
    monkeypatch.setenv("FORESTALL_KEY_PASSPHRASE", "correct horse battery")
    assert forestall("sign", "--all", "--yes").return_value == 0
    assert forestall("operator", "key", "protect", str(folder / "operator.key"), "--plain").return_value == 0
    assert len((folder / "operator.key").read_text().strip()) == 64
    monkeypatch.setenv("FORESTALL_KEY_PASSPHRASE", "short")
    assert "take 12 at least" in str(forestall("operator", "key", "new", "x").exception)


def test_the_ceremony_for_three(forestall, device, folder, grace, tmp_path):
    """Three root keys, two must sign. The root goes to Grace as a file, and to Heidi over the server."""
    heidi = tmp_path / "heidi"
    publics = []
    for name, home in (("grace", grace), ("heidi", heidi)):
        assert (
            forestall("operator", "key", "new", name, "--role", "root", "--plain", "--folder", str(home)).return_value
            == 0
        )
        publics += ["--add", str(home / f"root-{name}.pub")]
    file = tmp_path / "root-2.json"
    proposed = forestall("operator", "root", "propose", *publics, "--threshold", "root:2", "--one-signature", "5",
                         "--out", str(file), answer="y\n")  # fmt: skip
    assert proposed.return_value == 0, proposed.output
    for words in ("+ grace (key", "gets the role root", "The role root signs with 2 of 3 keys (was 1 of 1)",
                  "at most 5 devices", "Not in force yet: 1 valid root signatures, 2 needed"):  # fmt: skip
        assert words in proposed.output, proposed.output
    sent = forestall("operator", "root", "send", str(file))
    assert sent.return_value == 1
    assert "not in force yet" in sent.output
    for home in (grace, heidi):
        fetched = forestall("operator", "root", "fetch", "--root-key", queries.root_key_id(), "--folder", str(home))
        assert fetched.return_value == 0, fetched.exception
    declined = forestall("operator", "root", "sign", str(file), "--folder", str(grace), answer="n\n")
    assert declined.return_value == 1
    signed = forestall("operator", "root", "sign", str(file), "--folder", str(grace), answer="y\n")
    assert "It has all its signatures" in signed.output
    assert "Signed already by" in signed.output
    by_server = forestall("operator", "root", "sign", "--folder", str(heidi), "--yes")
    assert "● In force" in by_server.output, by_server.output
    assert queries.root_newest().root.threshold == 2
    assert "Nothing waits for a root key" in forestall("operator", "root", "sign", "--folder", str(heidi)).output
    # The first folder is behind until it fetches; then one alone cannot end a key, two can.
    behind = forestall("operator", "root", "propose", "--yes")
    assert "root version 2, expected 3" in str(behind.exception) or "propose it anew" in str(behind.exception)
    assert forestall("operator", "root", "fetch").return_value == 0
    operator_key = next(iter(queries.root_newest().operator.keys))
    started = forestall("operator", "revoke", operator_key[:12], "--reason", "stolen laptop", "--yes")
    assert started.return_value == 0, started.exception
    assert "not in force yet" in started.output
    assert queries.revoked_keys() == frozenset()
    forestall("operator", "root", "fetch", "--folder", str(heidi))
    ended = forestall("operator", "root", "sign", "--folder", str(heidi), answer="y\n")
    assert "never counts again" in ended.output
    assert "Because: stolen laptop" in ended.output
    assert queries.revoked_keys() == {operator_key}
    refused = forestall("sign", str(prepare(device).pk), "--yes")
    assert "revoked key" in str(refused.exception)


def test_one_person_ends_a_lost_key(forestall, device, folder, grace, tmp_path):
    join(forestall, grace)
    out = tmp_path / "end.json"
    assert "0 operators' keys" in str(forestall("operator", "revoke", "nobody", "--reason", "x").exception)
    (folder / "grace.pub").write_bytes((grace / "operator-grace.pub").read_bytes())
    kept = forestall("operator", "revoke", "grace", "--reason", "left", "--out", str(out), "--yes")
    assert "It has all its signatures" in kept.output, kept.exception
    assert queries.revoked_keys() == frozenset()
    assert forestall("operator", "root", "send", str(out)).return_value == 0
    assert len(queries.revoked_keys()) == 1


def test_limits_on_the_command_line(forestall, device, folder, grace):
    identifier = join(forestall, grace)
    limit = f"{identifier[:12]}:risk=change,clients={device.client_id},devices=3"
    assert forestall("operator", "root", "propose", "--limit", limit, "--yes").return_value == 0
    limits = queries.root_newest().limits[identifier]
    assert (limits.risk, limits.clients, limits.most_devices) == (("change",), (str(device.client_id),), 3)
    forestall("operator", "root", "fetch", "--folder", str(grace))
    assert forestall("sign", str(prepare(device).pk), "--yes", "--folder", str(grace)).return_value == 0
    elsewhere = f"{identifier[:12]}:clients=another"
    assert forestall("operator", "root", "propose", "--limit", elsewhere, "--yes").return_value == 0
    forestall("operator", "root", "fetch", "--folder", str(grace))
    refused = forestall("sign", str(prepare(device, parameters={"volume": "/x"}).pk), "--yes", "--folder", str(grace))
    assert "beyond the limits of your key" in str(refused.exception)
    assert forestall("operator", "root", "propose", "--limit", f"{identifier[:12]}:none", "--yes").return_value == 0
    assert queries.root_newest().limits == {}
    assert forestall("operator", "root", "propose", "--one-signature", "any", "--yes").return_value == 0
    assert "no change" not in forestall("operator", "show").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--threshold", "root"), "expected ROLE:VALUE"),
        (("--threshold", "root:x"), "'x' is not a number"),
        (("--threshold", "root:2"), "would need 2 signatures of 1 keys"),
        (("--drop", "king:1"), "expected ROLE:VALUE"),
        (("--limit", "abcd:fish=1"), "expected KEY:risk"),
        (("--limit", "abcd:risk=trust"), "no risk class"),
        (("--limit", "abcd:devices=many"), "not a number"),
        (("--one-signature", "few"), "not a number"),
    ],
)
def test_what_a_root_cannot_be_is_named(folder, forestall, arguments, words):
    assert words in str(forestall("operator", "root", "propose", *arguments).exception)


def test_what_is_no_proposal_is_not_signed(forestall, device, folder, tmp_path, grace):
    file = tmp_path / "x"
    operator = OperatorFolder.open(folder)
    job = prepare(device)
    for content, words in (
        (b"junk", "no root and no revocation"),
        (sign_job(bytes(job.statement), operator.operator_keys()), "no root and no revocation, but application"),
        (sign_statement(replace(operator.root, version=9), []), "does not follow this folder's"),
    ):
        file.write_bytes(content)
        assert words in str(forestall("operator", "root", "sign", str(file), "--yes").exception)
    (folder / "root.key").write_text(private_bytes(new_key()).hex())
    assert "is one that this root" in str(forestall("operator", "root", "propose", "--yes").exception)
    (folder / "root.key").unlink()
    assert "holds no root key" in str(forestall("operator", "root", "propose", "--yes").exception)
    assert "needs --root-key" in str(forestall("operator", "root", "fetch", "--folder", str(grace)).exception)
    wrong = forestall("operator", "root", "fetch", "--folder", str(grace), "--root-key", "0" * 64)
    assert "do not hold" in str(wrong.exception)
    assert "exists already" in str(
        (forestall("operator", "key", "new", "x", "--plain"), forestall("operator", "key", "new", "x", "--plain"))[
            1
        ].exception
    )
    assert "not a name for a key" in str(forestall("operator", "key", "new", "X Y", "--plain").exception)
    assert not AuthorityProposal.objects.exists()


def test_a_root_that_ends_soon_is_said_in_time(forestall, device, folder, monkeypatch):
    prepare(device)
    assert "ends on" not in forestall("sign", "--all", "--dry-run").output
    monkeypatch.setattr("forestall.cli.sign.ROOT_ENDS_SOON", timedelta(days=3650))
    assert "then devices run nothing" in forestall("sign", "--all", "--dry-run").output
    assert timedelta(days=30) <= ROOT_ENDS_SOON


def test_two_operators_sign_a_standing_order_by_file(forestall, device, folder, grace, tmp_path):
    join(forestall, grace, "--threshold", "operator:2")
    file = tmp_path / "order.json"
    arguments = ("order", "sign", "restart-service", "--device", "web-01", "--trigger", "service_down",
                 "--allow", "service=nginx")  # fmt: skip
    alone = forestall(*arguments, "--yes")
    assert "1 valid operator signatures, 2 needed" in str(alone.exception)
    assert forestall(*arguments, "--out", str(file), "--yes").return_value == 0
    declined = forestall("order", "countersign", str(file), "--folder", str(grace), answer="n\n")
    assert declined.return_value == 1
    signed = forestall("order", "countersign", str(file), "--folder", str(grace), answer="y\n")
    assert signed.return_value == 0, signed.exception
    assert "Signed already by" in signed.output
    assert "needs 2 signatures" in signed.output
    assert OrderRecord.objects.visible_to(ADA).get().state == OrderState.IN_FORCE
    file.write_bytes(b"junk")
    assert isinstance(forestall("order", "countersign", str(file)).exception, CommandError)


def test_a_dry_run_of_a_job_is_prepared_and_read_as_one(forestall, device):
    made = forestall("jobs", "--prepare", "free-disk-space", "--device", "web-01", "--set", "volume=/",
                     "--reason", "look first", "--dry-run", "--json")  # fmt: skip
    job = json.loads(made.output)
    assert job["dry_run"] is True
    done = forestall("sign", job["id"], answer="y\n")
    assert "A DRY RUN: it only says what it would do" in done.output
    assert done.return_value == 0


def test_what_the_customers_policy_refused_before_is_said(forestall, device):
    old = prepare(device)
    Job.objects.visible_to(Scope.system("x")).filter(pk=old.pk).update(
        state="refused", result_code="veto_hours", result_detail="no changes at Monday 10:00", result_envelope=b"x"
    )
    looked = forestall("sign", str(prepare(device, parameters={"volume": "/srv"}).pk), "--dry-run")
    assert "The customer's policy refused before, as the server says: no changes at Monday 10:00" in looked.output


def test_only_the_waiting_list_is_paged(monkeypatch):
    class Pages:
        def __init__(self):
            self.pages = [{"items": [{"envelope": "QUJD"}], "next_cursor": "c"}, {"items": [], "next_cursor": None}]

        def get(self, path, **query):
            return self.pages.pop(0)

    assert commands._items(Pages(), "/x?state=waiting") == [{"envelope": "QUJD"}]
    with pytest.raises(CommandError, match="no envelope"):
        commands._envelope({"envelope": "!"})
