"""Installing updates with the real apt and dpkg, in a root of their own: Ada's server and what she may ask of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from forestall.agent.act import packages
from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.context import ActionFailed
from forestall.agent.act.providers import CODES, PROVIDERS, apt
from forestall.agent.apart import Apart
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import apt as apt_reader
from forestall.agent.collect.readiness import busy
from forestall.agent.tests.apt_world import MISSING, AptWorld, Deb, Repositories

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    made = Repositories(tmp_path_factory.mktemp("repositories"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pristine(repositories, tmp_path_factory):
    return AptWorld(tmp_path_factory.mktemp("pristine"), repositories).prepare()


@pytest.fixture
def ada(pristine, tmp_path) -> AptWorld:
    """Ada's server, a moment after it was set up."""
    return pristine.copy(tmp_path)


def act(world, name, **arguments):
    context = {key: arguments.pop(key) for key in ("dry_run", "timeout_seconds") if key in arguments}
    return ACTIONS[name].run({"manager": "apt", **arguments}, world.host, world.context(**context))


def install(world, choose="security", packages="", exclude="", **more):
    return act(world, "updates.install", choose=choose, packages=packages, exclude=exclude, **more)


def fails(code):
    return pytest.raises(ActionFailed, match=f"^{code}: ")


def pending(world):
    return {each.name: each.candidate for each in reading(world).pending}


def unfinished(world):
    return reading(world).provider.unfinished


def reading(world):
    return apt_reader.read(Notes(world.host))


def changed(result):
    return {each.name: (each.before, each.after) for each in result.packages}


SECURITY = {
    "asking": ("1.0-1", "1.0-1+sec1"),
    "confy": ("1.0-1", "1.0-1+sec1"),
    "lib-a": ("1.0-1", "1.0-1+sec1"),
}


# --- installing ----------------------------------------------------------------------------------------------


@pytest.mark.runbook("install-updates")
def test_security_only_installs_what_fixes_security_and_tells_exactly_that(ada):
    ada.offer("security", "updates")
    before = ada.installed()
    result = install(ada)
    assert changed(result) == SECURITY
    assert ada.installed() == {**before, **{name: new for name, (_, new) in SECURITY.items()}}
    assert pending(ada) == {"app": "2.0-1", "tool": "1:1.5-1", "greedy": "2.0-1"}
    assert unfinished(ada) == ()


def test_the_list_is_what_apt_would_do(ada):
    ada.offer("security", "updates")
    said = ada.run("apt-get", "--simulate", "dist-upgrade").stdout
    upgraded = {line.split()[1] for line in said.splitlines() if line.startswith("Inst ") and "[" in line.split()[2]}
    removed = {line.split()[1] for line in said.splitlines() if line.startswith("Remv ")}
    # apt weighs the update that removes a package against that package; we list both and decide when we install.
    assert upgraded | removed | {"greedy", "tool"} == set(pending(ada)) | removed


def test_all_takes_what_they_need_along_and_never_removes_a_package(ada):
    ada.offer("security", "updates")
    result = install(ada, "all")
    found = changed(result)
    assert found["new-part"] == ("", "2.0-1")
    assert found["app"] == ("1.0-1", "2.0-1")
    assert found["tool"] == ("1:1.0-1", "1:1.5-1")
    assert "greedy=2.0-1 (would remove tool)" in result.summary
    assert ada.installed()["tool"] == "1:1.5-1"
    assert pending(ada) == {"greedy": "2.0-1"}


def test_a_package_that_came_along_does_not_become_one_that_somebody_asked_for(ada):
    ada.run("apt-mark", "auto", "lib-a")
    ada.offer("security")
    install(ada, "chosen", "lib-a=1.0-1+sec1")
    assert ada.run("apt-mark", "showauto").stdout.split() == ["lib-a"]


def test_chosen_installs_what_is_named_and_what_is_there_already_is_no_failure(ada):
    ada.offer("security", "updates")
    result = install(ada, "chosen", "tool=1:1.5-1")
    assert changed(result) == {"tool": ("1:1.0-1", "1:1.5-1")}
    again = install(ada, "chosen", "tool=1:1.5-1")
    assert again.packages == ()
    assert "there already: tool=1:1.5-1" in again.summary


def test_excluded_and_held_packages_stay_and_are_named(ada):
    ada.offer("security", "updates")
    act(ada, "updates.hold", packages="confy")
    result = install(ada, exclude="asking")
    assert changed(result) == {"lib-a": SECURITY["lib-a"]}
    assert "confy (it is held)" in result.summary
    assert "asking (it is excluded)" in result.summary


def test_settings_that_were_changed_here_stay_and_nothing_is_asked(ada):
    (ada.root / "etc/confy.conf").write_text("colour = green\n")
    ada.offer("security")
    install(ada)
    assert (ada.root / "etc/confy.conf").read_text() == "colour = green\n"
    assert (ada.root / "etc/confy.conf.dpkg-dist").read_text() == "colour = red\n# new\n"


def test_settings_that_nobody_changed_are_renewed(ada):
    ada.offer("security")
    install(ada)
    assert (ada.root / "etc/confy.conf").read_text() == "colour = red\n# new\n"


def test_a_chosen_version_that_is_superseded_fails_after_the_others_were_installed(ada):
    ada.offer("security", "updates")
    with fails("version_not_offered") as failed:
        install(ada, "chosen", "tool=1:1.2-1 lib-a=1.0-1+sec1")
    assert "tool=1:1.2-1 (1:1.5-1 is offered now)" in failed.value.sentence
    assert changed(failed.value) == {"lib-a": SECURITY["lib-a"]}
    assert ada.installed()["tool"] == "1:1.0-1"


def test_a_package_that_fails_is_told_with_its_words_and_the_others_are_finished(ada):
    ada.offer("security", "broken")
    with fails("install_failed") as failed:
        install(ada, "chosen", "failing=1.0-1+sec1 lib-a=1.0-1+sec1")
    assert "post-installation script subprocess returned error exit status 3" in failed.value.sentence
    assert "the database does not answer" in failed.value.output
    assert set(changed(failed.value)) == {"failing", "lib-a"}
    assert unfinished(ada) == ("failing: configuring it failed or was cut short",)
    assert ada.installed()["lib-a"] == "1.0-1+sec1"
    with fails("unfinished"):
        install(ada)
    with fails("unfinished"):
        check(ada)


def test_a_package_that_fails_again_when_repaired_is_left_to_a_person_who_can_roll_it_back(ada):
    ada.offer("broken")
    with fails("install_failed"):
        install(ada, "chosen", "failing=1.0-1+sec1")
    with fails("repair_failed") as failed:
        act(ada, "updates.repair")
    assert "still unfinished: failing" in failed.value.sentence
    assert "roll-back-packages" in failed.value.sentence
    result = act(ada, "updates.roll_back", packages="failing=1.0-1")
    assert changed(result) == {"failing": ("1.0-1+sec1", "1.0-1")}
    assert unfinished(ada) == ()


@pytest.mark.runbook("repair-packages")
def test_a_package_that_hangs_is_ended_with_all_it_started_and_can_be_repaired(ada):
    ada.offer("broken")
    marker = str(ada.root)
    with fails("timed_out") as failed:
        install(ada, "chosen", "hanging=1.0-1+sec1", timeout_seconds=4)
    assert changed(failed.value) == {"hanging": ("1.0-1", "1.0-1+sec1")}
    assert unfinished(ada)
    left = [pid for pid in processes_naming(marker) if pid != os.getpid()]
    assert left == []
    scripts = ada.root / "var/lib/dpkg/info/hanging.postinst"
    scripts.write_text("#!/bin/sh\nexit 0\n")
    repaired = act(ada, "updates.repair")
    assert "hanging" in repaired.summary
    assert unfinished(ada) == ()
    assert ada.installed()["hanging"] == "1.0-1+sec1"


def processes_naming(text):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


# --- what a command cannot have ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choose", "named", "code"),
    [
        ("chosen", "new-part=2.0-1", "not_installed"),
        ("chosen", "nonsense=1", "not_installed"),
        ("chosen", "lib-a:s390x=1.0-1+sec1", "not_installed"),
        ("chosen", "lib-a=0.9", "version_not_offered"),
        ("chosen", "lib-a=1.0-1+sec9", "version_not_offered"),
        ("chosen", "--allow-unauthenticated", "argument_wrong"),
        ("chosen", "-olib-a=1", "argument_wrong"),
        ("chosen", "./lib-a_1.0.deb=1", "argument_wrong"),
        ("chosen", "/tmp/x.deb=1", "argument_wrong"),
        ("chosen", "lib-a", "argument_wrong"),
        ("chosen", "lib-a=$(id)", "argument_wrong"),
        ("chosen", "", "argument_wrong"),
        ("security", "lib-a=1.0-1+sec1", "argument_wrong"),
        ("everything", "", "argument_wrong"),
    ],
)
def test_only_what_the_machines_own_sources_offer_for_what_it_has(ada, choose, named, code):
    ada.offer("security", "updates")
    before = ada.installed()
    with fails(code):
        install(ada, choose, named)
    assert ada.installed() == before


@pytest.mark.parametrize("name", ["yum-of-eve", "../apt", "dpkg", ""])
def test_a_manager_that_is_none_is_refused_by_name(ada, name):
    with pytest.raises(ActionFailed, match=r"^manager_unknown: "):
        ACTIONS["updates.install"].run(
            {"manager": name, "choose": "all", "packages": "", "exclude": ""}, ada.host, ada.context()
        )


def test_a_source_that_is_not_signed_does_not_exist_even_where_it_is_marked_as_trusted(ada, repositories):
    repositories.publish("eve", [Deb("tool", "1:6.6-6")], label="Debian-Security", suite="x-security", signed=False)
    ada.sources("release", "eve", options=" trusted=yes")
    text = (ada.root / "etc/apt/sources.list").read_text()
    (ada.root / "etc/apt/sources.list").write_text(text.replace(" trusted=yes", "", 1))
    ada.run("apt-get", "update")
    assert ada.run("apt-get", "--simulate", "--yes", "dist-upgrade").stdout.count("Inst tool") == 1, "apt itself would"
    for choose in ("security", "all"):
        told = install(ada, choose)
        assert told.packages == ()
        assert "tool=1:6.6-6 (would come from a source whose signatures are not checked" in told.summary
    with fails("source_untrusted"):
        install(ada, "chosen", "tool=1:6.6-6")
    assert "downloaded" not in download(ada, "all").summary
    assert ada.installed()["tool"] == "1:1.0-1"


def test_settings_of_the_machine_that_allow_unsigned_packages_are_overruled(ada, repositories):
    repositories.publish("eve", [Deb("tool", "1:6.6-6")], label="Debian-Security", suite="x-security", signed=False)
    (ada.root / "etc/apt/apt.conf.d/00-careless").write_text(
        'APT::Get::AllowUnauthenticated "true";\nAcquire::AllowInsecureRepositories "true";\n'
    )
    ada.offer("eve")
    assert pending(ada) == {"tool": "1:6.6-6"}
    with fails("source_untrusted"):
        install(ada, "all")
    assert ada.installed()["tool"] == "1:1.0-1"


@pytest.mark.parametrize(
    ("entry", "unchecked"),
    [
        ("deb http://a.example/ x main", False),
        ("deb [trusted=yes] http://a.example/ x main", True),
        ("deb [ arch=amd64 trusted=true ] http://a.example/ x main", True),
        ("deb [trusted=no] http://a.example/ x main", False),
        ("deb [allow-insecure=yes] http://a.example/ x main", True),
        ("deb [allow-weak=1] http://a.example/ x main", True),
        ("deb-src [trusted=yes] http://a.example/ x main", True),
        ("Types: deb\nURIs: http://a.example/\nTrusted: yes\nSuites: x", True),
        ("Types: deb\nURIs: http://a.example/\nSuites: x\nallow-downgrade-to-insecure: yes", True),
        ("Types: deb\nURIs: http://a.example/\nTrusted: no\nSuites: x", False),
    ],
)
def test_unchecked_sources_are_known_in_both_forms(entry, unchecked):
    assert apt.is_unchecked(entry) is unchecked


def test_only_the_unchecked_entries_of_a_file_are_hidden():
    two = "deb http://a.example/ x main\ndeb [trusted=yes] http://b.example/ x main\n"
    assert apt.checked_sources("/etc/apt/sources.list", two) == "deb http://a.example/ x main\n"
    stanzas = "Types: deb\nURIs: http://a.example/\nSuites: x\n\nTypes: deb\nURIs: http://b.example/\nTrusted: yes\n"
    kept = apt.checked_sources("/etc/apt/sources.list.d/x.sources", stanzas)
    assert "a.example" in kept
    assert "b.example" not in kept


# --- download, network ---------------------------------------------------------------------------------------


def download(world, choose="security", packages="", exclude="", **more):
    return act(world, "updates.download", choose=choose, packages=packages, exclude=exclude, **more)


def test_what_was_downloaded_is_installed_without_a_network(ada):
    ada.sources("release", "security")
    result = download(ada)
    assert result.changed == {"downloaded": 3}
    assert ada.installed()["lib-a"] == "1.0-1"
    with ada.network_cut():
        assert changed(install(ada)) == SECURITY


def test_without_a_network_nothing_changes_and_the_failure_says_so(ada):
    ada.offer("security")
    before = ada.installed()
    with ada.network_cut(), fails("download_failed") as failed:
        install(ada)
    assert failed.value.packages == ()
    assert ada.installed() == before
    assert unfinished(ada) == ()


def test_lists_that_cannot_be_fetched_do_not_keep_a_cached_update_back(ada):
    ada.sources("release", "security")
    download(ada)
    with ada.network_cut():
        assert "downloaded 3 updates" in download(ada).summary


# --- hold, release, roll back --------------------------------------------------------------------------------


@pytest.mark.runbook("hold-packages")
@pytest.mark.runbook("release-packages")
def test_held_packages_are_kept_until_they_are_released(ada):
    ada.offer("updates")
    assert act(ada, "updates.hold", packages="tool app").changed == {"held": 2}
    assert reading(ada).provider.held == ("app", "tool")
    assert {each.name for each in reading(ada).pending if each.held} == {"app", "tool"}
    with fails("held"):
        install(ada, "chosen", "tool=1:1.5-1")
    act(ada, "updates.release", packages="tool")
    assert changed(install(ada, "chosen", "tool=1:1.5-1")) == {"tool": ("1:1.0-1", "1:1.5-1")}
    for name in ("updates.hold", "updates.release"):
        with fails("not_installed"):
            act(ada, name, packages="nonsense")
        with fails("argument_wrong"):
            act(ada, name, packages="--all")
        with fails("argument_wrong"):
            act(ada, name, packages=" ")


@pytest.mark.runbook("roll-back-packages")
def test_rolled_back_to_what_a_source_still_offers(ada):
    ada.offer("updates")
    install(ada, "chosen", "tool=1:1.5-1")
    assert changed(act(ada, "updates.roll_back", packages="tool=1:1.0-1")) == {"tool": ("1:1.5-1", "1:1.0-1")}
    assert act(ada, "updates.roll_back", packages="tool=1:1.0-1").packages == ()


def test_rolled_back_to_what_only_the_cache_still_has(ada):
    ada.offer("security")
    install(ada)
    ada.sources("security")
    ada.run("apt-get", "update")
    with fails("version_not_offered") as failed:
        act(ada, "updates.roll_back", packages="lib-a=1.0-1")
    assert "neither the machine's sources nor its cache" in failed.value.sentence
    released = next((ada.repositories.folder / "release").glob("lib-a_*.deb"))
    cached = ada.root / "var/cache/apt/archives" / released.name
    cached.write_bytes(released.read_bytes())
    cached.chmod(0o666)
    with fails("version_not_offered"):
        act(ada, "updates.roll_back", packages="lib-a=1.0-1")
    cached.chmod(0o644)
    assert changed(act(ada, "updates.roll_back", packages="lib-a=1.0-1")) == {"lib-a": ("1.0-1+sec1", "1.0-1")}


def test_an_archive_in_the_cache_that_is_another_package_is_not_taken(ada):
    ada.offer("security")
    install(ada)
    other = next((ada.repositories.folder / "release").glob("tool_*.deb"))
    (ada.root / "var/cache/apt/archives/lib-a_0.5-1_all.deb").write_bytes(other.read_bytes())
    with fails("version_not_offered"):
        act(ada, "updates.roll_back", packages="lib-a=0.5-1")


# --- killed in the middle ------------------------------------------------------------------------------------


def test_a_package_manager_that_was_killed_leaves_a_truth_that_repairing_ends(ada):
    ada.offer("broken", "security")
    work = threading.Thread(target=lambda: suppressed(install, ada, "chosen", "hanging=1.0-1+sec1 lib-a=1.0-1+sec1"))
    work.start()
    deadline = time.monotonic() + 20
    while not processes_named("dpkg", ada) or not processes_named("sleep", ada):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    end_all(ada)
    work.join(20)
    assert not work.is_alive()
    assert "hanging" in " ".join(unfinished(ada))
    (ada.root / "var/lib/dpkg/info/hanging.postinst").write_text("#!/bin/sh\nexit 0\n")
    result = act(ada, "updates.repair")
    assert result.ok
    assert unfinished(ada) == ()
    assert all(not value.startswith(("i", "h", "r")) for value in ada.installed().values())


def has_ended(child):
    try:
        return ") Z " in Path(f"/proc/{child.pid}/stat").read_text()
    except OSError:
        return True


def suppressed(work, *arguments):
    with contextlib.suppress(ActionFailed):
        work(*arguments)


def environment_of(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def processes_of(world):
    mark = f"APT_CONFIG={world.folder}/apt.conf".encode()
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if mark in environment_of(path.name)]


def processes_named(name, world):
    return [pid for pid in processes_of(world) if comm_of(pid) == name]


def comm_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def end_all(world):
    for pid in processes_of(world):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_package_that_is_torn_between_two_versions_is_unpacked_anew(ada):
    """Found by the campaign of kills: dpkg cannot configure such a package, and apt alone gives up on it."""
    ada.offer("security", "updates")
    status = ada.root / "var/lib/dpkg/status"
    torn = status.read_text().replace(
        "Package: tool\nStatus: install ok installed", "Package: tool\nStatus: install reinstreq half-installed"
    )
    status.write_text(torn)
    (ada.root / "usr/share/tool/version").unlink()
    assert unfinished(ada) == ("tool: unpacking it was cut short, must be installed anew",)
    with fails("unfinished"):
        install(ada)
    result = act(ada, "updates.repair")
    assert result.packages == (), "in the version it had: repairing is no upgrade"
    assert unfinished(ada) == ()
    assert (ada.root / "usr/share/tool/version").read_text() == "1:1.0-1\n"


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(5, 105))])
def test_killed_at_any_moment_the_machine_is_told_as_it_is_and_repaired(ada, seed):
    """A sample; ``bench/kill_upgrade.py`` does the same a hundred times to a real Debian."""
    ada.offer("security", "updates")
    chance = random.Random(seed)
    log = ada.root / "var/log/dpkg.log"
    # After so many of the steps that dpkg notes (an undisturbed upgrade has about 60), and a moment.
    moment, lag, began = chance.randrange(60), chance.random() / 20, log.read_bytes().count(b"\n")
    child = Apart(lambda _tell: install(ada, "all"))
    while log.read_bytes().count(b"\n") - began < moment and not has_ended(child):
        time.sleep(0.002)
    time.sleep(lag)
    if seed % 2:
        os.kill(child.pid, signal.SIGKILL)
    else:
        end_all(ada)
    while not child.advance():
        pass
    deadline = time.monotonic() + 20
    while processes_of(ada) and time.monotonic() < deadline:
        time.sleep(0.05)
    real = ada.installed()
    half = {name for name, version in real.items() if " " in version}
    assert {each.partition(":")[0] for each in unfinished(ada)} - {"dpkg"} == half
    assert {name: version.rpartition(" ")[2] for name, version in real.items()} == {
        name: version for (name, _), version in apt.versions(ada.host, ada.context()).items()
    }
    act(ada, "updates.repair")
    assert unfinished(ada) == ()
    install(ada, "all")
    assert pending(ada) == {"greedy": "2.0-1"}


# --- before and around ---------------------------------------------------------------------------------------


def check(world, **changes):
    given = {"least_free_mb": 1, "on_battery": "block", "sessions": "ignore", **changes}
    return act(world, "updates.check", **given)


def test_a_machine_that_is_fit_says_what_was_looked_at(ada):
    assert "free on /" in check(ada).summary
    with fails("no_space"):
        check(ada, least_free_mb=10**9)
    for wrong in ({"least_free_mb": -1}, {"on_battery": "maybe"}, {"sessions": ""}):
        with fails("argument_wrong"):
            check(ada, **wrong)


def test_another_package_manager_at_work_is_waited_for(ada, monkeypatch):
    monkeypatch.setattr(packages, "POLL_SECONDS", 0.1)
    holder = hold_lock(ada)
    try:
        (told,) = busy(Notes(ada.host))
        assert f"(process {holder.pid})" in told
        with fails("manager_busy"):
            check(ada, timeout_seconds=0.5)
        with fails("manager_busy"):
            check(ada, dry_run=True)
        threading.Timer(0.5, holder.kill).start()
        assert "waited" in check(ada).summary
    finally:
        holder.kill()
        holder.wait()


def hold_lock(world):
    """Another program that holds dpkg's lock, as dpkg does."""
    code = (
        "import fcntl, sys, time\n"
        "f = open(sys.argv[1], 'r+')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)\n"
    )
    path = world.root / "var/lib/dpkg/lock-frontend"
    path.touch()
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    return holder


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(ada):
    ada.offer("security", "updates")

    def everything():
        skipped = ("pkgcache.bin", "srcpkgcache.bin", "lock", "lock-frontend")
        return sorted(
            (str(path), path.stat().st_mtime_ns)
            for path in ada.folder.rglob("*")
            if path.is_file() and path.name not in skipped
        )

    before = everything()
    told = {
        "updates.check": check(ada, dry_run=True),
        "updates.snapshot": ACTIONS["updates.snapshot"].run(
            {"when": "when_possible"}, ada.host, ada.context(dry_run=True)
        ),
        "updates.download": download(ada, dry_run=True),
        "updates.install": install(ada, "all", dry_run=True),
        "updates.hold": act(ada, "updates.hold", packages="tool", dry_run=True),
        "updates.release": act(ada, "updates.release", packages="tool", dry_run=True),
        "updates.roll_back": act(ada, "updates.roll_back", packages="tool=1:0.9-1", dry_run=True),
        "updates.repair": act(ada, "updates.repair", dry_run=True),
    }
    assert set(told) == {name for name in ACTIONS if name.startswith("updates.")}
    assert all(result.ok and result.changed == {} for result in told.values())
    assert "would install 5 updates" in told["updates.install"].summary
    assert "would download 3 updates" in told["updates.download"].summary
    assert everything() == before


def test_every_code_of_a_failure_is_documented_once():
    docs = Path(__file__).parents[5] / "docs/agent.md"
    if not docs.exists():
        pytest.skip("installed without its docs")
    assert [code for code in CODES if f"| `{code}` |" not in docs.read_text()] == []


def test_each_provider_has_a_reader_of_its_name_and_does_what_the_reader_says_it_can():
    from forestall.agent.collect.providers import READER_BY_NAME

    for name, provider in PROVIDERS.items():
        assert name == provider.NAME
        assert name in READER_BY_NAME
        for function in ("versions", "refresh", "impossible", "download", "install", "hold", "release", "roll_back",
                         "repair"):  # fmt: skip
            assert callable(getattr(provider, function)), (name, function)


def test_changes_are_told_on_the_wire_only_where_a_step_changes_packages(ada):
    ada.offer("security")
    assert install(ada, "chosen", "lib-a=1.0-1+sec1").packages is not msgspec.UNSET
    assert check(ada).packages is msgspec.UNSET
