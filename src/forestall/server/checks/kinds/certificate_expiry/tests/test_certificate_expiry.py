"""Certificates: thirty days warn, seven fail."""

from datetime import timedelta

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, NOW, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Certificate, Certificates


def certificate(days, **fields):
    ends = None if days is None else NOW + timedelta(days=days)
    one = Certificate(
        **{
            "address": "192.0.2.7",
            "port": 443,
            "subject": "www.example.org",
            "process": "nginx",
            "not_after": ends,
            **fields,
        }
    )
    return judged("certificate_expiry", known_with(Certificates(certificates=(one,))))["192.0.2.7:443"]


def test_days_left():
    assert [certificate(days).status for days in (60, 30, 29.9, 7, 6.9, 0, -3)] == [
        PASS, PASS, WARN, WARN, FAIL, FAIL, FAIL,
    ]  # fmt: skip


def test_the_reason_names_certificate_server_day_and_days():
    result = certificate(12.5)
    assert result.value == 12
    assert result.reason == (
        "The certificate www.example.org on 192.0.2.7:443, served by nginx expires on 2026-12-05, 12 days left "
        "(warns below 30)."
    )
    assert result.evidence == ("openssl s_client -connect 192.0.2.7:443",)


def test_expired_is_critical_and_the_forecast_is_the_day():
    result = certificate(-3)
    assert result.risk is Risk.CRITICAL
    assert "expired 3 days ago (2026-11-20 09:00 UTC)" in result.reason
    assert result.forecast_at == NOW - timedelta(days=3)


def test_not_valid_yet_warns():
    assert certificate(300, not_before=NOW + timedelta(days=1)).status is WARN


def test_a_date_that_could_not_be_read_is_unknown():
    assert certificate(None).status is UNKNOWN


def test_no_certificates_nothing_to_judge():
    assert judged("certificate_expiry", known_with(Certificates())) == {}
