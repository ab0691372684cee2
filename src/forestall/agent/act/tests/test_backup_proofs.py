"""Nadia's server has backups that nobody has ever restored. The agent restores them, and says what they are worth."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from bench.backup_faults import (
    PASSWORD,
    Live,
    World,
    cut,
    dropped,
    healthy_borg,
    healthy_plain_tar,
    healthy_restic,
    healthy_rsync,
    healthy_tar,
    largest,
    lock_left,
    newest,
    zero,
)
from click.testing import CliRunner

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.backups import manifest, scratch
from forestall.agent.act.backups.content import Comparison, Entry, place_origins
from forestall.agent.act.backups.dumps import read_sql
from forestall.agent.act.backups.running import run
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_proofs import load_proofs
from forestall.agent.collect.backup_settings import SettingsError
from forestall.agent.collect.host import LocalHost
from forestall.cli.main import cli
from forestall.trust.statements import Step

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")


def needs(*programs: str):
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture
def shop(tmp_path):
    """A world of this kind of backup, made healthy by its maker."""

    def make(tool: str, maker) -> World:
        world = World(tmp_path / "shop", tool, random.Random(7), Live(tmp_path / "live"))
        maker(world)
        return world

    return make


def prove_by_action(world: World, level: str = "whole", **changes):
    given = {"backup": "nightly", "level": level, "most_mb": 100, "rate_kb": 0, "sample": 5, **changes}
    return ACTIONS["backup.prove"].run(given, LocalHost(), world.context())


def fails(code: str):
    class _Fails:
        def __enter__(self):
            self.caught = pytest.raises(ActionFailed)
            self.info = self.caught.__enter__()
            return self.info

        def __exit__(self, *error):
            done = self.caught.__exit__(*error)
            assert self.info.value.code == code, self.info.value
            return done

    return _Fails()


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended, be it reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def restore_folders(world: World) -> list[str]:
    return [path.name for path in (world.home / "restore-tests").iterdir()]


# --- a backup that comes back ---------------------------------------------------------------------------------------


def test_a_whole_backup_comes_back_and_what_was_shown_is_kept(shop):
    world = shop("tar", healthy_tar)
    result = prove_by_action(world)
    proof = result.proof
    assert proof.ok
    assert proof.level == "whole"
    assert proof.tool == "tar"
    assert proof.files == proof.compared == len([path for path in world.source.rglob("*") if path.is_file()]) - 1
    assert proof.bytes > 0
    assert proof.seconds >= 0
    assert proof.snapshot_at is not None
    assert "with what was noted at backup time" in result.summary
    assert restore_folders(world) == []  # nothing stays
    kept = msgspec.json.decode((world.home / "backup-proofs.json").read_bytes())
    assert kept["nightly"]["whole"]["ok"]
    assert kept["nightly"]["whole"]["compared"] == proof.compared


def test_the_newest_proof_of_each_level_is_kept_for_the_collector(shop, monkeypatch):
    world = shop("rsync", healthy_rsync)
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(world.home))
    prove_by_action(world, "integrity")
    prove_by_action(world, "whole")
    zero(largest(world.store))
    with fails("proof_failed"):
        prove_by_action(world, "whole")
    proofs = load_proofs(LocalHost())["nightly"]
    assert proofs["integrity"].ok
    assert not proofs["whole"].ok
    (world.home / "backup-proofs.json").write_text("damaged")
    with pytest.raises(SettingsError):
        load_proofs(LocalHost())
    prove_by_action(world, "integrity")  # damage is no obstacle to the next
    assert load_proofs(LocalHost())["nightly"].keys() == {"integrity"}


@pytest.mark.runbook("prove-backup")
def test_a_signed_job_proves_a_backup_and_its_result_carries_the_proof(machine, shop):
    world = shop("rsync", healthy_rsync)
    shutil.copy(world.home / "backups.toml", machine.folder / "backups.toml")
    shutil.copytree(world.home / "backup-manifests", machine.folder / "backup-manifests")
    step = Step(
        action="backup.prove",
        arguments={"backup": "nightly", "level": "sample", "most_mb": 50, "rate_kb": 0, "sample": 3},
    )
    result = machine.run(step)
    assert (result.outcome, result.code) == ("succeeded", "done")
    assert result.steps[0].proof.ok
    assert result.steps[0].proof.files == 3
    cut(largest(world.store))
    result = machine.run(step)
    assert (result.outcome, result.code) == ("failed", "proof_failed")
    proof = result.steps[0].proof
    assert not proof.ok
    assert "bytes in the backup" in proof.differences[0]


def test_a_sample_is_no_larger_than_allowed_and_another_each_time(shop):
    world = shop("tar", healthy_tar)
    first, second = (prove_by_action(world, "sample", sample=4).proof for _ in range(2))
    assert first.files == second.files == 4
    small = prove_by_action(world, "sample", most_mb=1, sample=1000).proof
    assert small.bytes <= 1_000_000


def test_a_dry_run_names_the_level_that_the_tool_knows(shop):
    world = shop("tar", healthy_tar)
    context = Context(agent_home=world.home, timeout_seconds=5, dry_run=True)
    arguments = {"backup": "nightly", "level": "sample", "most_mb": 7, "rate_kb": 0, "sample": 1}
    said = ACTIONS["backup.prove"].run(arguments, LocalHost(), context).summary
    assert said == "would restore backup nightly (tar) to show the level sample, at most 7 MB"
    assert not (world.home / "restore-tests").exists()
    world.say(tool="pg_dump")
    assert "the level whole" in ACTIONS["backup.prove"].run(arguments, LocalHost(), context).summary


# --- what it is compared with ---------------------------------------------------------------------------------------


def test_without_hashes_live_files_that_are_unchanged_are_compared(shop):
    world = shop("rsync", healthy_rsync)
    shutil.rmtree(world.home / "backup-manifests")
    changed = largest(world.source)
    changed.write_bytes(b"written since")
    proof = world.prove("whole")
    assert proof.ok
    assert proof.compared == proof.files - 1
    assert "0 with what was noted" in proof.detail
    shutil.rmtree(world.source)
    with fails("nothing_to_compare"):
        world.prove("whole")  # it came back, and nobody knows whether it is what it was
    assert msgspec.json.decode((world.home / "backup-proofs.json").read_bytes())["nightly"]["whole"]["ok"]


def test_without_hashes_a_file_that_was_left_out_is_found_unless_it_is_meant_to_be(shop):
    world = shop("tar", healthy_tar)
    shutil.rmtree(world.home / "backup-manifests")
    dropped(world)
    later = time.time() + 5  # the files were moved away and back, which their inodes remember
    os.utime(newest(world), (later, later))
    proof = world.prove("sample")
    assert not proof.ok
    assert "has been there since before the backup and is not in it" in proof.detail
    world.say(exclude=["*/customers/*"])
    assert world.prove("sample").ok


def test_a_file_that_changes_while_the_backup_runs_is_not_vouched_for(shop):
    world = shop("rsync", healthy_rsync)
    busy = world.source / "orders.csv"
    world.script(f'rsync -a "{world.source}" "{world.store}/"\necho more >> "{busy}"\n')
    world.back_up()
    noted = manifest.newest(world.home, "nightly")
    assert str(busy) not in noted.files
    assert len(noted.files) > 5
    assert world.prove("whole").ok


def test_files_that_did_not_change_are_not_read_again(shop, monkeypatch):
    world = shop("rsync", healthy_rsync)
    read = []
    monkeypatch.setattr(manifest, "file_digest", lambda path: read.append(path) or "0" * 64)
    (world.source / "new.txt").write_text("new")
    world.back_up()
    assert [path.name for path in read] == ["new.txt"]


def test_what_cannot_be_hashed_in_time_is_left_for_the_next_run(shop, monkeypatch):
    world = shop("rsync", healthy_rsync)
    (world.source / "new.txt").write_text("new")
    monkeypatch.setattr(manifest, "MOST_SECONDS", -1.0)
    world.back_up()
    noted = manifest.newest(world.home, "nightly").files
    assert len(noted) > 5  # as the last run had noted them
    assert str(world.source / "new.txt") not in noted
    monkeypatch.undo()
    world.back_up()
    assert str(world.source / "new.txt") in manifest.newest(world.home, "nightly").files


def test_old_manifests_go_and_a_damaged_one_vouches_for_nothing(shop, monkeypatch):
    world = shop("rsync", healthy_rsync)
    monkeypatch.setattr(manifest, "KEPT", 2)
    for _ in range(3):
        world.back_up()
    files = sorted((world.home / "backup-manifests" / "nightly").iterdir())
    assert len(files) == 2
    files[-1].write_bytes(b"damaged")
    assert manifest.newest(world.home, "nightly") is not None
    assert world.prove("whole").ok


@pytest.mark.parametrize(
    ("held", "protected", "origin"),
    [
        ("srv/www/a", ["/srv/www"], "/srv/www/a"),
        ("www/a", ["/srv/www"], "/srv/www/a"),
        ("a", ["/srv/www"], "/srv/www/a"),
        ("www/a", ["/srv/www", "/etc"], "/srv/www/a"),
        ("a", ["/srv/www", "/etc"], ""),
        ("etc/passwd", [], "/etc/passwd"),
        ("srv/wwwroot/a", ["/srv/www", "/srv"], "/srv/wwwroot/a"),
    ],
)
def test_where_a_file_of_a_backup_stands_on_this_machine(held, protected, origin):
    entry = Entry(held, 1)
    place_origins([entry], protected)
    assert entry.origin == origin


def test_a_backup_under_other_paths_is_not_called_damaged(shop):
    """As of a mounted snapshot: which file is which cannot be told, and that is no fault of the backup."""
    world = shop("rsync", healthy_rsync)
    mounted = world.store / "mnt" / "snapshot"
    mounted.mkdir(parents=True)
    (world.store / "shop").rename(mounted / "data")
    world.say(paths=[str(world.source), "/etc/nothing"])
    with fails("nothing_to_compare"):
        world.prove("whole")


def test_names_that_are_no_text_harm_nothing(shop):
    world = shop("rsync", healthy_rsync)
    odd = os.fsdecode(b"odd-\xff.txt")
    (world.source / odd).write_bytes(b"odd")
    world.back_up()
    assert world.prove("whole").ok
    (world.store / "shop" / odd).unlink()
    shutil.rmtree(world.home / "backup-manifests")
    later = time.time() + 5
    comparison = Comparison(manifest=None, snapshot_at=datetime.fromtimestamp(later, UTC))
    comparison.names([Entry("shop/a", 1, origin=str(world.source / "a b.txt"))], [str(world.source)], [])
    assert any("odd-\ufffd.txt" in line for line in comparison.differences)


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_restore_that_would_take_too_much_never_begins(shop, monkeypatch):
    world = shop("tar", healthy_tar)
    (world.source / "large").write_bytes(bytes(3_000_000))
    world.back_up()
    with fails("too_large") as caught:
        world.prove("whole", most_mb=2)
    assert "at most 2.0 MB are allowed" in caught.value.sentence
    monkeypatch.setattr(scratch, "RESERVE_BYTES", 1 << 60)
    monkeypatch.setattr(scratch, "RESERVE_MOST", 1 << 60)
    with fails("no_space"):
        world.prove("whole")
    assert restore_folders(world) == []


def test_a_restore_that_grows_beyond_its_bound_is_ended(shop, tmp_path):
    with scratch.scratch_folder(tmp_path / "tests", name="x", most_bytes=1_000_000, reserve_bytes=0) as place:
        place.watch(1_000_000)
        with fails("too_large"):
            place.watch(40_000_000)
        place.reserve_bytes = 1 << 60
        with fails("no_space"):
            place.watch(0)


def test_a_restore_keeps_to_the_rate_it_was_given(shop):
    world = shop("rsync", healthy_rsync)
    quick = world.prove("whole").seconds
    given = {"backup": "nightly", "level": "whole", "most_mb": 100, "rate_kb": 1000, "sample": 5}
    slow = ACTIONS["backup.prove"].run(given, LocalHost(), world.context()).proof
    assert slow.seconds > slow.bytes / 1_000_000 * 0.8 > quick


def test_a_program_is_held_to_its_rate_and_ends_at_its_time(tmp_path):
    from forestall.agent.act.backups.running import Pace

    context = Context(agent_home=tmp_path, timeout_seconds=30)
    begun = time.monotonic()
    run(["sh", "-c", "for i in 1 2 3 4 5; do head -c 100000 /dev/zero; sleep 0.05; done"], context, pace=Pace(0))
    assert time.monotonic() - begun < 5
    with fails("timed_out"):
        run(["sleep", "60"], Context(agent_home=tmp_path, timeout_seconds=0.3))
    with fails("program_missing"):
        run(["no-such-program"], context)


def test_a_folder_that_others_may_write_to_is_not_restored_into(shop, tmp_path):
    world = shop("tar", healthy_tar)
    others = tmp_path / "others" / "forestall-restore-tests"
    others.mkdir(parents=True)
    others.chmod(0o777)
    world.say(scratch=str(others.parent))
    with fails("scratch_wrong"):
        world.prove("whole")
    others.chmod(0o700)
    assert world.prove("whole").ok
    assert list(others.iterdir()) == []


def test_what_a_killed_test_left_behind_is_swept_before_the_next(shop):
    world = shop("rsync", healthy_rsync)
    started = world.folder / "started"
    check = world.folder / "check.sh"
    check.write_text(f'#!/bin/sh\necho $$ > "{started}.new"; mv "{started}.new" "{started}"\nexec sleep 300\n')
    check.chmod(0o700)
    world.say(check=[str(check)])
    child = os.fork()
    if child == 0:
        try:
            world.prove("application")
        finally:
            os._exit(0)
    until = time.monotonic() + 20
    while not started.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = restore_folders(world)
    assert (world.home / "restore-tests" / left / "restored").exists()
    # What it had started ended with it.
    pid = int(started.read_text())
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.02)
    world.say(check=["true"])
    assert world.prove("application").ok
    assert restore_folders(world) == []


def test_a_test_that_runs_is_not_swept(tmp_path):
    with scratch.scratch_folder(tmp_path / "tests", name="a/b", most_bytes=10) as place:
        assert scratch.sweep_leftovers(tmp_path / "tests") == 0
        assert place.folder.exists()
        assert place.restored.stat().st_mode & 0o777 == 0o700
    assert not place.folder.exists()
    stray = tmp_path / "tests" / "not-ours"
    stray.mkdir()
    assert scratch.sweep_leftovers(tmp_path / "tests") == 0
    assert stray.exists()
    assert scratch.sweep_leftovers(tmp_path / "nowhere") == 0


# --- the application ------------------------------------------------------------------------------------------------


def test_the_applications_own_check_sees_the_restored_folder(shop):
    world = shop("tar", healthy_plain_tar)
    check = world.folder / "check.sh"
    check.write_text(
        '#!/bin/sh\ntest "$PWD" = "$FORESTALL_RESTORED_FOLDER" && test -s orders.csv && test "$1" = "$PWD"\n'
    )
    check.chmod(0o700)
    with fails("level_wrong"):
        world.prove("application")  # none is named
    world.say(check=[str(check), "{folder}"])
    assert "check check.sh passed" in world.prove("application").detail
    world.say(check=["sh", "-c", "echo the till is missing >&2; exit 3"])
    proof = world.prove("application")
    assert not proof.ok
    assert "exit code 3: the till is missing" in proof.detail


def test_a_backup_that_only_its_owner_can_restore_is_proven_by_the_owners_command(tmp_path):
    world = World(tmp_path / "tape", "declared", random.Random(1), Live(tmp_path))
    tape = {"exit_code_file": str(tmp_path / "exit")}
    world.say(check=["sh", "-c", "echo restored > from-tape && test -s from-tape"], log=tape, paths=[], manifest=False)
    assert world.prove("application").ok
    assert world.prove("whole").level == "application"  # the next that can be shown
    world.say(check=["false"])
    assert not world.prove("application").ok


# --- secrets, locks, settings ---------------------------------------------------------------------------------------


@needs("restic")
def test_restic_is_proven_without_its_password_in_any_argument_and_unlocked_when_its_process_is_gone(shop, monkeypatch):
    world = shop("restic", healthy_restic)
    seen: list[list[str]] = []
    real = subprocess.Popen

    def recording(argv, *args, **named):
        seen.append(list(argv))
        return real(argv, *args, **named)

    monkeypatch.setattr(subprocess, "Popen", recording)
    assert world.prove("whole").ok
    assert len(seen) > 3
    assert not any(PASSWORD in word for argv in seen for word in argv)
    monkeypatch.undo()

    lock_left(world)
    proof = world.prove("integrity")
    assert not proof.ok
    assert "a lock was left behind by" in proof.detail
    assert "unlock-backup" in proof.detail
    arguments = {"backup": "nightly", "older_than_hours": 24}
    done = ACTIONS["backup.unlock"].run(arguments, LocalHost(), world.context())
    assert "took away the lock" in done.summary
    assert done.changed == {"locks": 1}


@needs("borg")
@pytest.mark.runbook("unlock-backup")
def test_a_borg_lock_that_somebody_holds_stays_and_nothing_is_proven_meanwhile(shop):
    import platform

    world = shop("borg", healthy_borg)
    folder = world.repository / "lock.exclusive"
    folder.mkdir()
    (folder / f"{platform.node()}@123.{os.getpid()}-0").touch()
    with fails("backup_busy"):
        world.prove("integrity")
    assert not (world.home / "backup-proofs.json").exists()  # neither a pass nor a failure
    arguments = {"backup": "nightly", "older_than_hours": 1}
    with fails("backup_busy"):
        ACTIONS["backup.unlock"].run(arguments, LocalHost(), world.context())
    shutil.rmtree(folder)
    lock_left(world)
    assert not world.prove("integrity").ok
    context = world.context()
    context.dry_run = True
    assert "would take away the lock" in ACTIONS["backup.unlock"].run(arguments, LocalHost(), context).summary
    assert not world.prove("integrity").ok
    done = ACTIONS["backup.unlock"].run(arguments, LocalHost(), world.context())
    assert "took away the lock" in done.summary
    again = ACTIONS["backup.unlock"].run(arguments, LocalHost(), world.context())
    assert "has no lock that was left behind" in again.summary
    assert world.prove("whole").ok


def test_what_cannot_be_asked_for(shop):
    world = shop("tar", healthy_tar)
    with fails("level_wrong"):
        prove_by_action(world, "certainly")
    with fails("level_wrong"):
        prove_by_action(world, "reported")
    with fails("argument_wrong"):
        prove_by_action(world, most_mb=0)
    with fails("backup_unknown"):
        prove_by_action(world, backup="weekly")
    with fails("level_wrong"):
        prove_by_action(world, "database")  # it names none
    with fails("tool_unknown"):
        ACTIONS["backup.unlock"].run({"backup": "nightly", "older_than_hours": 1}, LocalHost(), world.context())
    world.say(tool="veeam")
    with fails("tool_unknown"):
        prove_by_action(world)
    (world.home / "backups.toml").chmod(0o666)
    with fails("settings_wrong"):
        prove_by_action(world)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_store_whose_rights_are_lost_fails_the_proof(request):
    """As a user who may not look into it; root may look into everything."""
    import pwd

    folder = Path(tempfile.mkdtemp())  # pytest's own folder is closed to others
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o711)
    world = World(folder / "shop", "rsync", random.Random(7), Live(folder / "live"))
    healthy_rsync(world)
    nobody = pwd.getpwnam("nobody")
    for path in (world.home, *world.home.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    world.store.chmod(0o700)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.write(writer, msgspec.json.encode(world.prove("integrity")))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        proof = json.loads(answer.read())
    os.waitpid(child, 0)
    assert not proof["ok"]
    assert "Permission denied" in proof["detail"]


def test_prove_on_the_command_line_says_what_was_shown(shop, monkeypatch):
    world = shop("tar", healthy_tar)
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(world.home))

    def prove(*arguments: str):
        return CliRunner().invoke(cli, ["agent", "prove", *arguments], standalone_mode=False)

    said = prove("nightly", "--level", "whole")
    assert said.return_value == 0, said.output
    assert "proven to the level whole" in said.output
    assert json.loads(prove("nightly", "--level", "sample", "--json").stdout)["ok"] is True
    cut(newest(world))
    said = prove("nightly")
    assert said.return_value == 1
    assert "FAILED at the level whole" in said.output
    assert prove("weekly").return_value == 2


# --- dumps, as text -------------------------------------------------------------------------------------------------


def test_rows_of_a_dump_are_counted_whatever_its_texts_hold(tmp_path):
    sql = tmp_path / "shop.sql"
    sql.write_text(
        "-- MariaDB dump 10.19\n-- Host: localhost    Database: shop\n"
        "CREATE TABLE `a` (\n  `id` int\n);\n"
        "INSERT INTO `a` VALUES (1,'a, (b); c'),(2,'it''s \\' ) ('),\n(3,NULL);\n"
        "INSERT INTO `b (c)` (`x`,`y`) VALUES\n(1,'VALUES (2)'),\n(2,'');\n"
        "-- Dump completed on 2026-11-24\n"
    )
    found = read_sql(sql, count=True)
    assert found.rows == {"`a`": 3, "`b (c)`": 2}
    assert found.database == "shop"
    assert found.is_finished


def test_differences_are_named_and_counted_beyond_what_is_listed():
    comparison = Comparison(manifest=None, snapshot_at=datetime.now(UTC))
    for number in range(60):
        comparison.differs(f"/srv/{number}", "did not come back")
    assert comparison.differing == 60
    assert len(comparison.differences) == 50
