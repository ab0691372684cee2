"""``forestall verify`` as a customer meets it: an answer, an exit code, and plain words."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from forestall.cli.errors import report_errors
from forestall.cli.verify import verify
from forestall.trust.keys import key_id, public_bytes
from forestall.verify.tests.workbench import ClientLog, Workbench, write


@pytest.fixture
def bench() -> Workbench:
    return Workbench(3)


@pytest.fixture
def acme(bench: Workbench) -> ClientLog:
    log = bench.client("Acme")
    log.append("ticket:opened", {"title": "disk fills"})
    pc = log.enrol()
    log.checkpoint()
    log.result(pc)
    return log


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and what was written, as the `forestall` command gives them."""

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def forestall(rest: tuple[str, ...]) -> None:
        raise SystemExit(report_errors(lambda: verify.main(args=list(rest), standalone_mode=False)))

    result: Result = CliRunner().invoke(forestall, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_a_bundle_that_holds(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    fingerprint = key_id(public_bytes(bench.log_key))
    code, text = run(write(tmp_path, bench.bundle()))
    assert code == 0
    assert "bundle holds." in text
    assert "3, of which 1 in the own words of 1 device" in text
    assert f"the key's fingerprint is {fingerprint}; compare it with the one you were given" in text
    assert "1 record signed, saw this log up to entry #1" in text
    assert "That nobody was ever shown another log" in text


def test_a_pinned_key_may_be_typed_as_people_do(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    fingerprint = key_id(public_bytes(bench.log_key)).upper()
    spelt = ":".join(fingerprint[at : at + 4] for at in range(0, 64, 4))
    code, text = run("--log-key", spelt, write(tmp_path, bench.bundle()))
    assert code == 0
    assert "The log's key is the one you were given." in text
    assert "compare it with the one" not in text
    code, text = run("--log-key", "ab" * 32, write(tmp_path, bench.bundle()))
    assert code == 1
    assert "not the pinned abab" in text
    code, text = run("--log-key", "abc", write(tmp_path, bench.bundle()))
    assert code == 2
    assert "--log-key: 'abc' is not a key's fingerprint" in text


def test_a_tampered_bundle_names_the_first_wrong_record(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    code, text = run(write(tmp_path, bench.bundle().replace(b"disk fills", b"all is fine")))
    assert code == 1
    assert "does not hold. First wrong record: line 4, entry #0 (ticket:opened) of Acme: the content is not" in text
    assert "What this shows" not in text


def test_the_verdict_as_json(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    result = CliRunner().invoke(verify, ["--json", str(write(tmp_path, bench.bundle()))], standalone_mode=False)
    verdict = json.loads(result.stdout)
    assert result.return_value == 0
    assert (verdict["valid"], verdict["problem"], verdict["pinned"]) == (True, None, False)
    assert verdict["clients"][0]["name"] == "Acme"
    broken = write(tmp_path, bench.bundle()[:-1])
    result = CliRunner().invoke(verify, ["--json", str(broken)], standalone_mode=False)
    assert result.return_value == 1
    assert json.loads(result.stdout)["problem"]["record"] == "seal"


def test_what_is_no_bundle_is_said_so(tmp_path: Path) -> None:
    code, text = run(write(tmp_path, b"%PDF-1.7"))
    assert code == 2
    assert "is not an evidence bundle" in text
    code, text = run(tmp_path / "none")
    assert code == 2
    assert "No such file" in text
    code, text = run(tmp_path)
    assert code == 2
    assert "Is a directory" in text


@pytest.mark.parametrize("option", ["--checkpoint", "--since"])
def test_what_was_kept_is_compared(option: str, bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    earlier = write(tmp_path, bench.bundle(), "earlier")
    kept = write(tmp_path, bench.kept(), "kept")
    acme.append("ticket:resolved", {})
    acme.erase(0)
    now = write(tmp_path, bench.bundle())
    for memory in (earlier, kept):
        code, text = run(option, memory, now)
        assert code == 0
        assert "begins with the 3 entries whose checkpoint you kept" in text
        assert "Erased 1: place and proof kept" in text
    acme.records[0] = replace(acme.records[0], salt=bytes(32))
    acme.records = acme.records[:2]
    acme.checkpoints = []
    code, text = run(option, kept, write(tmp_path, bench.bundle(), "forged"))
    assert code == 1
    assert "the checkpoint you kept is over 3" in text
    code, text = run(option, write(tmp_path, b"?", "odd"), now)
    assert code == 2
    assert "neither a checkpoint file nor a bundle" in text


def test_a_client_that_the_bundle_does_not_cover_is_named(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    bolt = bench.client("Bolt")
    bolt.append("ticket:opened", {})
    bench.bundle()
    kept = write(tmp_path, bench.kept(), "kept")
    code, text = run("--checkpoint", kept, write(tmp_path, bench.bundle([acme])))
    assert code == 0
    assert f"Client {bolt.id}, of whom you kept a checkpoint" in text


def test_a_long_list_of_devices_is_cut(bench: Workbench, tmp_path: Path) -> None:
    log = bench.client("Acme")
    for _ in range(12):
        log.enrol()
    code, text = run(write(tmp_path, bench.bundle()))
    assert code == 0
    assert text.count("0 records signed; key") == 10
    assert "and 2 more devices (--json lists all)" in text


def test_verifying_needs_nothing_of_the_server(bench: Workbench, acme: ClientLog, tmp_path: Path) -> None:
    """As on an auditor's machine: with Django and the server's packages forbidden, and nowhere to write."""
    path = write(tmp_path, bench.bundle())
    script = (
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith(('django', 'numpy', 'forestall.server', 'forestall.agent')):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        "from forestall.cli.main import main\n"
        f"main(['verify', {str(path)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert "holds." in done.stdout
