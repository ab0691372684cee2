"""The undo journal on real files: Ada's runbook changed a setting, and Bob wants it back as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from forestall.agent.act import changes
from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.changes import Changes, Journal, Noted
from forestall.agent.act.context import ActionFailed

UNDO = ACTIONS["changes.undo"]


@pytest.fixture
def etc(machine) -> Path:
    folder = machine.temporary.parent / "etc"
    folder.mkdir()
    (folder / "sshd.conf").write_text("PermitRootLogin yes\n")
    (folder / "sshd.conf").chmod(0o640)
    return folder


def undo(machine, job: str, **context):
    return UNDO.run({"job": job}, machine.host, machine.context(job_id=str(uuid4()), **context))


def job_of(machine, **context):
    return machine.context(job_id=str(uuid4()), **context)


def test_a_setting_that_a_job_changed_comes_back_byte_for_byte(machine, etc):
    ctx = job_of(machine)
    assert ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    assert ctx.changes.file_replace(str(etc / "new.conf"), b"new\n", 0o600)
    assert stat.S_IMODE((etc / "sshd.conf").stat().st_mode) == 0o640
    assert stat.S_IMODE((etc / "new.conf").stat().st_mode) == 0o600
    assert ctx.changes.count() == 2

    result = undo(machine, ctx.job_id)
    assert result.changed == {"files": 2, "others": 0}
    assert (etc / "sshd.conf").read_text() == "PermitRootLogin yes\n"
    assert stat.S_IMODE((etc / "sshd.conf").stat().st_mode) == 0o640
    assert not (etc / "new.conf").exists()
    with pytest.raises(ActionFailed, match="undone already, by job"):
        undo(machine, ctx.job_id)


def test_what_is_as_wanted_is_not_written_into_the_journal(machine, etc):
    ctx = job_of(machine)
    assert not ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin yes\n")
    assert not ctx.changes.file_remove(str(etc / "absent"))
    assert not ctx.changes.file_mode(str(etc / "sshd.conf"), 0o640)
    assert ctx.changes.count() == 0
    with pytest.raises(ActionFailed, match="nothing is kept of what job"):
        undo(machine, ctx.job_id)


def test_nothing_comes_back_when_somebody_changed_one_file_since(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_remove(str(etc / "sshd.conf"))
    ctx.changes.file_replace(str(etc / "new.conf"), b"new\n")
    (etc / "new.conf").write_text("Bob was here\n")
    with pytest.raises(ActionFailed) as failed:
        undo(machine, ctx.job_id)
    assert failed.value.code == "changed_since"
    assert failed.value.sentence == f"nothing was put back: {etc / 'new.conf'} was changed since"
    assert not (etc / "sshd.conf").exists()


@pytest.mark.parametrize(
    ("meddle", "words"),
    [
        (lambda path: path.unlink(), "is gone since"),
        (lambda path: path.chmod(0o666), "has another mode or owner since"),
        (lambda path: (path.unlink(), path.mkdir()), "was changed since"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/shadow")), "was changed since"),
    ],
)
def test_every_way_of_meddling_is_named(machine, etc, meddle, words):
    ctx = job_of(machine)
    ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    meddle(etc / "sshd.conf")
    with pytest.raises(ActionFailed, match=words):
        undo(machine, ctx.job_id)


def test_a_removed_file_that_is_there_again_stays(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_remove(str(etc / "sshd.conf"))
    (etc / "sshd.conf").write_text("another\n")
    with pytest.raises(ActionFailed, match="is there again since"):
        undo(machine, ctx.job_id)


def test_a_file_changed_thrice_comes_back_as_it_was_first(machine, etc):
    ctx = job_of(machine)
    for text in (b"one\n", b"two\n", b"three\n"):
        ctx.changes.file_replace(str(etc / "sshd.conf"), text)
    ctx.changes.file_mode(str(etc / "sshd.conf"), 0o600)
    undo(machine, ctx.job_id)
    assert (etc / "sshd.conf").read_text() == "PermitRootLogin yes\n"
    assert stat.S_IMODE((etc / "sshd.conf").stat().st_mode) == 0o640


def test_an_undo_can_be_undone(machine, etc):
    first, second = job_of(machine), job_of(machine)
    first.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    UNDO.run({"job": first.job_id}, machine.host, second)
    assert "yes" in (etc / "sshd.conf").read_text()
    undo(machine, second.job_id)
    assert "no" in (etc / "sshd.conf").read_text()


def test_a_crash_between_entry_and_change_leaves_nothing_to_put_back(machine, etc, monkeypatch):
    ctx = job_of(machine)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(changes, "_write", crash)
        with pytest.raises(KeyboardInterrupt):
            ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    assert ctx.changes.count() == 1
    assert undo(machine, ctx.job_id).changed == {"files": 0, "others": 0}
    assert sorted(path.name for path in etc.iterdir()) == ["sshd.conf"]


def test_a_dry_run_changes_nothing_and_says_what_it_would_put_back(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    dry = undo(machine, ctx.job_id, dry_run=True)
    assert dry.summary.startswith("would put back")
    assert "no" in (etc / "sshd.conf").read_text()
    with pytest.raises(ActionFailed, match="dry_run_stopped"):
        job_of(machine, dry_run=True).changes.file_replace(str(etc / "other"), b"x")
    assert undo(machine, ctx.job_id).changed["files"] == 1


def test_modes_of_files_and_folders_come_back(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_mode(str(etc), 0o700)
    ctx.changes.file_mode(str(etc / "sshd.conf"), 0o600)
    (etc / "sshd.conf").write_text("its content is not what was changed\n")
    assert undo(machine, ctx.job_id).changed["files"] == 2
    assert stat.S_IMODE(etc.stat().st_mode) == 0o755
    assert "not what was changed" in (etc / "sshd.conf").read_text()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("etc/passwd", "argument_wrong"),
        ("/", "argument_wrong"),
        ("/etc/../etc/passwd", "argument_wrong"),
        ("/dev/null", "not_a_file"),
        ("/nowhere/at/all", "file_missing"),
    ],
)
def test_what_is_no_file_is_not_changed(machine, path, code):
    with pytest.raises(ActionFailed, match=f"^{code}: "):
        job_of(machine).changes.file_replace(path, b"x")


def test_links_are_not_followed_to_somebody_elses_file(machine, etc):
    (etc / "link").symlink_to(etc / "sshd.conf")
    with pytest.raises(ActionFailed, match=r"^not_a_file: "):
        job_of(machine).changes.file_replace(str(etc / "link"), b"x")
    # A link of our own on the way, such as /var/run, is.
    (etc / "run").symlink_to("../etc")
    assert job_of(machine).changes.file_replace(str(etc / "run" / "sshd.conf"), b"x\n")
    assert (etc / "sshd.conf").read_text() == "x\n"
    (etc / "loop").symlink_to("loop")
    with pytest.raises(ActionFailed, match="somebody's symbolic link"):
        job_of(machine).changes.file_replace(str(etc / "loop" / "x"), b"x")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a link to another user, which needs root")
def test_a_users_link_on_the_way_is_refused(machine, etc):
    (etc / "home").symlink_to("/etc")
    os.lchown(etc / "home", 65534, 65534)
    with pytest.raises(ActionFailed, match="somebody's symbolic link"):
        job_of(machine).changes.file_replace(str(etc / "home" / "passwd"), b"x")


def test_too_large_a_file_is_left_alone(machine, etc, monkeypatch):
    monkeypatch.setattr(changes, "MAX_FILE", 10)
    for data in (b"x", b"y" * 11):
        with pytest.raises(ActionFailed, match=r"^file_too_large: "):
            job_of(machine).changes.file_replace(str(etc / "sshd.conf"), data)


def test_old_journals_make_room(machine, etc, monkeypatch):
    monkeypatch.setattr(changes, "MAX_JOURNALS", 3)
    jobs = []
    for number in range(6):
        ctx = job_of(machine)
        ctx.changes.file_replace(str(etc / "sshd.conf"), b"%d\n" % number)
        folder = machine.folder / "changes" / ctx.job_id
        os.utime(folder, (1_000_000 + number, 1_000_000 + number))
        jobs.append(ctx.job_id)
    kept = {path.name for path in (machine.folder / "changes").iterdir()}
    assert kept == set(jobs[-3:])
    assert stat.S_IMODE((machine.folder / "changes" / jobs[-1]).stat().st_mode) == 0o700


def test_a_damaged_journal_is_said_and_nothing_is_put_back(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_replace(str(etc / "sshd.conf"), b"x\n")
    folder = machine.folder / "changes" / ctx.job_id
    for kept in folder.iterdir():
        if kept.name != "journal.json":
            kept.write_text("damaged")
    with pytest.raises(ActionFailed, match=r"^journal_damaged: "):
        undo(machine, ctx.job_id)
    (folder / "journal.json").write_text("{")
    with pytest.raises(ActionFailed, match=r"^journal_damaged: "):
        undo(machine, ctx.job_id)
    with pytest.raises(ActionFailed, match="is not the id of a job"):
        Changes(machine.folder, "../../etc")


def test_a_kind_that_this_agent_cannot_undo_stops_it(machine, etc):
    ctx = job_of(machine)
    ctx.changes.file_replace(str(etc / "sshd.conf"), b"x\n")
    ctx.changes.note("orbit", planet="Mars")
    with pytest.raises(ActionFailed, match="cannot undo 'orbit'"):
        undo(machine, ctx.job_id)


def service(machine, name="cupsd", *, running=True) -> Path:
    script = machine.temporary.parent / "init.d" / name
    state = script.with_suffix(".state")
    script.write_text(
        "#!/bin/sh\n"
        f'case "$1" in start) echo up > {state} ;; stop) rm -f {state} ;; status) test -e {state} || exit 3 ;;\n'
        f"  reload) echo reload >> {state} ;; esac\n"
    )
    script.chmod(0o755)
    if running:
        state.write_text("up\n")
    return state


def test_a_stopped_service_runs_again_and_settings_are_read_after_the_files_are_back(machine, etc):
    state = service(machine)
    ctx = job_of(machine)
    ctx.changes.note("service_state", service="cupsd", running=True)
    state.unlink()
    ctx.changes.note("service_reload", service="cupsd")
    ctx.changes.file_replace(str(etc / "sshd.conf"), b"PermitRootLogin no\n")
    ctx.changes.note("service_reload", service="cupsd")
    dry = undo(machine, ctx.job_id, dry_run=True)
    assert "service_state cupsd" in dry.output
    result = undo(machine, ctx.job_id)
    assert result.output.splitlines() == [
        f"{etc / 'sshd.conf'} as before",
        "cupsd runs again",
        "cupsd read its settings again",
    ]
    assert state.read_text() == "up\nreload\n"


def test_a_continued_job_is_undone_with_the_one_it_continued(machine, etc):
    first, second = job_of(machine), job_of(machine)
    first.changes.file_replace(str(etc / "sshd.conf"), b"one\n")
    second.changes.continue_from(first.job_id)
    second.changes.file_replace(str(etc / "sshd.conf"), b"two\n")
    undo(machine, second.job_id)
    assert "yes" in (etc / "sshd.conf").read_text()
    with pytest.raises(ActionFailed, match="undone already"):
        undo(machine, first.job_id)


def test_the_journal_reads_what_it_wrote(machine):
    ctx = job_of(machine)
    ctx.changes.note("service_state", service="x", running=True)
    journal = ctx.changes.journal()
    assert isinstance(journal.entries[0], Noted)
    assert msgspec.json.decode(msgspec.json.encode(journal), type=Journal) == journal
