"""Backup adapters on the real programs: what is kept, how it went, who locks it, and the traces of an attack."""

# ruff: noqa: E501 - tables and recorded lines keep their lines
from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forestall.agent.collect import backups
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.tests import quick_restic
from forestall.wire.facts import BackupRepository

NOW = datetime.now(UTC)


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def mira(tmp_path, monkeypatch):
    """Mira's server: her documents, and an agent's folder with settings that a test writes."""
    return Mira(tmp_path, monkeypatch)


class Mira:
    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.documents = folder / "documents"
        self.documents.mkdir()
        self.home = folder / "agent"
        self.home.mkdir()
        monkeypatch.setenv("FORESTALL_AGENT_HOME", str(self.home))
        monkeypatch.setenv("HOME", str(folder))
        chance = random.Random(4)
        words = [f"word{number}" for number in range(500)]
        for number in range(60):
            text = " ".join(chance.choices(words, k=3000))
            (self.documents / f"letter-{number}.txt").write_text(text)

    def tell(self, **fields) -> None:
        lines = ["[[backup]]"]
        for name, value in fields.items():
            if isinstance(value, dict) and name != "log":
                lines.append(f"{name} = {{ {', '.join(f'{key} = {json.dumps(one)}' for key, one in value.items())} }}")
            elif name != "log":
                lines.append(f"{name} = {json.dumps(value)}")
        if "log" in fields:
            lines += ["[backup.log]", *(f"{name} = {json.dumps(value)}" for name, value in fields["log"].items())]
        path = self.home / "backups.toml"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    def look(self, name: str = "nightly") -> BackupRepository:
        document = backups.collect(LocalHost())
        return next(each for each in document.repositories if each.name == name)

    def encrypt_everything(self) -> None:
        """What ransomware does: every file comes back under another name, with bytes that look random."""
        for path in list(self.documents.iterdir()):
            path.with_name(f"{path.name}.locked").write_bytes(os.urandom(path.stat().st_size))
            path.unlink()


@needs("restic")
def test_restic_ransomware_is_seen_in_sizes_names_and_removed_snapshots(mira):
    repository = mira.folder / "repository"
    secret = quick_restic.init(repository, "correct horse")
    mira.tell(name="nightly", tool="restic", repository=str(repository), environment={"RESTIC_PASSWORD": "correct horse"}, retention="7 last")  # fmt: skip
    for _ in range(3):
        (mira.documents / "letter-0.txt").write_text(f"{time.time()} " * 2000)
        quick_restic.restic(secret, "backup", "-q", str(mira.documents))
    calm = mira.look()
    assert (calm.snapshots, calm.unknown_why, calm.encrypted, calm.remote) == (3, "", True, False)
    assert calm.protects == (str(mira.documents),)
    assert (calm.writable, calm.immutable, calm.warnings) == (True, False, ())
    newest, before, first = calm.history
    assert newest.parent == before.id
    assert first.files == newest.files >= 60
    assert (newest.changed_files, newest.new_files, newest.removed_files) == (1, 0, 0)
    assert first.stored_bytes < 0.5 * first.size_bytes, "letters can be compressed"
    assert 0 < newest.stored_bytes < newest.added_bytes < 100_000

    before_files = sorted(str(path) for path in repository.rglob("*"))
    mira.encrypt_everything()
    quick_restic.restic(secret, "backup", "-q", str(mira.documents))
    struck = mira.look()
    assert (struck.history[0].new_files, struck.history[0].removed_files) == (60, 60)
    assert struck.history[0].stored_bytes > 0.95 * struck.history[0].added_bytes, "random bytes cannot"
    (renamed,) = struck.warnings
    assert (renamed.kind, renamed.detail) == ("encrypted_names", "60 files are gone and came back as NAME.locked")
    assert {path for path in before_files if not Path(path).exists()} == set(), "reading takes nothing away"

    quick_restic.restic(secret, "forget", "-q", first.id, before.id, newest.id)
    gone = next(each for each in mira.look().warnings if each.kind == "removed")
    assert gone.detail == "3 of 4 snapshots are gone; 1 are left, and 7 are to be kept"
    assert gone.snapshot == newest.id
    assert [each for each in mira.look().warnings if each.kind == "removed"] == [gone], "it is told of once"


@needs("restic")
def test_restic_an_untouched_repository_is_not_opened_again_and_a_lock_left_is_seen(mira):
    repository = mira.folder / "repository"
    secret = quick_restic.init(repository, "correct horse")
    quick_restic.restic(secret, "backup", "-q", str(mira.documents))
    mira.tell(name="nightly", tool="restic", repository=str(repository), environment={"RESTIC_PASSWORD": "correct horse"})  # fmt: skip
    first = mira.look()

    class Counting(LocalHost):
        ran = 0

        def run(self, argv, **rest):
            Counting.ran += argv[0] == "restic"
            return super().run(argv, **rest)

    again = next(each for each in backups.collect(Counting()).repositories if each.name == "nightly")
    assert (again, Counting.ran) == (first, 0)

    # restic reads from a pipe that nobody writes to, until it is killed.
    with subprocess.Popen(
        ["restic", "backup", "--stdin", "-q"], env=secret, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        while not list((repository / "locks").iterdir()):
            assert running.poll() is None, "restic has ended before it was ready"
            time.sleep(0.05)
        (held,) = mira.look().locks
        running.kill()
    assert held.stale is False
    assert held.who.startswith(f"process {running.pid} of ")
    (left,) = mira.look().locks
    assert (left.stale, left.exclusive) == (True, False)
    assert abs(left.since - datetime.now(UTC)) < timedelta(minutes=2)


@needs("borg")
def test_borg_history_locks_and_an_archive_that_can_no_longer_be_compressed(mira):
    repository = mira.folder / "repository"
    secret = {**os.environ, "BORG_PASSPHRASE": "correct horse", "BORG_BASE_DIR": str(mira.folder / "base")}

    def borg(*words):
        subprocess.run(["borg", *words], check=True, capture_output=True, env=secret)

    borg("init", "--encryption=repokey", str(repository))
    borg("create", f"{repository}::monday", str(mira.documents))
    mira.encrypt_everything()
    borg("create", f"{repository}::tuesday", str(mira.documents))
    (repository / "lock.exclusive").mkdir()
    hostname = Path("/proc/sys/kernel/hostname").read_text().strip()
    (repository / "lock.exclusive" / f"{hostname}@12345.999999-0").touch()
    mira.tell(name="nightly", tool="borg", repository=str(repository), environment={"BORG_PASSPHRASE": "correct horse"})
    found = mira.look()
    assert [each.id for each in found.history] == ["tuesday", "monday"]
    assert found.protects == (str(mira.documents),)
    assert found.history[1].size_bytes == pytest.approx(found.history[0].size_bytes, rel=0.01)
    assert (found.history[0].files, found.encrypted, found.snapshots) == (60, True, 2)
    assert found.stored_bytes > 500_000
    (lock,) = found.locks
    assert (lock.who, lock.exclusive, lock.stale) == (f"process 999999 on {hostname}", True, True)
    (warning,) = found.warnings
    assert (warning.kind, warning.snapshot) == ("entropy", "tuesday")
    assert "100% only; those before to" in warning.detail


@needs("tar")
def test_tar_archives_form_a_chain_and_a_cut_one_is_no_backup(mira):
    folder = mira.folder / "archives"
    folder.mkdir()
    index = folder / "index.snar"
    for name, days in (("full-1.tar", 2), ("incr-2.tar", 1)):
        subprocess.run(["tar", "-cf", folder / name, f"--listed-incremental={index}", "-C", mira.folder, "documents"], check=True)  # fmt: skip
        at = (NOW - timedelta(days=days)).timestamp()
        os.utime(folder / name, (at, at))
    mira.tell(name="nightly", tool="tar", repository=str(folder), paths=[str(mira.documents)])
    found = mira.look()
    assert [each.id for each in found.history] == ["incr-2.tar", "full-1.tar"]
    assert (found.history[0].kind, found.chain_ok, found.chain_detail) == (
        "incremental",
        True,
        "full-1.tar and 1 incremental ones after it",
    )
    assert found.protects == (str(mira.documents),)
    assert found.last_run_ok is None

    subprocess.run(["tar", "-czf", folder / "whole-3.tar.gz", "-C", mira.folder, "documents"], check=True)
    whole = (folder / "full-1.tar").read_bytes()
    (folder / "full-4.tar").write_bytes(whole[: len(whole) // 2])
    cut = mira.look()
    assert (cut.last_run_ok, cut.last_run_detail) == (
        False,
        "full-4.tar is cut off: it does not end with two empty blocks",
    )
    assert cut.last_success_at == cut.history[1].at

    for name in ("full-1.tar", "full-4.tar", "whole-3.tar.gz"):
        (folder / name).unlink()
    broken = mira.look()
    assert (broken.chain_ok, broken.chain_detail) == (False, "incr-2.tar is incremental, and no full archive is left")
    assert broken.warnings[0].kind == "removed"


@pytest.mark.parametrize(
    ("tool", "content", "detail"),
    [
        ("tar", b"", "is empty"),
        ("tar", b"text, not an archive" * 100, "does not begin like a tar archive"),
        ("pg_dump", b"PGDMP\x01\x0e\x00\x04\x08\x01" + b"\x00" * 20, "cannot be read"),
        ("pg_dump", b"select 1;\n", "does not begin like a dump of PostgreSQL"),
        ("mariadb_dump", b"-- MariaDB dump 10.19\n-- Host: localhost    Database: shop\nCREATE TABLE x", "is cut off"),
    ],
)
def test_files_that_are_no_backup_are_told_as_failed_runs(mira, tool, content, detail):
    folder = mira.folder / "dumps"
    folder.mkdir()
    (folder / "shop.sql").write_bytes(content)
    mira.tell(name="nightly", tool=tool, repository=str(folder), pattern="*.sql")
    found = mira.look()
    assert (found.last_run_ok, found.last_success_at, found.snapshots) == (False, None, 1)
    assert detail in found.last_run_detail
    assert found.warnings == ()


def test_a_dump_that_malware_encrypted_looks_random(mira):
    folder = mira.folder / "dumps"
    folder.mkdir()
    (folder / "shop-1.sql").write_bytes(os.urandom(200_000))
    mira.tell(name="nightly", tool="mariadb_dump", repository=str(folder))
    (warning,) = mira.look().warnings
    assert (warning.kind, warning.snapshot) == ("entropy", "shop-1.sql")
    assert "look random (8.00 of 8 bits)" in warning.detail
    (folder / "shop-1.sql").rename(folder / "shop-1.sql.gpg")
    found = mira.look()
    assert (found.encrypted, found.last_run_ok, found.warnings) == (True, None, ()), "encrypted on purpose"


@needs("rsync")
def test_rsync_dated_folders_and_what_its_log_says(mira):
    target, log = mira.folder / "copies", mira.folder / "rsync.log"
    (target / "2026-11-22_0200").mkdir(parents=True)
    (target / "2026-11-23_0200").mkdir()
    run = ["rsync", "-a", f"--log-file={log}"]
    subprocess.run([*run, f"{mira.documents}/", target / "2026-11-23_0200"], check=True)
    mira.tell(name="nightly", tool="rsync", repository=str(target), log={"file": str(log)})
    found = mira.look()
    assert [each.id for each in found.history] == ["2026-11-23_0200", "2026-11-22_0200"]
    assert (found.last_run_ok, found.last_run_detail) == (True, "")
    assert found.size_bytes == sum(path.stat().st_size for path in mira.documents.iterdir())

    failed = subprocess.run(
        [*run, f"{mira.folder}/nowhere/", target / "2026-11-23_0200"], check=False, capture_output=True
    )
    assert failed.returncode == 23
    found = mira.look()
    assert found.last_run_ok is False
    assert "No such file or directory" in found.last_run_detail

    mira.tell(name="nightly", tool="rsync", repository=str(mira.documents))
    assert "name its log" in mira.look().unknown_why


@needs("rsnapshot")
def test_rsnapshot_is_read_by_its_configuration_and_log(mira):
    root, configuration = mira.folder / "snapshots", mira.folder / "rsnapshot.conf"
    root.mkdir()
    lines = [
        ("config_version", "1.2"),
        ("snapshot_root", f"{root}/"),
        ("cmd_rsync", shutil.which("rsync") or ""),
        ("retain", "alpha", "3"),
        ("logfile", f"{mira.folder}/log"),
        ("lockfile", f"{mira.folder}/pid"),
        ("loglevel", "3"),
        ("backup", f"{mira.documents}/", "localhost/"),
    ]
    configuration.write_text("".join("\t".join(line) + "\n" for line in lines))
    for _ in range(2):
        subprocess.run(["rsnapshot", "-c", configuration, "alpha"], check=True)
    mira.tell(name="nightly", tool="rsnapshot", repository=str(configuration))
    found = mira.look()
    assert [each.id for each in found.history] == ["alpha.0", "alpha.1"]
    assert (found.last_run_ok, found.last_run_detail, found.locks) == (True, "", ())
    assert found.protects == (str(mira.documents),)

    (mira.folder / "pid").write_text("999999\n")
    configuration.write_text(configuration.read_text() + f"backup\t{mira.folder}/nowhere/\tlocalhost/\n")
    assert subprocess.run(["rsnapshot", "-c", configuration, "alpha"], check=False, capture_output=True).returncode
    found = mira.look()
    assert found.last_run_ok is False
    assert "nowhere" in found.last_run_detail
    assert [(lock.who, lock.stale) for lock in found.locks] == [("process 999999", True)]


def test_declared_anything_with_a_log_and_an_exit_code(mira):
    log, code = mira.folder / "tape.log", mira.folder / "tape.exit"
    log.write_text(
        "01.11.2026 02:00:01 Job start\n01.11.2026 02:10:00 wrote 1,024 MiB in 599 s\n01.11.2026 02:10:00 Job done\n"
        "02.11.2026 02:00:01 Job start\n02.11.2026 02:10:00 wrote 2 GiB in 600 s\n02.11.2026 02:10:01 Job done\n"
    )
    code.write_text("0\n")
    rules = {
        "file": str(log),
        "exit_code_file": str(code),
        "start": "Job start",
        "time": r"^(\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d)",
        "time_format": "%d.%m.%Y %H:%M:%S",
        "ok": "Job done",
        "fail": "ERROR",
        "size": r"wrote ([\d,]+) (\w+)",
        "seconds": r"in (\d+) s",
    }
    mira.tell(name="nightly", tool="declared", paths=["/srv/mail"], schedule="0 2 * * *", log=rules)
    found = mira.look()
    assert [each.size_bytes for each in found.history] == [2 * 1024**3, 1024**3]
    assert (found.last_run_ok, found.last_run_exit_code, found.last_run_seconds) == (True, 0, 600)
    assert found.history[0].at == LocalHost().local_to_utc(datetime(2026, 11, 2, 2, 10, 1))  # noqa: DTZ001
    assert found.protects == ("/srv/mail",)
    assert timedelta() < found.next_run_at - datetime.now(UTC) <= timedelta(days=1)

    code.write_text("3\n")
    found = mira.look()
    assert (found.last_run_ok, found.last_run_detail, found.last_run_exit_code) == (False, "exit code 3", 3)
    with log.open("a") as file:
        file.write("03.11.2026 02:00:01 Job start\n03.11.2026 02:00:05 ERROR: no tape, password=hunter2\n")
    found = mira.look()
    assert found.last_run_detail == "exit code 3 03.11.2026 02:00:05 ERROR: no tape, password=[hidden]"
    assert found.last_success_at.day == 2
    code.write_text("well\n")
    assert "'well' is no exit code" in mira.look().unknown_why


@needs("btrfs")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_btrfs_snapshots_of_a_real_file_system(mira):
    image, mount = mira.folder / "image", mira.folder / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(128 * 1024 * 1024)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no loop mounts here: {mounted.stderr.decode().strip()}")
    try:
        for words in (("create", mount / "data"), ("snapshot", "-r", mount / "data", mount / "data-1")):
            subprocess.run(["btrfs", "subvolume", *words], check=True, capture_output=True)
        mira.tell(name="nightly", tool="btrfs", repository=str(mount), pattern="data-*", paths=["/srv/data"])
        found = mira.look()
        assert [each.id for each in found.history] == ["data-1"]
        assert abs(found.last_success_at - datetime.now(UTC)) < timedelta(minutes=2)
        assert found.immutable_detail == "read-only snapshots, which root on this machine can delete"
        assert (found.remote, found.writable, found.immutable) == (False, True, False)
        subprocess.run(
            ["btrfs", "subvolume", "snapshot", mount / "data", mount / "data-2"], check=True, capture_output=True
        )
        assert mira.look().immutable_detail == "1 of 2 snapshots can be written to (data-2)"
    finally:
        subprocess.run(["umount", mount], check=True)


@needs("curl")
def test_veeam_is_asked_over_rest_and_its_secrets_are_no_arguments(mira):
    asked = []

    class Service(BaseHTTPRequestHandler):
        def answer(self, value):
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self):
            asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.answer({"access_token": "t0ken.abc"})

        def do_GET(self):
            asked.append((self.path.partition("?")[0], self.headers["Authorization"]))
            if self.path.startswith("/api/v1/sessions"):
                session = {
                    "name": "Nightly",
                    "sessionType": "BackupJob",
                    "creationTime": "2026-11-22T21:00:00Z",
                    "endTime": "2026-11-22T21:30:00Z",
                    "result": {"result": "Success"},
                }
                self.answer({"data": [session]})
            else:
                self.answer({"data": []})

        def log_message(self, *_):
            pass

    class Watching(LocalHost):
        arguments = ""

        def run(self, argv, **rest):
            Watching.arguments += " ".join(argv)
            return super().run(argv, **rest)

    sign_in = mira.folder / "veeam"
    sign_in.write_text('data = "grant_type=password&username=forestall&password=hunter2"\n')
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        mira.tell(name="nightly", tool="veeam", repository=address, password_file=str(sign_in))
        document = backups.collect(Watching())
        server.shutdown()
    (found,) = (each for each in document.repositories if each.name == "nightly")
    assert (found.job, found.last_run_ok, found.last_run_seconds, found.remote) == ("Nightly", True, 1800, True)
    assert asked == [
        ("/api/oauth2/token", "grant_type=password&username=forestall&password=hunter2"),
        ("/api/v1/sessions", "Bearer t0ken.abc"),
        ("/api/v1/jobs/states", "Bearer t0ken.abc"),
    ]
    assert "hunter2" not in Watching.arguments
    assert "t0ken" not in Watching.arguments
    assert "curl" in mira.look().unknown_why, "nobody answers any more"
