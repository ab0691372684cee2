"""SSH settings, each weak one as a sentence."""

import pytest

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Gap, Sshd

# What `sshd -T` of a fresh Debian 12 says of the keywords that matter.
FRESH = {
    "permitrootlogin": "without-password",
    "passwordauthentication": "yes",
    "permitemptypasswords": "no",
    "x11forwarding": "yes",
    "maxauthtries": "6",
    "logingracetime": "120",
    "strictmodes": "yes",
    "ignorerhosts": "yes",
    "hostbasedauthentication": "no",
    "permituserenvironment": "no",
    "gatewayports": "no",
    "ciphers": "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com",
    "macs": "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256,hmac-sha1",
    "kexalgorithms": "sntrup761x25519-sha512@openssh.com,curve25519-sha256,diffie-hellman-group14-sha256",
}


def sshd(changes=None, *, previous=None, accepted=frozenset(), running=True, policy=None, **fields):
    settings = {**FRESH, "passwordauthentication": "no", "x11forwarding": "no", **(changes or {})}
    document = Sshd(**{"installed": True, "running": running, "settings": settings, "effective": True, **fields})
    return judged("sshd_settings", known_with(document, accepted=accepted), previous=previous, **(policy or {}))


def test_sound_settings_are_one_pass():
    results = sshd()
    assert list(results) == [""]
    assert results[""].reason == "14 settings looked at are sound."


def test_a_fresh_debian_warns_of_passwords_and_x11_and_of_nothing_else():
    results = sshd({"passwordauthentication": "yes", "x11forwarding": "yes"})
    assert {target: result.status for target, result in results.items()} == {
        "passwordauthentication": WARN, "x11forwarding": WARN, "": PASS,
    }  # fmt: skip
    assert results[""].reason == "12 other settings looked at are sound."


def test_root_with_a_password_fails_and_says_what_to_set():
    result = sshd({"permitrootlogin": "yes", "passwordauthentication": "yes"})["permitrootlogin"]
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert result.reason == "permitrootlogin is yes: anyone who guesses root's password holds the device."
    assert "PermitRootLogin prohibit-password" in result.remedy


@pytest.mark.parametrize(
    ("keyword", "value", "status"),
    [
        ("permitemptypasswords", "yes", FAIL),
        ("protocol", "2,1", FAIL),
        ("hostbasedauthentication", "yes", FAIL),
        ("ignorerhosts", "no", FAIL),
        ("strictmodes", "no", WARN),
        ("maxauthtries", "50", WARN),
        ("logingracetime", "0", WARN),
        ("ciphers", "aes256-ctr,aes256-cbc,3des-cbc", WARN),
        ("macs", "hmac-md5,hmac-sha2-256", WARN),
        ("kexalgorithms", "diffie-hellman-group1-sha1", WARN),
    ],
)
def test_weak_settings(keyword, value, status):
    result = sshd({keyword: value})[keyword]
    assert result.status is status
    assert value in result.reason


def test_weak_ciphers_are_named_and_those_taken_away_are_not():
    assert (
        "aes256-cbc and 3des-cbc are too weak" in sshd({"ciphers": "aes256-ctr,aes256-cbc,3des-cbc"})["ciphers"].reason
    )
    assert "ciphers" not in sshd({"ciphers": "-aes256-cbc"})


def test_a_setting_that_was_mended_passes_under_its_own_name():
    assert sshd(previous={"x11forwarding": WARN})["x11forwarding"].status is PASS


def test_a_server_that_does_not_run_is_a_low_risk():
    result = sshd({"permitemptypasswords": "yes"}, running=False)["permitemptypasswords"]
    assert (result.status, result.risk) == (WARN, Risk.LOW)


def test_passwords_may_be_meant():
    assert "passwordauthentication" not in sshd({"passwordauthentication": "yes"}, policy={"allow_passwords": True})


def test_accepted_settings_pass():
    result = sshd({"x11forwarding": "yes"}, accepted=frozenset({"sshd_settings:x11forwarding"}))["x11forwarding"]
    assert result.status is PASS


def test_no_ssh_server_nothing_to_judge_unreadable_settings_unknown():
    assert judged("sshd_settings", known_with(Sshd(installed=False))) == {}
    unreadable = Sshd(installed=True, gaps=(Gap(what="settings of sshd", why="needs root"),))
    result = judged("sshd_settings", known_with(unreadable))[""]
    assert result.status is UNKNOWN
    assert "needs root" in result.reason
