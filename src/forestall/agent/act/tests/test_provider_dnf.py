"""dnf for real: a root of its own, and Contoso's repository of signed packages."""

# ruff: noqa: E501 - a file in its own format keeps its lines
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
from forestall.agent.act.tests.package_worlds import DnfWorld, missing
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import dnf as reader
from forestall.trust.statements import PackageChange

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("dnf"),  # one story: its tests follow each other
    pytest.mark.skipif(bool(missing(DnfWorld)), reason=missing(DnfWorld) or "-"),
]

UPDATEINFO = """<?xml version="1.0" encoding="UTF-8"?>
<updates>
<update from="security@contoso.example" status="final" type="security" version="1">
<id>CSA-2026:0001</id><title>openssl-libs security update</title><issued date="2026-11-20 10:00:00"/>
<updated date="2026-11-21 10:00:00"/><severity>Critical</severity><summary>s</summary>
<description>A hole: closed.
Type: bugfix, somebody wrote into the description.</description>
<references><reference href="x" id="CVE-2026-1001" title="CVE-2026-1001" type="cve"/>
<reference href="x" id="CVE-2026-1002" title="CVE-2026-1002" type="cve"/></references>
<pkglist><collection short="c"><name>c</name><package name="openssl-libs" version="3.0.7" release="2" epoch="0" arch="noarch"
src="openssl-3.0.7-2.src.rpm"><filename>openssl-libs-3.0.7-2.noarch.rpm</filename></package></collection></pkglist>
</update>
<update from="security@contoso.example" status="final" type="bugfix" version="1">
<id>CBA-2026:0002</id><title>bug fixes</title><issued date="2026-11-22 10:00:00"/><summary>s</summary><description>d</description>
<pkglist><collection short="c"><name>c</name>
<package name="openssl-libs" version="3.0.7" release="3" epoch="0" arch="noarch" src="openssl-3.0.7-3.src.rpm"><filename>openssl-libs-3.0.7-3.noarch.rpm</filename></package>
<package name="bash" version="5.1" release="2" epoch="0" arch="noarch" src="bash-5.1-2.src.rpm"><filename>bash-5.1-2.noarch.rpm</filename></package>
</collection></pkglist></update>
<update from="security@contoso.example" status="final" type="security" version="1">
<id>CSA-2026:0003</id><title>kernel security update</title><issued date="2026-11-22 10:00:00"/><severity>Important</severity>
<summary>s</summary><description>d</description>
<references><reference href="x" id="CVE-2026-2001" title="CVE-2026-2001" type="cve"/></references>
<pkglist><collection short="c"><name>c</name><package name="kernel-core" version="5.14.0" release="71" epoch="0" arch="noarch"
src="kernel-5.14.0-71.src.rpm"><filename>kernel-core-5.14.0-71.noarch.rpm</filename><reboot_suggested>True</reboot_suggested></package></collection></pkglist>
</update>
</updates>
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Contoso's repository, built once: three versions of some, the newest with advisories."""
    world = DnfWorld(tmp_path_factory.mktemp("dnf"))
    world.publish(("openssl-libs", "3.0.7-1"), ("bash", "5.1-1"), ("kernel-core", "5.14.0-70"))
    world.publish(("curl", "7.76-1"), requires={"curl": "openssl-libs"})
    yield world
    world.close()


@pytest.fixture(scope="module")
def dnf(built):
    """A machine with the first versions, for which newer ones were published since."""
    built.install("curl", "bash", "kernel-core")
    built.publish(("openssl-libs", "3.0.7-2"), ("openssl-libs", "3.0.7-3"), ("bash", "5.1-2"))
    built.publish(("kernel-core", "5.14.0-71"))
    built.publish(("curl", "7.76-2"), requires={"curl": "openssl-libs"})
    built.lists(UPDATEINFO)
    built.fetch_lists()
    return built


@pytest.fixture(autouse=True)
def nobody_else_is_at_work(monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda _notes: ())


def reading(world):
    return reader.read(Notes(world.host))


def install(world, choose="all", chosen="", exclude="", **context):
    arguments = {"manager": "dnf", "choose": choose, "packages": chosen, "exclude": exclude}
    return updates_install.run(arguments, world.host, world.context(**context))


def change(name, before, after):
    return PackageChange(manager="dnf", name=name, architecture="noarch", before=before, after=after)


def failing(call):
    with pytest.raises(ActionFailed) as failed:
        call()
    return failed.value


# The tests tell one story, in order: each begins where the one before ended.


def test_it_lists_what_is_newer_and_what_of_it_fixes_security(dnf):
    seen = reading(dnf)
    assert reader.present(dnf.host)
    assert [(u.name, u.installed, u.candidate, u.security, u.severity) for u in seen.pending] == [
        ("bash", "5.1-1", "5.1-2", False, ""),
        ("curl", "7.76-1", "7.76-2", False, ""),
        ("kernel-core", "5.14.0-70", "5.14.0-71", True, "high"),
        # The newest version is a bug fix; the security fix on the way to it makes the update one.
        ("openssl-libs", "3.0.7-1", "3.0.7-3", True, "critical"),
    ]
    openssl = seen.pending[3]
    assert set(openssl.advisories) == {"CSA-2026:0001", "CBA-2026:0002"}
    assert openssl.cves == ("CVE-2026-1001", "CVE-2026-1002")
    assert openssl.released_at.isoformat() == "2026-11-21T10:00:00+00:00"
    assert openssl.origin == "contoso-base"
    assert openssl.size_bytes > 1000
    assert seen.pending[2].restart == "reboot"
    assert seen.provider.security_sources is True
    assert seen.provider.lists_refreshed_at is not None
    assert (seen.provider.held, seen.provider.unfinished, seen.provider.unknown_why) == ((), (), "")


def test_a_dry_run_and_a_download_change_nothing(dnf):
    assert install(dnf, dry_run=True).summary.startswith("would install 4 updates: bash=5.1-2")
    arguments = {"manager": "dnf", "choose": "chosen", "packages": "bash=5.1-2", "exclude": "", "least_free_mb": 0}
    arguments = {name: arguments[name] for name in updates_download.ARGUMENTS}
    result = updates_download.run(arguments, dnf.host, dnf.context())
    assert result.ok
    assert [path.name for path in (dnf.root / "var/cache/dnf").rglob("*.rpm")] == ["bash-5.1-2.noarch.rpm"]
    assert dnf.version_on_disk("bash") == "5.1-1"


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ("bash=5.1-9", "version_not_offered"),
        ("zsh=5.8-1", "not_installed"),
        ("--nogpgcheck=1", "argument_wrong"),
    ],
)
def test_what_nobody_offers_or_nobody_has_is_refused(dnf, chosen, code):
    assert failing(lambda: install(dnf, "chosen", chosen)).code == code
    assert dnf.version_on_disk("bash") == "5.1-1"


def test_a_held_package_is_listed_as_held_and_left_out(dnf):
    updates_hold.run({"manager": "dnf", "packages": "openssl-libs"}, dnf.host, dnf.context())
    assert "# kept by hand" in (dnf.root / "etc/dnf/dnf.conf").read_text()
    assert {u.name: u.held for u in reading(dnf).pending}["openssl-libs"] is True
    assert failing(lambda: install(dnf, "chosen", "openssl-libs=3.0.7-3")).code == "held"
    result = install(dnf, "security")
    # The kernel is new beside the old one, or in its place where dnf does not know the name: it says which.
    assert {(c.name, c.after) for c in result.packages} == {("kernel-core", "5.14.0-71")}
    assert "openssl-libs (it is held)" in result.summary
    updates_release.run({"manager": "dnf", "packages": "openssl-libs"}, dnf.host, dnf.context())
    assert reading(dnf).provider.held == ()


def test_a_pattern_of_an_administrator_is_theirs_to_release(dnf):
    config = dnf.root / "etc/dnf/dnf.conf"
    before = config.read_text()
    config.write_text(before.replace("[main]\n", "[main]\nexclude=kernel*,\n  bash\n"))
    arguments = {"manager": "dnf", "packages": "kernel-core"}
    failed = failing(lambda: updates_release.run(arguments, dnf.host, dnf.context()))
    assert failed.code == "held"
    assert "kernel*" in config.read_text()
    updates_release.run({"manager": "dnf", "packages": "bash"}, dnf.host, dnf.context())
    assert reading(dnf).provider.held == ("kernel*",)
    config.write_text(before)


def test_security_only_leaves_the_rest_alone_and_says_what_changed(dnf):
    result = install(dnf, "security")
    assert result.packages == (change("openssl-libs", "3.0.7-1", "3.0.7-3"),)
    assert dnf.version_on_disk("openssl-libs") == "3.0.7-3"
    assert (dnf.version_on_disk("bash"), dnf.version_on_disk("curl")) == ("5.1-1", "7.76-1")


def test_rolling_back_takes_the_version_that_is_still_offered(dnf):
    arguments = {"manager": "dnf", "packages": "openssl-libs=3.0.7-1"}
    result = updates_roll_back.run(arguments, dnf.host, dnf.context())
    assert result.packages == (change("openssl-libs", "3.0.7-3", "3.0.7-1"),)
    gone = failing(lambda: updates_roll_back.run({"manager": "dnf", "packages": "bash=4.4-1"}, dnf.host, dnf.context()))
    assert gone.code == "version_not_offered"


def test_all_but_what_is_excluded_is_installed(dnf):
    result = install(dnf, "all", exclude="bash")
    assert {c.name for c in result.packages} == {"openssl-libs", "curl"}
    assert [u.name for u in reading(dnf).pending] == ["bash"]


def test_an_unsigned_package_is_never_installed(dnf):
    dnf.publish(("bash", "5.1-3"), signed=False)
    dnf.fetch_lists()
    failed = failing(lambda: install(dnf, "chosen", "bash=5.1-3"))
    assert failed.code == "source_untrusted"
    assert failed.packages == ()
    dnf.source(checked=False)
    left = failing(lambda: install(dnf, "chosen", "bash=5.1-3"))
    assert "no source whose signatures are checked offers it (left out: contoso-base)" in left.sentence
    dnf.source(checked=True)
    assert dnf.version_on_disk("bash") == "5.1-1"


def test_what_conflicts_is_left_to_a_person_and_the_rest_is_installed(dnf):
    dnf.publish(("bash", "5.1-4"), conflicts={"bash": "curl"})
    dnf.publish(("curl", "7.76-3"), requires={"curl": "openssl-libs"})
    dnf.fetch_lists()
    result = install(dnf, "all")
    assert {c.name for c in result.packages} == {"curl"}
    assert "bash=5.1-4" in result.summary
    assert failing(lambda: install(dnf, "chosen", "bash=5.1-4")).code == "unresolvable"


def test_a_run_that_is_cut_short_is_told_truly_and_repaired(dnf):
    # The machine dies when the new files are in place and the old entry is still in the database.
    dnf.publish(("openssl-libs", "3.0.7-4"), after={"openssl-libs": "posix.kill(posix.getprocessid('pid'), 9)"})
    dnf.fetch_lists()
    failed = failing(lambda: install(dnf, "chosen", "openssl-libs=3.0.7-4"))
    assert failed.packages == (change("openssl-libs", "3.0.7-3", "3.0.7-4"),)
    assert reading(dnf).provider.unfinished == ("openssl-libs: 3.0.7-3 and 3.0.7-4 are both installed",)
    assert failing(lambda: install(dnf, "all")).code == "unfinished"
    result = updates_repair.run({"manager": "dnf"}, dnf.host, dnf.context())
    assert result.ok
    assert reading(dnf).provider.unfinished == ()
    assert dnf.version_on_disk("openssl-libs") == "3.0.7-4"
    assert "openssl-libs" not in {u.name for u in reading(dnf).pending}


def test_lists_that_cannot_be_fetched_leave_the_old_ones(dnf):
    before = reading(dnf).pending
    (dnf.repository / "repodata").rename(dnf.repository / "away")
    try:
        from forestall.agent.act.providers import dnf as provider

        failed = failing(lambda: provider.refresh(dnf.host, dnf.context()))
        assert failed.code == "download_failed"
        assert reading(dnf).pending == before
    finally:
        (dnf.repository / "away").rename(dnf.repository / "repodata")
