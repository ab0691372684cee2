"""New administrators: everyone after the baseline is asked about."""

from forestall.server.checks.tests.story import ENROLLED, FAIL, PASS, UNKNOWN, ago, judged, known_with
from forestall.wire.facts import Access, Account, Gap

ROOT = Account(name="root", uid=0, administrator=True, administrator_because=("uid 0",))
ADA = Account(name="ada", uid=1000, administrator=True, administrator_because=("group sudo",))
EVE = Account(name="eve", uid=1001, administrator=True, administrator_because=("sudoers: ALL",))
BOB = Account(name="bob", uid=1002)


def administrators(*accounts, seen=None, accepted=frozenset(), sudo=(), gaps=(), history=True):
    first = {f"access:{name}": at for name, at in (seen or {}).items()}
    known = known_with(
        Access(accounts=accounts, sudo_rules=sudo, gaps=gaps), first_seen=first, accepted=accepted,
        **({} if history else {"enrolled_at": None}),
    )  # fmt: skip
    return judged("new_administrator", known)


def test_those_of_the_first_document_are_the_baseline():
    results = administrators(ROOT, ADA, BOB, seen={"root": ENROLLED, "ada": ENROLLED})
    assert {target: result.status for target, result in results.items()} == {"root": PASS, "ada": PASS}
    assert "when the device enrolled" in results["ada"].reason


def test_one_who_came_later_fails():
    result = administrators(ROOT, EVE, seen={"root": ENROLLED, "eve": ago(hours=2)})["eve"]
    assert result.status is FAIL
    assert result.reason == (
        "eve (sudoers: ALL) became an administrator; first seen 2026-11-23 07:00 UTC, after the device enrolled."
    )


def test_accepted_by_a_person_passes():
    seen = {"root": ENROLLED, "eve": ago(hours=2)}
    result = administrators(ROOT, EVE, seen=seen, accepted=frozenset({"new_administrator:eve"}))["eve"]
    assert result.status is PASS
    assert "Accepted as it is" in result.reason


def test_after_a_month_it_is_no_longer_new():
    assert administrators(ROOT, EVE, seen={"root": ENROLLED, "eve": ago(days=31)})["eve"].status is PASS


def test_one_the_server_has_not_noted_yet_is_new_and_not_old():
    assert administrators(ROOT, EVE, seen={"root": ENROLLED})["eve"].status is FAIL


def test_an_audit_lists_them():
    (result,) = administrators(ROOT, ADA, history=False).values()
    assert (result.status, result.value) == (PASS, 2)
    assert result.reason == "2 administrators: root (uid 0) and ada (group sudo)."


def test_sudo_rules_that_could_not_be_read_are_unknown():
    gap = Gap(what="sudo rules", why="needs root")
    results = administrators(ROOT, seen={"root": ENROLLED}, sudo=None, gaps=(gap,))
    assert results["sudo rules"].status is UNKNOWN
    assert "needs root" in results["sudo rules"].reason
    assert results["root"].status is PASS
