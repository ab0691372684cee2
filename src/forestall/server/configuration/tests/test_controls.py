"""Each control on facts: pass, fail, unknown and not applicable, and never a pass for what nobody saw."""

from __future__ import annotations

import pytest

from forestall.server.configuration.controls import ROLES, Judged, Outcome, baseline, controls, judge
from forestall.server.configuration.drift import differences, in_words, state_of
from forestall.server.configuration.rules import level_of, overlap, tally
from forestall.server.runbooks.library import read_library
from forestall.wire.facts import (
    Access,
    Account,
    Facts,
    Firewall,
    FirewallPolicy,
    FirewallRule,
    Gap,
    Hardening,
    HardeningSetting,
    Network,
    Service,
    Services,
    Socket,
    Sshd,
    SudoRule,
    Time,
)

PASS, FAIL, UNKNOWN, NA = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE


def setting(area, name, value, **more):
    return HardeningSetting(area=area, name=name, value=value, **more)


def settings(*given, gaps=()):
    return Facts(hardening=Hardening(settings=given, gaps=gaps))


def said(control, facts):
    found = judge(facts, [controls()[control]])[0]
    return found.outcome, found.why


def test_every_runbook_that_a_control_names_is_there():
    known = {runbook.slug for runbook in read_library()}
    assert {one.runbook for one in controls().values() if one.runbook} <= known


def test_the_data_are_in_order():
    known = controls()
    assert len(known) >= 100
    for one in known.values():
        assert one.title[0].isupper() or one.title[0] == "/" or one.title.split()[0].islower()
        assert one.why.endswith(".")
        assert one.remedy.endswith((".", ")"))
    numbered = [one for one in known.values() if one.cis]
    assert len(numbered) >= 80
    for role in ROLES:
        first, second = ({one.id for one in baseline(role, level)} for level in (1, 2))
        assert len(first) >= 40
        assert first < second
    assert baseline("printer", 2) == []
    assert baseline("server", 0) == []


def test_nothing_known_is_unknown_for_every_control():
    assert {one.outcome for one in judge(Facts(), baseline("server", 2))} == {UNKNOWN}


def test_empty_documents_with_gaps_pass_nothing_that_they_could_not_see():
    gap = (
        Gap(
            what="everything: settings, firewall rules, sudo rules, accounts, services, sockets, time", why="needs root"
        ),
    )
    facts = Facts(
        hardening=Hardening(gaps=gap), services=Services(gaps=gap), sshd=Sshd(installed=True, gaps=gap),
        firewall=Firewall(gaps=gap), access=Access(gaps=gap), network=Network(gaps=gap),
        time=Time(gaps=gap, daemon="chronyd"),
    )  # fmt: skip
    passed = [one for one in judge(facts, baseline("server", 2)) if one.outcome is PASS]
    assert passed == []


@pytest.mark.parametrize(
    ("control", "facts", "outcome", "why"),
    [
        ("address-randomised", settings(setting("kernel", "kernel.randomize_va_space", "2")), PASS, "is 2"),
        ("address-randomised", settings(setting("kernel", "kernel.randomize_va_space", "1")), FAIL, "wanted: 2"),
        ("address-randomised", settings(setting("kernel", "kernel.randomize_va_space", "absent")), FAIL, "not exist"),
        ("address-randomised", settings(setting("kernel", "kernel.randomize_va_space", "2", configured="0")), FAIL,
         "2 now, and 0 after the next start"),
        ("address-randomised", settings(gaps=(Gap(what="kernel setting kernel.randomize_va_space", why="needs root"),)),
         UNKNOWN, "needs root"),
        ("ptrace-limited", settings(setting("kernel", "kernel.yama.ptrace_scope", "absent")), NA, "does not exist"),
        ("ptrace-limited", settings(setting("kernel", "kernel.yama.ptrace_scope", "0")), FAIL, "1 or more"),
        ("no-usb-storage", settings(setting("module", "usb-storage", "blocked")), PASS, "blocked"),
        ("no-usb-storage", settings(setting("module", "usb-storage", "available")), FAIL, "can be loaded"),
        ("no-usb-storage", settings(setting("module", "usb-storage", "loaded", configured="blocked")), FAIL,
         "next start"),
        ("no-squashfs", settings(setting("module", "squashfs", "built in")), NA, "part of the kernel"),
        ("tmp-separate", settings(setting("mount", "/tmp", "absent")), FAIL, "no file system of its own"),
        ("tmp-options", settings(setting("mount", "/tmp", "absent")), NA, "no file system"),
        ("tmp-options", settings(setting("mount", "/tmp", "rw,nosuid,nodev")), FAIL, "without noexec"),
        ("shadow-mode", settings(setting("file", "/etc/shadow", "0640 root:shadow")), PASS, "0640"),
        ("shadow-mode", settings(setting("file", "/etc/shadow", "0644 root:shadow")), FAIL, "0644"),
        ("shadow-mode", settings(setting("file", "/etc/shadow", "0640 ada:shadow")), FAIL, "belongs to ada"),
        ("shadow-mode", settings(setting("file", "/etc/shadow", "0640 root:users")), FAIL, "group is users"),
        ("shadow-mode", settings(setting("file", "/etc/shadow", "0000 root:root")), PASS, "0000"),
        ("grub-config-mode", settings(setting("file", "/etc/shadow", "0000 root:root")), NA, "does not exist"),
        ("host-keys-mode", settings(setting("file", "/etc/ssh/ssh_host_rsa_key", "0644 root:root")), FAIL, "rsa"),
        ("shell-timeout", settings(setting("login", "shell timeout", "absent")), FAIL, "not set"),
        ("password-age", settings(setting("login", "PASS_MAX_DAYS", "99999")), FAIL, "365 or less"),
        ("disk-encrypted", settings(setting("encryption", "/", "not a disk")), NA, "not a disk"),
        ("tls-minimum", settings(setting("tls", "openssl MinProtocol", "TLSv1")), FAIL, "TLSv1"),
        ("tls-minimum", settings(setting("tls", "openssl MinProtocol", "absent"),
                                 setting("tls", "openssl CipherString", "DEFAULT@SECLEVEL=0")), FAIL, "SECLEVEL=0"),
        ("tls-minimum", settings(setting("tls", "crypto policy", "LEGACY")), FAIL, "LEGACY"),
        ("ssh-no-root", Facts(sshd=Sshd(installed=False)), NA, "no SSH server"),
        ("ssh-no-root", Facts(sshd=Sshd(installed=True, settings={"permitrootlogin": "yes"})), FAIL, "yes"),
        ("ssh-no-root", Facts(sshd=Sshd(installed=True, settings={"permitrootlogin": "yes",
                                                                  "passwordauthentication": "no"})), PASS, "by key"),
        ("ssh-grace", Facts(sshd=Sshd(installed=True, settings={"logingracetime": "2m"})), FAIL, "60 or less"),
        ("ssh-ciphers", Facts(sshd=Sshd(installed=True, settings={"ciphers": "aes128-ctr,aes128-cbc"})), FAIL, "cbc"),
        ("ssh-ciphers", Facts(sshd=Sshd(installed=True, settings={"ciphers": "-aes128-cbc"})), PASS, ""),
        ("no-rsync-server", Facts(services=Services(services=(Service(name="rsync", state="stopped", enabled=True),))),
         FAIL, "starts with the system"),
        ("no-rsync-server", Facts(services=Services(services=(Service(name="ssh", state="running"),))), PASS,
         "not there"),
        ("firewall-on", Facts(firewall=Firewall(active=False)), FAIL, "Nothing filters"),
        ("firewall-no-any", Facts(firewall=Firewall(active=False)), NA, "no firewall"),
        ("firewall-no-any", Facts(firewall=Firewall(
            active=True, ruleset=(FirewallRule(chain="INPUT", number=1, direction="in", action="accept"),),
            policies=(FirewallPolicy(chain="INPUT", direction="in", action="drop"),))), FAIL, "1 of 1"),
        ("sudo-asks", Facts(access=Access(sudo_rules=("ada ALL=(ALL) NOPASSWD: ALL",))), FAIL, "ada"),
        ("sudo-asks", Facts(access=Access(sudo_rules=("%sudo ALL",), sudo=(SudoRule(who="%sudo"),))), PASS, ""),
        ("sudo-asks", Facts(access=Access(sudo_rules=None, gaps=(Gap(what="sudo rules", why="needs root"),))), UNKNOWN,
         "needs root"),
        ("one-root", Facts(access=Access(accounts=(Account(name="root", uid=0), Account(name="eve", uid=0)))), FAIL,
         "eve"),
        ("no-empty-passwords", Facts(access=Access(accounts=(Account(name="root", uid=0),))), UNKNOWN, ""),
        ("time-synchronised", Facts(time=Time(daemon="chronyd", synchronised=False)), FAIL, "chronyd"),
        ("no-plain-listeners", Facts(network=Network(listening=(
            Socket(protocol="tcp", address="0.0.0.0", port=23, process="telnetd"),))), FAIL, "telnetd on port 23"),  # noqa: S104
    ],
)  # fmt: skip
def test_one_control(control, facts, outcome, why):
    found = said(control, facts)
    assert found[0] is outcome, found
    assert why in found[1]


def test_the_level_of_the_device_before_its_role_before_its_client():
    assigned = [("", "", 2), ("server", "", 1), ("", "web", 0)]
    assert level_of(role="server", device="web", assigned=assigned).level == 0
    assert level_of(role="server", device="db", assigned=assigned).level == 1
    assert level_of(role="endpoint", device="pc", assigned=assigned).level == 2
    assert level_of(role="endpoint", device="pc", assigned=[]).level == 1
    assert level_of(role="printer", device="x", assigned=assigned).level == 0


def test_unknown_counts_against_and_leave_counts_for():
    results = [Judged("a", PASS, ""), Judged("b", FAIL, ""), Judged("c", FAIL, ""), Judged("d", UNKNOWN, ""),
               Judged("e", NA, "")]  # fmt: skip
    found = tally(results, {"c"})
    assert (found.passed, found.failed, found.deviating, found.unknown, found.not_applicable) == (1, 1, 1, 1, 1)
    assert found.percent == 50


def test_how_another_tools_findings_meet_the_controls():
    results = [Judged("no-forwarding", FAIL, ""), Judged("umask", PASS, ""), Judged("shell-timeout", FAIL, ""),
               Judged("password-age", FAIL, "")]  # fmt: skip
    findings = [
        {"id": "KRNL-6000", "result": "suggestion"},
        {"id": "AUTH-9328", "result": "suggestion"},
        {"id": "DEB-0880", "result": "suggestion"},
        {"id": "AUTH-9286", "result": "pass"},
    ]
    met = overlap(tool="lynis", findings=findings, results=results, known=controls())
    assert met.agree == (("no-forwarding", "KRNL-6000"),)
    assert met.only_there == (("umask", "AUTH-9328"),)
    assert met.only_here == ("password-age",)
    assert met.not_known_there == ("shell-timeout",)
    assert met.no_counterpart == ("DEB-0880",)


def test_the_state_holds_what_people_set_up_and_nothing_that_counts():
    rule = FirewallRule(chain="INPUT", number=1, action="accept", text="tcp dport 22 counter packets 7 bytes 9 accept")
    more = FirewallRule(
        chain="INPUT", number=1, action="accept", text="tcp dport 22 counter packets 900 bytes 1 accept"
    )
    before = state_of(Facts(firewall=Firewall(active=True, tool="nftables", ruleset=(rule,))))
    assert differences(before, state_of(Facts(firewall=Firewall(active=True, tool="nftables", ruleset=(more,))))) == []
    sockets = Network(
        listening=(Socket(protocol="tcp", address="::", port=40001), Socket(protocol="tcp", address="::", port=22))
    )
    assert state_of(Facts(network=sockets)) == {"listening": {"tcp/22": "a program"}}
    mount = state_of(settings(setting("mount", "/dev/shm", "rw,size=24684092k,nosuid")))
    assert mount["mount"]["/dev/shm"] == "rw,nosuid"


def test_an_area_that_cannot_be_seen_now_has_not_drifted():
    before = {"sshd": {"port": "22"}, "sudo": {"ada ALL": "granted"}}
    (one,) = differences(before, {"sshd": {"port": "2222"}})
    assert in_words(one) == "SSH server: port 22 → 2222"
    assert in_words(differences(before, {"sudo": {}})[0]) == "sudo: ada ALL granted → not there"
