"""The collectors on the machine that runs the tests: real files, real programs, nothing changed."""

from __future__ import annotations

import inspect
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from forestall.agent.collect import (
    COLLECTORS,
    Collected,
    Failed,
    LocalHost,
    Started,
    collect_all,
    collect_each,
    collect_one,
    decode_collection,
    registry,
)
from forestall.agent.collect.host import (
    Denied,
    FileMissing,
    Host,
    ProgramMissing,
    TimedOut,
    Unreadable,
)
from forestall.agent.collect.tests.recorded_host import RecordedHost
from forestall.wire.codec import facts_digest
from forestall.wire.facts import DOCUMENT_BY_NAME, Facts

NAMES = [collector.name for collector in COLLECTORS]
needs_apt = pytest.mark.skipif(
    shutil.which("apt-cache") is None or not list(Path("/var/lib/apt/lists").glob("*Release")),
    reason="no apt, or its lists were never fetched",
)


def test_every_document_has_one_collector():
    assert list(DOCUMENT_BY_NAME) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_document_is_made_here_says_its_sources_and_reads_back(name):
    document = collect_one(name, LocalHost())
    assert document.name() == name
    assert document.sources
    assert all(gap.what and gap.why for gap in document.gaps)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(document), type=DOCUMENT_BY_NAME[name])
    assert again == document


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("network", "certificates")])
def test_two_looks_at_an_unchanged_machine_give_one_digest(name):
    host = LocalHost()
    assert facts_digest(collect_one(name, host)) == facts_digest(collect_one(name, host))


def test_two_looks_at_unchanged_sockets_give_one_digest():
    """Other programs open and close sockets while tests run: compare looks between which none did."""
    host = LocalHost()
    for name in ("network", "certificates"):
        for _ in range(20):
            before = host.listening_tcp(), _udp()
            digests = {facts_digest(collect_one(name, host)) for _ in range(2)}
            if before == (host.listening_tcp(), _udp()):
                assert len(digests) == 1
                break
        else:
            pytest.skip("sockets here never stay the same for a second")


def _udp():
    return [Path(f"/proc/net/{name}").read_text() for name in ("udp", "udp6")]


def test_all_documents_are_made_well_within_ten_seconds():
    outcomes = []
    began = time.monotonic()
    facts = collect_all(LocalHost(), outcomes.append)
    assert time.monotonic() - began < 10
    assert all(facts.get(name) is not None for name in NAMES)
    assert [type(each) for each in outcomes] == [Started, Collected] * len(NAMES)


def test_a_collector_that_breaks_loses_only_its_own_document(monkeypatch, capsys):
    def broken(self, host):
        if self.name == "disks":
            raise ZeroDivisionError("a bug")
        return original(self, host)

    original = registry.Collector.collect
    monkeypatch.setattr(registry.Collector, "collect", broken)
    outcomes = []
    facts = collect_all(LocalHost(), outcomes.append)
    (failed,) = [each for each in outcomes if isinstance(each, Failed)]
    assert (failed.name, failed.error) == ("disks", "ZeroDivisionError: a bug")
    assert facts.disks is None
    assert [name for name in NAMES if facts.get(name) is None] == ["disks"]
    assert "collector disks broke" in capsys.readouterr().err


def test_an_unknown_document_is_refused_by_name():
    with pytest.raises(ValueError, match="'sofware'"):
        collect_one("sofware", LocalHost())


def child(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "forestall.agent.collect", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )


def test_the_child_process_prints_what_was_asked_for():
    done = child("system", "volumes", "--times")
    assert done.returncode == 0, done.stderr
    collection = decode_collection(done.stdout)
    assert [document.name() for document in collection.documents] == ["system", "volumes"]
    assert collection.failures == []
    assert re.search(rb"^volumes +\d+\.\d+ s", done.stderr, re.MULTILINE)
    plain = json.loads(child("--json", "time").stdout)
    assert set(plain["time"]) == {"sources", "gaps", "daemon", "synchronised", "offset_seconds"}


def test_the_child_process_refuses_an_unknown_name():
    done = child("nonsense")
    assert done.returncode == 2
    assert b"'nonsense'" in done.stderr


def test_the_agent_can_hold_the_registry_and_the_samples_in_little_memory():
    code = "import sys, forestall.agent.collect.registry, forestall.agent.collect.samples; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "psutil",
        "subprocess",
        "logging",
        "cryptography",
        "ssl",
        "socket",
        "tomllib",
        "ctypes",
        "glob",
    }
    assert not {name for name in loaded if name.startswith("forestall.agent.collect.")} - {
        "forestall.agent.collect.host",
        "forestall.agent.collect.notes",
        "forestall.agent.collect.registry",
        "forestall.agent.collect.samples",
        "forestall.agent.collect.triggers",
        "forestall.agent.collect.volumes",
    }


def test_triggers_are_cheap_and_steady():
    host = LocalHost()
    steady = [collector for collector in COLLECTORS if collector.name not in ("network", "certificates")]
    for collector in steady:
        assert collector.trigger(host) == collector.trigger(host)
    began = time.process_time()
    for _ in range(10):
        for collector in COLLECTORS:
            collector.trigger(host)
    assert (time.process_time() - began) / 10 < 0.005


def test_a_new_socket_changes_the_fingerprint_of_the_network():
    from socket import create_server

    host = LocalHost()
    with create_server(("127.0.0.1", 0)) as listener:
        mine = f" {listener.getsockname()[1]} "
        assert any(mine in line for line in host.listening_tcp())
    assert not any(mine in line for line in host.listening_tcp())


@needs_apt
def test_updates_are_those_that_apt_lists():
    told = subprocess.run(
        ["apt", "list", "--upgradable"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    )
    expected = {}
    for line in told.stdout.splitlines():
        found = re.match(r"(\S+?)/(\S+) (\S+) (\S+) \[upgradable from: (\S+)\]", line)
        if found:
            expected[found[1], found[4]] = (found[3], found[5], "-security" in found[2])
    document = collect_one("updates", LocalHost())
    pending = {(each.name, each.architecture): each for each in document.pending}
    assert {key: (each.candidate, each.installed) for key, each in pending.items()} == {
        key: (candidate, installed) for key, (candidate, installed, _) in expected.items()
    }
    # Whatever apt labels as security is security to us; we may know of more.
    assert not [key for key, (_, _, security) in expected.items() if security and not pending[key].security]


@needs_apt
def test_updates_are_those_of_a_simulated_upgrade_package_by_package():
    """The differences that are on purpose stand in docs/agent.md: held, phased, new packages, removals."""
    told = subprocess.run(
        ["apt-get", "--simulate", "dist-upgrade"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    upgraded = {
        (name.partition(":")[0], old, new)
        for name, old, new in re.findall(r"^Inst (\S+) \[(\S+)\] \((\S+) ", told, re.MULTILINE)
    }
    removed = set(re.findall(r"^Remv (\S+)", told, re.MULTILINE))
    document = collect_one("updates", LocalHost())
    ours = [each for each in document.pending if not each.manager and not each.held and each.name not in removed]
    # Phased updates are listed before their turn has come; only Ubuntu has them.
    phased = set() if "phasing" not in told else {each.name for each in ours} - {name for name, _, _ in upgraded}
    assert {(each.name, each.installed, each.candidate) for each in ours if each.name not in phased} == upgraded


@needs_apt
def test_finding_updates_takes_at_most_six_tenths_of_a_simulated_upgrade():
    def cpu(work):
        before = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
        work()
        after = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
        return after[0].ru_utime + after[0].ru_stime - before[0].ru_utime - before[0].ru_stime + after[1] - before[1]

    ours = min(cpu(lambda: collect_one("updates", LocalHost())) for _ in range(2))
    simulated = min(
        cpu(lambda: subprocess.run(["apt-get", "-s", "upgrade"], capture_output=True, check=False)) for _ in range(2)
    )
    assert ours <= 0.6 * simulated


# --- the host itself ----------------------------------------------------------------------------------------


def test_the_machine_in_memory_has_the_interface_of_the_real_one():
    methods = [name for name, _ in inspect.getmembers(Host, inspect.isfunction) if not name.startswith("_")]
    assert "run" in methods
    for name in methods:
        wanted = inspect.signature(getattr(Host, name))
        assert inspect.signature(getattr(LocalHost, name)) == wanted, name
        assert inspect.signature(getattr(RecordedHost, name)) == wanted, name


def test_programs_run_without_shell_input_and_language(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    result = LocalHost().run(["env"], environment={"EXTRA": "1"})
    variables = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert variables["LC_ALL"] == "C"
    assert variables["EXTRA"] == "1"
    assert "SECRET" not in variables
    assert LocalHost().run(["echo", "$HOME; id"]).stdout == "$HOME; id\n"
    assert LocalHost().run(["cat"]).stdout == ""


def test_what_goes_wrong_has_a_type_and_words(tmp_path):
    host = LocalHost()
    with pytest.raises(ProgramMissing, match="no-such-program is not installed"):
        host.run(["no-such-program"])
    with pytest.raises(FileMissing):
        host.read_text(str(tmp_path / "nothing"))
    with pytest.raises(Unreadable, match="Is a directory"):
        host.read_text(str(tmp_path))
    with pytest.raises(Unreadable, match="speaks no TLS"):
        host.server_certificate("127.0.0.1", 9, timeout=1)
    assert Denied("/etc/shadow", is_root=False).why == "needs root"


def test_a_program_that_hangs_ends_with_its_children(tmp_path):
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    with pytest.raises(TimedOut, match=r"within 0\.5 s"):
        LocalHost().run([str(script)], timeout=0.5)
    pid = int((tmp_path / "child").read_text())
    for _ in range(50):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or ") Z " in stat.read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child of the program still runs")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_without_root_everything_is_still_made_and_the_gaps_are_told():
    """In a child that gives up root for good. What it needs is imported before: it may not read the project then."""
    reader, writer = os.pipe()
    collect_each(NAMES, LocalHost())
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, msgspec.msgpack.encode(collect_each(NAMES, LocalHost())))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        collection = decode_collection(pipe.read())
    os.waitpid(pid, 0)
    assert collection.failures == []
    facts = Facts()
    for document in collection.documents:
        facts = facts.with_document(document)
    assert [name for name in NAMES if facts.get(name) is None] == []
    assert ("state of passwords", "needs root") in [(gap.what, gap.why) for gap in facts.access.gaps]
    assert {each.password for each in facts.access.accounts} <= {"unknown", "empty", "locked"}
