"""Passwords: empty, weakly kept, weakly demanded."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Access, Account, Gap, PasswordPolicy

STRONG = PasswordPolicy(min_length=12, lockout_after=5, hash="yescrypt")


def person(name, **more):
    return Account(**{"name": name, "uid": 1000, "login": True, "password": "set", "password_hash": "yescrypt", **more})


def passwords(*accounts, demanded=STRONG, gaps=(), **policy):
    return judged(
        "password_policy", known_with(Access(accounts=accounts, password_policy=demanded, gaps=gaps)), **policy
    )


def test_an_empty_password_and_a_broken_algorithm_fail():
    results = passwords(
        person("ada"), person("bob", password="empty", password_hash=""), person("old", password_hash="md5crypt")
    )
    assert {target: result.status for target, result in results.items()} == {
        "": PASS, "bob": FAIL, "old": FAIL, "policy": PASS,
    }  # fmt: skip
    assert results["bob"].risk == "critical"


def test_what_the_system_demands_is_judged_as_a_whole():
    result = passwords(person("ada"), demanded=PasswordPolicy(min_length=6))["policy"]
    assert result.status is WARN
    assert result.reason == (
        "The system demands too little of passwords: 6 characters where 8 are wanted and no lock after failed tries."
    )
    assert passwords(person("ada"), demanded=PasswordPolicy(min_length=8), lockout=False)["policy"].status is PASS


def test_where_no_account_has_a_password_nothing_is_demanded():
    (result,) = passwords(person("ada", password="locked"), demanded=PasswordPolicy(min_length=1)).values()
    assert result.status is PASS


def test_age_and_never_expiring_are_asked_where_a_policy_says_so():
    old = person("ada", password_changed_at=ago(days=400), password_expires=False, kind="person")
    assert passwords(old)[""].reason == "1 password kept by a sound algorithm; 1 never expires."
    assert passwords(old, most_age_days=365)["ada"].reason == "The password of ada is 400 days old (at most 365)."
    assert passwords(old, must_expire=True)["ada"].status is WARN


def test_what_could_not_be_read_is_unknown():
    gap = Gap(what="state of passwords", why="needs root")
    assert passwords(person("ada", password="unknown"), gaps=(gap,))[""].status is UNKNOWN
    pam = Gap(what="password policy in /etc/security/pwquality.conf", why="needs root")
    assert passwords(person("ada"), gaps=(pam,))["policy"].status is UNKNOWN
