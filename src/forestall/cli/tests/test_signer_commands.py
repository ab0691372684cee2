"""``forestall sign``, ``order`` and ``operator`` against a real server. Ada signs; the server may lie to her."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import msgspec
import pytest
from click.testing import CliRunner

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.main import cli
from forestall.cli.order import allowed_values
from forestall.cli.sign import runbook_of, statement_of
from forestall.server.people.scope import Scope
from forestall.server.runbooks import services
from forestall.server.runbooks.library import read_library
from forestall.server.runbooks.models import Job, JobState, OrderRecord, OrderState
from forestall.server.runbooks.operator import OperatorError, OperatorFolder, operator_init
from forestall.trust.keys import new_key
from forestall.trust.sign import sign_statement
from forestall.trust.statements import Job as JobStatement
from forestall.trust.statements import read_statement, statement_bytes, statement_digest

ADA = Scope.system("ada")


def prepare(device, **parameters):
    return services.job_prepare(
        scope=ADA,
        runbook="free-disk-space",
        device=device,
        parameters=parameters or {"volume": "/"},
        reason="/ is 93 % full",
        now=datetime.now(UTC),
    )


def state(job) -> str:
    return str(Job.objects.visible_to(ADA).get(pk=job.pk).state)


def test_ada_reads_and_signs(forestall, device):
    job = prepare(device, volume="/srv", older_than_days=30)
    done = forestall("sign", str(job.pk), answer="y\n")
    assert done.return_value == 0, done.output
    for words in (
        "Deletes temporary files older than 30 days on /srv: what was not read",
        str(device.pk),
        "web-01, as the server calls it",
        "Cannot be undone.",
        "Because: / is 93 % full",
        "Valid until",
        "Needs 1 signature; has 0",
        "Reaches 1 device, 100 % of the 1 that the server counts",
        "● Signed: queued.",
    ):
        assert words in done.output, done.output
    assert state(job) == JobState.QUEUED


def test_without_a_yes_nothing_is_signed(forestall, device):
    job = prepare(device)
    done = forestall("sign", str(job.pk), answer="n\n")
    assert done.return_value == 1
    assert "Not signed." in done.output
    assert state(job) == JobState.AWAITING_SIGNATURE


def test_all_in_the_order_they_were_prepared_each_under_its_new_number(forestall, device):
    jobs = [prepare(device, volume=volume) for volume in ("/", "/srv", "/var")]
    done = forestall("sign", "--all", "--yes")
    assert done.return_value == 0, done.output
    assert "It changed" not in done.output
    assert [state(job) for job in jobs] == [JobState.QUEUED] * 3
    assert forestall("sign", "--all").output == "No job waits for a signature.\n"
    with_error = forestall("sign", str(jobs[0].pk))
    assert "does not wait for a signature: queued" in str(with_error.exception)


def test_what_changed_while_ada_read_it_is_shown_again(forestall, device, monkeypatch):
    job = prepare(device)
    asked = []

    def confirm(_):
        if not asked:
            services.job_change(
                job=job, scope=ADA, parameters={"volume": "/var"}, reason="Eve was here", now=datetime.now(UTC)
            )
        asked.append(True)
        return True

    monkeypatch.setattr("forestall.cli.sign.click.confirm", confirm)
    done = forestall("sign", str(job.pk))
    assert len(asked) == 2
    assert "It changed while you were reading" in done.output
    assert "on /var." in done.output
    assert state(job) == JobState.QUEUED


def test_a_server_that_lies_about_a_job_is_not_believed(forestall, device):
    """Eve changed every readable column, and the statement: the words come from the statement."""
    job = prepare(device)
    statement = read_statement(bytes(job.statement), JobStatement)
    wider = msgspec.structs.replace(statement, parameters={"volume": "/", "older_than_days": 1})
    Job.objects.visible_to(ADA).filter(pk=job.pk).update(
        statement=statement_bytes(wider), parameters={"volume": "/harmless"}, reason="harmless"
    )
    done = forestall("sign", str(job.pk), answer="n\n")
    assert "older than 1 days on /:" in done.output
    assert "harmless" not in done.output


def test_what_must_not_be_signed_is_not_even_offered(forestall, device, folder):
    job = prepare(device)
    statement = read_statement(bytes(job.statement), JobStatement)
    operator = OperatorFolder.open(folder)
    eves = msgspec.structs.replace(operator.runbook_called("free-disk-space"), slug="eves", undo="Trust me.")
    for offered, words in (
        (b"junk", "not a job"),
        (statement_bytes(eves), "not a job"),
        (statement_bytes(msgspec.structs.replace(statement, job_id="another")), "under the id"),
        (statement_bytes(msgspec.structs.replace(statement, runbook=statement_digest(eves))), "has not signed"),
        (statement_bytes(msgspec.structs.replace(statement, risk="observe")), "Do not sign it"),
        (statement_bytes(msgspec.structs.replace(statement, parameters={"volume": "x"})), "would refuse"),
    ):
        Job.objects.visible_to(ADA).filter(pk=job.pk).update(statement=offered)
        done = forestall("sign", str(job.pk), "--yes")
        assert isinstance(done.exception, CommandError), (words, done.output)
        assert words in str(done.exception)
        assert state(job) == JobState.AWAITING_SIGNATURE


def test_a_runbook_from_the_server_counts_only_with_our_catalogues_signature(device, folder):
    operator = OperatorFolder.open(folder)
    bare = OperatorFolder(folder=folder, root_envelope=operator.root_envelope, root=operator.root, runbooks={})
    job = prepare(device)
    statement = read_statement(bytes(job.statement), JobStatement)
    genuine = next((folder / "runbooks").glob("free-*.json")).read_bytes()
    forged = sign_statement(operator.runbook_called("free-disk-space"), [new_key()])

    offers: list[bytes] = [forged, b"x"]

    class Server(Api):
        def get(self, path, **query):
            items = [{"envelope": base64.b64encode(envelope).decode()} for envelope in offers]
            return {"items": items, "next_cursor": None}

    with pytest.raises(CommandError, match="has not signed"):
        runbook_of(Server(url="", token=""), bare, statement)
    offers.append(genuine)
    assert runbook_of(Server(url="", token=""), bare, statement).slug == "free-disk-space"
    assert statement_of({"id": str(job.pk), "statement": base64.b64encode(bytes(job.statement)).decode()}) == statement


def test_terminal_escapes_in_a_reason_do_nothing(forestall, device):
    job = prepare(device)
    statement = read_statement(bytes(job.statement), JobStatement)
    evil = msgspec.structs.replace(statement, reason="fine\x1b[2J\x1b]0;x\x07\u202e[red]markup[/red]")
    Job.objects.visible_to(ADA).filter(pk=job.pk).update(statement=statement_bytes(evil))
    done = forestall("sign", str(job.pk), answer="n\n")
    assert "\x1b[2J" not in done.output
    assert "\u202e" not in done.output
    assert "[red]markup[/red]" in done.output


@pytest.mark.parametrize("arguments", [("sign",), ("sign", "x", "--all")])
def test_sign_wants_one_or_all(forestall, arguments):
    assert "name one JOB_ID, or --all" in str(forestall(*arguments).exception)


# --- standing orders ---


def test_ada_signs_lists_and_revokes_a_standing_order(forestall, device):
    signed = forestall(
        "order", "sign", "restart-service", "--device", "web-01", "--trigger", "service_down",
        "--allow", "service=nginx", "--allow", "service=cron", "--days", "7", answer="y\n",
    )  # fmt: skip
    assert signed.return_value == 0, signed.output
    for words in (
        "Whenever the check service_down fails, without asking anyone",
        "At most 3 times a day on each device",
        "Restarts the service <service> and waits until it runs.",
        "where service is one of: nginx, cron",
    ):
        assert words in signed.output, signed.output
    order = OrderRecord.objects.visible_to(ADA).get()
    assert (order.trigger, order.allowed) == ("service_down", {"service": ["nginx", "cron"]})
    assert order.digest[:16] in forestall("order", "list").output
    assert order.digest in forestall("order", "list", "--json").output
    assert "0 standing orders" in str(forestall("order", "revoke", "zz", "--reason", "x").exception)
    revoked = forestall("order", "revoke", order.digest[:8], "--reason", "too eager")
    assert revoked.return_value == 0, revoked.output
    order.refresh_from_db()
    assert order.state == OrderState.REVOKED


def test_an_order_is_not_signed_without_a_yes(forestall, device):
    arguments = ("order", "sign", "rerun-backup", "--device", str(device.pk), "--trigger", "backup_age")
    done = forestall(*arguments, "--allow", "backup=documents", answer="n\n")
    assert done.return_value == 1
    assert not OrderRecord.objects.visible_to(ADA).exists()


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((), "needs --allow volume=VALUE"),
        (("volume",), "expected PARAM=VALUE"),
        (("shell=rm",), "expected PARAM=VALUE"),
        (("volume=relative",), "not an absolute path"),
        (("volume=/", "older_than_days=x"), "not of kind integer"),
        (("volume=/", "older_than_days=0"), "below 1"),
    ],
)
def test_values_that_do_not_fit_the_runbook_are_named(folder, pairs, words):
    with pytest.raises(CommandError, match=words):
        allowed_values(OperatorFolder.open(folder).runbook_called("free-disk-space"), pairs)


def test_values_take_the_parameters_type(folder):
    runbook = OperatorFolder.open(folder).runbook_called("free-disk-space")
    pairs = ("volume=/", "volume=/", "older_than_days=7", "older_than_days=30")
    assert allowed_values(runbook, pairs) == {"volume": ["/"], "older_than_days": [7, 30]}


# --- the operator's folder ---


def test_the_folder_is_private_and_made_once(tmp_path):
    folder = tmp_path / "new"
    run = CliRunner().invoke(cli, ["operator", "init", "--folder", str(folder)], standalone_mode=False)
    assert run.return_value == 0, run.output
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == [
        "README.txt", "catalogue.key", "operator.key", "root.json", "root.key",
        *sorted(f"runbooks/{runbook.slug}-{runbook.version}.json" for runbook in read_library()),
    ]  # fmt: skip
    assert all((folder / name).stat().st_mode & 0o777 == 0o600 for name in files)
    assert "lives off the server" in (folder / "README.txt").read_text().replace("\n", " ")
    before = {name: (folder / name).read_bytes() for name in files}
    CliRunner().invoke(cli, ["operator", "init", "--folder", str(folder)], standalone_mode=False)
    assert {name: (folder / name).read_bytes() for name in files} == before
    shown = CliRunner().invoke(cli, ["operator", "show", "--folder", str(folder)], standalone_mode=False)
    assert "operator.key" in shown.output
    assert "free-disk-space" in shown.output


def test_a_folder_without_its_catalogue_key_still_signs_jobs(folder):
    (folder / "catalogue.key").unlink()
    (folder / "root.key").unlink()
    bundle = operator_init(folder=folder, now=datetime.now(UTC))
    assert len(bundle.runbooks) == len(read_library())
    assert len(OperatorFolder.open(folder).operator_keys()) == 1


def test_folders_that_are_none_say_so(tmp_path, folder):
    with pytest.raises(OperatorError, match="forestall operator init"):
        OperatorFolder.open(tmp_path / "absent")
    with pytest.raises(OperatorError, match=r"known: .*free-disk-space, .*hold-packages, .*restart-service"):
        OperatorFolder.open(folder).runbook_called("reboot-now")
    (folder / "operator.key").write_text("abc")
    with pytest.raises(OperatorError, match=r"operator\.key cannot be read"):
        OperatorFolder.open(folder).operator_keys()
    (folder / "operator.key").write_text("ab")
    with pytest.raises(OperatorError, match="1 bytes, expected 32"):
        OperatorFolder.open(folder).operator_keys()
    (folder / "operator.key").unlink()
    with pytest.raises(OperatorError, match="no operator key"):
        OperatorFolder.open(folder).operator_keys()
    (folder / "root.json").unlink()
    with pytest.raises(OperatorError, match="move the keys away"):
        operator_init(folder=folder, now=datetime.now(UTC))
    (folder / "root.json").write_text("{}")
    with pytest.raises(OperatorError, match="not an envelope"):
        OperatorFolder.open(folder)
