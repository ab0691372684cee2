"""Open sockets: what needs no exposure."""

import pytest

from forestall.server.checks.kinds.open_socket.ports import EXPECTED, RISKY
from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Firewall, Gap, Network, Socket


def socket(port, *, address="::", protocol="tcp", process="") -> Socket:
    return Socket(protocol=protocol, address=address, port=port, process=process)


def sockets(*listening, firewall=None, accepted=frozenset(), gaps=(), **policy):
    documents = [Network(listening=listening, gaps=gaps)] + ([firewall] if firewall else [])
    return judged("open_socket", known_with(*documents, accepted=accepted), **policy)


def test_a_database_open_to_all_fails_and_says_why():
    result = sockets(socket(5432, process="postgres"), socket(5432, address="*", process="postgres"))["tcp/5432"]
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert result.reason == (
        "PostgreSQL (postgres) listens on tcp/5432 of every interface (::, *): databases answer their "
        "applications, not the world; stolen data and ransom notes begin here."
    )


def test_the_same_database_on_the_loopback_is_nothing():
    assert sockets(socket(5432, address="127.0.0.1"))[""].status is PASS


def test_ssh_and_the_web_are_expected():
    assert {result.status for result in sockets(socket(22), socket(80), socket(443)).values()} == {PASS}


def test_telnet_redis_and_docker_are_critical():
    results = sockets(socket(23), socket(6379), socket(2375))
    assert {result.risk for result in results.values()} == {Risk.CRITICAL}
    assert {result.status for result in results.values()} == {FAIL}


def test_an_unknown_service_warns_low():
    result = sockets(socket(7777, process="thing"))["tcp/7777"]
    assert (result.status, result.risk) == (WARN, Risk.LOW)
    assert "thing listens on tcp/7777" in result.reason


def test_return_addresses_of_clients_are_no_services():
    assert list(sockets(socket(45123, protocol="udp"))) == [""]


def test_a_firewall_that_drops_may_shield():
    wall = Firewall(tool="nftables", active=True, default_inbound="drop", rules=5)
    result = sockets(socket(6379), firewall=wall)["tcp/6379"]
    assert (result.status, result.risk) == (WARN, Risk.MEDIUM)
    assert "may shield it" in result.reason


def test_accepted_by_a_person_or_expected_by_policy_passes():
    assert sockets(socket(5432), accepted=frozenset({"open_socket:tcp/5432"}))["tcp/5432"].status is PASS
    assert sockets(socket(5432), expected=["tcp/5432"])["tcp/5432"].status is PASS


def test_sockets_that_could_not_be_seen_are_unknown():
    gap = Gap(what="listening sockets", why="/proc/net/tcp does not exist")
    assert sockets(gaps=(gap,))[""].status is UNKNOWN


@pytest.mark.parametrize(("protocol", "port"), sorted(RISKY))
def test_no_port_is_both_risky_and_expected(protocol, port):
    assert (protocol, port) not in EXPECTED
    known = RISKY[protocol, port]
    result = sockets(socket(port, protocol=protocol))[f"{protocol}/{port}"]
    assert result.status.is_problem
    assert known.service in result.reason
