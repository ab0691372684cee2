"""flatpak for real: a system installation of its own, and Contoso's signed remote with one application."""

from __future__ import annotations

import pytest

from forestall.agent.act import packages
from forestall.agent.act.actions import (
    updates_hold,
    updates_install,
    updates_release,
    updates_repair,
    updates_roll_back,
)
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.providers import flatpak as provider
from forestall.agent.act.tests.package_worlds import FlatpakWorld, missing
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import flatpak as reader

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("flatpak"),  # one story: its tests follow each other
    pytest.mark.skipif(bool(missing(FlatpakWorld)), reason=missing(FlatpakWorld) or "-"),
]
NOTES = "org.contoso.Notes/x86_64/stable"


@pytest.fixture(scope="module")
def flatpak(tmp_path_factory):
    world = FlatpakWorld(tmp_path_factory.mktemp("flatpak"))
    world.publish("first")
    world.remote(checked=True)
    world.flatpak("install", "--system", "--noninteractive", "-y", "contoso", "org.contoso.Notes")
    yield world
    world.close()


@pytest.fixture(autouse=True)
def nobody_else_is_at_work(monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda _notes: ())


def reading(world):
    return reader.read(Notes(world.host))


def install(world, choose="all", chosen=""):
    arguments = {"manager": "flatpak", "choose": choose, "packages": chosen, "exclude": ""}
    return updates_install.run(arguments, world.host, world.context())


# The tests tell one story, in order: each begins where the one before ended.


def test_it_lists_what_the_kept_summary_offers_and_asks_nobody_by_itself(flatpak):
    assert reader.present(flatpak.host)
    assert reading(flatpak).pending == ()
    flatpak.publish("second")
    assert reading(flatpak).pending == ()
    provider.refresh(flatpak.host, flatpak.context())
    seen = reading(flatpak)
    (update,) = seen.pending
    assert (update.name, update.origin, update.security, update.held) == (NOTES, "contoso", False, False)
    assert update.installed != update.candidate
    assert seen.provider.unknown_why == ""


def test_a_masked_application_is_left_alone_until_it_is_released(flatpak):
    updates_hold.run({"manager": "flatpak", "packages": NOTES}, flatpak.host, flatpak.context())
    assert reading(flatpak).provider.held == (NOTES,)
    assert install(flatpak).packages == ()
    updates_release.run({"manager": "flatpak", "packages": NOTES}, flatpak.host, flatpak.context())
    assert reading(flatpak).provider.held == ()
    assert flatpak.text_on_disk() == "first"


def test_it_updates_and_rolls_back_and_says_what_changed(flatpak):
    (update,) = reading(flatpak).pending
    result = install(flatpak, "chosen", f"{NOTES}={update.candidate}")
    assert [(c.name, c.before, c.after) for c in result.packages] == [(NOTES, update.installed, update.candidate)]
    assert flatpak.text_on_disk() == "second"
    arguments = {"manager": "flatpak", "packages": f"{NOTES}={update.installed}"}
    back = updates_roll_back.run(arguments, flatpak.host, flatpak.context())
    assert [(c.before, c.after) for c in back.packages] == [(update.candidate, update.installed)]
    assert flatpak.text_on_disk() == "first"
    assert updates_repair.run({"manager": "flatpak"}, flatpak.host, flatpak.context()).ok


def test_a_remote_that_is_not_checked_is_not_installed_from(flatpak):
    flatpak.flatpak("remote-modify", "--system", "--no-gpg-verify", "contoso")
    provider.refresh(flatpak.host, flatpak.context())
    assert install(flatpak).packages == ()
    (update,) = reading(flatpak).pending
    with pytest.raises(ActionFailed) as failed:
        install(flatpak, "chosen", f"{NOTES}={update.candidate}")
    assert "not checked against a key: contoso" in failed.value.sentence
    assert flatpak.text_on_disk() == "first"
