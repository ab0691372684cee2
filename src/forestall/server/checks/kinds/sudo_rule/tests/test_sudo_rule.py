"""Sudo's permissions: what they amount to."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Access, Account, Gap, SudoRule


def rules(*found, known=(), gaps=(), **policy):
    ada = Account(name="ada", uid=1000)
    document = Access(accounts=(ada,), sudo=found, sudo_rules=known, gaps=gaps)
    return judged("sudo_rule", known_with(document), **policy)


def rule(who, *commands, **more):
    return SudoRule(who=who, commands=commands, **more)


def test_everything_with_a_password_is_what_it_seems():
    (result,) = rules(rule("root", "ALL", run_as="ALL"), rule("%sudo", "ALL", run_as="ALL")).values()
    assert (result.status, result.reason) == (PASS, "2 permissions of sudo give what they seem to.")


def test_everything_without_a_password_warns_unless_it_is_meant():
    free = rule("ubuntu", "ALL", run_as="ALL", no_password=True, source="/etc/sudoers.d/90-cloud:1", line="x")
    result = rules(free)["ubuntu: ALL"]
    assert (result.status, result.evidence[0]) == (WARN, "/etc/sudoers.d/90-cloud:1")
    assert rules(free, allow_no_password=True)[""].status is PASS


def test_everybody_may_do_everything_fails():
    assert rules(rule("ALL", "ALL"))["ALL: ALL"].status is FAIL


def test_an_editor_an_interpreter_and_a_wildcard_lead_to_a_shell():
    for command in ("/usr/bin/vim /etc/hosts", "/usr/bin/python3.11 /srv/x.py", "/opt/tools/*", "/usr/bin/systemctl *"):
        (result,) = rules(rule("bob", command)).values()
        assert result.status is WARN, command
    for command in ("/usr/bin/systemctl restart shop", "/usr/sbin/nginx -t", "/usr/bin/apt-get update"):
        (result,) = rules(rule("bob", command)).values()
        assert result.status is PASS, command
    (result,) = rules(rule("bob", "/usr/bin/vim", run_as="www-data")).values()
    assert result.status is PASS


def test_what_is_taken_away_is_got_round():
    (result,) = rules(rule("bob", "/usr/sbin/visudo", "!/usr/bin/su")).values()
    assert (result.status, "copy" in result.reason) == (WARN, True)


def test_rules_that_could_not_be_read_are_unknown():
    gap = Gap(what="sudo rules", why="needs root")
    assert rules(known=None, gaps=(gap,))[""].status is UNKNOWN


def test_no_sudo_no_results():
    assert rules() == {}
