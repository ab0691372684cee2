"""Backup tools that are not here (recorded or written outputs), and what captures make of all of them."""

# ruff: noqa: E501 - recorded outputs keep their lines
from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.agent.collect import backups
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.tests.recorded_host import RecordedHost

RUNS = Path(__file__).parents[6] / "shared/data/backup/runs"
HOME = {"FORESTALL_AGENT_HOME": "/agent"}

ZFS = """\
tank/data@2026-11-21\t1795219200\t1048576\t5000000000\t4000000\t0
tank/data@2026-11-22\t1795305600\t2097152\t5100000000\t100000000\t1
"""
LVS = json.dumps({"report": [{"lv": [
    {"vg_name": "vg0", "lv_name": "data", "origin": "", "lv_time": "2026-01-01 10:00:00 +0000", "lv_attr": "owi-aos---", "lv_size": "10737418240", "data_percent": ""},
    {"vg_name": "vg0", "lv_name": "night", "origin": "data", "lv_time": "2026-11-22 02:00:00 +0100", "lv_attr": "swi-a-s---", "lv_size": "1073741824", "data_percent": "12.50"},
    {"vg_name": "vg0", "lv_name": "old", "origin": "data", "lv_time": "2026-11-20 02:00:00 +0100", "lv_attr": "swi-I-s---", "lv_size": "1073741824", "data_percent": "100.00"},
]}]})  # fmt: skip
PROXMOX = json.dumps([
    {"backup-type": "vm", "backup-id": "101", "backup-time": 1795305600, "size": 34359738368, "protected": True,
     "verification": {"state": "ok", "upid": "UPID:pbs:1"},
     "files": [{"filename": "drive-scsi0.img.fidx", "size": 34359738368, "crypt-mode": "encrypt"}, {"filename": "index.json.blob", "size": 500, "crypt-mode": "sign-only"}]},
    {"backup-type": "vm", "backup-id": "101", "backup-time": 1795219200, "size": 34359738368, "files": [{"filename": "drive-scsi0.img.fidx", "crypt-mode": "encrypt"}]},
    {"backup-type": "host", "backup-id": "db-01", "backup-time": 1795219200, "size": 100, "verification": {"state": "failed", "upid": "UPID:pbs:2"},
     "files": [{"filename": "root.pxar.didx", "size": 100, "crypt-mode": "none"}]},
])  # fmt: skip
VERSIONS = """\
wbadmin 1.0 - Backup command-line tool
(C) Copyright Microsoft Corporation. All rights reserved.

Backup time: 11/21/2026 9:00 PM
Backup target: 1394/USB Disk labeled Backup(E:)
Version identifier: 11/21/2026-20:00
Can recover: Volume(s), File(s), Application(s), Bare Metal Recovery, System State
Snapshot ID: {8c1cf2b0-0000-4000-8000-000000000001}

Backup time: 11/22/2026 9:00 PM
Backup target: 1394/USB Disk labeled Backup(E:)
Version identifier: 11/22/2026-20:00
Can recover: Volume(s), File(s), Application(s), Bare Metal Recovery, System State
"""
SUMMARY = json.dumps({
    "NextBackupTime": "/Date(1795464000000)/", "NumberOfVersions": 2, "LastSuccessfulBackupTime": "/Date(1795377600000)/",
    "LastSuccessfulBackupTargetPath": "E:", "LastBackupTime": "/Date(1795460400000)/", "LastBackupResultHR": 2155348129,
    "DetailedMessage": "There is not enough disk space to create the volume shadow copy.",
})  # fmt: skip
SESSIONS = json.dumps({"data": [
    {"id": "1", "name": "Nightly VMs", "sessionType": "BackupJob", "state": "Stopped", "creationTime": "2026-11-22T21:00:00.1234567+01:00", "endTime": "2026-11-22T21:41:10+01:00",
     "result": {"result": "Failed", "message": "Cannot connect to the host esx-02", "isCanceled": False}},
    {"id": "2", "name": "Nightly VMs", "sessionType": "BackupJob", "state": "Stopped", "creationTime": "2026-11-21T21:00:00+01:00", "endTime": "2026-11-21T21:40:00+01:00", "result": {"result": "Warning", "message": "Low space", "isCanceled": False}},
    {"id": "3", "name": "Rescan", "sessionType": "Infrastructure", "creationTime": "2026-11-22T10:00:00+01:00", "result": {"result": "Success"}},
]})  # fmt: skip
STATES = json.dumps(
    {
        "data": [
            {
                "id": "j",
                "name": "Nightly VMs",
                "type": "Backup",
                "lastResult": "Failed",
                "lastRun": "2026-11-22T21:00:00+01:00",
                "nextRun": "2026-11-23T21:00:00+01:00",
                "repositoryName": "hardened",
            }
        ]
    }
)
CSV = """\
"JobName","JobType","CreationTime","EndTime","Result","BackupSize","Details"
"Files","Backup","11/22/2026 9:00:00 PM","11/22/2026 9:20:00 PM","Success","1073741824",""
"Files","Backup","11/21/2026 9:00:00 PM","11/21/2026 9:05:00 PM","Failed","0","No space left"
"Files","Backup","yesterday","11/21/2026 9:05:00 PM","Failed","0","odd"
"""


def told(tool, repository, **fields):
    lines = ["[[backup]]", 'name = "nightly"', f'tool = "{tool}"', f'repository = "{repository}"']
    return "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in fields.items())])


def read(toml, **recorded):
    files = {"/agent/backups.toml": toml, **recorded.pop("files", {})}
    host = RecordedHost(files=files, environment=HOME, **recorded)
    document = backups.collect(host)
    return {each.name: each for each in document.repositories}, document, host


def test_zfs_snapshots_with_a_hold():
    found, _, _ = read(told("zfs", "tank/data", paths=["/data"]), outputs={"zfs list": ZFS, "zfs get": "aes-256-gcm\n"})
    one = found["nightly"]
    assert [each.id for each in one.history] == ["tank/data@2026-11-22", "tank/data@2026-11-21"]
    assert (one.last_success_at, one.size_bytes) == (datetime(2026, 11, 22, tzinfo=UTC), 5_100_000_000)
    assert (one.encrypted, one.stored_bytes, one.history[0].added_bytes) == (True, 3_145_728, 100_000_000)
    assert "1 of 2 snapshots are held" in one.immutable_detail
    odd = read(told("zfs", "tank/data"), outputs={"zfs list": "cannot open\n", "zfs get": "off\n"})[0]["nightly"]
    assert "line that is not known" in odd.unknown_why
    failed = CommandResult("", "cannot open 'tank/data': dataset does not exist\n", 1)
    gone = read(told("zfs", "tank/data"), outputs={"zfs list": failed, "zfs get": ""})[0]["nightly"]
    assert gone.unknown_why == "cannot open 'tank/data': dataset does not exist"


def test_lvm_a_snapshot_that_filled_up_is_lost():
    one = read(told("lvm", "/dev/vg0/data"), outputs={"lvs": LVS})[0]["nightly"]
    assert [each.id for each in one.history] == ["vg0/night"]
    assert one.last_success_at == datetime(2026, 11, 22, 1, tzinfo=UTC)
    assert (one.chain_ok, one.chain_detail) == (False, "vg0/old filled up, and is lost")


def test_proxmox_each_machine_is_a_backup_of_its_own():
    owner = told("proxmox", "backup@pbs!agent@pbs.example:store", password_file="/etc/forestall/pbs")
    found, _, host = read(owner, outputs={"proxmox-backup-client snapshots": PROXMOX})
    assert list(found) == ["nightly-vm/101", "nightly-host/db-01"]
    machine, database = found.values()
    assert (machine.protects, machine.snapshots, machine.encrypted) == (("vm:101",), 2, True)
    assert (machine.chain_ok, machine.remote) == (True, True)
    assert "1 of 2 snapshots are protected" in machine.immutable_detail
    assert (database.hosts, database.encrypted, database.chain_ok) == (("db-01",), False, False)
    assert host.ran[-1][1] == {
        "PBS_REPOSITORY": "backup@pbs!agent@pbs.example:store",
        "PBS_PASSWORD_FILE": "/etc/forestall/pbs",
    }


def test_windows_server_backup_is_found_and_its_last_run_failed():
    outputs = {"wbadmin get versions": VERSIONS, "powershell": SUMMARY}
    found, document, _ = read("", outputs=outputs)
    one = found["windows-server-backup"]
    assert [each.id for each in one.history] == ["11/22/2026-20:00", "11/21/2026-20:00"]
    assert one.last_success_at == datetime.fromtimestamp(1795377600, UTC)
    assert (one.last_run_ok, one.told) == (False, False)
    assert one.last_run_detail == "There is not enough disk space to create the volume shadow copy. error 0x807800A1"
    assert "Bare Metal Recovery" in one.protects
    assert one.next_run_at == datetime.fromtimestamp(1795464000, UTC)
    assert "Get-WBSummary" in document.sources


def test_what_a_package_brings_along_is_no_backup():
    shipped = "snapshot_root\t/var/cache/rsnapshot/\nretain\talpha\t6\nbackup\t/home/\tlocalhost/\n"
    commented = "# 0 */4 * * * root /usr/bin/rsnapshot alpha\n"
    files = {"/etc/rsnapshot.conf": shipped, "/etc/cron.d/rsnapshot": commented, "/var/cache/rsnapshot/.x": ""}
    assert read("", files=files, programs=["rsnapshot"])[0] == {}
    called = read("", files={**files, "/etc/cron.d/rsnapshot": commented[2:]})[0]["rsnapshot"]
    assert (called.snapshots, called.protects, called.told) == (0, ("/home",), False)
    kept = read("", files={**files, "/var/cache/rsnapshot/alpha.0/localhost/x": ""})[0]["rsnapshot"]
    assert kept.snapshots == 1
    nothing = "wbadmin 1.0 - Backup command-line tool\nERROR - No backups were found.\n"
    never = json.dumps({"LastSuccessfulBackupTime": "/Date(-62135596800000)/", "NumberOfVersions": 0})
    assert read("", outputs={"wbadmin get versions": nothing, "powershell": never})[0] == {}


def test_veeam_sessions_saved_to_a_folder_make_a_backup_a_job():
    files = {"/srv/veeam/sessions.json": SESSIONS, "/srv/veeam/states.json": STATES, "/srv/veeam/report.csv": CSV}
    found, document, _ = read(told("veeam", "/srv/veeam"), files=files)
    assert list(found) == ["nightly-Nightly VMs", "nightly-Files"]
    machines, other = found.values()
    assert (machines.last_run_ok, machines.last_run_detail) == (False, "Cannot connect to the host esx-02")
    assert machines.last_success_at == datetime(2026, 11, 21, 20, 40, tzinfo=UTC)
    assert machines.next_run_at == datetime(2026, 11, 23, 20, tzinfo=UTC)
    assert machines.history[0].seconds == timedelta(minutes=40).total_seconds()
    assert (other.last_run_ok, other.size_bytes) == (True, 1_073_741_824)
    assert [gap.what for gap in document.gaps] == ["line 4 of /srv/veeam/report.csv"]
    narrowed, _, _ = read(told("veeam", "/srv/veeam", job="files"), files=files)
    assert [(each.name, each.job) for each in narrowed.values()] == [("nightly", "Files")]
    none, _, _ = read(told("veeam", "/srv/veeam", job="Other"), files=files)
    assert none["nightly"].unknown_why == "it has no job called 'Other'"


def test_a_share_is_another_machines_and_a_medium_mounted_read_only_is_out_of_reach():
    snapshots = '[{"time":"2026-11-23T02:00:05Z","id":"b","paths":["/srv"],"hostname":"web-01"}]'
    mounts = "22 1 0:21 / / rw - ext4 /dev/sda1 rw\n30 22 0:40 / /mnt/nas rw - nfs4 nas:/backup rw\n31 22 8:17 / /mnt/worm ro - ext4 /dev/sdb1 ro\n"
    for where, expected in {
        "/mnt/nas/r": (True, True, False),
        "/mnt/worm/r": (False, False, True),
        "/srv/r": (False, True, False),
        "sftp:vault:/r": (True, True, None),
        "s3:https://s3.example/b": (True, None, None),
    }.items():
        files = {f"{where}/config": "", "/proc/self/mountinfo": mounts, "/proc/sys/kernel/hostname": "web-01\n"}
        owner = told("restic", where, password_file="/p")
        one = read(owner, files=files, outputs={"restic --repo": snapshots})[0]["nightly"]
        assert (one.remote, one.writable, one.immutable) == expected, where
        assert one.immutable_detail
        assert (one.protects, one.hosts) == (("/srv",), ())
    owners_word = told("restic", "s3:https://s3.example/b", password_file="/p", immutable=True, offline=False)
    one = read(owners_word, outputs={"restic --repo": snapshots})[0]["nightly"]
    assert (one.immutable, one.immutable_detail) == (True, "as its owner says")


@pytest.mark.parametrize(
    ("schedule", "last", "following"),
    [
        ("0 2 * * *", (23, 2, 0), (24, 2, 0)),
        ("@hourly", (23, 18, 0), (23, 19, 0)),
        ("*/20 9-17 * * mon-fri", (23, 17, 40), (24, 9, 0)),
        ("0 3 1,24 * *", None, (24, 3, 0)),
        ("30 4 * * 0", (22, 4, 30), (29, 4, 30)),
    ],
)
def test_when_a_backup_was_due_and_will_be(schedule, last, following):
    files = {"/backup/a.tar": "x" * 1024}
    one = read(told("tar", "/backup", schedule=schedule), files=files)[0]["nightly"]
    at = [value and (value.day, value.hour, value.minute) for value in (one.last_due_at, one.next_run_at)]
    assert at == [last, following]


def test_a_log_without_years_takes_that_of_its_file():
    log = {"file": "/var/log/b.log", "time": "^(\\w{3} +\\d+ [0-9:]{8})", "time_format": "%b %d %H:%M:%S", "ok": "done"}
    rules = "".join(f"{name} = {json.dumps(value)}\n" for name, value in log.items())
    owner = f"[[backup]]\nname = 'nightly'\ntool = 'declared'\n[backup.log]\n{rules}"
    for line, year in {"Nov  1 02:00:00 done": 2026, "Dec 31 02:00:00 done": 2025}.items():
        one = read(owner, files={"/var/log/b.log": line})[0]["nightly"]
        assert (one.last_success_at.year, one.last_run_ok) == (year, True)
    odd = read(owner, files={"/var/log/b.log": "Feb 30 02:00:00 done"})[0]["nightly"]
    assert "its log cannot be read" in odd.unknown_why


def test_a_repository_elsewhere_is_opened_once_an_hour_and_after_a_run():
    snapshots = '[{"time":"2026-11-23T02:00:05Z","id":"b","paths":["/srv"],"hostname":"web-01"}]'
    owner = told("restic", "s3:https://s3.example/b", password_file="/p")
    _, first, host = read(owner, outputs={"restic --repo": snapshots})
    opened = len(host.ran)
    assert (backups.collect(host).repositories, len(host.ran)) == (first.repositories, opened)
    host.files["/agent/backup-runs.json"] = b"{}"
    backups.collect(host)
    assert len(host.ran) > opened
    opened = len(host.ran)
    host._now += timedelta(hours=1)
    backups.collect(host)
    assert len(host.ran) > opened


def test_a_schedule_that_cannot_be_is_a_gap():
    for schedule in ("daily", "61 * * * *", "0 0 31 2 *", "0 x * * *"):
        _, document, _ = read(told("tar", "/backup", schedule=schedule), files={"/backup/a.tar": "x" * 1024})
        assert [gap.what for gap in document.gaps] == ["next run of backup nightly"], schedule


BEGINNINGS = (b"", b"PGDMP\x01\x0e\x00\x04\x08\x01", b"PGDMP\x01\x10\x00\x04\x08\x01", b"-- MariaDB dump\n", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00",
              b"-- PostgreSQL database dump\n-- \n")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(BEGINNINGS),
    st.binary(max_size=1500),
    st.sampled_from(["a.tar", "a.tar.gz", "a.sql", "a.sql.bz2", "a.dump", "a.txz"]),
)
def test_no_bytes_break_the_readers_of_files(beginning, data, name):
    for tool in ("tar", "pg_dump", "mariadb_dump"):
        one = read(told(tool, "/b", pattern="*"), files={f"/b/{name}": beginning + data})[0]["nightly"]
        assert one.snapshots == 1
    manifest = {"/b/x/backup_manifest": beginning + data, "/b/x/PG_VERSION": "16"}
    assert read(told("pg_basebackup", "/b"), files=manifest)[0]["nightly"].last_run_ok is False


# --- captures ---------------------------------------------------------------------------------------------------


def parsed(kind, *texts):
    files = [CapturedFile(f"f{number}", text.encode()) for number, text in enumerate(texts)]
    return captures()[kind].parse(files)


@pytest.mark.parametrize(
    ("kind", "text", "names"),
    [
        ("zfs-snapshots", ZFS, ["tank/data"]),
        ("lvm-snapshots", LVS, ["vg0/data"]),
        ("proxmox-backup", PROXMOX, ["vm/101", "host/db-01"]),
        ("wbadmin", VERSIONS, ["windows-server-backup"]),
        ("wbadmin", SUMMARY, ["windows-server-backup"]),
        ("veeam", SESSIONS, ["Nightly VMs"]),
        ("veeam", STATES, ["Nightly VMs"]),
    ],
    ids=["zfs", "lvm", "proxmox", "versions", "summary", "sessions", "states"],
)
def test_written_outputs_are_read_whole(kind, text, names):
    result = parsed(kind, text)
    assert [each.name for each in result.document.repositories] == names
    assert result.unread == ()
    assert parsed(kind, "something else altogether").document is None


def test_rsync_and_rsnapshot_logs_are_read_and_odd_lines_are_named():
    log = """\
2026/11/22 02:00:01 [17] building file list
2026/11/22 02:00:02 [17] >f+++++++++ a
2026/11/22 02:00:03 [17] sent 124 bytes  received 43 bytes  total size 2,000
2026/11/23 02:00:01 [18] building file list
2026/11/23 02:00:02 [18] rsync: [sender] change_dir "/nope" failed: No such file or directory (2)
what is this
2026/11/23 02:00:03 [18] rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.2.7]
"""
    result = parsed("rsync", log)
    (one,) = result.document.repositories
    assert (one.last_run_ok, one.size_bytes) == (False, 2000)
    assert one.last_success_at == datetime(2026, 11, 22, 2, 0, 3, tzinfo=UTC)
    assert [(each.line, each.text) for each in result.unread] == [(6, "what is this")]
    log = "[2026-11-23T02:00:01] /usr/bin/rsnapshot alpha: started\n[2026-11-23T02:03:01] /usr/bin/rsnapshot alpha: completed successfully\nodd\n"
    result = parsed("rsnapshot", log)
    assert result.document.repositories[0].last_run_ok is True
    assert [each.line for each in result.unread] == [3]


RECORDED = {
    "restic_backup_1.out": {"last_run_ok": True, "size_bytes": 6220116, "last_run_seconds": 0.284},
    "restic_backup_2.out": {"last_run_ok": True, "size_bytes": 6720122, "last_run_seconds": 0.245},
    "restic_backup_text.out": {"last_run_ok": True, "size_bytes": 6720324},
    "restic_snapshots.out": {"snapshots": 3, "protects": ("/srv/demo",), "hosts": ("server01",), "encrypted": True},
    "restic_forget.out": {"snapshots": 1, "last_run_detail": "2 snapshots were forgotten"},
    "restic_stats_restore.out": {"snapshots": 3, "size_bytes": None},
    "restic_check.out": {"chain_ok": True, "chain_detail": "restic check: no errors were found"},
    "restic_check_text.out": {"chain_ok": True},
    "restic_check_read_data_damaged.err": {"chain_ok": False},
    "restic_check_read_data_damaged.out": {"chain_ok": None},
    "restic_wrong_password.err": {"last_run_ok": False, "unknown_why": "the password is wrong"},
    "borg_init.err": {"last_run_ok": None, "unknown_why": ""},
    "borg_create_1.out": {"last_run_ok": True, "size_bytes": 6720670, "stored_bytes": 6125454, "location": "/srv/borg"},
    "borg_create_2.out": {"last_run_ok": True, "size_bytes": 6720695, "protects": ("/srv/demo",), "encrypted": True},
    "borg_create_2.err": {"last_run_ok": None},
    "borg_create_missing_path.err": {"last_run_ok": False, "last_run_detail": "/srv/missing: [Errno 2] No such file or directory: 'missing'"},
    "borg_list.out": {"snapshots": 3, "last_success_at": datetime(2026, 11, 23, 17, 20, 18, tzinfo=UTC)},
    "borg_info_repo.out": {"stored_bytes": 6134305, "encrypted": True},
    "borg_info_archive.out": {"size_bytes": 6720127, "hosts": ("server01",)},
    "borg_check.err": {"chain_ok": True, "chain_detail": "borg check: no problems found"},
    "borg_wrong_passphrase.err": {"last_run_ok": False, "unknown_why": "the password is wrong"},
    "borg_no_repo.err": {"last_run_ok": False, "unknown_why": "no repository there"},
}  # fmt: skip


@pytest.mark.skipif(not RUNS.is_dir(), reason="the recorded runs are not here")
@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_run_says_what_its_file_says(name):
    result = captures()[name.partition("_")[0]].parse([CapturedFile(name, (RUNS / name).read_bytes())])
    (one,) = result.document.repositories
    assert result.unread == ()
    assert {field: getattr(one, field) for field in RECORDED[name]} == RECORDED[name]


@pytest.mark.skipif(not RUNS.is_dir(), reason="the recorded runs are not here")
def test_each_recorded_run_is_as_good_as_its_exit_code():
    codes = json.loads((RUNS / "exit_codes.json").read_text())
    wrong = {}
    for run, code in codes.items():
        paths = [path for ending in (".out", ".err") if (path := RUNS / f"{run}{ending}").exists()]
        if run == "restic_ls" or not paths:
            continue  # what is in a snapshot, not how a run went
        files = [CapturedFile(path.name, path.read_bytes()) for path in paths if path.stat().st_size]
        (one,) = captures()[run.partition("_")[0]].parse(files).document.repositories
        if (one.last_run_ok is False or one.chain_ok is False) != (code != 0):
            wrong[run] = code
    assert wrong == {}
