"""Firewall rules as each tool tells them: real ones in a network namespace, the others from recorded outputs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from forestall.agent.collect import firewall
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.firewall import firewalld, iptables, macos, nft, ufw, windows
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.tests.recorded_host import RecordedHost

COMMANDS = Path(__file__).parent / "fixtures/commands"
RECORDED = Path(__file__).parents[6] / "shared/data/command-outputs"
needs_root = pytest.mark.root


def fields(rule):
    """What a rule says beyond its place, without what it does not say."""
    skipped = {"chain", "number", "text", "direction", "packets"}
    return {
        name: getattr(rule, name) for name in rule.__struct_fields__
        if name not in skipped and getattr(rule, name) not in ("", (), False, True)
    }  # fmt: skip


def isolated(script):
    """Run lines in a network namespace of their own; what they print."""
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        pytest.skip("nft or unshare is not installed")
    done = subprocess.run(["unshare", "--net", "sh", "-ec", script], capture_output=True, text=True, check=False)
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


WRITTEN = """
table inet f {
  set ok { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.1.1-192.168.1.9 } }
  set banned { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iif lo accept
    iifname "eth*" udp sport 67 udp dport 68 counter accept
    ip saddr @ok tcp dport { 22, 80-90 } log prefix "in: " counter accept comment "the office"
    ip saddr @banned drop
    ip6 saddr fe80::/10 meta l4proto ipv6-icmp accept
    ip daddr != 192.0.2.1 udp dport 53 limit rate 5/second accept
    icmp type echo-request accept
    tcp flags syn / fin,syn,rst,ack ct count over 5 drop
    jump more
    counter drop
  }
  chain more { tcp dport 443 accept; }
  chain output { type filter hook output priority 0; policy accept; }
}
"""
EXPECTED = [
    {"action": "accept", "states": ("established",)},
    {"action": "accept", "states": ("related",)},
    {"action": "drop", "states": ("invalid",)},
    {"action": "accept", "interface_in": "lo"},
    {"action": "accept", "protocol": "udp", "source_ports": "67", "ports": "68", "interface_in": "eth*"},
    {"action": "accept", "protocol": "tcp", "source": "10.0.0.0/8,192.168.1.1-192.168.1.9", "ports": "22,80-90"},
    {"action": "drop", "source": "@banned"},
    {"action": "accept", "protocol": "ipv6-icmp", "source": "fe80::/10"},
    {"action": "accept", "protocol": "udp", "ports": "53", "other": True},
    {"action": "accept", "protocol": "icmp", "other": True},
    {"action": "drop", "protocol": "tcp", "other": True},
    {"action": "jump more"},
    {"action": "drop"},
]


def nft_expected(read):
    inbound = [rule for rule in read.rules if rule.chain == "inet f input"]
    seen = [{**fields(rule), **({"other": True} if rule.other else {})} for rule in inbound]
    # The verdicts of a map come in the kernel's order: they exclude one another.
    assert sorted(map(repr, seen[:3])) == sorted(map(repr, EXPECTED[:3]))
    assert seen[3:] == EXPECTED[3:]
    assert [rule.number for rule in inbound] == [1, 1, 1, *range(2, 12)]
    assert {rule.direction for rule in read.rules} == {"in"}, "a chain has the direction of what jumps to it"
    assert [(one.chain, one.direction, one.action) for one in read.policies] == [
        ("inet f input", "in", "drop"),
        ("inet f output", "out", "accept"),
    ]
    assert [rule.packets for rule in inbound if rule.packets is not None] == [0, 0, 0]
    assert [rule.number for rule in inbound if rule.logged] == [4]


@needs_root
def test_nftables_for_real_as_json_and_as_text(tmp_path):
    (tmp_path / "rules").write_text(WRITTEN)
    told = isolated(f"nft -f {tmp_path}/rules; nft -j list ruleset; echo; echo ---; nft list ruleset").split("---\n")
    nft_expected(nft.parse_json(told[0]))
    nft_expected(nft.parse_text(told[1]))
    assert nft.parse_text(told[1]).odd == ()
    document = firewall.collect(RecordedHost(outputs={"nft list ruleset": told[1], "nft -j list": told[0]}))
    assert (document.tool, document.active, document.default_inbound) == ("nftables", True, "drop")
    assert len(document.ruleset) == len(EXPECTED) + 1
    assert "nft -j list ruleset" in document.sources


@needs_root
def test_iptables_for_real():
    if shutil.which("iptables-save") is None:
        pytest.skip("iptables is not installed")
    told = isolated("""
        iptables -P INPUT DROP
        iptables -A INPUT -i lo -j ACCEPT
        iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -N ssh; iptables -A INPUT -p tcp -m multiport --dports 22,2222 -j ssh
        iptables -A ssh ! -s 192.0.2.0/24 -j REJECT
        iptables -A ssh -s 192.0.2.7 -m comment --comment "Ada's desk" -j ACCEPT
        iptables -A INPUT -m limit --limit 5/min -j LOG --log-prefix "in: "
        iptables-save -c
    """)
    read = iptables.parse_save(told)
    assert [fields(rule) for rule in read.rules if rule.chain == "INPUT"] == [
        {"action": "accept", "interface_in": "lo"},
        {"action": "accept", "states": ("related", "established")},
        {"action": "jump ssh", "protocol": "tcp", "ports": "22,2222"},
        {"action": "log", "other": "--limit 5/min"},
    ]
    assert [fields(rule) for rule in read.rules if rule.chain == "ssh"] == [
        {"action": "reject", "other": "! -s 192.0.2.0/24"},
        {"action": "accept", "source": "192.0.2.7"},
    ]
    assert {rule.direction for rule in read.rules} == {"in"}
    assert all(rule.packets == 0 for rule in read.rules)
    assert (read.policies[0].chain, read.policies[0].action, read.odd) == ("INPUT", "drop", ())
    assert firewall.document_of("iptables", read).default_inbound == "drop"


@needs_root
def test_this_machines_own_firewall_can_be_asked():
    document = firewall.collect(LocalHost())
    assert document.active is not None


def test_ufw_row_by_row():
    read = ufw.parse((COMMANDS / "ufw.out").read_text())
    told = [(rule.direction, fields(rule)) for rule in read.rules]
    assert read.odd == ()
    assert told[0] == ("in", {"action": "accept", "protocol": "tcp", "source": "0.0.0.0/0", "ports": "22"})
    assert told[3] == (
        "out",
        {"action": "drop", "protocol": "udp", "source": "192.168.0.7", "source_ports": "8080-8081", "ports": "443"},
    )  # fmt: skip
    assert told[9][1] == {"action": "accept", "source": "0.0.0.0/0", "other": "application Apache Full"}
    assert told[12][1] == {
        "action": "accept", "protocol": "tcp,udp", "source": "127.0.0.1", "source_ports": "8000",
        "destination": "10.10.10.10", "ports": "8080", "interface_in": "enp34s0",
    }  # fmt: skip
    assert [(one.direction, one.action) for one in read.policies] == [
        ("in", "drop"),
        ("out", "accept"),
        ("forward", "drop"),
    ]
    assert read.rules[2].logged, "ufw writes down what it refuses"


ZONES = """\
drop
  target: DROP
  interfaces:
  services:

public (active)
  target: default
  icmp-block-inversion: no
  interfaces: eth0
  sources:
  services: dns ssh weird
  ports: 8080/tcp
  protocols:
  forward: yes
  masquerade: no
  forward-ports:
  source-ports:
  icmp-blocks:
  rich rules:
\trule family="ipv4" source address="192.0.2.0/24" service name="https" log prefix="x" accept
\trule family="ipv4" source address="198.51.100.0/24" drop
"""


def test_firewalld_zones_that_are_in_use():
    read = firewalld.parse(ZONES)
    assert read.odd == ()
    assert [(one.chain, one.action) for one in read.policies] == [("public", "reject")]
    assert [(rule.action, rule.protocol, rule.ports, rule.source, rule.other) for rule in read.rules] == [
        ("drop", "", "", "198.51.100.0/24", ""),
        ("accept", "tcp", "443", "192.0.2.0/24", ""),
        ("accept", "tcp", "53", "", ""),
        ("accept", "udp", "53", "", ""),
        ("accept", "tcp", "22", "", ""),
        ("accept", "", "", "", "service weird"),
        ("accept", "tcp", "8080", "", ""),
    ]
    assert {rule.interface_in for rule in read.rules} == {"eth0"}


PROFILES = """\

Domain Profile Settings:
----------------------------------------------------------------------
State                                 ON
Firewall Policy                       BlockInbound,AllowOutbound
LocalFirewallRules                    N/A (GPO-store only)

Public Profile Settings:
----------------------------------------------------------------------
State                                 OFF
Firewall Policy                       BlockInbound,AllowOutbound
Ok.
"""
RULES = """\

Rule Name:                            Remote Desktop - User Mode (TCP-In)
----------------------------------------------------------------------
Enabled:                              Yes
Direction:                            In
Profiles:                             Domain,Public
Grouping:                             Remote Desktop
LocalIP:                              Any
RemoteIP:                             192.0.2.0/24,198.51.100.7/32
Protocol:                             TCP
LocalPort:                            3389
RemotePort:                           Any
Edge traversal:                       No
Action:                               Allow

Rule Name:                            Everything
----------------------------------------------------------------------
Enabled:                              Yes
Direction:                            In
Profiles:                             Domain
LocalIP:                              Any
RemoteIP:                             Any
Protocol:                             Any
Action:                               Block
Ok.
"""


def test_windows_by_netsh_blocks_before_it_allows():
    answers = {"netsh advfirewall show": PROFILES, "netsh advfirewall firewall": RULES}
    document = firewall.collect(RecordedHost(outputs=answers))
    assert (document.tool, document.active, document.default_inbound) == ("windows", True, "drop")
    assert [(one.chain, one.enabled) for one in document.policies if one.direction == "in"] == [
        ("Domain", True),
        ("Public", False),
    ]
    told = [(rule.chain, rule.number, rule.action, rule.ports, rule.source) for rule in document.ruleset]
    assert told == [
        ("Domain in", 1, "drop", "", ""),
        ("Domain in", 2, "accept", "3389", "192.0.2.0/24,198.51.100.7"),
        ("Public in", 1, "accept", "3389", "192.0.2.0/24,198.51.100.7"),
    ]


def test_windows_by_powershell_is_the_same():
    rules = json.dumps(
        [
            {"DisplayName": "RDP", "Enabled": 1, "Direction": 1, "Action": 2, "Profile": 5, "Protocol": "TCP",
             "LocalPort": "3389", "RemoteAddress": ["192.0.2.0/24"]},
            {"Name": "Domain", "Enabled": True, "DefaultInboundAction": 4, "DefaultOutboundAction": 2},
            {"what": "else"},
        ]
    )  # fmt: skip
    read = windows.parse_powershell(rules)
    assert [(rule.chain, rule.action, rule.ports) for rule in read.rules] == [
        ("Domain in", "accept", "3389"),
        ("Public in", "accept", "3389"),
    ]
    assert (read.policies[0].action, len(read.odd)) == ("drop", 1)


def test_macos_by_application_and_by_packet():
    said = (
        "Firewall is enabled. (State = 1)\nFirewall has block all state set to disabled.\n"
        "Total number of apps = 2\n1 : /Applications/Skype.app\n             (Allow incoming connections)\n"
        "2 : /usr/bin/python3\n             (Block incoming connections)\n"
    )
    read = macos.parse_application(said)
    assert [(rule.action, rule.other) for rule in read.rules] == [
        ("accept", "program /Applications/Skype.app"),
        ("drop", "program /usr/bin/python3"),
    ]
    assert (firewall.document_of("macos", read).active, read.odd) == (True, ())
    packet = macos.parse_pf(
        "block drop in all\n"
        "pass in quick on en0 inet proto tcp from 192.0.2.0/24 to any port = 22 flags S/SA keep state\n"
        "pass in on en0 proto udp from any to any port = 5353\n"
    )
    assert [(rule.action, rule.ports, rule.source, rule.interface_in) for rule in packet.rules] == [
        ("accept", "22", "192.0.2.0/24", "en0"),
        ("accept", "5353", "", "en0"),
        ("drop", "", "", ""),
    ], "quick ones first, then the last that matches decides"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize("name", [
    "ubuntu-18.04/iptables-filter-nv", "ubuntu-18.04/iptables-filter", "centos-7.7/iptables-filter",
    "centos-7.7/iptables-filter-line-numbers", "centos-7.7/iptables-nat", "centos-7.7/iptables-mangle",
])  # fmt: skip
def test_lists_of_iptables_hold_the_rules_that_another_tool_saw(name):
    expected = json.loads((RECORDED / f"jc/{name}.json").read_text())
    read = iptables.parse_list((RECORDED / f"jc/{name}.out").read_text())
    assert read.odd == ()
    assert len(read.rules) == sum(len(chain["rules"]) for chain in expected)
    for chain in expected:
        seen = [rule for rule in read.rules if rule.chain == chain["chain"]]
        for rule, other in zip(seen, chain["rules"], strict=True):
            target = (other.get("target") or "").lower()
            assert rule.action.removeprefix("jump ").lower() == (target or "continue")
            assert (rule.protocol or "all") == other["prot"]
            assert rule.packets == other.get("pkts")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the shared recordings are not here")
def test_profiles_in_a_registry_that_are_off():
    folder = RECORDED / "glpi-agent/win32/registry"
    files = [CapturedFile(path.name, path.read_bytes()) for path in sorted(folder.glob("7_firewall-*Profile.reg"))]
    parsed = captures()["windows-firewall"].parse(files)
    assert parsed.document is not None
    assert {one.chain: one.enabled for one in parsed.document.policies if one.direction == "in"} == {
        "Domain": False, "Private": False, "Public": False,
    }  # fmt: skip


def test_what_is_no_firewall_is_refused_in_a_sentence():
    for kind in ("nftables", "iptables", "ufw", "firewalld", "windows-firewall", "macos-firewall"):
        parsed = captures()[kind].parse([CapturedFile("x.txt", b"Dear Ada,\nhow are you?\n")])
        assert parsed.document is None
        assert parsed.unread
