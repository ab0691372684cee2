"""What still runs from before an update, and whether a machine is fit to be updated."""

# ruff: noqa: E501 - tables of cases keep their lines
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from forestall.agent.collect import readiness, restarts
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.registry import collect_one
from forestall.agent.collect.tests.recorded_host import RecordedHost, process
from forestall.wire.facts import OutdatedProcess

LIBSSL = "7f1a-7f2b r-xp 00028000 fe:00 4711                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)"
MAPS = "\n".join(
    [
        "5580-5590 r-xp 00000000 fe:00 99                         /usr/sbin/nginx",
        LIBSSL,
        "7f2b-7f2c r--p 00028000 fe:00 4711                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)",
        "7f30-7f31 rw-s 00000000 00:01 77                         /dev/zero (deleted)",
        "7f32-7f33 r-xp 00000000 00:01 78                         /memfd:jit (deleted)",
        "7f34-7f35 rwxp 00000000 00:01 79                         /tmp/ffiABCD (deleted)",
        "7f36-7f37 rw-s 00000000 00:01 80                         /SYSV00000000 (deleted)",
        "7f38-7f39 r--p 00000000 fe:00 81                         /usr/share/locale/x.mo (deleted)",
        "7f40-7f41 r-xp 00000000 fe:00 82                         /usr/lib/libz.so.1.dpkg-tmp (deleted)",
        "7f42-7f43 r-xp 00000000 fe:00 83                         /usr/lib64/libz.so.1;65f0a1b2 (deleted)",
        "7f44-7f45 r-xp 00000000 00:00 0                          [vdso]",
        "",
    ]
)
NGINX = "/usr/sbin/nginx"


def machine(*, maps=MAPS, cgroup="0::/system.slice/nginx.service\n", systemd=True, kernels=(), **files):
    given = {
        **process(100, NGINX, "-g", "daemon off;"),
        "/proc/100/maps": maps,
        "/proc/100/cgroup": cgroup,
        "/proc/100/status": "Name:\tnginx\nUid:\t33\t33\t33\t33\n",
        "/proc/sys/kernel/osrelease": "6.1.0-39-amd64\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\n",
        **{f"/boot/vmlinuz-{each}": "" for each in kernels},
        **({"/run/systemd/system/x": ""} if systemd else {}),
        **files,
    }
    links = {"/proc/100/root": "/", "/proc/self/root": "/"}
    return RecordedHost(files=given, links=links)


def test_a_process_with_a_replaced_library_is_named_with_its_service_and_user():
    (found,) = restarts.collect(machine()).processes
    assert found == OutdatedProcess(
        pid=100,
        name="nginx",
        service="nginx",
        user="www-data",
        files=(
            "/usr/lib/libz.so.1",
            "/usr/lib/x86_64-linux-gnu/libssl.so.3",
            "/usr/lib64/libz.so.1",
        ),
    )


def test_what_programs_make_for_themselves_is_no_updates_doing():
    own = "\n".join(line for line in MAPS.splitlines() if "/tmp" in line or "memfd" in line or "SYSV" in line)
    assert restarts.collect(machine(maps=own)).processes == ()
    assert restarts.outdated_files(LIBSSL.replace("/usr/lib", "/tmpfs-tools/lib"))[0].startswith("/tmpfs-tools")


@pytest.mark.parametrize(
    ("cgroup", "service"),
    [
        ("0::/system.slice/ssh.service\n", "ssh"),
        ("12:pids:/system.slice/cron.service\n1:name=systemd:/system.slice/cron.service\n", "cron"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1"),
        ("0::/system.slice/php8.2-fpm.service/workers\n", "php8.2-fpm"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service\n", ""),
        ("0::/init.scope\n", ""),
        ("0::/system.slice/docker-0123abcd.scope\n", None),
        ("0::/kubepods/besteffort/pod1/abc\n", None),
        ("0::/machine.slice/machine-web.scope\n", None),
    ],
)
def test_the_service_is_told_by_the_control_group_and_containers_are_not_this_systems(cgroup, service):
    assert restarts.service_of(cgroup) == service
    found = restarts.collect(machine(cgroup=cgroup)).processes
    assert [each.service for each in found] == ([] if service is None else [service])


def test_without_systemd_the_service_is_told_by_pid_file_and_descent():
    script = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: nginx\n### END INIT INFO\nPIDFILE=/run/nginx.pid\n"
    worker = process(100, "nginx: worker process")
    stat = worker["/proc/100/stat"].replace("S 1 ", "S 90 ", 1)
    host = machine(
        systemd=False,
        **{
            "/etc/init.d/nginx": script,
            "/run/nginx.pid": "90\n",
            **process(90, NGINX),
            **worker,
            "/proc/100/stat": stat,
        },
    )
    assert [each.service for each in restarts.collect(host).processes] == ["nginx"]


def test_a_persons_session_below_sshd_is_not_the_service():
    script = "#!/bin/sh\nPIDFILE=/run/sshd.pid\n"
    session = process(100, "sshd: ada@pts/0")
    stat = session["/proc/100/stat"].replace("S 1 ", "S 90 ", 1)
    listener = process(90, "sshd: /usr/sbin/sshd [listener] 0 of 10-100 startups")
    host = machine(
        systemd=False,
        **{"/etc/init.d/ssh": script, "/run/sshd.pid": "90\n", **listener, **session, "/proc/100/stat": stat},
    )
    assert [each.service for each in restarts.collect(host).processes] == [""]


def test_the_running_kernel_is_told_beside_the_newest():
    document = restarts.collect(machine(kernels=("6.1.0-39-amd64", "6.1.0-40-amd64", "6.1.0-9-amd64")))
    assert (document.kernel_running, document.kernel_newest) == ("6.1.0-39-amd64", "6.1.0-40-amd64")
    elsewhere = restarts.collect(machine(kernels=("5.10.0-1-amd64",)))
    assert elsewhere.kernel_newest == "", "a kernel that comes from elsewhere is not this system's to change"


def test_processes_that_cannot_be_seen_are_a_gap():
    host = RecordedHost(
        files={**process(1, "/sbin/init"), "/proc/sys/kernel/osrelease": "x\n"}, denied=["/proc/1/maps"], is_root=False
    )
    assert [(gap.what, gap.why) for gap in restarts.collect(host).gaps] == [
        ("outdated processes of other users", "needs root")
    ]


def test_more_outdated_processes_than_the_document_holds_are_told_as_a_number():
    files = {}
    for pid in range(1000, 1300):
        files |= {**process(pid, NGINX), f"/proc/{pid}/maps": LIBSSL, f"/proc/{pid}/cgroup": ""}
    links = {f"/proc/{pid}/root": "/" for pid in range(1000, 1300)} | {"/proc/self/root": "/"}
    document = restarts.collect(RecordedHost(files={**files, "/run/systemd/system/x": ""}, links=links))
    assert len(document.processes) == restarts.MOST_PROCESSES
    assert "300 found" in document.gaps[0].why


def test_a_real_program_that_is_replaced_while_it_runs_is_found():
    # Not below /tmp, where the collector does not look; and this very folder may be there.
    with tempfile.TemporaryDirectory(dir=Path.home()) as made:
        program = Path(made) / "sleep"
        shutil.copy(shutil.which("sleep"), program)
        running = subprocess.Popen([str(program), "60"])
        try:
            deadline = time.monotonic() + 10
            while str(program) not in Path(f"/proc/{running.pid}/maps").read_text():
                assert time.monotonic() < deadline
            assert running.pid not in {each.pid for each in restarts.collect(LocalHost()).processes}
            fresh = Path(made) / "sleep.new"
            shutil.copy(shutil.which("sleep"), fresh)
            fresh.rename(program)
            found = {each.pid: each for each in restarts.collect(LocalHost()).processes}
            assert found[running.pid].files == (str(program),)
            assert found[running.pid].name == "sleep"
        finally:
            running.kill()
            running.wait()


def test_looking_costs_less_than_a_fifth_of_a_second_of_cpu():
    collect_one("restarts", LocalHost())
    began = time.process_time()
    collect_one("restarts", LocalHost())
    collect_one("readiness", LocalHost())
    processes = sum(1 for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    assert time.process_time() - began < 0.2 + processes * 0.001


# --- readiness ---


POWER = "/sys/class/power_supply"


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, (None, None)),
        ({"AC": {"type": "Mains", "online": "1"}}, (None, None)),
        ({"BAT0": {"type": "Battery", "status": "Discharging", "capacity": "55"}}, (True, 55.0)),
        ({"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging", "capacity": "90"}}, (False, 90.0)),
        ({"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging", "capacity": "8"}}, (True, 8.0)),
        ({"mouse": {"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "30"}}, (None, None)),
    ],
)  # fmt: skip
def test_power_is_that_of_the_machine_not_of_its_mouse(supplies, expected):
    files = {f"{POWER}/{name}/{key}": value for name, pairs in supplies.items() for key, value in pairs.items()}
    # The kernel's folder lists each supply by a link to a folder.
    assert readiness.power(Notes(RecordedHost(files=files))) == expected


def test_people_who_are_signed_in_are_told_by_logind():
    sessions = {
        f"{readiness.LOGIND}/3": "USER=ada\nUID=1000\nCLASS=user\nSTATE=active\nTTY=pts/0\n",
        f"{readiness.LOGIND}/4": "USER=gdm\nUID=113\nCLASS=greeter\nSTATE=active\nTTY=tty1\n",
        f"{readiness.LOGIND}/5": "USER=bob\nUID=1001\nCLASS=user\nSTATE=closing\nTTY=pts/1\n",
    }
    assert readiness.sessions(Notes(RecordedHost(files=sessions))) == ("ada on pts/0",)


def test_people_who_are_signed_in_are_told_by_utmp_when_their_process_lives():
    def record(kind, pid, line, name):
        return (
            kind.to_bytes(2, "little") + b"\0\0" + pid.to_bytes(4, "little")
            + line.encode().ljust(32, b"\0") + b"\0" * 4 + name.encode().ljust(32, b"\0")
        ).ljust(384, b"\0")  # fmt: skip

    utmp = record(7, 50, "tty1", "ada") + record(7, 51, "tty2", "gone") + record(2, 1, "~", "reboot")
    host = RecordedHost(files={readiness.UTMP: utmp, **process(50, "-bash")})
    assert readiness.sessions(Notes(host)) == ("ada on tty1",)


def test_a_package_manager_at_work_is_told_by_the_lock_it_holds():
    locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:1 0 EOF\n2: -> POSIX  ADVISORY  WRITE 50 fe:00:1 0 EOF\n"
    files = {
        "/var/lib/dpkg/lock-frontend": "",
        "/proc/locks": locks,
        **process(4711, "/usr/bin/apt-get", "--yes", "-o", "Secret::Option=x", "upgrade"),
        "/proc/4711/fd/5": "",
    }
    host = RecordedHost(files=files, links={"/proc/4711/fd/5": "/var/lib/dpkg/lock-frontend"})
    assert readiness.busy(Notes(host)) == ("apt-get upgrade (process 4711)",)
    other = RecordedHost(files=files, links={"/proc/4711/fd/5": "/srv/database/lock"})
    assert readiness.busy(Notes(other)) == (), "a file of the same number on another volume"
    stale = RecordedHost(files={"/run/zypp.pid": "77\n"})
    assert readiness.busy(Notes(stale)) == ()
    zypper = RecordedHost(files={"/run/zypp.pid": "77\n", **process(77, "zypper", "up")})
    assert readiness.busy(Notes(zypper)) == ("zypper up (process 77)",)


def mounted(filesystem, device, options="rw"):
    return {"/proc/self/mountinfo": f"29 1 0:25 / / {options} - {filesystem} {device} rw\n"}


@pytest.mark.parametrize(
    ("files", "outputs", "programs", "expected"),
    [
        (mounted("btrfs", "/dev/vda1"), {}, ["btrfs"], ("btrfs",)),
        (mounted("btrfs", "/dev/vda1"), {}, [], ()),
        (mounted("btrfs", "/dev/vda1", "ro"), {}, ["btrfs"], ()),
        (mounted("zfs", "rpool/ROOT/debian"), {}, ["zfs"], ("zfs",)),
        (mounted("ext4", "/dev/mapper/vg-root"), {"lvs": "  vg\troot\t21474836480\t\n"}, [], ("lvm",)),
        (mounted("ext4", "/dev/mapper/vg-root"), {"lvs": "  vg\troot\t0\t\n"}, [], ()),
        (mounted("ext4", "/dev/mapper/vg-root"), {"lvs": "  vg\troot\t0\tpool\n"}, [], ("lvm",)),
        (mounted("ext4", "/dev/mapper/luks"), {"lvs": ""}, [], ()),
        (mounted("ext4", "/dev/vda1"), {}, ["btrfs", "zfs", "lvs"], ()),
    ],
)
def test_what_could_take_a_snapshot_is_known(files, outputs, programs, expected):
    document = readiness.collect(RecordedHost(files=files, outputs=outputs, programs=programs))
    assert document.snapshots == expected
