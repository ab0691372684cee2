"""Revoked keys, new roots and dry runs on a device: what it accepts, and what it never forgets."""

from __future__ import annotations

import os
from datetime import timedelta

import msgspec
import pytest
from click.testing import CliRunner

from forestall.agent.act import ActState, StateError
from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.alarm import freeze_alarms
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.policy import parse_policy, policy_words
from forestall.agent.act.programs import run_program
from forestall.agent.act.state import Kept, root_held
from forestall.cli.main import cli
from forestall.trust import dsse
from forestall.trust.authorise import RefusedBecause
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import role_of, sign_revocation, sign_statement
from forestall.trust.statements import OperatorLimits, Revocation, RiskClass, Step

replace = msgspec.structs.replace


def name(key) -> str:
    return key_id(public_bytes(key))


def revocation(machine, *keys, **changes) -> Revocation:
    given = {"issued_at": machine.now, "orders": (), "keys": tuple(map(name, keys)), "reason": "stolen laptop"}
    return Revocation(**{**given, **changes})


def accept(machine, *envelopes):
    return [refused.because for refused in machine.state.accept_documents(envelopes, now=machine.now)]


def successor(machine, *keys, **changes) -> bytes:
    root = replace(machine.state.root, version=machine.state.root.version + 1, **changes)
    return sign_statement(root, keys or [machine.root_key])


def ready(machine):
    runbook = machine.runbook()
    machine.know(runbook)
    return runbook


def test_v3_a_revoked_key_is_never_forgotten(machine):
    """Ada's laptop is stolen. The root says so once; whatever the server sends afterwards, her key stays dead."""
    runbook = ready(machine)
    order = machine.order(runbook)
    assert accept(machine, machine.signed(order)) == []
    old_root = sign_statement(machine.root, [machine.root_key])
    notice = sign_statement(revocation(machine, machine.ada), [machine.root_key])
    assert accept(machine, notice) == []
    assert machine.execute(machine.signed(machine.job(runbook))).code == RefusedBecause.KEY_REVOKED
    assert machine.execute(machine.invocation(order)).code == RefusedBecause.KEY_REVOKED
    # Rolled back: the old root again, a root that names her again, the agent started anew, the notice once more.
    assert accept(machine, old_root, successor(machine), notice) == []
    assert machine.state.root.version == 2
    machine.reopen()
    assert machine.state.revoked_keys == {name(machine.ada)}
    assert machine.execute(machine.signed(machine.job(runbook))).code == RefusedBecause.KEY_REVOKED
    # Grace takes over with a key of her own.
    grace = new_key()
    assert accept(machine, successor(machine, operator=role_of([machine.ada, grace]))) == []
    assert machine.execute(machine.signed(machine.job(runbook), grace)).outcome == "succeeded"


def test_v3_an_operator_cannot_revoke_another(machine):
    for keys in ([machine.ada], [machine.eve], []):
        forged = sign_statement(revocation(machine, machine.ada), keys)
        assert accept(machine, forged) == [RefusedBecause.SIGNATURES_MISSING]
    assert machine.state.revoked_keys == frozenset()


def test_v3_a_revocation_by_an_earlier_root_role_still_counts(machine):
    """The device was away while the root's own keys changed: the notice was signed by those before."""
    runbook = ready(machine)
    notice = sign_statement(revocation(machine, machine.ada), [machine.root_key])
    fresh = new_key()
    second = sign_statement(replace(machine.root, version=2, root=role_of([fresh])), [machine.root_key, fresh])
    assert accept(machine, second, notice) == []
    assert machine.execute(machine.signed(machine.job(runbook))).code == RefusedBecause.KEY_REVOKED
    # Sent again under the new root: known already. Another one by the old key: too late.
    assert accept(machine, notice) == []
    late = sign_statement(revocation(machine, machine.eve), [machine.root_key])
    assert accept(machine, late) == [RefusedBecause.SIGNATURES_MISSING]


def test_v3_a_revoked_key_ends_no_orders(machine):
    runbook = ready(machine)
    order = machine.order(runbook)
    accept(machine, machine.signed(order))
    accept(machine, sign_statement(revocation(machine, machine.ada), [machine.root_key]))
    stop = sign_revocation(
        orders=["a" * 64], reason="mischief", now=machine.now, keys=[machine.ada.private_bytes_raw()]
    )
    assert accept(machine, stop) == [RefusedBecause.KEY_REVOKED]


def test_a_device_that_was_away_follows_a_chain_with_an_expired_link(machine):
    second = replace(machine.root, version=2, expires_at=machine.now - timedelta(days=1))
    third = replace(machine.root, version=3)
    chain = [sign_statement(root, [machine.root_key]) for root in (third, second)]
    assert accept(machine, chain[1]) == [RefusedBecause.ROOT_EXPIRED]
    assert accept(machine, *chain) == []
    assert machine.reopen().root.version == 3


def test_v2_only_a_proper_successor_is_accepted(machine):
    fresh = new_key()
    skipped = sign_statement(replace(machine.root, version=3), [machine.root_key])
    taken = sign_statement(replace(machine.root, version=2, root=role_of([fresh])), [fresh])
    unsound = sign_statement(replace(machine.root, version=2, limits={"0" * 64: OperatorLimits()}), [machine.root_key])
    assert accept(machine, skipped) == [RefusedBecause.ROOT_VERSION_WRONG]
    assert accept(machine, taken) == [RefusedBecause.SIGNATURES_MISSING]
    assert accept(machine, unsound) == [RefusedBecause.LIMITS_UNSOUND]
    assert accept(machine, b"junk", sign_statement(machine.job(machine.runbook()), [machine.ada])) == [
        RefusedBecause.MALFORMED,
        RefusedBecause.WRONG_TYPE,
    ]
    assert machine.state.root == machine.root


def test_a_malformed_revocation_is_named(machine):
    for body in (b"{}", b"junk"):
        envelope = dsse.sign(body, Revocation.PAYLOAD_TYPE, [machine.root_key])
        assert accept(machine, envelope) == [RefusedBecause.MALFORMED]


def test_a_result_that_does_not_wait_is_forgotten_in_peace(machine):
    runbook = ready(machine)
    result = machine.execute(machine.signed(machine.job(runbook)))
    machine.state.result_spooled(result)
    machine.state.result_spooled(result)
    assert machine.reopen().results_waiting() == ()


def test_an_agent_that_does_not_know_of_revoked_keys_runs_nothing(machine):
    """N-1: the file is the old one until there is something the old agent must not overlook."""
    fields = set(msgspec.json.decode((machine.folder / "trust.json").read_bytes()))
    assert fields <= {"format", "device_id", "client_id", "pinned_key_id", "root"}
    accept(machine, sign_statement(revocation(machine, machine.ada), [machine.root_key]))
    fields = set(msgspec.json.decode((machine.folder / "trust.json").read_bytes()))
    assert "revoked_keys" in fields
    assert "revoked_keys" in Kept.__struct_fields__


def test_v3_a_full_disk_forgets_neither_half(machine, monkeypatch):
    """The state is as it was before the documents, in memory and on disk: the server sends them again."""
    notice = sign_statement(revocation(machine, machine.ada), [machine.root_key])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("forestall.agent.act.state.file_write", full)
        with pytest.raises(OSError, match="No space"):
            machine.state.accept_documents([notice, successor(machine)], now=machine.now)
    assert machine.state.revoked_keys == frozenset()
    assert machine.state.root.version == 1
    assert accept(machine, notice) == []


def test_a_damaged_state_stops_everything(machine):
    (machine.folder / "trust.json").write_bytes(b"{}")
    with pytest.raises(StateError):
        ActState.open(machine.folder, now=machine.now)


# --- freeze ---


@pytest.mark.parametrize(
    ("days_left", "checkpoint_days", "words"),
    [
        (400, 1, []),
        (400, 7, []),
        (61, None, []),
        (59, 1, ["ends on"]),
        (0, 1, ["ended on"]),
        (-1, 8, ["ended on", "the server answers, but"]),
        (400, 8, ["the server answers, but"]),
    ],
)
def test_v2_a_freeze_raises_an_alarm(machine, days_left, checkpoint_days, words):
    root = replace(machine.root, expires_at=machine.now + timedelta(days=days_left))
    checkpoint = None if checkpoint_days is None else machine.now - timedelta(days=checkpoint_days)
    given = {"root": root, "checkpoint_at": checkpoint, "now": machine.now}
    alarms = freeze_alarms(last_check_in_at=machine.now, **given)
    assert len(alarms) == len(words)
    assert all(word in alarm for word, alarm in zip(words, alarms, strict=True))
    # A device that reaches nobody is offline, not frozen.
    assert not [alarm for alarm in freeze_alarms(last_check_in_at=None, **given) if "server answers" in alarm]


def test_the_root_held_is_read_beside_the_agent(machine, tmp_path):
    accept(machine, sign_statement(revocation(machine, machine.ada), [machine.root_key]))
    assert root_held(machine.folder) == (machine.root, 1)
    assert root_held(tmp_path / "nowhere") is None
    (machine.folder / "trust.json").write_bytes(b"{}")
    with pytest.raises(StateError):
        root_held(machine.folder)


# --- dry runs ---


def test_a_dry_run_counts_and_deletes_nothing(machine):
    old, young = machine.file("old"), machine.file("young", days=0)
    below = machine.file("below/old", size=4096)
    os.utime(below.parent, (0, 0))
    runbook = ready(machine)
    result = machine.execute(machine.signed(machine.job(runbook, dry_run=True)))
    assert (result.outcome, result.code) == ("succeeded", "dry_run")
    assert result.steps[0].summary.startswith("would delete 2 files")
    assert result.steps[0].changed == {}
    assert old.exists()
    assert young.exists()
    assert below.exists()
    # The same for real.
    result = machine.execute(machine.signed(machine.job(runbook)))
    assert result.steps[0].changed["files"] == 2
    assert not old.exists()


def test_a_dry_run_needs_the_signatures_of_the_real_one(machine):
    runbook = ready(machine)
    result = machine.execute(machine.signed(machine.job(runbook, dry_run=True), machine.eve))
    assert result.code == RefusedBecause.SIGNATURES_MISSING
    assert machine.state.last_counter == 0


def test_a_dry_run_starts_no_program_that_changes_anything(machine):
    context = machine.context(dry_run=True)
    with pytest.raises(ActionFailed, match="dry run"):
        run_program(["/bin/true"], context)
    assert run_program(["/bin/true"], context, looks_only=True).exit_code == 0


def test_a_restart_in_a_dry_run_only_names_the_script(machine):
    script = machine.temporary.parent / "init.d" / "example"
    script.write_text(f"#!/bin/sh\ntouch {machine.temporary}/started\n")
    script.chmod(0o755)
    step = Step(action="service.restart", arguments={"service": "example"})
    runbook = machine.runbook(step)
    machine.know(runbook)
    result = machine.execute(machine.signed(machine.job(runbook, dry_run=True)))
    assert result.steps[0].summary == f"would restart example with {script}"
    assert not (machine.temporary / "started").exists()


def test_an_action_that_cannot_say_is_not_run(machine, monkeypatch):
    called = []

    class Mute:
        NAME, RISK, ARGUMENTS, DRY_RUN = "mute.act", "change", {}, False

        @staticmethod
        def run(*_):
            called.append(True)

    monkeypatch.setitem(ACTIONS, "mute.act", Mute)
    monkeypatch.setitem(__import__("forestall.agent.act.execute", fromlist=["x"]).LEAST_RISK, "mute.act", "change")
    runbook = machine.runbook(Step(action="mute.act"))
    machine.know(runbook)
    result = machine.execute(machine.signed(machine.job(runbook, dry_run=True)))
    assert result.steps[0].summary == "mute.act cannot say what it would do"
    assert not called


def test_every_action_has_an_answer_to_a_dry_run(machine):
    """None of the built-in actions changes a file when it is asked to say what it would do."""
    machine.file("old")
    machine.file("log/app.log.1", below=machine.temporary.parent)
    (machine.temporary.parent / "init.d" / "example").write_text("#!/bin/sh\n")
    (machine.temporary.parent / "init.d" / "example").chmod(0o755)
    (machine.folder / "backups.toml").write_text(
        '[[backup]]\nname = "documents"\ntool = "restic"\nrepository = "/srv/x"\nrerun = ["/bin/false"]\n'
    )
    (machine.folder / "backups.toml").chmod(0o600)
    values = {"folder": str(machine.temporary), "volume": str(machine.temporary), "older_than_days": 7,
              "pattern": "*", "service": "example", "backup": "documents", "exclude": "", "disable": False,
              "enable": False, "about": "disk", "interpreter": "sh", "script": "true", "run_as": "nobody", "name": "",
              "job": "11111111-1111-4111-8111-111111111111"}  # fmt: skip
    machine.context(job_id=values["job"]).changes.file_mode(str(machine.temporary / "old"), 0o600)
    (machine.temporary.parent / "etc").mkdir()
    (machine.temporary.parent / "etc" / "logrotate.conf").write_text("weekly\n")

    def everything():
        return sorted(path for path in machine.temporary.parent.rglob("*") if path.name != "trust.json")

    rotates = {"logs.rotate"} if machine.host.find_program("logrotate") else set()
    before = everything()
    for action in ACTIONS.values():
        # What these would do depends on the package manager of the machine: see test_updates_apt, where it is ours.
        if action.NAME.startswith(("updates.", "system.reboot")):
            continue
        # These look at things of their own (a repository, an account, a firewall): their own tests ask them.
        if not set(action.ARGUMENTS) <= set(values) or action.NAME in {"logs.rotate"} - rotates:
            continue
        arguments = {argument: values[argument] for argument in action.ARGUMENTS}
        done = action.run(arguments, machine.host, machine.context(dry_run=True))
        assert done.ok
        assert done.changed == {}, action.NAME
    assert everything() == before


def test_a_dry_run_is_not_taken_for_the_repair(machine):
    from forestall.agent.act import collect_after

    runbook = ready(machine)
    dry = machine.execute(machine.signed(machine.job(runbook, dry_run=True)))
    assert collect_after(machine.state, dry) == ()
    assert collect_after(machine.state, machine.execute(machine.signed(machine.job(runbook)))) == ("volumes",)


# --- the customer's policy ---


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('forbid_actions = ["files.delete_older"]', RefusedBecause.VETO_ACTION),
        ('forbid_actions = ["files.*"]', RefusedBecause.VETO_ACTION),
        ("forbid_shells = true", None),
        ("forbid_shells = false", None),
        ('forbid_shells = "yes"', RefusedBecause.VETO_UNREADABLE),
        ('forbid_actions = ["everything"]', RefusedBecause.VETO_UNREADABLE),
    ],
)
def test_v1_actions_and_shells_can_be_forbidden(machine, text, code):
    runbook = ready(machine)
    (machine.folder / "policy.toml").write_text(text)
    result = machine.execute(machine.signed(machine.job(runbook)))
    assert result.code == (code or "done")


def test_v1_a_script_is_stopped_by_the_word_shells(machine):
    """The customer's word holds for every family of scripts, those that this agent has and those it may get."""
    script = {"interpreter": "sh", "script": "true", "run_as": "nobody"}
    runbook = machine.runbook(Step(action="script.run", arguments=script), risk=RiskClass.DESTRUCTIVE)
    unknown = machine.runbook(Step(action="shell.run"), slug="unknown", risk=RiskClass.DESTRUCTIVE)
    machine.know(runbook, unknown)
    both = (machine.ada, machine.grace)
    (machine.folder / "policy.toml").write_text("forbid_shells = true")
    assert machine.execute(machine.signed(machine.job(runbook), *both)).code == RefusedBecause.VETO_ACTION
    assert machine.execute(machine.signed(machine.job(unknown), *both)).code == RefusedBecause.VETO_ACTION
    (machine.folder / "policy.toml").unlink()
    assert machine.execute(machine.signed(machine.job(unknown), *both)).code == RefusedBecause.ACTION_UNKNOWN
    assert machine.execute(machine.signed(machine.job(runbook, dry_run=True), *both)).code == "dry_run"


def test_the_policy_in_words():
    words = policy_words(
        parse_policy(
            'forbid_risk = ["destructive"]\nforbid_runbooks = ["restart-service"]\nforbid_shells = true\n'
            'forbid_actions = ["service.*", "apt.clean"]\nallowed_hours = ["Sat-Sun 00:00-24:00", "22:00-06:00"]\n'
            'delete_below = ["/srv/scratch"]\n'
        )
    )
    assert words == [
        "Never runs here: anything of the risk class destructive.",
        "Never runs here: the runbook restart-service.",
        "Never runs here: shells and scripts, whoever signs them.",
        "Never runs here: the action apt.clean.",
        "Never runs here: any action of service.",
        "Runs only, on this device's clock:",
        "  Saturday, Sunday from 00:00 to 24:00",
        "  every day from 22:00 to 06:00 of the next day",
        "Old files below /srv/scratch may be deleted.",
    ]
    assert policy_words(parse_policy("")) == [
        "Nothing is forbidden: what operators sign within their limits runs, at any hour."
    ]


def test_the_customer_asks_the_agent_what_the_policy_says(tmp_path, monkeypatch):
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(tmp_path))

    def ask(*arguments):
        return CliRunner().invoke(cli, ["agent", "policy", *arguments], standalone_mode=False)

    none = ask()
    assert none.return_value == 0
    assert "(there is none)" in none.output
    (tmp_path / "policy.toml").write_text("forbid_shels = true")
    wrong = ask()
    assert wrong.return_value == 1
    assert "Nothing runs here" in wrong.output
    assert "forbid_shels" in wrong.output
    draft = tmp_path / "draft.toml"
    draft.write_text("forbid_shells = true")
    assert "shells and scripts" in ask("--file", str(draft)).output
    draft.write_text("forbid_shells = 3")
    assert ask("--file", str(draft)).return_value == 1
