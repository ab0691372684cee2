"""Scripts of one's own: signed to the byte, with parameters that can never become code."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from forestall.agent.act.actions import ACTIONS, script_run
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.policy import POLICY_FILE
from forestall.trust.statements import Parameter, RiskClass, Step

RUN = ACTIONS["script.run"]
needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="scripts run only where the agent is root"),
]
root = lambda test: needs_root[0](needs_root[1](test))  # noqa: E731


def args(script, interpreter="sh", run_as="nobody"):
    return {"interpreter": interpreter, "script": script, "run_as": run_as}


def run(machine, script, interpreter="sh", run_as="nobody", **context):
    return RUN.run(args(script, interpreter, run_as), machine.host, machine.context(**context))


EVIL = "'; touch /tmp/owned; \"$(id)`id`\\"


@root
@pytest.mark.parametrize(
    ("interpreter", "script"),
    [
        ("sh", 'printf "%s\\n" "$FORESTALL_NAME" "$FORESTALL_COUNT" "$FORESTALL_DEEP"\n'),
        ("bash", 'echo "${FORESTALL_NAME}"; echo "$((FORESTALL_COUNT))"; [[ $FORESTALL_DEEP == true ]] && echo true\n'),
        (
            "python3",
            "import os\nfor name in ('NAME', 'COUNT', 'DEEP'):\n    print(os.environ[f'FORESTALL_{name}'])\n",
        ),
        ("pwsh", "Write-Output $env:FORESTALL_NAME $env:FORESTALL_COUNT $env:FORESTALL_DEEP\n"),
    ],
)
def test_typed_parameters_arrive_as_values_and_never_as_code(machine, interpreter, script):
    if shutil.which(interpreter) is None:
        pytest.skip(f"{interpreter} is not installed")
    result = run(machine, script, interpreter, parameters={"name": EVIL, "count": 7, "deep": True})
    assert result.output.splitlines() == [EVIL, "7", "true"]
    assert result.summary.startswith(f"ran a {interpreter} script of ")


@root
def test_it_runs_as_nobody_in_an_empty_folder_that_is_gone_afterwards(machine):
    result = run(machine, "id -un; pwd; ls -A; umask; cat /etc/shadow\n" + f"ls {machine.folder}\n:\n")
    user, folder, umask, *denied = result.output.splitlines()
    assert (user, umask) == ("nobody", "0077")
    assert folder.startswith("/tmp/forestall-script-")
    assert not Path(folder).exists()
    assert sum("ermission denied" in line for line in denied) == 2


@root
def test_it_runs_as_root_only_where_the_runbook_says_so(machine):
    assert run(machine, "id -un\n", run_as="root").output == "root\n"


@root
@pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed")
def test_nobody_gains_no_rights(machine):
    result = run(machine, "sudo -n id || true; grep NoNewPrivs /proc/self/status\n")
    assert "uid=0" not in result.output
    assert "NoNewPrivs:\t1" in result.output


@root
def test_a_script_that_fails_says_where(machine):
    with pytest.raises(ActionFailed) as failed:
        run(machine, "echo working\necho it broke >&2\nexit 3\n")
    assert failed.value.code == "script_failed"
    assert failed.value.sentence == "a sh script of 3 lines as nobody ended with 3: it broke"
    assert failed.value.output == "working\nit broke\n"
    with pytest.raises(ActionFailed, match="ended with 1: no output"):
        run(machine, "exit 1")


@root
def test_the_timeout_ends_everything_it_started(machine):
    mark = machine.temporary.parent / "pids"
    began = time.monotonic()
    with pytest.raises(ActionFailed, match=r"^timed_out: the script was ended after 0.5 s"):
        run(machine, f"sleep 60 & echo $! >> {mark}; sleep 60\n", run_as="root", timeout_seconds=0.5)
    assert time.monotonic() - began < 10
    child = Path("/proc", mark.read_text().strip(), "stat")
    for _ in range(500):
        if not child.exists() or child.read_text().split()[2] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"{child} still runs")


@root
def test_output_is_bounded(machine, monkeypatch):
    monkeypatch.setattr(script_run, "MAX_WRITTEN", 100_000)
    with pytest.raises(ActionFailed, match=r"^output_too_large: ") as failed:
        run(machine, "yes forestall\n")
    assert len(failed.value.output) == 8 * 1024
    assert len(run(machine, "head -c 50000 /dev/zero | tr '\\0' x\n").output) == 8 * 1024


@root
def test_a_script_says_what_it_changed(machine):
    result = run(machine, "echo 'forestall: changed files 3'\necho 'forestall: changed Bad-Name 3'\n")
    assert result.changed == {"files": 3}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (args("x", interpreter="perl"), "interpreter: 'perl' is none of sh, bash, python3, pwsh"),
        (args("x", run_as="postgres"), "run_as: 'postgres' is none of nobody, root"),
        (args(" \n"), "script: it is empty"),
        (args("a\0b"), "script: it is empty, or holds a NUL character"),
    ],
)
def test_what_is_no_script_is_refused(machine, given, what):
    with pytest.raises(ActionFailed, match=what):
        RUN.run(given, machine.host, machine.context())


def test_an_interpreter_that_is_not_there_is_named(machine, monkeypatch):
    monkeypatch.setattr(type(machine.host), "find_program", lambda self, name: None)
    with pytest.raises(ActionFailed, match=r"^program_missing: sh is not installed"):
        run(machine, "x")


def test_an_agent_without_root_rights_runs_none(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ActionFailed, match=r"^not_root: "):
        run(machine, "true\n")


def test_a_dry_run_runs_nothing(machine):
    result = run(machine, "touch /tmp/owned\n", dry_run=True)
    assert result.summary == "would run a sh script of 1 line as nobody"


# --- through the agent's door ---


def own_script(machine, **changes):
    step = Step(action="script.run", arguments=args('echo "hello $FORESTALL_WHO"\n'))
    given = {
        "slug": "own",
        "risk": RiskClass.DESTRUCTIVE,
        "parameters": (Parameter(name="who", kind="text", description=""),),
    }
    runbook = machine.runbook(step, **{**given, **changes})
    machine.know(runbook)
    return runbook


def test_two_operators_sign_a_script(machine):
    runbook = own_script(machine)
    job = machine.job(runbook, parameters={"who": EVIL})
    assert machine.execute(machine.signed(job)).code == "signatures_missing"
    result = machine.execute(machine.signed(job, machine.ada, machine.grace))
    if os.geteuid() == 0:
        assert result.steps[0].output == f"hello {EVIL}\n"
    else:
        assert result.code == "not_root"


def test_a_script_in_a_runbook_of_a_lesser_class_is_refused(machine):
    runbook = own_script(machine, risk=RiskClass.CHANGE)
    result = machine.execute(machine.signed(machine.job(runbook, parameters={"who": "x"})))
    assert result.code == "action_above_risk"


def test_the_customers_veto_of_shells_holds_whoever_signs(machine):
    (machine.folder / POLICY_FILE).write_text("forbid_shells = true\n")
    runbook = own_script(machine)
    job = machine.job(runbook, parameters={"who": "x"})
    result = machine.execute(machine.signed(job, machine.ada, machine.grace))
    assert (result.outcome, result.code) == ("refused", "veto_action")
