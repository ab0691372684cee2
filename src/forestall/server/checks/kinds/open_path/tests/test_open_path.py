"""Open paths: what anybody may change, and setuid programs that do not belong."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Access, Account, Gap, OpenPath

WALK = ("find / -xdev -perm …",)


def paths(*found, sources=WALK, gaps=(), previous=None, **policy):
    document = Access(accounts=(Account(name="a", uid=1),), open_paths=found, sources=sources, gaps=gaps)
    return judged("open_path", known_with(document), previous=previous, **policy)


def path(name, kind="world_writable", mode="0666", owner="root"):
    return OpenPath(path=name, kind=kind, mode=mode, owner=owner)


SUDO = path("/usr/bin/sudo", "setuid", "4755")


def test_what_a_system_brings_is_what_belongs():
    (result,) = paths(SUDO, path("/usr/bin/wall", "setgid", "2755")).values()
    assert result.reason == "No path is open to everybody; 2 setuid or setgid programs of the system's own."
    assert result.status is PASS


def test_what_the_system_relies_on_fails_and_elsewhere_warns():
    results = paths(path("/etc/cron.d/job"), path("/srv/drop", mode="0777"), path("/root/.cache/uv/.lock"))
    assert {target: (result.status, result.risk.value) for target, result in results.items()} == {
        "/etc/cron.d/job": (FAIL, "high"),
        "/srv/drop": (WARN, "medium"),
        "/root/.cache/uv/.lock": (WARN, "low"),
    }


def test_an_unexpected_setuid_program_warns_and_one_that_anybody_may_change_fails():
    results = paths(SUDO, path("/usr/local/bin/.x", "setuid", "4755"), path("/srv/sudo", "setuid", "4757"))
    assert results["/usr/local/bin/.x"].status is WARN
    assert (results["/srv/sudo"].status, results["/srv/sudo"].risk) == (FAIL, "critical")
    assert paths(path("/usr/local/bin/.x", "setuid", "4755"), setuid=False)[""].status is PASS


def test_many_paths_are_counted_and_the_worst_are_named():
    results = paths(*[path(f"/srv/{number:03}") for number in range(50)], path("/etc/passwd"), most_listed=5)
    assert len(results) == 6
    assert results["/etc/passwd"].status is FAIL
    assert results["more paths"].reason.startswith("46 more paths: ")


def test_what_could_not_be_walked_is_unknown_and_never_pass():
    late = Gap(what="world-writable and setuid paths", why="no answer within 60 s")
    assert paths(sources=(), gaps=(late,))[""].status is UNKNOWN
    some = Gap(what="world-writable and setuid paths in other people's folders", why="needs root")
    results = paths(SUDO, gaps=(some,))
    assert {result.status for result in results.values()} == {UNKNOWN}


def test_an_agent_that_does_not_look_yet_says_nothing():
    assert paths(sources=("/etc/passwd",)) == {}


def test_a_path_that_was_closed_passes():
    assert paths(previous={"/srv/drop": WARN})["/srv/drop"].status is PASS
