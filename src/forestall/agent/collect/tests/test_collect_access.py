"""Accounts, sudo, sshd, firewall: who may do what here."""

# ruff: noqa: E501, E101 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect import access, firewall, sshd
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.tests.recorded_host import RecordedHost, process

COMMANDS = Path(__file__).parent / "fixtures/commands"
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bob:x:1001:1001:Bob:/home/bob:/usr/bin/zsh
charlie:x:1002:1002:Charlie:/home/charlie:
dora:x:1003:1003::/home/dora:/bin/bash
toor:x:0:0::/root:/bin/sh
open::1004:1004::/home/open:/bin/bash
"""
GROUP = "root:x:0:\nsudo:x:27:alice\nalice:x:1000:\nstaff:x:50:dora,bob\ndocker:x:998:bob\n"
SHADOW = "root:*:1:0:99999:7:::\nalice:$y$j9T$abc:1::::::\nbob:!$6$x:1::::::\ncharlie::1::::::\ndora:!:1::::::\ntoor:*:1::::::\n"
SUDOERS = """\
Defaults env_reset  # keep it clean
# a comment
User_Alias OPS = dora, \\
    %wheel
root ALL=(ALL:ALL) ALL
%sudo   ALL=(ALL:ALL) ALL
OPS ALL=(root) NOPASSWD: ALL
bob ALL=(root) /usr/bin/systemctl restart shop
@includedir /etc/sudoers.d
"""


def home(**more):
    files = {
        "/etc/passwd": PASSWD,
        "/etc/group": GROUP,
        "/etc/shadow": SHADOW,
        "/etc/sudoers": SUDOERS,
        "/etc/sudoers.d/90-charlie": "charlie ALL = NOPASSWD: ALL\n",
        "/etc/sudoers.d/README": "# nothing\n",
        "/etc/sudoers.d/old.dpkg-dist": "bob ALL=(ALL) ALL\n",
        "/home/alice/.ssh/authorized_keys": '# laptop\nssh-ed25519 AAAA alice\n\nfrom="192.0.2.1" ssh-rsa BBBB old\n',
        **more.pop("files", {}),
    }
    return RecordedHost(files=files, **more)


def test_administrators_are_told_with_the_reason():
    accounts = {each.name: each for each in access.collect(home()).accounts}
    assert {name: each.administrator_because for name, each in accounts.items() if each.administrator} == {
        "root": ("uid 0", "sudoers: ALL"),
        "toor": ("uid 0",),
        "alice": ("group sudo",),
        "charlie": ("sudoers: ALL",),
        "dora": ("sudoers: ALL",),
    }
    assert accounts["bob"].groups == ("docker", "staff")
    assert [name for name, each in accounts.items() if not each.login] == ["daemon", "sync"]


def test_passwords_are_told_as_states():
    states = {each.name: each.password for each in access.collect(home()).accounts}
    assert states["alice"] == "set"
    assert states["bob"] == states["dora"] == states["root"] == states["daemon"] == "locked"
    assert states["charlie"] == states["open"] == "empty"


def test_sudo_rules_are_the_lines_with_effect():
    assert access.collect(home()).sudo_rules == (
        "Defaults env_reset",
        "User_Alias OPS = dora, %wheel",
        "root ALL=(ALL:ALL) ALL",
        "%sudo ALL=(ALL:ALL) ALL",
        "OPS ALL=(root) NOPASSWD: ALL",
        "bob ALL=(root) /usr/bin/systemctl restart shop",
        "charlie ALL = NOPASSWD: ALL",
    )


def test_keys_are_counted():
    keys = {each.name: each.ssh_keys for each in access.collect(home()).accounts}
    assert (keys["alice"], keys["bob"]) == (2, 0)


def test_without_root_the_document_says_what_it_could_not_see():
    document = access.collect(home(denied=["/etc/shadow", "/etc/sudoers", "/home/alice/.ssh"], is_root=False))
    assert {(gap.what, gap.why) for gap in document.gaps} == {
        ("state of passwords", "needs root"),
        ("sudo rules", "needs root"),
        ("authorized keys of alice", "needs root"),
        ("last logins", "this system keeps neither /var/log/lastlog nor /var/log/wtmp"),
        ("password policy", "this system keeps neither /etc/login.defs nor files in /etc/pam.d"),
        ("world-writable and setuid paths", "find is not installed"),
    }
    accounts = {each.name: each for each in document.accounts}
    assert document.sudo_rules is None
    assert (accounts["alice"].password, accounts["alice"].ssh_keys) == ("unknown", None)
    assert accounts["alice"].administrator_because == ("group sudo",)


def test_where_sudo_is_not_installed_there_are_no_rules_and_no_gap():
    host = home()
    del host.files["/etc/sudoers"]
    document = access.collect(host)
    assert document.sudo_rules == ()
    assert not [gap for gap in document.gaps if "sudo" in gap.what]


def login(name, at, kind=7):
    record = bytearray(384)
    record[0:2] = kind.to_bytes(2, "little")
    record[44 : 44 + len(name)] = name.encode()
    record[340:344] = int(at.timestamp()).to_bytes(4, "little")
    return bytes(record)


def test_last_logins_come_from_wtmp_and_lastlog():
    noon, evening = datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2026, 11, 21, 20, tzinfo=UTC)
    lastlog = bytearray(292 * 1002)
    lastlog[292 * 1001 : 292 * 1001 + 4] = int(noon.timestamp()).to_bytes(4, "little")
    wtmp = login("alice", noon) + login("alice", evening) + login("bob", evening, kind=8)
    host = home(files={"/var/log/wtmp": wtmp, "/var/log/lastlog": bytes(lastlog)})
    logins = {each.name: each.last_login for each in access.collect(host).accounts}
    assert (logins["alice"], logins["bob"], logins["charlie"]) == (evening, noon, None)


@given(st.text(alphabet="abALL=(),:%# \\\n\t!", max_size=120))
def test_no_sudoers_text_breaks_the_parser(text):
    rules = tuple(access.parse_sudoers(text))
    assert all(rule == " ".join(rule.split()) and rule for rule in rules)
    list(access.granted_all(rules))


# --- sshd ---------------------------------------------------------------------------------------------------


def test_the_servers_own_word_is_effective():
    host = RecordedHost(
        outputs={"sshd -T": (COMMANDS / "sshd-T.out").read_text()},
        files=process(7, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"),
    )
    document = sshd.collect(host)
    assert (document.installed, document.running, document.effective) == (True, True, True)
    assert document.settings["acceptenv"] == "LANG, LC_*, test1 test2"
    assert document.settings["maxauthtries"].isdigit()


def test_root_login_by_key_has_one_word():
    assert sshd.parse_sshd_t("permitrootlogin without-password\n")["permitrootlogin"] == "prohibit-password"


CONFIG = """\
Include /etc/ssh/sshd_config.d/*.conf
#PermitRootLogin no
PasswordAuthentication yes
Port 22
Port 2222
ChallengeResponseAuthentication=no
Match User backup
    PasswordAuthentication no
    PermitRootLogin yes
"""


def test_without_root_the_files_tell_and_the_first_value_wins():
    host = RecordedHost(
        files={
            "/etc/ssh/sshd_config": CONFIG,
            "/etc/ssh/sshd_config.d/10-site.conf": "PasswordAuthentication no\nX11Forwarding yes\n",
        },
        programs=["sshd"],
        is_root=False,
    )
    document = sshd.collect(host)
    assert document.effective is False
    wanted = {
        "passwordauthentication": "no",
        "permitrootlogin": "prohibit-password",
        "port": "22, 2222",
        "x11forwarding": "yes",
        "kbdinteractiveauthentication": "no",
        "maxauthtries": "6",
    }
    assert {name: document.settings[name] for name in wanted} == wanted
    assert {gap.what for gap in document.gaps} == {"effective settings", "settings for some connections"}


def test_a_server_that_cannot_print_its_settings_is_read_from_files_with_its_words():
    answer = CommandResult("", "Missing privilege separation directory: /run/sshd\n", 255)
    host = RecordedHost(files={"/etc/ssh/sshd_config": "PermitRootLogin yes\n"}, outputs={"sshd -T": answer})
    document = sshd.collect(host)
    assert document.settings["permitrootlogin"] == "yes"
    assert [gap.why for gap in document.gaps] == ["sshd -T: Missing privilege separation directory: /run/sshd"]


def test_no_server_is_no_gap():
    document = sshd.collect(RecordedHost())
    assert (document.installed, document.settings, document.gaps) == (False, {}, ())


# --- firewall -----------------------------------------------------------------------------------------------

NFT_DROP = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		tcp dport 22 accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"""
NFT_OPEN = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"""
IPTABLES = """\
# Generated by iptables-save v1.8.9
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j DNAT
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd
-A f2b-sshd -s 192.0.2.66/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
"""


def told(**more):
    document = firewall.collect(RecordedHost(**more))
    return document.tool, document.active, document.default_inbound, document.rules


def test_ufw_is_understood():
    assert told(outputs={"ufw status": (COMMANDS / "ufw.out").read_text()}) == ("ufw", True, "drop", 15)
    assert told(outputs={"ufw status": (COMMANDS / "ufw-inactive.out").read_text()}) == ("ufw", False, "accept", 0)


def test_nftables_is_understood():
    assert told(outputs={"nft list": NFT_DROP}) == ("nftables", True, "drop", 3)
    assert told(outputs={"nft list": NFT_OPEN}) == ("nftables", False, "accept", 0)
    assert told(outputs={"nft list": ""}) == ("nftables", False, "accept", 0)
    last = NFT_OPEN.replace(
        "policy accept;", "policy accept;\n\t\ttcp dport 22 accept\n\t\tcounter packets 3 bytes 120 drop"
    )
    assert told(outputs={"nft list": last}) == ("nftables", True, "drop", 2)


def test_nftables_rules_elsewhere_do_not_count_as_inbound_and_sets_are_no_rules():
    rules = """\
table ip filter { # handle 1
	set banned {
		type ipv4_addr
		elements = { 192.0.2.66,
			     192.0.2.67 }
	}
	chain f2b {
		ip saddr @banned drop
		return
	}
	chain other {
		accept
	}
	chain INPUT {
		type filter hook input priority filter; policy accept;
		tcp dport 22 jump f2b
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 drop
	}
}
"""
    assert told(outputs={"nft list": rules}) == ("nftables", True, "accept", 5)
    assert told(outputs={"nft list": rules.replace("jump f2b", "jump other")}) == ("nftables", False, "accept", 5)


def test_iptables_is_understood():
    assert told(outputs={"iptables-save": IPTABLES}) == ("iptables", True, "accept", 3)
    assert told(outputs={"iptables-save": IPTABLES.replace(":INPUT ACCEPT", ":INPUT DROP")}) == (
        "iptables",
        True,
        "drop",
        3,
    )
    bare = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    assert told(outputs={"iptables-save": bare}) == ("iptables", False, "accept", 0)


def test_firewalld_is_understood():
    zone = "public (active)\n  target: default\n  services: dhcpv6-client ssh\n  ports: 8080/tcp\n  rich rules: \n"
    assert told(outputs={"firewall-cmd --state": "running\n", "firewall-cmd --list-all": zone}) == (
        "firewalld",
        True,
        "drop",
        3,
    )


def test_an_idle_tool_gives_way_to_the_one_that_filters():
    inactive = (COMMANDS / "ufw-inactive.out").read_text()
    assert told(outputs={"ufw status": inactive, "nft list": NFT_DROP})[0] == "nftables"


def test_no_tool_means_no_filter():
    assert told() == ("", False, "accept", 0)


def test_without_root_the_answer_is_open_and_says_so():
    host = RecordedHost(programs=["nft"], is_root=False)
    document = firewall.collect(host)
    assert (document.tool, document.active, document.default_inbound) == ("nftables", None, "unknown")
    assert [(gap.what, gap.why) for gap in document.gaps] == [("firewall rules", "needs root")]


def test_without_root_ufws_own_switch_tells_that_it_is_on():
    host = RecordedHost(programs=["ufw"], files={"/etc/ufw/ufw.conf": "# c\nENABLED=yes\n"}, is_root=False)
    document = firewall.collect(host)
    assert (document.tool, document.active) == ("ufw", True)


def test_a_tool_that_fails_is_a_gap():
    answer = CommandResult("", "Error: Could not process rule: Operation not permitted\n", 1)
    document = firewall.collect(RecordedHost(outputs={"nft list": answer}))
    assert document.active is None
    assert [gap.why for gap in document.gaps] == ["Error: Could not process rule: Operation not permitted"]
