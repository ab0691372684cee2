"""Each action on real files, processes and programs, in folders of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from forestall.agent.act.actions import ACTIONS, service_restart
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.programs import run_program
from forestall.agent.act.sweep import EVERY_NAME, Swept, open_files, size_in_words, sweep
from forestall.agent.collect.host import LocalHost

needs_root = pytest.mark.root
restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")


def age(path: Path, days: float) -> None:
    at = time.time() - days * 86_400
    os.utime(path, (at, at), follow_symlinks=False)


def act(machine, name, host=None, **arguments):
    timeout = arguments.pop("timeout_seconds", 60)
    below = arguments.pop("delete_below", ())
    ctx = machine.context(timeout_seconds=timeout, delete_below=below)
    return ACTIONS[name].run(arguments, host or machine.host, ctx)


def fails(code):
    return pytest.raises(ActionFailed, match=f"^{code}: ")


# --- files.delete_older ---


def delete(machine, folder=None, days=7, pattern="*", **more):
    return act(
        machine,
        "files.delete_older",
        folder=str(folder or machine.temporary),
        older_than_days=days,
        pattern=pattern,
        **more,
    )


@pytest.mark.real_change_times
def test_what_has_just_arrived_stays_whatever_times_it_brought(machine):
    unpacked = machine.file("release/module.py", days=400)
    result = delete(machine)
    assert unpacked.exists()
    assert result.changed.get("files", 0) == 0


def test_old_files_go_and_young_ones_stay(machine):
    old, deep = machine.file("old.log", size=10_000), machine.file("a/b/c/deep.log")
    young, read = machine.file("young.log", days=6.9), machine.file("read.log")
    os.utime(read, (time.time(), read.stat().st_mtime))  # changed long ago, but read today
    other = machine.file("old.txt")
    result = delete(machine, pattern="*.log")
    assert result.summary.startswith("deleted 2 files, 16.4 kB below ")
    assert result.changed["files"] == 2
    assert not old.exists()
    assert not deep.exists()
    assert young.exists()
    assert read.exists()
    assert other.exists()


def test_old_folders_that_become_empty_go_too_and_the_top_stays(machine):
    machine.file("a/b/old")
    for folder in ("a/b", "a"):
        age(machine.temporary / folder, 30)
    empty = machine.temporary / "empty"
    empty.mkdir()
    age(empty, 30)
    result = delete(machine)
    assert result.changed == {"files": 1, "bytes": 4096, "folders": 2}
    assert list(machine.temporary.iterdir()) == [empty], "an empty folder that was there stays"


@pytest.mark.parametrize(
    "folder", ["/etc", "/", "/tmp/../etc", "//tmp", "relative", "/tmpfoo", "/tmp/", "", "/var/lib/dpkg"]
)
def test_only_below_the_allowed_folders(machine, folder):
    with fails("folder_not_allowed"):
        act(machine, "files.delete_older", folder=folder, older_than_days=7, pattern="*")


@pytest.mark.parametrize(("days", "pattern"), [(0, "*"), (-1, "*"), (7, ""), (7, "../*"), (7, "/etc/passwd")])
def test_senseless_arguments_are_refused(machine, days, pattern):
    with fails("argument_wrong"):
        delete(machine, days=days, pattern=pattern)


def test_links_are_never_followed(machine, tmp_path):
    treasure = machine.file("treasure", below=tmp_path.resolve() / "elsewhere")
    (machine.temporary / "folder-link").symlink_to(treasure.parent)
    (machine.temporary / "file-link").symlink_to(treasure)
    age(machine.temporary / "file-link", 30)
    (machine.temporary / "sub").mkdir()
    (machine.temporary / "sub" / "up").symlink_to("..")
    delete(machine)
    assert treasure.exists()
    assert (machine.temporary / "file-link").is_symlink()
    with fails("folder_not_allowed"):
        delete(machine, machine.temporary / "folder-link")
    with fails("folder_not_allowed"):
        delete(machine, machine.temporary / "sub" / "up")
    with fails("folder_missing"):
        delete(machine, machine.temporary / "absent")


def test_a_hard_link_takes_one_name_away_and_frees_nothing(machine, tmp_path):
    treasure = machine.file("treasure", below=tmp_path.resolve() / "elsewhere", size=5000)
    os.link(treasure, machine.temporary / "name")
    assert delete(machine).changed == {"files": 1, "bytes": 0, "folders": 0}
    assert treasure.read_bytes() == b"x" * 5000


def test_only_plain_files(machine):
    os.mkfifo(machine.temporary / "fifo")
    endpoint = socket.socket(socket.AF_UNIX)
    endpoint.bind(str(machine.temporary / "socket"))
    for name in ("fifo", "socket"):
        age(machine.temporary / name, 30)
    assert delete(machine).changed["files"] == 0
    endpoint.close()
    assert sorted(path.name for path in machine.temporary.iterdir()) == ["fifo", "socket"]


def test_a_file_that_a_program_has_open_stays(machine):
    held = machine.file("held")
    with held.open("rb"):
        result = delete(machine)
    assert held.exists()
    assert "1 old files are in use and stay" in result.summary


def test_it_stops_at_its_timeout_and_says_what_it_did(machine):
    for number in range(50):
        machine.file(f"old-{number}")
    with pytest.raises(ActionFailed) as caught:
        delete(machine, timeout_seconds=0)
    assert caught.value.code == "timed_out"
    assert caught.value.changed == {"files": 0, "bytes": 0, "folders": 0}


def test_it_is_bounded(machine, monkeypatch):
    monkeypatch.setattr("forestall.agent.act.sweep.MAX_FILES", 3)
    for number in range(10):
        machine.file(f"old-{number}")
    assert "stopped at 3 files" in delete(machine).summary
    assert len(list(machine.temporary.iterdir())) == 7


def test_swapping_a_folder_for_a_link_at_any_moment_reaches_nothing_outside(machine, tmp_path):
    """Eve may write in the folder: she swaps a folder for a link to the treasure as fast as she can, meanwhile."""
    treasure = tmp_path.resolve() / "treasure"
    names = [f"precious-{number}" for number in range(5)]
    for name in names:
        machine.file(name, below=treasure)
    trap, aside = machine.temporary / "trap", machine.temporary / ".aside"
    stop = threading.Event()

    def eve():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                trap.rename(aside)
                trap.symlink_to(treasure)
                trap.unlink()
                aside.rename(trap)

    thread = threading.Thread(target=eve)
    deleted = 0
    machine.file("x", below=trap)
    thread.start()
    try:
        for _ in range(300):
            for name in names:
                with contextlib.suppress(OSError):
                    machine.file(name, below=trap if trap.is_dir() and not trap.is_symlink() else machine.temporary)
            swept = Swept()
            sweep(
                str(machine.temporary),
                older_than_seconds=86_400,
                now=time.time(),
                patterns=EVERY_NAME,
                ctx=machine.context(),
                swept=swept,
                in_use=frozenset(),
            )
            deleted += swept.files
    finally:
        stop.set()
        thread.join()
    assert deleted > 100
    assert sorted(path.name for path in treasure.iterdir()) == names


@needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_never_enters_another_file_system_nor_a_bind_mount_of_the_same(machine, tmp_path):
    """A real ext4 volume mounted inside, and a folder of the same file system bound inside."""
    image, volume, bound = tmp_path / "image", machine.temporary / "volume", machine.temporary / "bound"
    home = tmp_path.resolve() / "home"
    kept = machine.file("kept", below=home)
    image.write_bytes(b"")
    os.truncate(image, 8 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    volume.mkdir()
    bound.mkdir()
    mounted = []
    try:
        for command in (["mount", "-o", "loop", str(image), str(volume)], ["mount", "--bind", str(home), str(bound)]):
            if subprocess.run(command, capture_output=True, check=False).returncode != 0:
                pytest.skip("this machine lets nobody mount")
            mounted.append(command[-1])
        inside = machine.file("inside", below=volume)
        old = machine.file("old")
        assert delete(machine).changed["files"] == 1
        assert not old.exists()
        assert inside.exists()
        assert kept.exists()
        # Named itself, the volume is cleaned: this is how the runbook for disk space frees a volume.
        machine.file("more", below=volume, size=1_000_000)
        result = act(machine, "temporary.delete_older", volume=str(volume), older_than_days=7)
        assert result.changed["files"] == 2
        assert result.changed["bytes"] >= 1_000_000
        assert (volume / "lost+found").exists()
    finally:
        for path in reversed(mounted):
            subprocess.run(["umount", path], check=True)


# --- temporary.delete_older ---


@pytest.mark.runbook("free-disk-space")
def test_temporary_files_of_the_volume_go_but_what_belongs_to_programs_stays(machine, tmp_path):
    old = machine.file("old")
    spared = [machine.file(".X11-unix/X0"), machine.file(".X0-lock"), machine.file("systemd-private-1-a.service/tmp/f")]
    scratch = tmp_path.resolve() / "scratch"
    listed = machine.file("listed", below=scratch)
    # Any folder of the volume names it as well as its mount point does.
    result = act(
        machine,
        "temporary.delete_older",
        volume=str(tmp_path.resolve()),
        older_than_days=7,
        delete_below=(str(scratch), str(scratch / "inside"), "/nonexistent"),
    )
    assert result.changed["files"] == 2
    assert not old.exists()
    assert not listed.exists()
    assert all(path.exists() for path in spared)


def test_a_volume_without_temporary_files_is_left_alone(machine):
    assert act(machine, "temporary.delete_older", volume="/proc", older_than_days=7).summary == (
        "no folder for temporary files lies on /proc"
    )
    with fails("folder_missing"):
        act(machine, "temporary.delete_older", volume="/nonexistent", older_than_days=7)
    with fails("argument_wrong"):
        act(machine, "temporary.delete_older", volume="/", older_than_days=0)


def test_sizes_are_said_in_words():
    assert [size_in_words(size) for size in (0, 999, 1000, 1_250_000, 3 * 10**12, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "1.2 MB", "3.0 TB", "5000.0 TB",
    ]  # fmt: skip


def test_open_files_are_seen(machine):
    path = machine.file("held")
    with path.open("rb"):
        assert (path.stat().st_dev, path.stat().st_ino) in open_files()


# --- apt.clean ---


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt here")
@pytest.mark.skipif(os.geteuid() != 0, reason="apt-get clean takes apt's lock as root")
def test_apt_empties_its_cache(machine, tmp_path):
    """The real apt, with a cache folder of its own."""
    cache = tmp_path.resolve() / "apt"
    for name in ("archives/a_1_all.deb", "archives/b_1_all.deb", "archives/partial/c.deb"):
        machine.file(name, below=cache, size=5000)
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Cache "{cache}";\nDebug::NoLocking "true";\n')
    machine.environment["APT_CONFIG"] = str(config)
    result = act(machine, "apt.clean", volume=str(tmp_path))
    assert result.changed == {"files": 3, "bytes": 3 * 8192}
    assert result.summary == "deleted 3 downloaded packages, 24.6 kB"
    machine.file("archives/d_1_all.deb", below=cache)
    assert act(machine, "apt.clean", volume="/proc").summary.endswith("is not on /proc: left alone")
    shutil.rmtree(cache)
    assert act(machine, "apt.clean", volume="/").summary.endswith("does not exist: nothing to clean")


class WithoutPrograms(LocalHost):
    """A machine on which nothing is installed."""

    def find_program(self, name: str) -> str | None:
        return None


def test_without_apt_there_is_nothing_to_clean(machine):
    result = act(machine, "apt.clean", host=WithoutPrograms(), volume="/")
    assert result.summary == "this system has no apt: nothing to clean"


# --- journal.vacuum ---


def test_rotated_logs_go_by_age_and_logs_in_use_stay(machine):
    logs = machine.temporary.parent / "log"
    volume = str(machine.temporary)  # same file system; the test needs no mount point
    gone = [
        machine.file(name, below=logs)
        for name in ("syslog.1", "syslog.2.gz", "mail.log.old", "nginx/access.log-20261001", "x.xz", "dpkg.log.12")
    ]
    kept = [machine.file(name, below=logs) for name in ("syslog", "wtmp", "nginx/access.log", "app.log", "v1.2.conf")]
    kept.append(machine.file("young.log.1", below=logs, days=1))
    kept.append(machine.file("journal/keep.1", below=logs))
    result = act(machine, "journal.vacuum", volume=volume, older_than_days=7)
    assert result.changed["files"] == len(gone)
    assert [path.name for path in gone if path.exists()] == []
    assert [path.name for path in kept if not path.exists()] == []
    assert act(machine, "journal.vacuum", volume="/proc", older_than_days=7).summary == "no logs lie on /proc"
    with fails("argument_wrong"):
        act(machine, "journal.vacuum", volume="/", older_than_days=0)


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="no systemd journal here")
def test_journalctl_itself_vacuums_the_journal(machine):
    journal = machine.temporary.parent / "log" / "journal" / ("0" * 32)
    journal.mkdir(parents=True)
    result = act(machine, "journal.vacuum", volume=str(machine.temporary), older_than_days=7)
    assert "freed 0B" in result.output
    assert str(journal.parent) in result.summary


# --- service.restart, with a real daemon behind a real init script ---

DAEMON = """\
import os, sys, time
folder = sys.argv[1]
with open(f"{folder}/pid", "w") as file:
    file.write(str(os.getpid()))
with open(f"{folder}/starts", "a") as file:
    file.write("x")
time.sleep(float(sys.argv[2]))
"""
SCRIPT = """\
#!/bin/sh
# A throw-away service: its daemon keeps the script's output open, as many do.
folder="{folder}"
# A dead process that nobody has waited for yet is dead all the same.
running() {{ [ -f "$folder/pid" ] && grep -q "^State:.[RSD]" "/proc/$(cat "$folder/pid")/status" 2>/dev/null; }}
stop() {{ running && kill "$(cat "$folder/pid")"; rm -f "$folder/pid"; }}
start() {{
  {python} {daemon} "$folder" {lives} &
  i=0; while ! running && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
}}
case "$1" in
  restart) stop; start; echo restarted; exit {exit_code} ;;
  status) if running; then exit 0; else exit 3; fi ;;
esac
"""


@pytest.fixture
def daemon(machine, monkeypatch):
    monkeypatch.setattr(service_restart, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(service_restart, "POLL_SECONDS", 0.1)
    folder = machine.temporary.parent / "daemon"
    folder.mkdir()
    (folder / "daemon.py").write_text(DAEMON)

    def install(name="throwaway", lives=60.0, exit_code=0):
        script = machine.temporary.parent / "init.d" / name
        script.write_text(
            SCRIPT.format(
                folder=folder, python=sys.executable, daemon=folder / "daemon.py", lives=lives, exit_code=exit_code
            )
        )
        script.chmod(0o755)
        return folder

    yield install
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def alive(folder: Path) -> int:
    pid = int((folder / "pid").read_text())
    os.kill(pid, 0)
    return pid


@pytest.mark.runbook("restart-service")
def test_a_killed_service_runs_again(machine, daemon):
    folder = daemon()
    subprocess.run([str(machine.temporary.parent / "init.d" / "throwaway"), "restart"], check=True)
    first = alive(folder)
    os.kill(first, signal.SIGKILL)
    began = time.monotonic()
    result = act(machine, "service.restart", service="throwaway.service")
    assert result.ok
    assert result.summary == "restarted throwaway; it runs"
    assert result.output == "restarted\n"
    assert alive(folder) != first
    assert (folder / "starts").read_text() == "xx"
    assert 1.0 <= time.monotonic() - began < 15, "it waits that the service keeps running, and not for its end"


def test_a_service_that_dies_again_is_a_failure(machine, daemon):
    daemon(lives=0.6)
    with fails("service_died"):
        act(machine, "service.restart", service="throwaway")


def test_a_service_that_does_not_start_is_a_failure(machine, daemon):
    daemon(exit_code=1)
    with fails("restart_failed"):
        act(machine, "service.restart", service="throwaway")
    daemon(lives=0)
    with pytest.raises(ActionFailed, match=r"service_died|restart_failed"):
        act(machine, "service.restart", service="throwaway")


@pytest.mark.parametrize("name", ["absent", "plain", "folder"])
def test_a_service_that_there_is_not(machine, name):
    init = machine.temporary.parent / "init.d"
    (init / "plain").write_text("not executable")
    (init / "folder").mkdir()
    with fails("service_unknown"):
        act(machine, "service.restart", service=name)


@pytest.mark.parametrize("name", ["../tmp/x", "-h", "a b", "", ".service", "a/b", "x;reboot"])
def test_a_name_that_is_none(machine, name):
    with fails("argument_wrong"):
        act(machine, "service.restart", service=name)


def test_a_program_that_hangs_is_ended_with_its_children(machine):
    ctx = machine.context(timeout_seconds=0.5)
    pidfile = machine.temporary / "child"
    program = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '60']); "
        f"open({str(pidfile)!r}, 'w').write(str(child.pid)); print('so far', flush=True); time.sleep(60)"
    )
    with pytest.raises(ActionFailed) as caught:
        run_program([sys.executable, "-c", program], ctx)
    assert (caught.value.code, caught.value.output) == ("timed_out", "so far\n")
    child = int(pidfile.read_text())
    for _ in range(50):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child still runs")


def test_programs_that_cannot_be_run_are_named(machine):
    with fails("program_missing"):
        run_program(["/nonexistent/program"], machine.context())
    with fails("program_denied"):
        run_program([str(machine.temporary)], machine.context())


SYSTEMCTL = """\
#!/bin/sh
# systemctl's answers in the order a unit gives them, from the files that the test wrote.
echo "$@" >> "{folder}/asked"
case "$*" in
  "show --property=LoadState --value "*) cat "{folder}/load" ;;
  "show --property=ActiveState --value "*)
     head -n 1 "{folder}/states"; [ "$(wc -l < "{folder}/states")" -gt 1 ] && sed -i 1d "{folder}/states"; exit 0 ;;
  "restart "*) exit "$(cat "{folder}/code")" ;;
esac
"""


@pytest.fixture
def systemd(machine, monkeypatch):
    """Stands in for systemd, which is not process 1 where the tests run: the protocol is its own, the unit is told."""
    monkeypatch.setattr(service_restart, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(service_restart, "POLL_SECONDS", 0.1)
    folder = machine.temporary.parent / "systemd"
    (machine.temporary.parent / "no-systemd").mkdir()
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(SYSTEMCTL.format(folder=folder))
    program.chmod(0o755)

    class WithSystemd(LocalHost):
        def find_program(self, name: str) -> str | None:
            return str(program) if name == "systemctl" else super().find_program(name)

    def restart(*states, load="loaded", code=0, timeout=60.0):
        (folder / "load").write_text(load + "\n")
        (folder / "code").write_text(str(code))
        (folder / "states").write_text("".join(f"{state}\n" for state in states))
        result = act(machine, "service.restart", host=WithSystemd(), service="nginx", timeout_seconds=timeout)
        return result, (folder / "asked").read_text()

    return restart


def test_a_unit_is_restarted_and_waited_for(systemd):
    result, asked = systemd("activating", "active")
    assert result.summary == "restarted nginx.service; it runs"
    assert asked.splitlines()[1:3] == ["reset-failed nginx.service", "restart nginx.service"]


def test_units_that_fail_say_how(systemd):
    for given, code in (
        ({"load": "not-found"}, "service_unknown"),
        ({"load": "masked"}, "service_unknown"),
        ({"code": 1}, "restart_failed"),
    ):
        with fails(code):
            systemd("active", **given)
    with fails("restart_failed"):
        systemd("activating", "failed")
    with fails("service_died"):
        systemd("active", "failed")
    with fails("timed_out"):
        systemd("activating", timeout=1.0)


# --- backup.rerun, with a real restic repository ---


def settings(machine, **changes):
    words = {
        "name": "documents",
        "tool": "restic",
        "repository": str(machine.folder / "repository"),
        "password_file": str(machine.folder / "password"),
        "rerun": ["restic", "backup", "--quiet", str(machine.temporary)],
    } | changes
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in words.items() if value is not None]
    path = machine.folder / "backups.toml"
    path.write_text("[[backup]]\n" + "\n".join(lines) + "\n")
    path.chmod(0o600)
    (machine.folder / "password").write_text("correct horse battery")
    return words


def runs(machine):
    return msgspec.json.decode((machine.folder / "backup-runs.json").read_bytes())


@restic
@pytest.mark.runbook("rerun-backup")
def test_a_failed_backup_runs_again_and_its_record_says_so(machine):
    words = settings(machine)
    machine.file("document", days=0)
    machine.environment["XDG_CACHE_HOME"] = str(machine.temporary.parent / "cache")
    with pytest.raises(ActionFailed) as caught:
        act(machine, "backup.rerun", backup="documents")
    assert caught.value.code == "backup_failed"
    assert "exit code 1" in caught.value.sentence
    failed = runs(machine)["documents"]
    assert failed["ok"] is False
    assert "exit code 1" in failed["detail"]
    environment = {
        **os.environ,
        "RESTIC_REPOSITORY": words["repository"],
        "RESTIC_PASSWORD_FILE": words["password_file"],
    }
    subprocess.run(["restic", "init"], env=environment, check=True, capture_output=True)
    result = act(machine, "backup.rerun", backup="documents")
    assert result.summary == "backup documents ran again and ended well"
    assert {"ok": True, "detail": ""}.items() <= runs(machine)["documents"].items()
    listed = subprocess.run(["restic", "snapshots", "--json"], env=environment, check=True, capture_output=True)
    assert len(msgspec.json.decode(listed.stdout)) == 1


@pytest.mark.skipif(shutil.which("borg") is None, reason="borg is not installed")
def test_borg_gets_its_repository_and_password(machine):
    repository = machine.folder / "borg"
    settings(
        machine,
        tool="borg",
        repository=str(repository),
        rerun=["borg", "create", "::now", str(machine.temporary)],
        environment=None,
    )
    machine.file("document", days=0)
    machine.environment["BORG_BASE_DIR"] = str(machine.temporary.parent / "cache")
    subprocess.run(
        ["borg", "init", "--encryption=repokey", str(repository)],
        env={**os.environ, **machine.environment, "BORG_PASSPHRASE": "correct horse battery"},
        check=True,
        capture_output=True,
    )
    assert act(machine, "backup.rerun", backup="documents").ok


def test_settings_that_are_not_right_are_named(machine):
    (machine.folder / "backups.toml").unlink(missing_ok=True)
    with fails("backup_unknown"):
        act(machine, "backup.rerun", backup="documents")
    settings(machine)
    with fails("backup_unknown"):
        act(machine, "backup.rerun", backup="others")
    settings(machine, rerun=None)
    with fails("settings_wrong"):
        act(machine, "backup.rerun", backup="documents")
    settings(machine, tool="shell")
    with fails("settings_wrong"):
        act(machine, "backup.rerun", backup="documents")
    settings(machine)
    (machine.folder / "backups.toml").chmod(0o666)
    with fails("settings_wrong"):
        act(machine, "backup.rerun", backup="documents")


def test_a_missing_backup_program_is_on_record_and_a_damaged_record_is_no_obstacle(machine):
    settings(machine, rerun=["/nonexistent/restic"])
    (machine.folder / "backup-runs.json").write_text("damaged")
    with fails("program_missing"):
        act(machine, "backup.rerun", backup="documents")
    assert runs(machine)["documents"]["detail"] == "/nonexistent/restic is not installed"


def test_a_command_in_the_settings_is_words_and_never_a_shell_line(machine):
    marker = machine.temporary / "marker"
    settings(machine, rerun=["/bin/echo", f"$(touch {marker})", ";", "touch", str(marker)])
    assert "$(touch" in act(machine, "backup.rerun", backup="documents").output
    assert not marker.exists()
