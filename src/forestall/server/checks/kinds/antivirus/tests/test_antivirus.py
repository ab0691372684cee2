"""Antivirus: there, running, current."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Antivirus, AntivirusProduct


def antivirus(*products, role="server", accepted=frozenset(), previous=None, **policy):
    known = known_with(Antivirus(products=products), role=role, accepted=accepted)
    return judged("antivirus", known, previous=previous, **policy)


def clam(**fields) -> AntivirusProduct:
    return AntivirusProduct(
        **{"name": "ClamAV", "version": "1.4.3", "running": True, "definitions_at": ago(days=1), **fields}
    )


def test_an_endpoint_without_fails_a_server_warns():
    assert antivirus(role="endpoint")[""].status is FAIL
    assert antivirus(role="server")[""].status is WARN
    assert antivirus(role="server", absent_on_server="fail")[""].status is FAIL


def test_running_with_current_definitions_passes():
    result = antivirus(clam())["ClamAV"]
    assert (result.status, result.value) == (PASS, 1)
    assert "1 days old" in result.reason


def test_definitions_older_than_five_days_fail():
    assert antivirus(clam(definitions_at=ago(days=5.5)))["ClamAV"].status is FAIL
    assert antivirus(clam(definitions_at=ago(days=4.9)))["ClamAV"].status is PASS


def test_installed_but_not_running_fails():
    assert antivirus(clam(running=False))["ClamAV"].status is FAIL


def test_what_could_not_be_read_is_unknown():
    assert antivirus(clam(definitions_at=None))["ClamAV"].status is UNKNOWN
    assert antivirus(clam(running=None))["ClamAV"].status is UNKNOWN


def test_none_can_be_accepted_for_a_device():
    result = antivirus(accepted=frozenset({"antivirus:"}))[""]
    assert result.status is PASS
    assert result.reason.startswith("Accepted as it is: No antivirus was found")


def test_installing_it_ends_the_complaint():
    assert antivirus(clam(), previous={"": WARN})[""].status is PASS
