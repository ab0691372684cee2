"""The real thing: a Debian of the release pocket, upgraded from the security pocket of this machine's own mirror."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.context import ActionFailed
from forestall.agent.collect import restarts, software, updates
from forestall.agent.tests.chroot import debian, why_not

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be had"),
]


def act(machine, name, **arguments):
    return ACTIONS[name].run({"manager": "apt", **arguments}, machine.host, machine.context())


def apt_of(machine):
    document = updates.collect(machine.host)
    return document, next(each for each in document.providers if each.name == "apt")


def pending(machine):
    return {each.name: each for each in updates.collect(machine.host).pending if not each.manager}


@pytest.mark.soak
def test_a_debian_goes_from_its_release_to_its_security_updates_and_back(tmp_path):
    with debian(tmp_path) as machine:
        assert pending(machine) == {}, "the release pocket alone offers nothing newer"
        machine.offer_security()
        offered = pending(machine)
        said = machine.run("apt-get", "--simulate", "dist-upgrade").splitlines()
        assert set(offered) == {line.split()[1] for line in said if line.startswith("Inst ")}
        if not offered:
            pytest.skip("this mirror's security pocket has nothing newer than its release")
        assert all(each.security for each in offered.values())

        # One that is chosen, and nothing else.
        one = offered["openssl"] if "openssl" in offered else next(iter(offered.values()))
        before = machine.installed()
        act(machine, "updates.download", choose="chosen", packages=f"{one.name}={one.candidate}", exclude="")
        result = act(machine, "updates.install", choose="chosen", packages=f"{one.name}={one.candidate}", exclude="")
        told = {each.name: (each.before, each.after) for each in result.packages}
        after = machine.installed()
        assert told == {
            name: (before.get(name, ("", ""))[1], after[name][1]) for name in after if before.get(name) != after[name]
        }
        assert told[one.name] == (one.installed, one.candidate)

        # What is held stays; the rest of the security updates come.
        left = list(pending(machine))
        if len(left) > 1:
            held = left[0]
            act(machine, "updates.hold", packages=held)
            act(machine, "updates.install", choose="security", packages="", exclude="")
            assert set(pending(machine)) == {held}
            assert pending(machine)[held].held
            act(machine, "updates.release", packages=held)
        act(machine, "updates.install", choose="all", packages="", exclude="")
        document, apt = apt_of(machine)
        assert (pending(machine), apt.unfinished, document.gaps) == ({}, (), ())
        assert {each.name: each.version for each in software.collect(machine.host).packages} == {
            name: version for name, (_, version) in machine.installed().items()
        }

        # The release still offers the version from before; what depends on the new one must go back with it.
        if one.name == "openssl":
            back = act(machine, "updates.roll_back", packages=f"openssl={one.installed}")
            assert ("openssl", one.candidate, one.installed) in {
                (each.name, each.before, each.after) for each in back.packages
            }
        with pytest.raises(ActionFailed, match="version_not_offered"):
            act(machine, "updates.roll_back", packages=f"{one.name}=0.0.1-1")


@pytest.mark.soak
def test_a_library_that_is_replaced_makes_its_running_users_outdated(tmp_path):
    with debian(tmp_path) as machine:
        machine.offer_security()
        if "liblzma5" not in pending(machine):
            pytest.skip("this mirror has no newer liblzma5")
        holder = subprocess.Popen(
            ["chroot", str(machine.root), "xz", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        try:
            named = f"liblzma5={pending(machine)['liblzma5'].candidate}"
            act(machine, "updates.install", choose="chosen", packages=named, exclude="")
            # As that system itself would see it: from here its files lie in a temporary folder.
            maps = Path(f"/proc/{holder.pid}/maps").read_text().replace(str(machine.root), "")
            files = restarts.outdated_files(maps)
            assert [file for file in files if "liblzma" in file]
            # It runs in another root than the agent: that system's own agent reports it.
            assert holder.pid not in {each.pid for each in restarts.collect(machine.host).processes}
        finally:
            holder.kill()
            holder.wait()


@pytest.mark.soak
def test_whatever_is_killed_in_the_middle_of_an_upgrade_the_state_told_is_the_true_one(tmp_path):
    """Three of a hundred seeded moments; ``python -m bench.kill_upgrade`` does them all."""
    bench = pytest.importorskip("bench.kill_upgrade")
    outcomes = bench.campaign(tmp_path, runs=3, seed=1)
    assert [each.wrong for each in outcomes] == ["", "", ""]
    assert all(each.truth and each.ended for each in outcomes)
