"""Antivirus, certificates, clock, and secrets kept out of documents."""

# ruff: noqa: E501, S104 - recorded outputs and tables of cases keep their lines; nothing is bound here
from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import create_server

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect import antivirus, certificates, clock
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.redaction import redact
from forestall.agent.collect.tests.recorded_host import RecordedHost, process
from forestall.wire.facts import Socket

COMMANDS = Path(__file__).parent / "fixtures/commands"


def definitions(version, built):
    return f"ClamAV-VDB:{built}:{version}:2067000:90:md5:signature:builder:1726475520".encode().ljust(512) + b"\x1f\x8b"


def test_clamav_is_told_with_the_age_of_its_newest_definitions():
    files = {
        "/var/lib/clamav/main.cvd": definitions(62, "16 Sep 2021 08-32 -0400"),
        "/var/lib/clamav/daily.cld": definitions(27400, "16 Sep 2024 04-32 -0400"),
        "/var/lib/clamav/bytecode.cvd": definitions(335, "01 Jan 2026 00-00 +0000"),
        "/var/log/clamav/scan.log": "Infected files: 0\nStart Date: 2024:09:17 01:00:00\nEnd Date:   2024:09:17 01:12:30\n",
        "/proc/1/comm": "systemd",
        **process(5, "/usr/sbin/clamd", "--foreground=true"),
    }
    version = "ClamAV 1.0.7/27400/Mon Sep 16 08:32:02 2024\n"
    (product,) = antivirus.collect(RecordedHost(files=files, outputs={"clamscan --version": version})).products
    assert (product.name, product.version, product.running, product.real_time) == ("ClamAV", "1.0.7", True, False)
    assert (product.definitions_version, product.definitions_at) == ("27400", datetime(2024, 9, 16, 8, 32, tzinfo=UTC))
    assert product.last_scan_at == datetime(2024, 9, 17, 1, 12, 30, tzinfo=UTC)


def test_no_antivirus_is_told_as_such():
    document = antivirus.collect(RecordedHost())
    assert (document.products, document.gaps) == ((), ())
    assert document.sources


def test_definitions_that_cannot_be_read_are_a_gap():
    host = RecordedHost(
        files={"/var/lib/clamav/daily.cvd": b"<html>not found</html>"}, outputs={"clamscan --version": "ClamAV 1.4.1\n"}
    )
    document = antivirus.collect(host)
    assert document.products[0].definitions_at is None
    assert [gap.what for gap in document.gaps] == ["definitions in /var/lib/clamav/daily.cvd", "antivirus definitions"]


@given(st.binary(max_size=600))
def test_no_bytes_break_the_header_reader(data):
    try:
        version, built = antivirus.parse_definitions_header(data)
    except ValueError:
        return
    assert version
    assert built.tzinfo is UTC


# --- certificates -------------------------------------------------------------------------------------------


@pytest.fixture
def tls_server(tmp_path):
    """A real TLS server on a free port of the loopback, with a certificate that ends in 30 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.org")])
    now = datetime.now(UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("shop.example.org"), x509.IPAddress(ip_address("192.0.2.7"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    listener = create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            connection, _ = listener.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], now + timedelta(days=30)
    stop.set()
    create_connection_to_wake(listener)
    thread.join(5)
    listener.close()


def create_connection_to_wake(listener):
    from socket import create_connection

    create_connection(listener.getsockname(), timeout=2).close()


def test_the_certificate_of_a_real_server_is_found(tls_server):
    port, ends = tls_server
    document = certificates.collect(LocalHost())
    (found,) = [each for each in document.certificates if each.port == port]
    assert (found.subject, found.self_signed, found.not_after) == ("CN=shop.example.org", True, ends)
    assert found.names == ("shop.example.org", "192.0.2.7")
    assert len(found.fingerprint_sha256) == 64


def sockets(*addresses):
    return tuple(Socket(protocol="tcp", address=address, port=port) for address, port in addresses)


def test_each_server_is_greeted_once_and_plain_ones_never():
    found = certificates.candidates(
        sockets(("0.0.0.0", 443), ("::", 443), ("127.0.0.1", 8443), ("0.0.0.0", 22), ("::1", 8443), ("0.0.0.0", 25))
    )
    assert [(each.address, each.port) for each in found] == [("0.0.0.0", 443), ("127.0.0.1", 8443)]


def test_what_speaks_no_tls_or_presents_rubbish_costs_nothing_else():
    tcp = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
        "   1: 0100007F:20FC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1\n"
    )
    document = certificates.collect(RecordedHost(files={"/proc/net/tcp": tcp}, certificates={8443: b"rubbish"}))
    assert document.certificates == ()
    assert [gap.what for gap in document.gaps] == ["certificate on port 8443"]


# --- clock --------------------------------------------------------------------------------------------------

TRACKING = (
    "C0248F97,192.36.143.151,2,1795456878.123,-0.234567,0.000012,0.000034,-12.3,0.01,0.02,0.03,0.001,64.5,Normal\n"
)


def test_chrony_tells_the_offset_rounded_to_a_tenth():
    host = RecordedHost(files=process(4, "/usr/sbin/chronyd", "-F", "1"), outputs={"chronyc -c": TRACKING})
    document = clock.collect(host)
    assert (document.daemon, document.synchronised, document.offset_seconds) == ("chronyd", True, 0.2)
    lost = TRACKING.replace("Normal", "Not synchronised")
    host = RecordedHost(files=process(4, "/usr/sbin/chronyd"), outputs={"chronyc -c": lost})
    assert clock.collect(host).synchronised is False


def test_ntpd_tells_milliseconds():
    host = RecordedHost(
        files=process(4, "/usr/sbin/ntpd", "-g"), outputs={"ntpq -c": "stratum=2, leap=00, offset=-1523.4\n"}
    )
    document = clock.collect(host)
    assert (document.daemon, document.synchronised, document.offset_seconds) == ("ntpd", True, -1.5)
    assert clock.parse_ntpq_rv("stratum=16, leap=11, offset=0.0\n")[0] is False


def test_timesyncd_tells_through_systemd():
    files = {"/run/systemd/system/x": "", **process(4, "/lib/systemd/systemd-timesyncd")}
    outputs = {
        "timedatectl show": "NTPSynchronized=yes\n",
        "timedatectl timesync-status": (COMMANDS / "timedatectl-timesync-status.out").read_text(),
    }
    document = clock.collect(RecordedHost(files=files, outputs=outputs))
    assert (document.daemon, document.synchronised, document.offset_seconds) == ("systemd-timesyncd", True, 0.0)
    assert clock.parse_timesync_status("       Offset: -1min 2.5s\n") == -62.5
    assert clock.parse_timesync_status("       Offset: -5.224ms\n") == pytest.approx(-0.005224)


def test_without_any_daemon_the_kernel_tells():
    document = clock.collect(RecordedHost(clock_synchronised=False))
    assert (document.daemon, document.synchronised, document.offset_seconds) == ("", False, None)
    assert [gap.what for gap in clock.collect(RecordedHost()).gaps] == ["whether the clock is synchronised"]


# --- secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "RESTIC_PASSWORD=hunter2 restic backup /",
        "curl -H x --token hunter2 https://example.org",
        "curl https://bob:hunter2@example.org/x",
        "mysqldump -u root -phunter2 shop",
        "tool --password='hunter2 with blanks' now",
        'AWS_SECRET_ACCESS_KEY="hunter2" tool',
        "backup --api-key=hunter2",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text):
    assert "hunter2" not in redact(text)
    assert "[hidden]" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "run-parts /etc/cron.daily",
        "restic -r /srv/r --password-file",
        "cd / && test -x /usr/bin/x",
        "mysql shop < x.sql",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text
