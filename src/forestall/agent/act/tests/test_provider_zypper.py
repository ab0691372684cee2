"""zypper for real: a root of its own, and Contoso's repository of signed packages and patches."""

from __future__ import annotations

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
from forestall.agent.act.providers import zypper as provider
from forestall.agent.act.tests.package_worlds import ZypperWorld, missing
from forestall.agent.act.tests.test_provider_dnf import UPDATEINFO
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import zypper as reader
from forestall.trust.statements import PackageChange

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("zypper"),  # one story: its tests follow each other
    pytest.mark.skipif(bool(missing(ZypperWorld)), reason=missing(ZypperWorld) or "-"),
]


@pytest.fixture(scope="module")
def zypper(tmp_path_factory):
    """A machine with the first versions, for which newer ones were published since."""
    world = ZypperWorld(tmp_path_factory.mktemp("zypper"))
    world.publish(("openssl-libs", "3.0.7-1"), ("bash", "5.1-1"), ("kernel-core", "5.14.0-70"))
    world.publish(("curl", "7.76-1"), requires={"curl": "openssl-libs"})
    world.fetch_lists()
    world.install("curl", "bash", "kernel-core")
    world.publish(("openssl-libs", "3.0.7-2"), ("openssl-libs", "3.0.7-3"), ("bash", "5.1-2"))
    world.publish(("kernel-core", "5.14.0-71"))
    world.publish(("curl", "7.76-2"), requires={"curl": "openssl-libs"})
    world.lists(UPDATEINFO)
    world.fetch_lists()
    yield world
    world.close()


@pytest.fixture(autouse=True)
def nobody_else_is_at_work(monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda _notes: ())


def reading(world):
    return reader.read(Notes(world.host))


def install(world, choose="all", chosen="", exclude="", **context):
    arguments = {"manager": "zypper", "choose": choose, "packages": chosen, "exclude": exclude}
    return updates_install.run(arguments, world.host, world.context(**context))


def change(name, before, after):
    return PackageChange(manager="zypper", name=name, architecture="noarch", before=before, after=after)


def failing(call):
    with pytest.raises(ActionFailed) as failed:
        call()
    return failed.value


# The tests tell one story, in order: each begins where the one before ended.


def test_patches_say_which_updates_fix_security(zypper):
    seen = reading(zypper)
    assert reader.present(zypper.host)
    assert [(u.name, u.installed, u.candidate, u.security, u.severity, u.restart) for u in seen.pending] == [
        ("bash", "5.1-1", "5.1-2", False, "", ""),
        ("curl", "7.76-1", "7.76-2", False, "", ""),
        ("kernel-core", "5.14.0-70", "5.14.0-71", True, "high", "reboot"),
        ("openssl-libs", "3.0.7-1", "3.0.7-3", True, "critical", ""),
    ]
    openssl = seen.pending[3]
    assert set(openssl.advisories) == {"CSA-2026:0001", "CBA-2026:0002"}
    assert openssl.cves == ("CVE-2026-1001", "CVE-2026-1002")
    assert openssl.released_at.isoformat() == "2026-11-21T10:00:00+00:00"
    assert seen.provider.security_sources is True
    assert seen.provider.lists_refreshed_at is not None
    assert (seen.provider.unfinished, seen.provider.unknown_why) == ((), "")


def test_a_dry_run_and_a_download_change_nothing(zypper):
    assert install(zypper, dry_run=True).summary.startswith("would install 4 updates: bash=5.1-2")
    arguments = {"manager": "zypper", "choose": "chosen", "packages": "bash=5.1-2", "exclude": "", "least_free_mb": 0}
    arguments = {name: arguments[name] for name in updates_download.ARGUMENTS}
    assert updates_download.run(arguments, zypper.host, zypper.context()).ok
    fetched = [path.name for path in (zypper.root / "var/cache/zypp/packages").rglob("bash*.rpm")]
    assert fetched == ["bash-5.1-2.noarch.rpm"]
    assert zypper.version_on_disk("bash") == "5.1-1"


@pytest.mark.parametrize(
    ("chosen", "code"),
    [("bash=5.1-9", "version_not_offered"), ("zsh=5.8-1", "not_installed"), ("--no-gpg-checks=1", "argument_wrong")],
)
def test_what_nobody_offers_or_nobody_has_is_refused(zypper, chosen, code):
    assert failing(lambda: install(zypper, "chosen", chosen)).code == code
    assert zypper.version_on_disk("bash") == "5.1-1"


def test_a_locked_package_is_listed_as_held_and_left_out(zypper):
    updates_hold.run({"manager": "zypper", "packages": "openssl-libs"}, zypper.host, zypper.context())
    seen = reading(zypper)
    assert seen.provider.held == ("openssl-libs",)
    assert {u.name: u.held for u in seen.pending}.get("openssl-libs") is True
    result = install(zypper, "security")
    assert result.packages == (change("kernel-core", "5.14.0-70", "5.14.0-71"),)
    updates_release.run({"manager": "zypper", "packages": "openssl-libs"}, zypper.host, zypper.context())
    assert reading(zypper).provider.held == ()


def test_security_only_leaves_the_rest_alone_and_says_what_changed(zypper):
    result = install(zypper, "security")
    assert result.packages == (change("openssl-libs", "3.0.7-1", "3.0.7-3"),)
    assert zypper.version_on_disk("openssl-libs") == "3.0.7-3"
    assert (zypper.version_on_disk("bash"), zypper.version_on_disk("curl")) == ("5.1-1", "7.76-1")


def test_rolling_back_takes_the_version_that_is_still_offered(zypper):
    arguments = {"manager": "zypper", "packages": "openssl-libs=3.0.7-1"}
    result = updates_roll_back.run(arguments, zypper.host, zypper.context())
    assert result.packages == (change("openssl-libs", "3.0.7-3", "3.0.7-1"),)
    arguments = {"manager": "zypper", "packages": "bash=4.4-1"}
    gone = failing(lambda: updates_roll_back.run(arguments, zypper.host, zypper.context()))
    assert gone.code == "version_not_offered"


def test_all_but_what_is_excluded_is_installed(zypper):
    result = install(zypper, "all", exclude="bash")
    assert {c.name for c in result.packages} == {"openssl-libs", "curl"}
    assert [u.name for u in reading(zypper).pending] == ["bash"]


def test_a_source_that_is_not_checked_is_left_out(zypper):
    zypper.source(checked=False)
    failed = failing(lambda: install(zypper, "chosen", "bash=5.1-2"))
    assert failed.code == "source_untrusted"
    zypper.source(checked=True)
    assert zypper.version_on_disk("bash") == "5.1-1"


def test_lists_with_a_wrong_signature_leave_the_old_ones(zypper):
    before = reading(zypper).pending
    signature = zypper.repository / "repodata/repomd.xml.asc"
    good = signature.read_bytes()
    zypper.publish(("bash", "5.1-3"))
    signature.write_bytes(good)  # of the lists before
    failed = failing(lambda: provider.refresh(zypper.host, zypper.context()))
    assert failed.code in ("source_untrusted", "download_failed")
    assert [u.candidate for u in reading(zypper).pending] == [u.candidate for u in before]
    zypper.lists()
    provider.refresh(zypper.host, zypper.context())
    assert [u.candidate for u in reading(zypper).pending] == ["5.1-3"]


def test_what_conflicts_is_left_to_a_person(zypper):
    zypper.publish(("bash", "5.1-4"), conflicts={"bash": "curl"})
    zypper.fetch_lists()
    failed = failing(lambda: install(zypper, "chosen", "bash=5.1-4"))
    assert failed.code in ("would_remove", "unresolvable")
    assert zypper.version_on_disk("curl") == "7.76-2"


def test_a_run_that_is_cut_short_is_told_truly_and_repaired(zypper):
    zypper.publish(("openssl-libs", "3.0.7-4"), after={"openssl-libs": "posix.kill(posix.getprocessid('pid'), 9)"})
    zypper.fetch_lists()
    failed = failing(lambda: install(zypper, "chosen", "openssl-libs=3.0.7-4"))
    assert failed.packages == (change("openssl-libs", "3.0.7-3", "3.0.7-4"),)
    assert reading(zypper).provider.unfinished == ("openssl-libs: 3.0.7-3 and 3.0.7-4 are both installed",)
    assert failing(lambda: install(zypper, "all")).code == "unfinished"
    assert updates_repair.run({"manager": "zypper"}, zypper.host, zypper.context()).ok
    assert reading(zypper).provider.unfinished == ()
    assert zypper.version_on_disk("openssl-libs") == "3.0.7-4"
