"""A command's way through the device: checked, noted, run once, answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta

import msgspec
import pytest

from forestall.agent.act import ActState, StateError, collect_after
from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.policy import parse_policy, read_policy
from forestall.agent.act.programs import MAX_OUTPUT
from forestall.trust.authorise import Refused, RefusedBecause
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import role_of, sign_revocation, sign_statement
from forestall.trust.statements import Parameter, RiskClass, Step, statement_digest
from forestall.trust.words import ACTION_WORDS


def test_what_ada_signed_runs_and_is_answered(machine):
    old, young = machine.file("old", size=5000), machine.file("young", days=1)
    result = machine.run()
    assert (result.outcome, result.code) == ("succeeded", "done")
    assert result.steps[0].changed == {"files": 1, "bytes": 8192, "folders": 0}
    assert not old.exists()
    assert young.exists()
    assert machine.state.results_waiting() == (result,)
    assert collect_after(machine.state, result) == ("volumes",)
    machine.state.result_spooled(result)
    assert machine.reopen().results_waiting() == ()


def test_a_command_runs_once_however_often_it_is_delivered(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    envelope = machine.signed(machine.job(runbook))
    assert machine.execute(envelope).outcome == "succeeded"
    again = machine.file("old")
    assert machine.execute(envelope) is None
    machine.reopen()
    assert machine.execute(envelope) is None
    assert again.exists()
    assert len(machine.state.results_waiting()) == 1


def test_an_older_command_is_refused_by_its_counter_after_a_newer_one(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    first, second = machine.signed(machine.job(runbook)), machine.signed(machine.job(runbook))
    assert machine.execute(second).outcome == "succeeded"
    refused = machine.execute(first)
    assert (refused.outcome, refused.code) == ("refused", RefusedBecause.COUNTER_PASSED)


def test_the_counter_is_on_stable_storage_before_the_first_step(machine):
    """The agent is killed by the very step that it runs: after its restart the command does not run again."""
    runbook = machine.runbook(Step(action="service.restart", arguments={"service": "killer"}))
    machine.know(runbook)
    envelope = machine.signed(machine.job(runbook))
    (machine.folder / "command").write_bytes(envelope)
    script = machine.temporary.parent / "init.d" / "killer"
    script.write_text('#!/bin/sh\nread agent < "$(dirname "$0")/agent.pid"\nkill -9 "$agent"\n')
    script.chmod(0o755)
    program = textwrap.dedent(f"""
        import os, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from forestall.agent.act import ActState, execute
        from forestall.agent.act.context import Places
        from forestall.agent.collect.host import LocalHost
        folder, init = Path({str(machine.folder)!r}), Path({str(script.parent)!r})
        (init / "agent.pid").write_text(str(os.getpid()) + "\\n")
        state = ActState.open(folder, now=datetime.now(UTC))
        execute((folder / "command").read_bytes(), state, LocalHost(), datetime.now(UTC),
                places=Places(init_scripts=str(init), systemd="/nonexistent"))
    """)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    machine.reopen()
    interrupted = machine.state.results_waiting()[0]
    assert (interrupted.outcome, interrupted.code) == ("failed", "interrupted")
    assert machine.state.last_counter == machine.counter
    assert machine.execute(envelope) is None
    assert machine.reopen().results_waiting() == (interrupted,)


def test_nothing_runs_when_the_counter_cannot_be_kept(machine, monkeypatch):
    runbook = machine.runbook()
    machine.know(runbook)
    old = machine.file("old")
    envelope = machine.signed(machine.job(runbook))
    real = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        machine.execute(envelope)
    assert old.exists()
    monkeypatch.setattr(os, "fsync", real)
    assert machine.reopen().last_counter == 0
    assert machine.execute(envelope).outcome == "succeeded"


def test_documents_that_cannot_be_kept_are_not_taken(machine, monkeypatch):
    runbook = machine.runbook()
    second = msgspec.structs.replace(machine.root, version=2)
    envelopes = [sign_statement(runbook, [machine.catalogue]), sign_statement(second, [machine.root_key])]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            machine.state.accept_documents(envelopes, now=machine.now)
    assert machine.state.root.version == 1
    assert machine.state.runbook(statement_digest(runbook)) is None
    assert machine.state.accept_documents(envelopes, now=machine.now) == []
    assert machine.reopen().root.version == 2


def test_every_refusal_is_answered_once(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    forged = machine.signed(machine.job(runbook), machine.eve)
    refused = machine.execute(forged)
    assert (refused.outcome, refused.code) == ("refused", "signatures_missing")
    assert refused.job_id
    assert machine.execute(forged) is None
    assert machine.execute(b"junk").code == "malformed"
    assert machine.execute(machine.signed(machine.order(runbook))).code == "wrong_type"
    assert len(machine.reopen().results_waiting()) == 3


def test_a_forgery_under_a_genuine_jobs_id_does_not_stop_the_genuine_one(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    job = machine.job(runbook)
    assert machine.execute(machine.signed(job, machine.eve)).outcome == "refused"
    assert machine.execute(machine.signed(job)).outcome == "succeeded"


def test_a_check_that_breaks_has_not_said_yes(machine, monkeypatch):
    runbook = machine.runbook()
    machine.know(runbook)
    old = machine.file("old")

    def broken(*_, **__):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("forestall.agent.act.state.authorise_command", broken)
    result = machine.execute(machine.signed(machine.job(runbook)))
    assert (result.outcome, result.code) == ("refused", "check_failed")
    assert old.exists()


# --- steps ---


def test_steps_stop_at_the_first_that_fails_unless_it_says_go_on(machine):
    machine.file("old")
    bad = Step(action="files.delete_older", arguments={"folder": "/etc", "older_than_days": 7, "pattern": "*"})
    good = Step(
        action="files.delete_older",
        arguments={"folder": str(machine.temporary), "older_than_days": 7, "pattern": "*"},
    )
    stopped = machine.run(bad, good)
    assert (stopped.outcome, stopped.code, len(stopped.steps)) == ("failed", "folder_not_allowed", 1)
    went_on = machine.run(msgspec.structs.replace(bad, go_on=True), good)
    assert (went_on.outcome, went_on.code, len(went_on.steps)) == ("failed", "folder_not_allowed", 2)
    assert went_on.steps[1].ok


def test_wrong_arguments_and_unknown_actions_are_said(machine):
    assert machine.run(Step(action="files.delete_older", arguments={"folder": "/tmp"})).code == "argument_wrong"
    wrong_type = {"folder": str(machine.temporary), "older_than_days": True, "pattern": "*"}
    assert machine.run(Step(action="files.delete_older", arguments=wrong_type)).code == "argument_wrong"
    result = machine.run(Step(action="shell", arguments={"line": "rm -rf /"}))
    assert (result.outcome, result.code) == ("refused", "action_unknown")


def test_an_action_that_changes_cannot_hide_behind_observe(machine):
    old = machine.file("old")
    runbook = machine.runbook(risk=RiskClass.OBSERVE)
    machine.know(runbook)
    result = machine.execute(sign_statement(machine.job(runbook), []))
    assert (result.outcome, result.code) == ("refused", "action_above_risk")
    assert old.exists()


def test_whatever_an_action_trips_over_is_answered(machine, monkeypatch):
    def broken(args, host, ctx):
        raise KeyError("a defect")

    monkeypatch.setattr(ACTIONS["files.delete_older"], "run", broken)
    result = machine.run()
    assert (result.outcome, result.code) == ("failed", "action_broke")


def test_output_is_cut_and_cleaned_and_secrets_are_masked(machine):
    (machine.folder / "password").write_text("correct horse battery\n")
    (machine.folder / "backups.toml").write_text(
        '[[backup]]\nname = "documents"\ntool = "restic"\nrepository = "/srv/b"\n'
        f'password_file = "{machine.folder}/password"\nenvironment = {{ AWS_SECRET_ACCESS_KEY = "wJalrXUtnFEMI" }}\n'
        "rerun = ['/usr/bin/env', 'printf', "
        "'%s%20000s\\n\\033[31mcorrect horse battery wJalrXUtnFEMI\\n', 'begin', 'end']\n"
    )
    result = machine.run(Step(action="backup.rerun", arguments={"backup": "documents"}))
    assert result.outcome == "succeeded"
    output = result.steps[0].output
    assert len(output.encode()) <= MAX_OUTPUT
    assert output.endswith("[31m[hidden] [hidden]\n")
    assert "begin" not in output
    kept = (machine.folder / "trust.json").read_bytes()
    assert b"horse" not in kept
    assert b"wJalr" not in kept


# --- the customer's policy ---


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ('forbid_risk = ["change"]', "veto_risk"),
        ('forbid_runbooks = ["tidy-up"]', "veto_runbook"),
        ('allowed_hours = ["{never}"]', "veto_hours"),
        ('forbid_risks = ["change"]', "veto_unreadable"),
        ('forbid_risk = "change"', "veto_unreadable"),
        ('forbid_risk = ["chnage"]', "veto_unreadable"),
        ("not toml", "veto_unreadable"),
        ('allowed_hours = ["always"]', "veto_unreadable"),
        ('delete_below = ["/"]', "veto_unreadable"),
        ('delete_below = ["/etc/x"]', "veto_unreadable"),
        ('delete_below = ["relative"]', "veto_unreadable"),
        ("\ud800", "veto_unreadable"),
    ],
)
def test_v1_the_customers_policy_binds_the_very_next_command(machine, policy, code):
    runbook = machine.runbook()
    machine.know(runbook)
    old = machine.file("old")
    hour = machine.now.astimezone().hour
    never = f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24 or 24:02}:00"
    path = machine.folder / "policy.toml"
    path.write_bytes(policy.replace("{never}", never).encode(errors="surrogatepass"))
    result = machine.execute(machine.signed(machine.job(runbook)))
    assert (result.outcome, result.code) == ("refused", code)
    assert old.exists()
    path.unlink()
    assert machine.execute(machine.signed(machine.job(runbook))).outcome == "succeeded"


def test_a_policy_that_cannot_be_read_forbids_everything(machine):
    (machine.folder / "policy.toml").mkdir()
    assert read_policy(machine.folder).veto.unreadable


def test_the_policy_can_open_folders_for_cleaning(machine, tmp_path):
    scratch = tmp_path.resolve() / "scratch"
    old = machine.file("old", below=scratch)
    step = Step(action="files.delete_older", arguments={"folder": str(scratch), "older_than_days": 7, "pattern": "*"})
    assert machine.run(step).code == "folder_not_allowed"
    assert old.exists()
    (machine.folder / "policy.toml").write_text(f'delete_below = ["{scratch}"]')
    assert machine.run(step).outcome == "succeeded"
    assert not old.exists()
    assert parse_policy('delete_below = ["/srv/scratch"]').delete_below == ("/srv/scratch",)


# --- standing orders ---


def test_an_order_runs_as_often_as_it_says_even_across_restarts(machine):
    runbook = machine.runbook()
    order = machine.order(runbook)
    machine.know(runbook)
    assert machine.state.accept_documents([machine.signed(order)], now=machine.now) == []
    codes = []
    for _ in range(3):
        codes.append(machine.execute(machine.invocation(order)).code)
        machine.reopen()
    assert codes == ["done", "done", "rate_limit"]
    machine.now += timedelta(hours=23, minutes=59)
    assert machine.execute(machine.invocation(order)).code == "rate_limit"


def test_a_day_later_an_order_may_run_again_but_not_when_the_clock_was_set_back(machine):
    runbook = machine.runbook()
    order = machine.order(runbook, runs_per_day=1, expires_at=machine.now + timedelta(days=10))
    machine.know(runbook)
    machine.state.accept_documents([machine.signed(order)], now=machine.now)
    machine.now += timedelta(days=3)
    assert machine.execute(machine.invocation(order)).code == "done"
    machine.now -= timedelta(days=2)
    assert machine.execute(machine.invocation(order)).code == "rate_limit"
    machine.now += timedelta(days=3)
    assert machine.execute(machine.invocation(order)).code == "done"


def test_documents_come_in_any_order_and_wrong_ones_are_named(machine):
    runbook = machine.runbook()
    order = machine.order(runbook)
    documents = [machine.signed(order), sign_statement(runbook, [machine.catalogue])]
    assert machine.state.accept_documents(documents, now=machine.now) == []
    assert machine.state.orders == (statement_digest(order),)
    refused = machine.state.accept_documents(
        [
            b"junk",
            machine.signed(machine.job(runbook)),
            sign_statement(machine.runbook(slug="eves"), [machine.eve]),
            machine.signed(machine.order(runbook), machine.eve),
        ],
        now=machine.now,
    )
    assert [refusal.because for refusal in refused] == [
        "malformed", "signatures_missing", "signatures_missing", "wrong_type",
    ]  # fmt: skip


def test_a_revoked_order_stays_revoked_when_it_is_delivered_again(machine):
    runbook = machine.runbook()
    order = machine.order(runbook)
    machine.know(runbook)
    machine.state.accept_documents([machine.signed(order)], now=machine.now)
    revocation = sign_revocation(
        orders=[statement_digest(order)], reason="stop", now=machine.now, keys=[machine.ada.private_bytes_raw()]
    )
    assert machine.state.accept_documents([revocation], now=machine.now) == []
    machine.reopen()
    again = machine.state.accept_documents([machine.signed(order)], now=machine.now)
    assert [refusal.because for refusal in again] == ["order_revoked"]
    assert machine.execute(machine.invocation(order)).code == "order_revoked"


def test_expired_orders_are_forgotten(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    first = machine.order(runbook, expires_at=machine.now + timedelta(hours=1))
    machine.state.accept_documents([machine.signed(first)], now=machine.now)
    machine.now += timedelta(days=2)
    second = machine.order(runbook, not_before=machine.now, expires_at=machine.now + timedelta(hours=1))
    machine.state.accept_documents([machine.signed(second)], now=machine.now)
    assert machine.state.orders == (statement_digest(second),)


# --- the root ---


def test_a_new_root_takes_over_and_an_old_one_does_not_come_back(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    grace, new_catalogue = new_key(), new_key()
    second = msgspec.structs.replace(
        machine.root, version=2, operator=role_of([grace]), catalogue=role_of([new_catalogue])
    )
    first_envelope = sign_statement(machine.root, [machine.root_key])
    second_envelope = sign_statement(second, [machine.root_key])
    assert machine.state.accept_documents([first_envelope, second_envelope], now=machine.now) == []
    assert machine.state.root.version == 2
    assert machine.state.accept_documents([first_envelope], now=machine.now) == []
    assert machine.reopen().root.version == 2
    assert machine.state.runbook(statement_digest(runbook)) is None, "the old catalogue's word ended with it"
    assert machine.execute(machine.signed(machine.job(runbook))).code == "signatures_missing"
    machine.state.accept_documents([sign_statement(runbook, [new_catalogue])], now=machine.now)
    assert machine.execute(machine.signed(machine.job(runbook), grace)).outcome == "succeeded"


def test_enrolment_pins_the_root(machine, tmp_path):
    with pytest.raises(Refused, match="root_not_pinned"):
        ActState.create(
            tmp_path / "other",
            device_id="d",
            client_id="c",
            pinned_key_id=key_id(public_bytes(machine.eve)),
            root=sign_statement(machine.root, [machine.root_key]),
            now=machine.now,
        )
    assert not (tmp_path / "other" / "trust.json").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format":1}'])
def test_a_damaged_state_is_an_error_and_never_a_new_beginning(machine, content):
    (machine.folder / "trust.json").write_bytes(content)
    with pytest.raises(StateError, match=r"trust\.json"):
        machine.reopen()
    (machine.folder / "trust.json").unlink()
    with pytest.raises(StateError, match=r"trust\.json"):
        machine.reopen()


def test_the_state_is_private_and_leaves_no_scraps(machine):
    machine.run()
    assert (machine.folder / "trust.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in machine.folder.iterdir()] == ["trust.json"]


def test_refusals_that_nobody_takes_are_bounded(machine, monkeypatch):
    monkeypatch.setattr("forestall.agent.act.state.MAX_WAITING", 5)
    monkeypatch.setattr("forestall.agent.act.state.MAX_ANSWERED", 5)
    done = machine.run()
    for number in range(10):
        machine.execute(b"junk %d" % number)
    waiting = machine.state.results_waiting()
    assert len(waiting) == 5
    assert waiting[0] == done, "the result of a run is never dropped"


def test_every_action_has_words_with_exactly_its_arguments():
    assert set(ACTION_WORDS) == set(ACTIONS)
    for name, action in ACTIONS.items():
        words = ACTION_WORDS[name]
        for argument in action.ARGUMENTS:
            assert f"{{{argument}}}" in words, (name, argument)


def test_every_action_needs_an_operator():
    assert all(action.RISK is not RiskClass.OBSERVE for action in ACTIONS.values())


def test_parameters_reach_the_steps(machine):
    old = machine.file("old.log")
    other = machine.file("old.txt")
    runbook = machine.runbook(
        Step(
            action="files.delete_older",
            arguments={"folder": str(machine.temporary), "older_than_days": "{days}", "pattern": "{pattern}"},
        ),
        parameters=(
            Parameter(name="days", kind="integer", description="", minimum=1),
            Parameter(name="pattern", kind="text", description=""),
        ),
    )
    machine.know(runbook)
    job = machine.job(runbook, parameters={"days": 7, "pattern": "*.log"})
    assert machine.execute(machine.signed(job)).outcome == "succeeded"
    assert not old.exists()
    assert other.exists()
