"""Shared folders: who reaches them without signing in."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Access, Account, Gap, Share


def shares(*found, gaps=(), **policy):
    document = Access(accounts=(Account(name="a", uid=1),), shares=found, gaps=gaps)
    return judged("open_share", known_with(document), **policy)


def share(name, kind="smb", **more):
    return Share(name=name, path=f"/srv/{name}", kind=kind, **more)


def test_anybody_may_write_fails_and_read_warns():
    results = shares(share("drop", guest=True, writable=True), share("info", guest=True, writable=False))
    assert {target: result.status for target, result in results.items()} == {"smb/drop": FAIL, "smb/info": WARN}
    assert results["smb/drop"].reason == "Anybody who reaches this device may write to drop (/srv/drop)."
    assert shares(share("info", guest=True, writable=False), guest_read=True)["smb/info"].status is PASS


def test_those_who_are_named_may():
    (result,) = shares(share("books", guest=False, writable=True, who=("@books", "ada"))).values()
    assert (result.status, result.reason) == (PASS, "@books and ada may write to books (/srv/books).")


def test_root_of_another_machine_is_root_here():
    nfs = share("data", "nfs", guest=False, writable=True, who=("web",), detail="web(rw,no_root_squash)")
    assert shares(nfs)["nfs/data"].status is FAIL


def test_what_is_not_known_is_unknown():
    assert shares(share("x"))["smb/x"].status is UNKNOWN
    gap = Gap(what="folders that Samba shares", why="needs root")
    assert shares(gaps=(gap,))["folders that Samba shares"].status is UNKNOWN


def test_no_share_no_results():
    assert shares() == {}
