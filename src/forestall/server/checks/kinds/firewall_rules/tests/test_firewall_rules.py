"""Firewall rules: too wide, never reached, unused, without a trace. The analysis is compared with single packets."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.checks.kinds.firewall_rules.analysis import (
    STATES,
    analyse,
    common,
    merge,
    shadows,
    takes_everything,
    without,
)
from forestall.server.checks.tests.story import DEBIAN, FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Firewall, FirewallPolicy, FirewallRule, Gap


def rules(*written, chain="inet filter input", **more):
    """``accept tcp 22 from 10.0.0.0/8``, in words that are fields here."""
    return tuple(
        FirewallRule(chain=chain, number=number, direction="in", text=f"rule {number}", **{**more, **fields})
        for number, fields in enumerate(written, 1)
    )


DROP = FirewallPolicy(chain="inet filter input", direction="in", action="drop")
SSH = {"action": "accept", "protocol": "tcp", "ports": "22"}


def judge(*written, policies=(DROP,), gaps=(), up=3, previous=None, **policy):
    wall = Firewall(tool="nftables", active=True, default_inbound="drop", ruleset=rules(*written), policies=policies,
                    gaps=gaps)  # fmt: skip
    system = type(DEBIAN)(**{**{n: getattr(DEBIAN, n) for n in DEBIAN.__struct_fields__}, "booted_at": ago(days=up)})
    return judged("firewall_rules", known_with(wall, system), previous=previous, **policy)


def test_a_sound_set_of_rules_passes():
    found = judge(
        {"action": "accept", "states": ("established", "related")}, {"action": "accept", "interface_in": "lo"}, SSH
    )
    assert {target: one.status for target, one in found.items()} == {"": PASS}
    assert found[""].reason.startswith("3 rules looked at")


def test_a_rule_for_everything_fails_and_one_for_the_loopback_does_not():
    found = judge({"action": "accept", "interface_in": "lo"}, {"action": "accept", "source": "0.0.0.0/0"}, SSH)
    assert found["any_any"].status is FAIL
    assert "inet filter input 2" in found["any_any"].reason
    assert "shadowed" not in found, "rule 3 still decides for IPv6"


def test_a_rule_for_everything_behind_a_condition_is_none():
    listed = (
        *rules({**SSH, "action": "jump trusted"}, {"action": "jump all"}),
        *rules({"action": "accept"}, chain="inet filter trusted"),
    )
    assert analyse(Firewall(ruleset=listed, policies=(DROP,))).any_any == ()
    more = (*listed, *rules({"action": "accept"}, chain="inet filter all"))
    assert [one.chain for one in analyse(Firewall(ruleset=more, policies=(DROP,))).any_any] == ["inet filter all"]


def test_a_rule_that_is_never_reached_and_says_otherwise_is_told_first():
    found = judge({"action": "drop", "source": "192.0.2.0/24"}, {**SSH, "source": "192.0.2.7"})["shadowed"]
    assert found.status is WARN
    assert found.reason == (
        "1 rule never matches, as earlier ones take all of it; 1 of them says otherwise than what decides: "
        "inet filter input 2 (rule 2) behind 1."
    )


def test_several_rules_together_cover_one():
    found, _ = shadows(rules({**SSH, "ports": "1-100"}, {**SSH, "ports": "101-65535"}, {**SSH, "ports": "80-120"}))
    assert [(one.rule.number, [by.number for by in one.by], one.contradicts) for one in found] == [(3, [1, 2], False)]


def test_a_condition_that_no_field_has_never_covers_another_rule():
    assert shadows(rules({"action": "drop", "other": "limit rate over 5/second"}, SSH)) == ([], 0)
    found, _ = shadows(rules({"action": "drop"}, {**SSH, "other": "limit rate 5/second"}))
    assert [one.rule.number for one in found] == [2]


def test_a_set_that_is_only_named_covers_nothing_and_is_never_called_shadowed():
    assert (
        shadows(rules({"action": "drop", "source": "@banned"}, SSH, {"action": "drop"}, {**SSH, "source": "@ok"}))[0]
        == []
    )


def test_patterns_of_interfaces_take_the_names_that_begin_like_them():
    found, _ = shadows(rules({"action": "accept", "interface_in": "eth*"}, {**SSH, "interface_in": "eth7"}))
    assert [one.rule.number for one in found] == [2]
    assert shadows(rules({"action": "accept", "interface_in": "eth0"}, {**SSH, "interface_in": "eth*"}))[0] == []


def test_jumps_decide_nothing_and_goto_does():
    assert shadows(rules({"action": "jump more"}, SSH))[0] == []
    assert [one.rule.number for one in shadows(rules({"action": "goto more"}, SSH))[0]] == [2]


def test_unused_needs_counters_and_time():
    counted = ({**SSH, "packets": 0}, {**SSH, "ports": "443", "packets": 9})
    assert "unused" not in judge(*counted, up=3)
    found = judge(*counted, up=31)["unused"]
    assert (found.status, "inet filter input 1" in found.reason) == (WARN, True)
    assert "unused" not in judge({**SSH, "packets": 0}, up=31), "nothing was counted at all: that says nothing"


def test_drops_without_a_trace_are_told_to_whoever_asks():
    assert "unlogged" not in judge(SSH)
    assert judge(SSH, want_drops_logged=True)["unlogged"].status is WARN
    assert "unlogged" not in judge(SSH, {"action": "log", "logged": True}, want_drops_logged=True)


def test_what_was_wrong_and_is_not_any_more_passes():
    assert judge(SSH, previous={"any_any": FAIL})["any_any"].status is PASS


def test_lines_that_could_not_be_read_leave_the_set_unknown():
    found = judge(SSH, gaps=(Gap(what="firewall rule 'x'", why="not understood"),))
    assert found[""].status is UNKNOWN


def test_no_rules_no_results():
    assert judge() == {}


# --- against single packets -------------------------------------------------------------------------------------

ADDRESSES = ["10.0.0.1", "10.0.0.200", "10.1.0.1", "192.0.2.7", "2001:db8::1", "2001:db8:1::9"]
NETWORKS = ["", "10.0.0.0/24", "10.0.0.0/8", "10.0.0.1", "192.0.2.0/24", "2001:db8::/32", "10.0.0.0-10.0.0.255"]
PORT_SETS = ["", "22", "22,80", "1-1000", "80-65535", "0-65535"]
NUMBERS = [0, 22, 80, 443, 60000]
INTERFACES = ["", "lo", "eth0", "eth*", "eth0,lo"]
PRESENT = ["lo", "eth0", "eth1", "wlan0"]

fields = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["accept", "drop", "jump x", "log", "return"]),
        "protocol": st.sampled_from(["", "tcp", "udp", "tcp,udp", "icmp"]),
        "source": st.sampled_from(NETWORKS),
        "ports": st.sampled_from(PORT_SETS),
        "interface_in": st.sampled_from(INTERFACES),
        "states": st.sampled_from([(), ("new",), ("established", "related"), STATES]),
        "other": st.sampled_from(["", "", "", "limit rate 5/second"]),
    }
)


def within(address, text):
    if not text:
        return True
    first, dash, last = text.partition("-")
    if dash:
        low, high = ip_address(first), ip_address(last)
        return address.version == low.version and low <= address <= high
    return address in ip_network(text)


def matches(rule, packet):
    """The naive model: one packet, one rule, field by field; the further condition always holds."""
    protocol, address, port, interface, state = packet
    ports = [part.partition("-") for part in rule.ports.split(",")] if rule.ports else []
    return (
        (not rule.protocol or protocol in rule.protocol.split(","))
        and within(ip_address(address), rule.source)
        and (not ports or any(int(low) <= port <= int(high or low) for low, _, high in ports))
        and (
            not rule.interface_in
            or any(
                interface.startswith(each[:-1]) if each.endswith("*") else interface == each
                for each in rule.interface_in.split(",")
            )
        )
        and (not rule.states or state in rule.states)
    )


PACKETS = list(product(["tcp", "udp", "icmp", "gre"], ADDRESSES, NUMBERS, PRESENT, STATES))


@settings(max_examples=60, deadline=None)
@given(st.lists(fields, min_size=1, max_size=5))
def test_no_packet_reaches_what_is_called_shadowed(written):
    listed = rules(*written)
    for one in shadows(listed)[0]:
        before = [
            rule for rule in listed[: one.rule.number - 1]
            if rule.action in {"accept", "drop", "return"} and not rule.other
        ]  # fmt: skip
        for packet in PACKETS:
            if matches(one.rule, packet):
                assert any(matches(rule, packet) for rule in before), (one, packet)


@settings(max_examples=60, deadline=None)
@given(st.lists(fields, min_size=2, max_size=4))
def test_a_rule_behind_one_that_takes_as_much_is_found(written):
    listed = rules(*written)
    dead = {one.rule.number for one in shadows(listed)[0]}
    for later in listed:
        for earlier in listed[: later.number - 1]:
            same = all(getattr(earlier, name) in ("", (), getattr(later, name))
                       for name in ("protocol", "source", "ports", "interface_in", "states"))  # fmt: skip
            if same and not earlier.other and earlier.action in {"accept", "drop", "return"}:
                assert later.number in dead


@settings(max_examples=60, deadline=None)
@given(st.lists(fields, min_size=1, max_size=3))
def test_what_takes_everything_takes_each_packet(written):
    for rule in rules(*written):
        if takes_everything(rule):
            assert all(matches(rule, packet) for packet in PACKETS if packet[4] == "new" and not rule.source)


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=5).map(
    lambda pairs: merge((low, low + more) for low, more in pairs)
)


def numbers(found):
    return {number for low, high in found for number in range(low, high + 1)}


@given(spans, spans)
def test_ranges_behave_as_sets(one, other):
    assert numbers(common(one, other)) == numbers(one) & numbers(other)
    assert numbers(without(one, other)) == numbers(one) - numbers(other)


def test_windows_profiles_that_are_off_are_left_out():
    listed = rules({"action": "accept"}, chain="Public in")
    policy = FirewallPolicy(chain="Public", direction="in", action="drop", enabled=False)
    assert analyse(Firewall(ruleset=listed, policies=(policy,))).looked_at == 0
