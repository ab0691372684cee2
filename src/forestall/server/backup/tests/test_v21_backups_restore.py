"""V21: every backup restores to equal rows, roots and keys. What is damaged is found, and never called a backup."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.server.backup import archive, services
from forestall.server.backup.age import CHUNK_BYTES, TAG_BYTES, AgeError, Encryptor, Identity, Passphrase, WrongKeyError
from forestall.server.backup.errors import BackupError, BusyError, NoRoomError, NotEmptyError, NotProvedError
from forestall.server.backup.rules import Settings
from forestall.server.backup.schedule import backup_tick
from forestall.server.backup.services import backup_make, backup_verify, backups, restore
from forestall.server.backup.snapshot import KEYS, MAIN, count_rows
from forestall.server.backup.status import status_read
from forestall.server.backup.tests.backup_world import NOON, environment, installation, run, settings
from forestall.server.home import Home
from forestall.verify.bundle import verify_bundle

CHUNK = CHUNK_BYTES + TAG_BYTES
PLANTED = [f"hunter2-{random.Random(n).getrandbits(96):x}" for n in range(1000)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    made = installation(tmp_path_factory.mktemp("installation") / "home")
    with closing(sqlite3.connect(made.database)) as database:
        # Text that does not compress away, so that the file has several chunks.
        noise = random.Random(1).randbytes(400_000)
        database.execute("CREATE TABLE noise (data BLOB)")
        database.execute("INSERT INTO noise VALUES (?)", (noise,))
        database.execute("CREATE TABLE planted (secret TEXT)")
        database.executemany("INSERT INTO planted VALUES (?)", [(one,) for one in PLANTED])
        database.commit()
    return made


@pytest.fixture(scope="module")
def made(home):
    return backup_make(home=home, settings=settings(home), now=NOON)


def key_of(home: Home) -> Identity:
    return Identity.parse(home.backup_key.read_text())


def tables(path: Path) -> dict[str, list]:
    with closing(sqlite3.connect(path)) as database:
        rows = {name: database.execute(f'SELECT * FROM "{name}"') for name in count_rows(database)}  # noqa: S608
        return {name: sorted(map(repr, found)) for name, found in rows.items()}


def test_v21_every_backup_restores_to_equal_rows_roots_and_keys(home, made, tmp_path):
    new = Home(tmp_path / "new")
    done = restore(file=made.file, home=new, secret=key_of(home))
    before, after = tables(home.database), tables(new.database)
    differs = {name for name in before | after if before.get(name) != after.get(name)}
    # Only what makes it fit for work: counters moved on, and the restoration on record in both clients' logs.
    assert differs <= {
        "inventory_device",
        "evidence_clientlog",
        "evidence_entry",
        "evidence_lognode",
        "sqlite_sequence",
    }
    assert set(after["evidence_entry"]) > set(before["evidence_entry"])
    assert len(after["evidence_entry"]) - len(before["evidence_entry"]) == done.settled.clients == 3
    assert tables(home.journal) == tables(new.journal)
    assert tables(home.samples) == tables(new.samples)
    for path in KEYS:
        assert (home.root / path).read_bytes() == (new.root / path).read_bytes()
    assert done.proof.entries == 80
    assert done.proof.keys == len(KEYS)
    bundle = tmp_path / "bundle"
    exported = run(new.root, "-m", "forestall.cli.main", "evidence", "export", "--out", str(bundle))
    assert exported.returncode == 0, exported.stderr
    verdict = verify_bundle(bundle, pinned_log_key=done.log_key)
    assert verdict.valid
    assert not (new.root / "operator").exists(), "the operator's keys live outside the server, and so do they here"
    assert not (new.root / "agent").exists()
    with closing(sqlite3.connect(new.database)) as database:
        assert database.execute("SELECT DISTINCT job_counter FROM inventory_device").fetchall() == [(10_007,)]


def test_what_was_made_is_listed_and_its_proof_is_on_file(home, made):
    assert made.file in backups(home.backups)
    status = status_read(home)
    assert (status.last_run_ok, status.verified_ok, status.last_file) == (True, True, str(made.file))
    assert "80 records under the roots of 2 logs" in status.verified_detail
    assert made.file.stat().st_mode & 0o777 == 0o600


def test_every_damaged_form_is_found(home, made, tmp_path):
    data = made.file.read_bytes()
    key = key_of(home)
    payload = data.index(b"\n--- ")
    payload = data.index(b"\n", payload + 1) + 1 + 16
    assert len(data) - payload > 5 * CHUNK
    chunks = [data[at : at + CHUNK] for at in range(payload, len(data), CHUNK)]
    borders = range(payload, len(data), CHUNK)
    flips = [*range(0, payload, 7), *range(payload, len(data), 9_973), *borders, len(data) - 1]
    forms = {f"byte {at} flipped": data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in flips}
    forms |= {f"cut off at {at}": data[:at] for at in (0, 10, payload - 16, *borders, len(data) - 1)}
    forms["chunks swapped"] = data[:payload] + b"".join([chunks[1], chunks[0], *chunks[2:]])
    forms["first chunk left out"] = data[:payload] + b"".join(chunks[1:])
    forms["appended"] = data + b"\0"
    forms["twice"] = data + data
    file = tmp_path / made.file.name
    for form, content in forms.items():
        file.write_bytes(content)
        with pytest.raises((NotProvedError, AgeError)) as caught:
            backup_verify(home=home, file=file, secret=key, now=NOON)
        assert str(caught.value), form
    assert len(forms) > 100
    file.write_bytes(data)
    with pytest.raises(WrongKeyError):
        backup_verify(home=home, file=file, secret=Identity.new(), now=NOON)
    assert backup_verify(home=home, file=file, secret=key, now=NOON).rows == made.proof.rows
    assert status_read(home).verified_ok is True, "copies elsewhere are not this installation's backups"


def forged(home: Home, made, change) -> bytes:
    """The backup with an altered content, encrypted anew: its encryption is sound, what it says is not."""
    folder = home.root / "forging"
    shutil.rmtree(folder, ignore_errors=True)
    with made.file.open("rb") as file:
        manifest = archive.read(file=file, secret=key_of(home), folder=folder, tick=lambda _: None)
    manifest = change(manifest, folder) or manifest
    out = io.BytesIO()
    archive.write(manifest=manifest, folder=folder, file=out, to=[key_of(home).recipient], tick=lambda _: None)
    return out.getvalue()


def test_a_backup_that_is_whole_but_not_what_it_says_is_kept_aside_and_reported(home, made):
    def one_row_fewer(manifest, folder):
        manifest.rows[MAIN]["people_client"] += 1

    file = made.file.with_name("forestall-20260101T000000Z.tar.gz.age")
    file.write_bytes(forged(home, made, one_row_fewer))
    with pytest.raises(NotProvedError, match="people_client: 3 rows were restored, 4 were saved") as caught:
        backup_verify(home=home, file=file, secret=key_of(home), now=NOON)
    assert caught.value.kept_as == file.with_name(file.name + ".failed")
    assert caught.value.kept_as.exists()
    assert not file.exists()
    status = status_read(home)
    assert (status.verified_ok, "people_client" in status.verified_detail) == (False, True)
    caught.value.kept_as.unlink()


def test_evidence_that_was_altered_inside_a_backup_is_found(home, made, tmp_path):
    def rewrite(manifest, folder):
        with closing(sqlite3.connect(folder / MAIN)) as database:
            database.execute("UPDATE evidence_entry SET leaf = replace(leaf, 'check:changed', 'check:accepted')")
            database.commit()
        files = [services.snapshot.entry(folder, entry.path) for entry in manifest.files]
        return msgspec.structs.replace(manifest, files=tuple(files))

    file = tmp_path / "b.age"
    file.write_bytes(forged(home, made, rewrite))
    with pytest.raises(NotProvedError, match="the evidence does not hold"):
        backup_verify(home=home, file=file, secret=key_of(home), now=NOON)
    with pytest.raises(NotProvedError):
        restore(file=file, home=Home(tmp_path / "new"), secret=key_of(home))
    assert list((tmp_path / "new").iterdir()) == []


def sealed(home: Home, *members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    encrypted = Encryptor(out, [key_of(home).recipient])
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as packed:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    encrypted.write(plain.getvalue())
    encrypted.finish()
    return out.getvalue()


def manifest_of(*paths: str, content: bytes = b"evil") -> bytes:
    files = [{"path": one, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for one in paths]
    known = {"format": "forestall-backup/1", "made_at": "2026-11-23T12:00:00+00:00", "version": "1", "rows": {}}
    return msgspec.json.encode({**known, "engine": "sqlite", "logs": [], "files": files})


@pytest.mark.parametrize(
    "path", ["../evil", "server/../../evil", "/etc/evil", "operator/root.json", "server/.hidden", "server"]
)
def test_a_backup_that_would_write_elsewhere_is_refused(home, made, tmp_path, path):
    file = tmp_path / "b.age"
    file.write_bytes(sealed(home, ("manifest.json", manifest_of(path)), (path, b"evil")))
    with pytest.raises(AgeError, match="a file that cannot be"):
        restore(file=file, home=Home(tmp_path / "new"), secret=key_of(home))
    assert not list((tmp_path / "new").iterdir())


def test_an_archive_that_is_not_what_its_manifest_names_is_refused(home, made, tmp_path):
    head = ("manifest.json", manifest_of("server/a", "server/b"))
    one, two = ("server/a", b"evil"), ("server/b", b"evil")
    for members, words in (
        ((one, two), "does not begin with a manifest"),
        ((head, two, one), "does not hold server/a where"),
        ((head, one), "does not hold server/b where"),
        ((head, one, ("server/b", b"good")), "server/b is not what"),
        ((head, one, two, ("server/c", b"")), "more than its manifest"),
        ((("manifest.json", b"{}"),), "manifest cannot be read"),
        ((("manifest.json", manifest_of().replace(b"backup/1", b"backup/9")),), "this version reads"),
        ((("manifest.json", manifest_of("server/a", "server/a")), one, one), "a file that cannot be"),
    ):
        file = tmp_path / "b.age"
        file.write_bytes(sealed(home, *members))
        with file.open("rb") as content, pytest.raises(AgeError, match=words):
            archive.read(file=content, secret=key_of(home), folder=None, tick=lambda _: None)


def test_no_secret_stands_in_what_is_not_encrypted(home, made):
    data = made.file.read_bytes()
    head = data[: data.index(b"\n--- ")].decode()
    lines = head.splitlines()
    assert (lines[0], lines[1].split(" ")[1], len(lines)) == ("age-encryption.org/v1", "X25519", 3)
    first = msgspec.json.decode((home.server / "first-person.json").read_bytes())
    secrets = [*PLANTED, first["password"], first["api_token"], "Acme", "Bolt", "SQLite format 3", "admin"]
    keys = [(home.root / path).read_bytes() for path in KEYS if path.endswith(".key")]
    public = data + made.file.name.encode() + (home.server / "backup-status.json").read_bytes()
    assert [one for one in secrets if one.encode() in public] == []
    assert [one for one in keys if one in public] == []
    assert str(key_of(home)).encode() not in public


def test_with_a_passphrase_no_key_is_needed(home, tmp_path):
    folder = tmp_path / "usb"
    folder.mkdir()
    secret = Passphrase("correct horse battery staple")
    made = backup_make(home=home, settings=settings(home), now=NOON, to=folder, passphrase=secret)
    assert backup_verify(home=home, file=made.file, secret=secret, now=NOON).rows == made.proof.rows
    with pytest.raises(WrongKeyError):
        restore(file=made.file, home=Home(tmp_path / "new"), secret=Passphrase("incorrect horse"))


def test_only_an_empty_folder_is_restored_into(home, made, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotEmptyError, match=r"is not empty \(notes.txt\)"):
        restore(file=made.file, home=Home(tmp_path), secret=key_of(home))
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(NotEmptyError, match="is not empty"):
        restore(file=made.file, home=home, secret=key_of(home))
    killed = tmp_path / "killed"
    (killed / ".restoring" / "server").mkdir(parents=True)
    restore(file=made.file, home=Home(killed), secret=key_of(home))
    assert sorted(one.name for one in killed.iterdir()) == ["server"]


def test_a_full_volume_is_seen_before_and_while_it_is_written_and_nothing_is_left(home, made):
    there = sorted(one.name for one in home.backups.iterdir())
    gib = 1024**3
    with pytest.raises(NoRoomError, match="0 MiB free"):
        backup_make(home=home, settings=settings(home), now=NOON, free=lambda _: (1000, gib))
    answers = iter([gib, *[0] * 1000])
    was = services.LOOK_EVERY_BYTES
    services.LOOK_EVERY_BYTES = 4096
    try:
        with pytest.raises(NoRoomError):
            backup_make(home=home, settings=settings(home), now=NOON, free=lambda _: (next(answers), gib))
    finally:
        services.LOOK_EVERY_BYTES = was
    assert sorted(one.name for one in home.backups.iterdir()) == there
    status = status_read(home)
    assert (status.last_run_ok, "stay free for the rest" in status.last_run_detail) == (False, True)
    assert status.last_success_at == NOON


def test_kill_9_in_the_middle_leaves_nothing_that_looks_like_a_backup(home, made):
    chance = random.Random(5)
    interrupted = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "forestall.server.backup.schedule"],
            env=environment(home.root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        # From the moment it has begun to write.
        while process.poll() is None and not any(one.name.startswith(".") for one in home.backups.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
        for one in backups(home.backups):
            with one.open("rb") as file:
                archive.read(file=file, secret=key_of(home), folder=None, tick=lambda _: None)
    assert interrupted > 2
    later = backup_make(home=home, settings=settings(home), now=NOON + timedelta(days=1))
    assert [one.name for one in home.backups.iterdir() if one.name.startswith(".")] == []
    assert later.file.exists()


def test_never_two_at_once_and_the_schedule_starts_only_what_is_due(home, made):
    with services.backup_lock(home), pytest.raises(BusyError):
        backup_make(home=home, settings=settings(home), now=NOON)
    assert backup_tick(home=home, now=NOON - timedelta(days=300), environment={}) is False
    assert backup_tick(home=home, now=NOON, environment={"FORESTALL_BACKUP_AT": "noon"}) is False
    assert "FORESTALL_BACKUP_AT='noon'" in status_read(home).last_run_detail
    assert backup_tick(home=home, now=NOON, environment={"FORESTALL_BACKUP_AT": "off"}) is False
    assert status_read(home).scheduled is False


def test_a_named_folder_that_is_not_there_is_not_made(home, tmp_path):
    with pytest.raises(BackupError, match="is its volume mounted"):
        backup_make(home=home, settings=Settings(tmp_path / "nas"), now=NOON)
    assert not (tmp_path / "nas").exists()


def test_the_command_line_says_what_it_did_and_what_is_wrong(home, made, tmp_path):
    listed = run(home.root, "-m", "forestall.cli.main", "backup", "list", "--json")
    assert made.file.name in listed.stdout
    cut = tmp_path / "cut.age"
    cut.write_bytes(made.file.read_bytes()[:-1])
    answer = run(home.root, "-m", "forestall.cli.main", "backup", "verify", str(cut))
    assert answer.returncode == 1
    assert "does not hold" in answer.stdout
    key = tmp_path / "key"
    key.write_text(str(key_of(home)))
    key.chmod(0o644)
    target = ("--home", str(tmp_path / "new"))
    exposed = run(home.root, "-m", "forestall.cli.main", "restore", str(made.file), *target, "--key-file", str(key))
    assert (exposed.returncode, "can be read by others" in exposed.stderr) == (2, True)
    none = run(home.root, "-m", "forestall.cli.main", "restore", str(made.file), *target)
    assert (none.returncode, "--key-file" in none.stderr) == (2, True)
