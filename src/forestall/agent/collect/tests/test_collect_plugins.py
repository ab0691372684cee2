"""Monitoring plugins: Debian's run unchanged, whatever they print is read or told, and nobody else's file is run."""

from __future__ import annotations

import os
import stat
import string
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.captures.nagios import CAPTURES
from forestall.agent.collect.host import CommandResult, LocalHost, TimedOut
from forestall.agent.collect.plugin_memory import PluginMemory
from forestall.agent.collect.plugin_output import format_value, parse_output, parse_performance
from forestall.agent.collect.plugin_settings import PluginSettingsError, parse_settings
from forestall.agent.collect.plugins import collect
from forestall.agent.collect.samples import SampleReader
from forestall.agent.collect.tests.recorded_host import RecordedHost
from forestall.wire.checkin import FactsReport
from forestall.wire.facts import PerformanceValue, PluginRun

DEBIANS = Path("/usr/lib/nagios/plugins")
SHARED = Path(__file__).parents[6] / "shared" / "data" / "monitoring-protocols" / "nagios"
NAGIOS = CAPTURES[0]
FILE = "/etc/forestall/plugins.toml"
SETTINGS = """
[[plugin]]
name = "load"
command = ["/usr/lib/nagios/plugins/check_load", "-w", "5"]
every = 10
"""
LOAD = "/usr/lib/nagios/plugins/check_load -w 5"


def a_device(settings=SETTINGS, output="OK - load average: 0.1|load1=0.1;5;;0;\n", code=0, **others):
    files = {FILE: settings, "/usr/lib/nagios/plugins/check_load": "#!/bin/sh\n"}
    result = output if isinstance(output, Exception) else CommandResult(output, "", code)
    return RecordedHost(files=files, outputs={LOAD: result}, **others)


# --- what plugins print ---------------------------------------------------------------------------------------


def test_the_guidelines_example_is_read_whole():
    parsed = parse_output(
        "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n"
        "/ 15272 MB (77%);\n/boot 68 MB (69%);\n"
        "/var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n/home=69357MB;253404;253409;0;253414"
    )
    assert parsed.text == "DISK OK - free space: / 3326 MB (56%);"
    assert parsed.long_text.splitlines() == ["/ 15272 MB (77%);", "/boot 68 MB (69%);", "/var/log 819 MB (84%);"]
    assert [value.label for value in parsed.performance] == ["/", "/boot", "/home"]
    assert parsed.performance[0] == PerformanceValue(
        label="/", value=2643.0, unit="MB", warn="5948", critical="5958", minimum=0.0, maximum=5968.0
    )


@pytest.mark.parametrize(
    ("word", "label", "value", "unit"),
    [
        ("time=0.01s;;;0", "time", 0.01, "s"),
        ("'a label with ''quotes'' and ='=5%", "a label with 'quotes' and =", 5.0, "%"),
        ("rta=U", "rta", None, ""),
        ("octets=12c", "octets", 12.0, "c"),
        ("temp=-3.5;~:0;@10:20", "temp", -3.5, ""),
        ("load=0,5", "load", 0.5, ""),
        ("big=1e3B", "big", 1000.0, "B"),
    ],
)
def test_values_as_plugins_write_them(word, label, value, unit):
    (found,), unread = parse_performance(word)
    assert (found.label, found.value, found.unit, unread) == (label, value, unit, ())


@pytest.mark.parametrize(
    "word", ["nonsense", "=5", "a=", "a=five", "a=1;x", "a=1;;;low", "''=1", "a=nan", "a=inf", "a=1;2;3;4;5;6"]
)
def test_what_is_no_value_is_told_and_costs_no_other(word):
    found, unread = parse_performance(f"first=1 {word} last=2")
    assert [value.label for value in found] == ["first", "last"]
    assert unread == (word,)


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda n: float(repr(n))))
LABELS = st.text(st.sampled_from(string.ascii_letters + string.digits + " '=/_:äß"), min_size=1, max_size=30)
VALUES = st.builds(
    PerformanceValue,
    label=LABELS.map(str.strip).filter(bool),
    value=NUMBERS,
    unit=st.sampled_from(["", "s", "ms", "%", "B", "MB", "c"]),
    warn=st.sampled_from(["", "10", "5:10", "~:10", "@1:2", "0.5"]),
    critical=st.sampled_from(["", "20", ":20", "10:"]),
    minimum=NUMBERS,
    maximum=NUMBERS,
)


@given(st.lists(VALUES, max_size=8, unique_by=lambda value: value.label))
def test_what_is_written_is_read_back(values):
    found, unread = parse_performance(" ".join(map(format_value, values)))
    assert list(found) == values
    assert unread == ()


@given(st.text(max_size=300))
def test_no_output_breaks_the_parser_and_all_is_bounded(text):
    parsed = parse_output(text)
    assert len(parsed.text) <= 500
    assert all(value.label and (value.value is None or value.value == value.value) for value in parsed.performance)
    assert len({value.label for value in parsed.performance}) == len(parsed.performance)


# --- the owner's file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('[[plugin]]\nname="a"\ncommand=["check_load"]', "full path"),
        ('[[plugin]]\nname="a"\ncommand=[]', "full path"),
        ('[[plugin]]\nname=""\ncommand=["/x"]', "name"),
        ('[[plugin]]\nname="a"\ncommand=["/x"]\nevery=1', "every: 1"),
        ('[[plugin]]\nname="a"\ncommand=["/x"]\ntimeout=900', "timeout: 900"),
        ('[[plugin]]\nname="a"\ncommand="/x"', "command"),
        ('[[plugin]]\nname="a"\ncommand=["/x"]\nshell=true', "shell"),
        ('[[plugin]]\nname="a"\ncommand=["/x"]\n[[plugin]]\nname="a"\ncommand=["/y"]', "there twice"),
    ],
)
def test_wrong_settings_name_the_bad_value(settings, named):
    with pytest.raises(PluginSettingsError, match=named):
        parse_settings(settings, FILE)


@pytest.mark.parametrize("others", [{"modes": {FILE: 0o664}}, {"modes": {FILE: 0o646}}, {"owners": {FILE: 1000}}])
def test_a_file_that_somebody_else_may_write_is_refused(others):
    host = a_device(**others)
    found = collect(host, {})
    assert (found.runs, host.ran) == ((), [])
    assert found.gaps[0].what == "the plugins"
    assert FILE in found.gaps[0].why


def test_a_program_that_somebody_else_may_write_is_not_run():
    host = a_device(modes={"/usr/lib/nagios/plugins/check_load": 0o777})
    (run,) = collect(host, {}).runs
    assert (run.exit_code, host.ran) == (None, [])
    assert "may be written by others" in run.trouble


def test_without_a_file_there_is_nothing_and_nothing_missing():
    found = collect(RecordedHost(), {})
    assert (found.runs, found.gaps) == ((), ())


# --- runs -----------------------------------------------------------------------------------------------------


def before(host, **age):
    (run,) = collect(host, {}).runs
    plain = msgspec.to_builtins(
        msgspec.structs.replace(run, at=run.at - timedelta(**age)), builtin_types=(type(run.at),)
    )
    return {"load": plain}


def test_a_plugin_is_run_when_its_time_has_come():
    host = a_device()
    earlier, late = before(host, minutes=5), before(host, minutes=10)
    host.ran.clear()
    assert collect(host, earlier).runs[0].text == "OK - load average: 0.1"
    assert host.ran == []
    collect(host, late)
    assert len(host.ran) == 1


def test_a_plugin_whose_command_changed_is_run_at_once():
    host = a_device()
    earlier = {"load": {**before(host, minutes=1)["load"], "command": "/another"}}
    host.ran.clear()
    collect(host, earlier)
    assert len(host.ran) == 1


def test_one_that_does_not_end_has_no_answer():
    (run,) = collect(a_device(output=TimedOut(LOAD, 30)), {}).runs
    assert (run.exit_code, run.trouble) == (None, "not done within 30 s")


def test_secrets_in_commands_and_answers_are_hidden():
    settings = '[[plugin]]\nname="db"\ncommand=["/usr/lib/nagios/plugins/check_load", "--password=hunter2"]'
    host = a_device(settings, output="x")
    host.outputs = {"/usr/lib/nagios/plugins/check_load": CommandResult("OK token=hunter2 ok", "", 0)}
    (run,) = collect(host, {}).runs
    assert "hunter2" not in f"{run.command} {run.text}"


def test_values_are_samples_until_the_next_run_is_overdue():
    host = a_device()
    document = collect(host, {})

    def report(found):
        return msgspec.msgpack.encode(FactsReport(collected_at=host.now(), digest=b"", document=found))

    clock = [0.0]
    memory = PluginMemory(clock=lambda: clock[0])
    reader = SampleReader(plugins=memory.samples)
    assert not any(name.startswith("plugin") for name in reader.read()[0])
    memory.take(report(document))

    def value():
        return dict(zip(*reader.read(), strict=True))["plugin.value{label=load1,plugin=load}"]

    assert value() == 0.1
    clock[0] = 1100.0
    memory.take(report(document))  # sent again, not run again
    assert value() == 0.1
    clock[0] = 1300.0
    assert value() != value(), "every 10 minutes, and two rounds are over: no number"
    assert msgspec.convert(memory.runs["load"], PluginRun) == document.runs[0]


# --- the real thing -------------------------------------------------------------------------------------------


def here(tmp_path, monkeypatch, *plugins):
    home = tmp_path / "agent"
    home.mkdir()
    lines = "".join(
        f"[[plugin]]\nname={name!r}\ncommand={list(command)!r}\ntimeout={timeout}\n"
        for name, command, timeout in plugins
    )
    (home / "plugins.toml").write_text(lines.replace("'", '"'), encoding="utf-8")
    (home / "plugins.toml").chmod(0o600)
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(home))
    return {run.name: run for run in collect(LocalHost(), {}).runs}


@pytest.mark.skipif(not (DEBIANS / "check_load").exists(), reason="Debian's monitoring-plugins-basic is not installed")
def test_debians_plugins_run_unchanged(tmp_path, monkeypatch):
    runs = here(
        tmp_path, monkeypatch,
        ("load", (f"{DEBIANS}/check_load", "-w", "1000,1000,1000", "-c", "2000,2000,2000"), 10),
        ("disk", (f"{DEBIANS}/check_disk", "-w", "0%", "-c", "0%", "-p", "/"), 10),
        ("procs", (f"{DEBIANS}/check_procs", "-w", "0:0", "-c", "0:100000"), 10),
        ("users", (f"{DEBIANS}/check_users", "-w", "1000", "-c", "2000"), 10),
        ("file", (f"{DEBIANS}/check_file_age", "-w", "1", "-c", "1", "-f", "/etc/os-release"), 10),
        ("port", (f"{DEBIANS}/check_tcp", "-H", "127.0.0.1", "-p", "1"), 10),
        ("dummy", (f"{DEBIANS}/check_dummy", "3", "nobody knows"), 10),
        ("usage", (f"{DEBIANS}/check_load", "--no-such-option"), 10),
    )  # fmt: skip
    codes = {name: run.exit_code for name, run in runs.items()}
    assert codes == {
        "load": 0, "disk": 0, "procs": 1, "users": 0, "file": 2, "port": 2, "dummy": 3, "usage": 3,
    }  # fmt: skip
    assert [value.label for value in runs["load"].performance] == ["load1", "load5", "load15"]
    assert runs["disk"].performance[0].label == "/"
    assert runs["disk"].performance[0].value > 0
    assert runs["dummy"].text == "UNKNOWN: nobody knows"
    assert not any(run.trouble for run in runs.values())


def a_script(tmp_path, text):
    path = tmp_path / "check_own"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(stat.S_IRWXU)
    return str(path)


def test_a_plugin_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    script = a_script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    run = here(tmp_path, monkeypatch, ("slow", (script,), 1))["slow"]
    assert (run.exit_code, run.trouble) == (None, "not done within 1 s")
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    deadline = time.monotonic() + 20
    while not gone(child):  # it was told to end; when it does is the system's affair
        assert time.monotonic() < deadline, "what the plugin started still runs"
        time.sleep(0.02)


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_flood_of_output_is_cut_and_the_answer_kept(tmp_path, monkeypatch):
    script = a_script(tmp_path, "echo 'FLOOD WARNING | n=1'; head -c 5000000 /dev/zero | tr '\\0' x; exit 1")
    run = here(tmp_path, monkeypatch, ("flood", (script,), 20))["flood"]
    assert (run.exit_code, run.text, run.performance[0].value) == (1, "FLOOD WARNING", 1.0)
    assert len(run.long_text) <= 4000


def test_a_missing_program_and_a_signal_are_told(tmp_path, monkeypatch):
    runs = here(
        tmp_path, monkeypatch, ("gone", ("/nowhere/check_gone",), 5), ("killed", (a_script(tmp_path, "kill -9 $$"),), 5)
    )
    assert runs["gone"].exit_code is None
    assert "/nowhere/check_gone" in runs["gone"].trouble
    assert (runs["killed"].exit_code, runs["killed"].trouble) == (None, "ended by signal 9")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to somebody else")
def test_root_runs_nothing_from_a_file_of_somebody_else(tmp_path, monkeypatch):
    home = tmp_path / "agent"
    home.mkdir()
    file = home / "plugins.toml"
    file.write_text('[[plugin]]\nname="a"\ncommand=["/bin/true"]\n', encoding="utf-8")
    file.chmod(0o600)
    os.chown(file, 1000, 1000)
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(home))
    found = collect(LocalHost(), {})
    assert found.runs == ()
    assert "belongs to user 1000" in found.gaps[0].why


# --- captures -------------------------------------------------------------------------------------------------


def test_a_saved_output_is_read():
    file = CapturedFile("check_http.txt", b"HTTP CRITICAL: HTTP/1.1 500 - 2 bytes | time=0.02s;;;0;10 junk\n")
    parsed = NAGIOS.parse([file])
    (run,) = parsed.document.runs
    assert (run.name, run.exit_code, run.performance[0].label) == ("check_http.txt", 2, "time")
    assert [str(each) for each in parsed.unread] == ["check_http.txt:1: no performance value: junk"]


def test_what_is_no_plugin_output_is_refused():
    parsed = NAGIOS.parse([CapturedFile("letter.txt", b"Dear all,\nwe are closed on Friday.\n")])
    assert parsed.document is None
    assert "letter.txt:1" in str(parsed.unread[0])


def test_a_status_file_of_nagios_4_is_read():
    text = b"""
info {
\tcreated=1700000000
\t}
servicestatus {
\thost_name=web
\tservice_description=Load
\tcheck_command=check_load!5!10
\tcurrent_state=1
\tlast_check=1700000000
\tcheck_execution_time=0.012
\tplugin_output=LOAD WARNING - 7
\tlong_plugin_output=first\\nsecond
\tperformance_data=load1=7;5;10;0
\t}
hoststatus {
\thost_name=web
\thas_been_checked=1
\tcurrent_state=1
\tplugin_output=down
\t}
what is this
"""
    parsed = NAGIOS.parse([CapturedFile("status.dat", text)])
    service, host = parsed.document.runs
    assert (service.name, service.exit_code, service.performance[0].value) == ("web/Load", 1, 7.0)
    assert service.long_text == "first\nsecond"
    assert (host.name, host.exit_code) == ("web", 2)
    assert [each.line for each in parsed.unread] == [22]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared recordings are not here")
def test_the_recorded_status_log_is_read_whole():
    file = SHARED / "check_nagios.nagios1.status.log"
    parsed = NAGIOS.parse([CapturedFile(file.name, file.read_bytes())])
    assert parsed.unread == ()
    runs = {run.name: run for run in parsed.document.runs}
    assert set(runs) == {"ADSL", "Internet", "Internet/TCP/IP"}
    assert (runs["ADSL"].exit_code, runs["Internet"].exit_code) == (None, 0)
    assert runs["Internet/TCP/IP"].text == "PING OK - Packet loss = 0%, RTA = 0.09 ms"
    assert runs["Internet/TCP/IP"].at.year == 2005
