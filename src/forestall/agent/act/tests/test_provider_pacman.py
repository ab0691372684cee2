"""pacman for real: a root of its own, and Contoso's repository of signed packages."""

from __future__ import annotations

import shutil

import pytest

from forestall.agent.act import packages
from forestall.agent.act.actions import (
    updates_download,
    updates_hold,
    updates_install,
    updates_release,
    updates_repair,
    updates_roll_back,
)
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.providers import pacman as provider
from forestall.agent.act.tests.package_worlds import PacmanWorld, missing
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import pacman as reader
from forestall.trust.statements import PackageChange

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("pacman"),  # one story: its tests follow each other
    pytest.mark.skipif(bool(missing(PacmanWorld)), reason=missing(PacmanWorld) or "-"),
]


@pytest.fixture(scope="module")
def pacman(tmp_path_factory):
    """A machine with the first versions, for which newer ones were published since."""
    world = PacmanWorld(tmp_path_factory.mktemp("pacman"))
    world.publish(("openssl", "3.0.7-1"), ("bash", "5.1-1"), ("linux", "6.6.1.arch1-1"))
    world.publish(("curl", "8.0-1"), requires={"curl": "openssl"})
    world.fetch_lists()
    world.install("curl", "bash", "linux")
    world.publish(("openssl", "3.0.7-2"), ("linux", "6.6.2.arch1-1"))
    world.fetch_lists()
    yield world
    world.close()


@pytest.fixture(autouse=True)
def nobody_else_is_at_work(monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda _notes: ())
    monkeypatch.setattr(provider, "pacman_at_work", lambda _host: 0)
    monkeypatch.setattr(reader, "pacman_at_work", lambda _host: 0)


def reading(world):
    return reader.read(Notes(world.host))


def install(world, choose="all", chosen="", exclude="", **context):
    arguments = {"manager": "pacman", "choose": choose, "packages": chosen, "exclude": exclude}
    return updates_install.run(arguments, world.host, world.context(**context))


def change(name, before, after):
    return PackageChange(manager="pacman", name=name, architecture="", before=before, after=after)


def failing(call):
    with pytest.raises(ActionFailed) as failed:
        call()
    return failed.value


# The tests tell one story, in order: each begins where the one before ended.


def test_it_lists_what_is_newer_and_does_not_claim_to_know_security(pacman):
    seen = reading(pacman)
    assert reader.present(pacman.host)
    assert [(u.name, u.installed, u.candidate, u.security, u.origin, u.restart) for u in seen.pending] == [
        ("linux", "6.6.1.arch1-1", "6.6.2.arch1-1", False, "contoso", "reboot"),
        ("openssl", "3.0.7-1", "3.0.7-2", False, "contoso", ""),
    ]
    assert seen.provider.security_sources is False
    assert seen.provider.lists_refreshed_at is not None
    assert (seen.provider.held, seen.provider.unfinished, seen.provider.unknown_why) == ((), (), "")


def test_a_dry_run_and_a_download_change_nothing(pacman):
    assert install(pacman, dry_run=True).summary == "would install 2 updates: linux=6.6.2.arch1-1, openssl=3.0.7-2"
    arguments = {"manager": "pacman", "choose": "all", "packages": "", "exclude": "", "least_free_mb": 0}
    arguments = {name: arguments[name] for name in updates_download.ARGUMENTS}
    assert updates_download.run(arguments, pacman.host, pacman.context()).ok
    assert (pacman.root / "var/cache/pacman/pkg/openssl-3.0.7-2-any.pkg.tar.gz").exists()
    assert pacman.version_on_disk("openssl") == "3.0.7-1"


def test_a_part_of_an_upgrade_is_refused_with_the_reason(pacman):
    failed = failing(lambda: install(pacman, "chosen", "openssl=3.0.7-2"))
    assert failed.code == "unresolvable"
    assert "whole upgrades only, and this would leave out linux: hold what must stay" in failed.sentence
    assert pacman.version_on_disk("openssl") == "3.0.7-1"


def test_what_is_held_stays_and_the_rest_is_upgraded(pacman):
    updates_hold.run({"manager": "pacman", "packages": "linux"}, pacman.host, pacman.context())
    assert "# kept by hand" in (pacman.root / "etc/pacman.conf").read_text()
    assert reading(pacman).provider.held == ("linux",)
    result = install(pacman)
    assert result.packages == (change("openssl", "3.0.7-1", "3.0.7-2"),)
    assert "linux (it is held)" in result.summary
    assert (pacman.version_on_disk("openssl"), pacman.version_on_disk("linux")) == ("3.0.7-2", "6.6.1.arch1-1")
    updates_release.run({"manager": "pacman", "packages": "linux"}, pacman.host, pacman.context())
    assert reading(pacman).provider.held == ()


def test_rolling_back_takes_the_signed_archive_of_the_cache(pacman):
    arguments = {"manager": "pacman", "packages": "openssl=3.0.7-1"}
    result = updates_roll_back.run(arguments, pacman.host, pacman.context())
    assert result.packages == (change("openssl", "3.0.7-2", "3.0.7-1"),)
    archive = pacman.root / "var/cache/pacman/pkg/openssl-3.0.7-2-any.pkg.tar.gz"
    archive.with_name(f"{archive.name}.sig").unlink()
    arguments = {"manager": "pacman", "packages": "openssl=3.0.7-2"}
    gone = failing(lambda: updates_roll_back.run(arguments, pacman.host, pacman.context()))
    assert gone.code == "version_not_offered"


def test_an_unsigned_package_is_never_installed(pacman):
    pacman.publish(("bash", "5.1-2"), signed=False)
    pacman.fetch_lists()
    failed = failing(lambda: install(pacman))
    assert (failed.code, failed.packages) == ("source_untrusted", ())
    pacman.source("Optional TrustAll")
    left = install(pacman, dry_run=True).summary
    assert "signed packages are not required from contoso (SigLevel in /etc/pacman.conf)" in left
    pacman.source("Required DatabaseOptional")
    pacman.publish(("bash", "5.1-3"))
    pacman.fetch_lists()
    assert {c.name for c in install(pacman).packages} == {"bash", "linux", "openssl"}


def test_what_a_cut_leaves_behind_is_told_and_repaired(pacman):
    # pacman was killed: its lock is there, and the entries of a half upgrade.
    database = pacman.root / "var/lib/pacman"
    (database / "db.lck").touch()
    shutil.copytree(database / "local/openssl-3.0.7-2", database / "local/openssl-3.0.7-1")
    (database / "local/bash-5.1-3/desc").unlink()
    assert reading(pacman).provider.unfinished == (
        "openssl: 3.0.7-1 and 3.0.7-2 are both installed",
        "bash: its entry in the local database is empty",
        "pacman: it was killed, and its lock /var/lib/pacman/db.lck is still there",
    )
    assert failing(lambda: install(pacman)).code in ("unfinished", "list_failed")
    result = updates_repair.run({"manager": "pacman"}, pacman.host, pacman.context())
    assert result.ok
    assert reading(pacman).provider.unfinished == ()
    assert not (database / "db.lck").exists()
    assert pacman.version_on_disk("bash") == "5.1-3"
    assert provider.versions(pacman.host, pacman.context())[("bash", "")] == "5.1-3"
