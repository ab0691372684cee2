"""Snapshots, restarted services and reboots: what surrounds an update."""

from __future__ import annotations

import shutil
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.agent.act.actions import ACTIONS, services_restart_outdated, system_reboot
from forestall.agent.act.context import ActionFailed, Places
from forestall.agent.act.policy import parse_policy, policy_words
from forestall.agent.collect.tests.recorded_host import RecordedHost, process
from forestall.trust.authorise import Hours
from forestall.trust.statements import StepResult

RESTARTED = StepResult(action="service.restart", ok=True, summary="")
LIBSSL = "7f1a-7f2b r-xp 00028000 fe:00 4711    /usr/lib/libssl.so.3 (deleted)\n"


def program(folder: Path, name: str, lines: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bobs(machine, tmp_path):
    """Bob's server: programs that only write down how they were called."""
    said = tmp_path / "said"
    for name in ("shutdown", "btrfs", "zfs", "lvcreate", "lvremove"):
        program(tmp_path / "bin", name, f'echo {name} "$@" >> {said}')
    machine.environment = {"PATH": f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def told():
        return said.read_text().splitlines() if said.exists() else []

    machine.told = told
    return machine


def act(machine, name, host, **arguments):
    changes = {key: arguments.pop(key) for key in ("places", "dry_run", "reboot_hours") if key in arguments}
    return ACTIONS[name].run(arguments, host, machine.context(**changes))


def fails(code):
    return pytest.raises(ActionFailed, match=f"^{code}: ")


# --- snapshots ---


def test_no_snapshot_where_none_is_asked_for_or_none_can_be_taken(bobs):
    host = RecordedHost(files={"/proc/self/mountinfo": "29 1 0:25 / / rw - ext4 /dev/vda1 rw\n"})
    assert act(bobs, "updates.snapshot", host, when="never").summary == "no snapshot was asked for"
    assert "none can be taken" in act(bobs, "updates.snapshot", host, when="when_possible").summary
    with fails("snapshot_impossible"):
        act(bobs, "updates.snapshot", host, when="required")
    with fails("argument_wrong"):
        act(bobs, "updates.snapshot", host, when="perhaps")
    assert bobs.told() == []


def test_a_snapshot_of_a_zfs_system_and_the_third_oldest_goes(bobs, tmp_path):
    names = "\\n".join(f"rpool/debian@forestall-2026112{day}T020000Z" for day in (1, 2, 3))
    program(
        tmp_path / "bin",
        "zfs",
        f'echo zfs "$@" >> {tmp_path}/said\n[ "$1" = list ] && printf "{names}\\nrpool/debian@own\\n" || true',
    )
    mounts = "29 1 0:25 / / rw - zfs rpool/debian rw\n"
    host = RecordedHost(files={"/proc/self/mountinfo": mounts}, programs=["zfs"])
    result = act(bobs, "updates.snapshot", host, when="required")
    assert result.summary.startswith("took the zfs snapshot forestall-20261123T180000Z of /; removed ")
    assert [line for line in bobs.told() if "list" not in line] == [
        "zfs snapshot rpool/debian@forestall-20261123T180000Z",
        "zfs destroy rpool/debian@forestall-20261121T020000Z",
    ]


def test_a_snapshot_of_a_logical_volume_takes_half_of_what_is_free(bobs, tmp_path):
    program(tmp_path / "bin", "lvs", "echo '  root'; echo '  swap'")
    mounts = "29 1 0:25 / / rw - ext4 /dev/mapper/vg-root rw\n"
    host = RecordedHost(files={"/proc/self/mountinfo": mounts}, outputs={"lvs": " vg\troot\t21474836480\t\n"})
    act(bobs, "updates.snapshot", host, when="when_possible")
    name = "forestall-20261123T180000Z"
    assert bobs.told() == [f"lvcreate --yes --snapshot --extents 50%FREE --name {name} vg/root"]


@pytest.mark.root
@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="btrfs-progs is not installed")
def test_a_real_snapshot_of_a_real_btrfs_keeps_what_was_there(machine, tmp_path):
    from forestall.agent.collect.host import LocalHost

    image, volume = tmp_path / "image", tmp_path / "volume"
    volume.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(volume)], check=False, capture_output=True).returncode:
        pytest.skip("this kernel mounts no btrfs from a file")
    try:
        (volume / "etc").mkdir()
        (volume / "etc/version").write_text("old")
        places = Places(system_volume=str(volume.resolve()))
        assert act(machine, "updates.snapshot", LocalHost(), when="required", places=places).changed["snapshots"] == 1
        (volume / "etc/version").write_text("new")
        (kept,) = (volume / ".forestall-snapshots").iterdir()
        assert (kept / "etc/version").read_text() == "old"
    finally:
        subprocess.run(["umount", str(volume)], check=False)


# --- services ---


def outdated(**services):
    files = {"/run/systemd/system/x": "", "/proc/sys/kernel/osrelease": "6.1\n"}
    links = {"/proc/self/root": "/"}
    for pid, (name, service) in enumerate(services.items(), start=100):
        cgroup = f"0::/system.slice/{service}.service\n" if service else "0::/user.slice/session-1.scope\n"
        files |= {**process(pid, name), f"/proc/{pid}/maps": LIBSSL, f"/proc/{pid}/cgroup": cgroup}
        links[f"/proc/{pid}/root"] = "/"
    return RecordedHost(files=files, links=links)


def test_what_would_cut_people_or_the_network_off_is_reported_and_not_restarted(machine, monkeypatch):
    restarted = []
    monkeypatch.setattr(
        services_restart_outdated.service_restart,
        "run",
        lambda args, host, ctx: restarted.append(args["service"]) or RESTARTED,
    )
    host = outdated(nginx="nginx", sshd="ssh", dbus="dbus", login="systemd-logind", gdm="gdm3", nm="NetworkManager",
                    docker="docker", agetty="getty@tty1", bash="", postgres="postgresql@15-main")  # fmt: skip
    result = act(machine, "services.restart_outdated", host, exclude="postgresql@15-main")
    assert restarted == ["nginx", "ssh"]
    for name in ("dbus", "systemd-logind", "gdm3", "NetworkManager", "docker", "getty@tty1", "postgresql@15-main"):
        assert name in result.summary.partition("left alone: ")[2].partition(";")[0]
    assert result.summary.endswith("belong to no service: bash")
    dry = act(machine, "services.restart_outdated", host, exclude="", dry_run=True)
    assert dry.summary.startswith("would restart nginx, postgresql@15-main, ssh; left alone")


@pytest.mark.runbook("restart-outdated-services")
def test_a_service_that_does_not_come_back_fails_the_run_after_the_others_were_restarted(machine, monkeypatch):
    def restart(args, host, ctx):
        if args["service"] == "apache2":
            raise ActionFailed("restart_failed", "apache2 does not run after the restart")
        return RESTARTED

    monkeypatch.setattr(services_restart_outdated.service_restart, "run", restart)
    with fails("restart_failed") as failed:
        act(machine, "services.restart_outdated", outdated(a="apache2", n="nginx"), exclude="")
    assert "apache2 does not run" in failed.value.sentence
    assert "restarted nginx" in failed.value.sentence
    assert failed.value.changed == {"services": 1}


# --- reboot ---


RUNNING = {
    "/proc/sys/kernel/osrelease": "6.1.0-39-amd64\n",
    "/proc/stat": "btime 1795000000\n",
    "/proc/1/comm": "systemd",
}
NEEDED = {**RUNNING, "/run/reboot-required": "", "/run/reboot-required.pkgs": "linux-image-6.1.0-40-amd64\nlibc6\n"}


def systemd(tmp_path):
    (tmp_path / "systemd").mkdir()
    return Places(systemd=str(tmp_path / "systemd"))


@pytest.mark.runbook("reboot")
def test_a_reboot_that_is_needed_and_allowed_is_ordered_with_a_warning(bobs, tmp_path):
    host = RecordedHost(files=NEEDED)
    result = act(
        bobs, "system.reboot_when_needed", host, reboot="when_needed", warn_minutes=15, places=systemd(tmp_path)
    )
    (said,) = bobs.told()
    assert said.startswith(
        "shutdown -r +15 This machine is restarted for maintenance: libc6, linux-image-6.1.0-40-amd64."
    )
    assert result.changed == {"reboots": 1}


def test_a_reboot_that_is_not_needed_or_not_asked_for_is_not_ordered(bobs):
    needed, fine = RecordedHost(files=NEEDED), RecordedHost(files={**RUNNING, "/boot/vmlinuz-6.1.0-39-amd64": ""})
    told = act(bobs, "system.reboot_when_needed", needed, reboot="never", warn_minutes=5).summary
    assert told == "a reboot is needed (libc6, linux-image-6.1.0-40-amd64) and was not asked for"
    told = act(bobs, "system.reboot_when_needed", fine, reboot="when_needed", warn_minutes=5).summary
    assert told == "no reboot is needed"
    unknown = RecordedHost(files=RUNNING)
    told = act(bobs, "system.reboot_when_needed", unknown, reboot="when_needed", warn_minutes=5).summary
    assert told == "whether a reboot is needed cannot be told here"
    with fails("argument_wrong"):
        act(bobs, "system.reboot_when_needed", needed, reboot="always", warn_minutes=5)
    assert bobs.told() == []


def test_the_result_has_a_minute_to_leave_the_machine(bobs, tmp_path):
    act(bobs, "system.reboot", RecordedHost(), warn_minutes=0, reason="new kernel", places=systemd(tmp_path))
    assert bobs.told()[0].startswith("shutdown -r +1 ")


def test_a_reason_cannot_become_an_option_or_a_control_character(bobs, tmp_path):
    act(bobs, "system.reboot", RecordedHost(), warn_minutes=1, reason="$(id)\x1b[2J`x`", places=systemd(tmp_path))
    (said,) = bobs.told()
    assert "\x1b" not in said
    assert "`" not in said
    assert "$" not in said
    with fails("argument_wrong"):
        act(bobs, "system.reboot", RecordedHost(), warn_minutes=5000, reason="x")


def test_no_reboot_while_packages_are_in_between(bobs):
    locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:1 0 EOF\n"
    files = {**NEEDED, "/var/lib/dpkg/lock": "", "/proc/locks": locks, **process(4711, "/usr/bin/dpkg", "-i")}
    with fails("manager_busy"):
        act(bobs, "system.reboot", RecordedHost(files=files), warn_minutes=5, reason="x")
    half = "install\tinstalled\tdpkg\tamd64\tok\t1.21\ninstall\thalf-configured\tpostgresql\tall\tok\t15\n"
    host = RecordedHost(
        files={"/var/lib/dpkg/status": "x"}, outputs={"dpkg-query --show": half, "apt-cache policy": ""}
    )
    with fails("unfinished") as failed:
        act(bobs, "system.reboot", host, warn_minutes=5, reason="x")
    assert "postgresql: configuring it failed" in failed.value.sentence
    assert bobs.told() == []


def test_a_device_that_reboots_only_at_night_postpones_what_is_ordered_by_day(bobs, tmp_path):
    policy = parse_policy('reboot_hours = ["22:00-05:00"]')
    result = act(
        bobs, "system.reboot", RecordedHost(), warn_minutes=5, reason="new kernel",
        reboot_hours=policy.reboot_hours, places=systemd(tmp_path),
    )  # fmt: skip
    assert "postponed to the hours that this device's policy allows" in result.summary
    assert " 22:00 " in result.summary
    assert "Reboots only, on this device's clock:" in policy_words(policy)
    assert "Nothing is forbidden" not in " ".join(policy_words(policy))


def test_hours_of_a_policy_are_found_within_the_week():
    at = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)  # a Monday
    assert system_reboot.minutes_until_allowed((), at) == 0
    assert system_reboot.minutes_until_allowed((Hours.parse("17:00-19:00"),), at) == 0
    assert system_reboot.minutes_until_allowed((Hours.parse("Sun 03:00-04:00"),), at) == (5 * 24 + 9) * 60
    with pytest.raises(ValueError, match="is not hours"):
        parse_policy('reboot_hours = ["at night"]')


def test_without_systemd_the_program_that_waits_is_left_running(bobs, tmp_path):
    program(tmp_path / "bin", "shutdown", f"echo $$ > {tmp_path}/pid; exec sleep 30")
    places = Places(systemd=str(tmp_path / "none"))
    act(bobs, "system.reboot", RecordedHost(), warn_minutes=1, reason="x", places=places)
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}").exists()
    subprocess.run(["kill", str(pid)], check=True)
    program(tmp_path / "bin", "shutdown", "exit 1")
    with fails("program_failed"):
        act(bobs, "system.reboot", RecordedHost(), warn_minutes=1, reason="x", places=places)


def test_a_dry_run_of_a_reboot_orders_none(bobs):
    told = act(bobs, "system.reboot", RecordedHost(), warn_minutes=5, reason="new kernel", dry_run=True)
    assert told.summary.startswith("would order: reboots at ")
    assert bobs.told() == []
