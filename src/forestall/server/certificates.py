"""The authority that agents pin, and the certificate intake shows: made here, renewed before they expire.

``ca.pem``/``ca.key``: the installation's own authority, ten years. ``intake.pem`` (certificate, then authority) and
``intake.key``: ninety days, made anew with thirty left or when the names it must carry change.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from forestall.server.home import Address, Home, write_private

AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
BACKDATED = timedelta(hours=1)
"""A device whose clock is a little slow must be able to enrol."""


def certificate_file(home: Home) -> Path:
    """Intake's certificate chain."""
    return home.tls / "intake.pem"


def key_file(home: Home) -> Path:
    """Intake's private key."""
    return home.tls / "intake.key"


def ca_fingerprint(home: Home) -> str:
    """SHA-256 of the authority's certificate (DER), in hex: what an enrolment token pins."""
    certificate = x509.load_pem_x509_certificate(home.ca_file.read_bytes())
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def certificates_ensure(*, home: Home, address: Address, now: datetime) -> bool:
    """Make what is missing, too old, or lacks a name; whether intake's certificate was made anew.

    The authority is never replaced: agents have pinned it.
    """
    authority_key_file = home.tls / "ca.key"
    if not home.ca_file.exists():
        _authority_make(home.ca_file, authority_key_file, now)
    wanted = _names(address)
    if _is_fit(certificate_file(home), key_file(home), home.ca_file, wanted, now):
        return False
    authority = x509.load_pem_x509_certificate(home.ca_file.read_bytes())
    authority_key = _read_key(authority_key_file)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject("Forestall intake"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + CERTIFICATE_LIFETIME, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    # The key first: a kill in between leaves a pair that does not fit, which the next start sees and makes anew.
    write_private(key_file(home), _pem(key))
    write_private(certificate_file(home), certificate.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM))
    return True


def _authority_make(file: Path, key_path: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(f"Forestall authority of {socket.gethostname()}"[:64])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    write_private(key_path, _pem(key))
    write_private(file, certificate.public_bytes(Encoding.PEM))


def _is_fit(chain: Path, key: Path, authority: Path, wanted: list[x509.GeneralName], now: datetime) -> bool:
    if not chain.exists() or not key.exists():
        return False
    certificate, *issuers = x509.load_pem_x509_certificates(chain.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    return (
        certificate.not_valid_after_utc - now > RENEW_BEFORE
        and set(wanted) <= set(names)
        and issuers == [issuer]
        and _public(_read_key(key).public_key()) == certificate.public_key().public_bytes(*_PUBLIC_FORM)
    )


_PUBLIC_FORM = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(*_PUBLIC_FORM)


def _names(address: Address) -> list[x509.GeneralName]:
    names: set[x509.GeneralName] = {
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    }
    hosts = {socket.gethostname(), address.host}
    if address.host in {"0.0.0.0", "::"}:  # noqa: S104 - compares, binds nothing
        hosts.remove(address.host)
        hosts.update(
            one.address
            for addresses in psutil.net_if_addrs().values()
            for one in addresses
            if one.family in (socket.AF_INET, socket.AF_INET6) and "%" not in one.address
        )
    for host in hosts:
        try:
            names.add(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.add(x509.DNSName(host))
    return sorted(names, key=str)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds a {type(key).__name__}, expected an elliptic curve key")
    return key
