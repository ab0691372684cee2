"""Antivirus: there, running, current."""

# ruff: noqa: E501 - a table of cases keeps its lines

import pytest

from forestall.server.checks.kinds.antivirus.rule import risk_of_exclusion
from forestall.server.checks.result import Risk
from forestall.server.checks.rules import PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Antivirus, AntivirusProduct, Detection


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


def test_one_that_ran_and_stopped_is_told_as_such():
    result = antivirus(clam(running=False), previous={"ClamAV": PASS})["ClamAV"]
    assert (result.status, "ran before and has stopped" in result.reason) == (FAIL, True)
    assert "start-antivirus" in result.remedy
    assert "starts with the system" in antivirus(clam(running=False, enabled=True))["ClamAV"].reason


def test_the_products_own_word_on_its_definitions():
    assert antivirus(clam(definitions_at=None, definitions_current=True))["ClamAV"].status is PASS
    assert antivirus(clam(definitions_current=False))["ClamAV"].status is FAIL
    assert antivirus(clam(engine_at=ago(days=200)))["ClamAV"].status is WARN
    assert antivirus(clam(unknown_why="it does not answer"))["ClamAV"].status is UNKNOWN


def test_products_without_definitions_need_their_link():
    def falcon(**fields):
        return AntivirusProduct(**{"name": "CrowdStrike Falcon", "version": "7.1", "running": True, **fields})

    assert antivirus(falcon(managed=True))["CrowdStrike Falcon"].status is PASS
    assert antivirus(falcon(managed=False))["CrowdStrike Falcon"].status is FAIL
    assert antivirus(falcon(running=None))["CrowdStrike Falcon"].status is UNKNOWN
    assert antivirus(falcon(status="reduced functionality: kernel"))["CrowdStrike Falcon"].status is WARN


def test_not_watching_fails_an_endpoint_warns_a_server_and_can_be_accepted():
    watching = "ClamAV: watching"
    assert antivirus(clam(real_time=False), role="endpoint")[watching].status is FAIL
    assert antivirus(clam(real_time=False))[watching].status is WARN
    assert antivirus(clam(real_time=False))["ClamAV"].status is PASS
    assert antivirus(clam(real_time=True))[watching].status is PASS
    accepted = antivirus(clam(real_time=False), accepted=frozenset({f"antivirus:{watching}"}))[watching]
    assert accepted.status is PASS
    assert watching not in antivirus(clam(real_time=False, running=False))


def test_a_finding_nobody_dealt_with_is_critical():
    eicar = Detection(name="Eicar-Test-Signature", path="/srv/upload/x.com", at=ago(hours=2))
    result = antivirus(clam(detections=(eicar,)))["ClamAV: findings"]
    assert (result.status, result.risk) == (FAIL, Risk.CRITICAL)
    assert "Eicar-Test-Signature in /srv/upload/x.com" in result.reason
    dealt = Detection(name="Eicar-Test-Signature", path="/srv/upload/x.com", handled=True)
    assert antivirus(clam(detections=(dealt,)))["ClamAV: findings"].status is PASS


def test_scans_protection_and_exclusions():
    assert antivirus(clam(last_scan_at=ago(days=31)))["ClamAV: scan"].status is WARN
    assert antivirus(clam(last_scan_at=ago(days=3)))["ClamAV: scan"].status is PASS
    assert antivirus(clam(tamper_protection=False))["ClamAV: protection"].status is WARN
    assert antivirus(clam(exclusions=()))["ClamAV: exclusions"].status is PASS
    result = antivirus(clam(exclusions=("^/proc/", "C:\\Users", "*.exe")))["ClamAV: exclusions"]
    assert (result.status, "C:\\Users (people's files)" in result.reason) == (WARN, True)


@pytest.mark.parametrize(
    ("exclusion", "why"),
    [
        ("C:\\", "a whole disk"), ("/", "a whole disk"), ("*", "a whole disk"), ("D:", "a whole disk"),
        ("/home", "people's files"), ("C:\\Users\\ada", "people's files"), ("^/tmp/", "where malware lands first"),
        ("C:\\Users\\ada\\Downloads", "where malware lands first"), ("C:\\Windows\\Temp\\*", "where malware lands first"),
        ("C:\\Windows", "a folder of programs"), ("/var/www/", "a folder of programs"), (".ps1", "a kind of file that runs"),
        ("process C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe", "a program that runs others"),
        ("^/proc/", ""), ("C:\\Program Files\\Microsoft SQL Server\\MSSQL15\\DATA", ""), ("*.mdf", ""),
        ("/var/lib/mysql", ""), ("/srv/backups", ""), ("process sqlservr.exe", ""),
    ],
)  # fmt: skip
def test_which_exclusions_are_risky(exclusion, why):
    assert risk_of_exclusion(exclusion) == why


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(PolicyError, match="scan_days"):
        antivirus(clam(), scan_days=0)
