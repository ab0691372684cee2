"""End of life: which support applies, until when, and what is not known."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from forestall.server.checks.kinds.end_of_life.data import dates, find_release
from forestall.server.checks.kinds.end_of_life.refresh import PRODUCTS
from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import DEBIAN, FAIL, PASS, UNKNOWN, WARN, judged, known_with


def system(os_id, version, name=""):
    return msgspec.structs.replace(DEBIAN, os_id=os_id, os_version=version, os_name=name or f"{os_id} {version}")


def life(os_id, version, name="", at="2026-11-23", **policy):
    when = datetime.fromisoformat(f"{at}T09:00").replace(tzinfo=UTC)
    known = known_with(system(os_id, version, name), collected_at={"system": when}, last_check_in_at=when)
    return judged("end_of_life", known, at=when, **policy)[""]


def test_debian_13_has_regular_support():
    result = life("debian", "13.6")
    assert result.status is PASS
    assert "regular security support until 2028-08-09" in result.reason
    assert "Debian LTS goes on until 2030-06-30" in result.reason
    assert "Data of 2026-08-22" in result.reason


def test_debian_12_is_past_regular_support_and_lts_applies():
    result = life("debian", "12.11")
    assert (result.status, result.risk, result.value) == (WARN, Risk.LOW, 585)
    assert "ended on 2026-07-11, 135 days ago; Debian LTS applies until 2028-06-30" in result.reason


def test_debian_11_is_past_both():
    result = life("debian", "11.11")
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert "and Debian LTS on 2026-08-31" in result.reason


def test_ubuntu_after_its_five_years_needs_a_contract():
    assert life("ubuntu", "20.04").status is FAIL
    assert "pay for Ubuntu Pro (ESM)" in life("ubuntu", "20.04").reason
    assert life("ubuntu", "20.04", paid_support=True).status is PASS


def test_the_end_is_announced_half_a_year_before():
    assert life("debian", "13", at="2028-03-01").status is WARN
    assert life("debian", "13", at="2028-01-01").status is PASS


@pytest.mark.parametrize(
    ("os_id", "version", "name", "status"),
    [
        ("rhel", "9.4", "", PASS),
        ("rhel", "7.9", "", FAIL),
        ("almalinux", "8.10", "", PASS),
        ("rocky", "9.5", "", PASS),
        ("centos", "7", "CentOS Linux 7 (Core)", FAIL),
        ("fedora", "42", "", FAIL),
        ("alpine", "3.22.1", "", WARN),
        ("sles", "15.7", "", PASS),
        ("macos", "26.6", "", PASS),
        ("macos", "10.15.7", "", FAIL),
        ("windows", "10.0.26200.1", "Windows 11 Pro", PASS),
        ("windows", "10.0.26100.1", "Windows 11 Pro", FAIL),
        ("windows", "10.0.26100.1", "Windows 11 Enterprise", PASS),
        ("windows", "10.0.26100", "Windows Server 2025 Standard", PASS),
        ("windows", "10.0.19045.5", "Windows 10 Pro", FAIL),
    ],
)
def test_systems_that_clients_have(os_id, version, name, status):
    assert life(os_id, version, name).status is status


@pytest.mark.parametrize(
    ("os_id", "version", "name"),
    [("debian", "14", ""), ("centos", "9", "CentOS Stream 9"), ("gentoo", "2.17", ""), ("windows", "10.0.99999", "W")],
)
def test_what_the_data_does_not_hold_is_unknown_and_never_passes(os_id, version, name):
    result = life(os_id, version, name)
    assert result.status is UNKNOWN
    assert "not in Forestall's data of 2026-08-22" in result.reason


def test_10_15_is_not_release_10():
    assert find_release(os_id="macos", os_version="10.15.7", os_name="")[1].cycle == "10.15"


def test_the_data_names_its_source_and_holds_every_product():
    data = dates()
    assert set(data.products) == set(PRODUCTS)
    assert data.licence == "MIT"
    assert data.data_date == date(2026, 8, 22)
    assert all(product.releases for product in data.products.values())
