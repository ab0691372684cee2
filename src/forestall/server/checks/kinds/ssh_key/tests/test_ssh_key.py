"""SSH keys: weak, old, nobody's."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Access, Account, Gap, SshKey


def key(fingerprint="SHA256:a", **more):
    return SshKey(**{"type": "ssh-ed25519", "bits": 256, "comment": "ada@laptop", "fingerprint": fingerprint, **more})


def keys(*found, gaps=(), previous=None, **policy):
    ada = Account(name="ada", uid=1000, keys=found, ssh_keys=len(found))
    return judged("ssh_key", known_with(Access(accounts=(ada,), gaps=gaps)), previous=previous, **policy)


def test_a_sound_key_passes():
    (result,) = keys(key()).values()
    assert (result.status, result.reason) == (PASS, "1 key that opens ada is sound.")


def test_weak_keys_fail_and_old_or_nameless_ones_warn():
    results = keys(
        key("SHA256:short", type="ssh-rsa", bits=1024), key("SHA256:dsa", type="ssh-dss", bits=1024),
        key("SHA256:old", changed_at=ago(days=2000)), key("SHA256:whose", comment=""),
    )  # fmt: skip
    assert {target: result.status for target, result in results.items()} == {
        "ada SHA256:short": FAIL, "ada SHA256:dsa": FAIL, "ada SHA256:old": WARN, "ada SHA256:whose": WARN,
    }  # fmt: skip
    assert (
        results["ada SHA256:short"].reason
        == "The ssh-rsa key of 1024 bits ada@laptop of ada is shorter than 2048 bits."
    )


def test_keys_that_could_not_be_read_are_unknown():
    gap = Gap(what="authorized keys of bob", why="needs root")
    assert keys(key(), gaps=(gap,))["keys that could not be read"].status is UNKNOWN


def test_a_policy_may_ask_for_more():
    assert keys(key(type="ssh-rsa", bits=2048), least_rsa_bits=3072)["ada SHA256:a"].status is FAIL
    assert keys(key(comment=""), named=False)[""].status is PASS


def test_no_keys_no_results():
    assert keys() == {}
