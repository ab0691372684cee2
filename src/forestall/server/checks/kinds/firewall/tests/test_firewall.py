"""Firewall: does anything filter what comes in?"""

from forestall.server.checks.tests.story import PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Firewall, Gap


def firewall(accepted=frozenset(), required=True, **fields):
    return judged("firewall", known_with(Firewall(**fields), accepted=accepted), required=required)[""]


def test_rules_that_filter_pass_with_what_happens_to_the_rest():
    result = firewall(tool="nftables", active=True, default_inbound="drop", rules=12)
    assert result.status is PASS
    assert result.reason == "nftables filters inbound traffic with 12 rules; the rest is dropped."


def test_nothing_that_filters_warns():
    assert firewall(active=False).status is WARN
    assert "ufw is there, with 0 rules" in firewall(tool="ufw", active=False).reason


def test_not_to_be_seen_is_unknown_with_why():
    result = firewall(active=None, gaps=(Gap(what="nftables rules", why="needs root"),))
    assert result.status is UNKNOWN
    assert "nftables rules: needs root" in result.reason


def test_another_device_may_filter():
    assert firewall(active=False, required=False).status is PASS
    assert firewall(active=False, accepted=frozenset({"firewall:"})).status is PASS
