"""Certificates as bytes: of an authority and of nodes, and the revocation list. No files, no clock.

Keys are on the curve P-256, which all TLS libraries in use support (Erlang 25 and OpenSSL 1.1 among them).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACKDATED = timedelta(hours=24)
"""Clocks of newly installed nodes may be slow."""


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class CertificateInfo(NamedTuple):
    """The content of a certificate: the node, the serial number, and the validity in UTC."""

    node: str
    serial: int
    begins: datetime
    expires: datetime

    @property
    def serial_text(self) -> str:
        """The serial number in hexadecimal."""
        return f"{self.serial:x}"


class CertificateSpec(NamedTuple):
    """The content of a new certificate.

    `names` and `addresses` are those by which clients reach the node. A certificate for a service only (`is_service`)
    does not authenticate a client.
    """

    node: str
    names: Sequence[str]
    addresses: Sequence[str]
    days: int
    is_service: bool = False


def create_authority(name: str, now: datetime, days: int) -> Pair:
    """An authority that may sign certificates of nodes, and no other authorities; valid for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def sign(authority: Pair, spec: CertificateSpec, now: datetime) -> Pair:
    """A certificate with a key of its own, for `spec.days`, never longer than the authority's."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = _load_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    days = min(spec.days, (issuer.not_valid_after_utc - now).days)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
    if not spec.is_service:
        purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    builder = (
        _builder(_name(spec.node), issuer.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(spec)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuer_identifier(issuer), critical=False)
    )
    return Pair(_pem(builder.sign(issuer_key, hashes.SHA256())), _key_pem(key))


def create_revoked_list(authority: Pair, revoked: Iterable[tuple[int, datetime]], now: datetime) -> bytes:
    """The revocation list (serial number, time), PEM; valid as long as the authority itself.

    It is deployed whenever it changes, so it must not expire before: without a valid list the broker accepts no client.
    TLS libraries refuse a list of a time to come, which the clock may have had: it begins as the authority does.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issuer.not_valid_before_utc)
        .next_update(issuer.not_valid_after_utc)
        .add_extension(_issuer_identifier(issuer), critical=False)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
    )
    for serial, when in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(_load_key(authority.key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_certificates(pem: bytes) -> list[CertificateInfo]:
    """The content of each certificate. ValueError when one is invalid, or there is none."""
    return [_info(certificate) for certificate in x509.load_pem_x509_certificates(pem)]


def _info(certificate: x509.Certificate) -> CertificateInfo:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    node = str(names[0].value) if names else ""
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return CertificateInfo(node, certificate.serial_number, begins, expires)


def has_address(pem: bytes, address: str) -> bool:
    """Whether a certificate is for a server with this IP address. ValueError when it is invalid."""
    extensions = x509.load_pem_x509_certificate(pem).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)


def read_revoked_list(pem: bytes) -> list[tuple[int, datetime]]:
    """The serial numbers in a list, each with its time of revocation. ValueError when it is invalid."""
    revoked = x509.load_pem_x509_crl(pem)
    return [(entry.serial_number, entry.revocation_date_utc) for entry in revoked]


def list_file_name(authority_certificate: bytes) -> str:
    """The name under which OpenSSL and Erlang look for an authority's list in a folder: hash of its name, `.r0`."""
    subject = x509.load_pem_x509_certificate(authority_certificate).subject
    # X509_NAME_hash of OpenSSL 1.0 and later: SHA-1 over the name with each text as UTF-8 in lower case, its outer
    # length left out, first four bytes, little-endian. Our names are one common name, without doubled blanks.
    name = _name(str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value).lower())
    encoded = name.public_bytes()
    digest = hashlib.sha1(encoded[2:], usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}.r0"


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(spec: CertificateSpec) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(spec.names)]
    addresses = dict.fromkeys(spec.addresses)
    return [*names, *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not on an elliptic curve")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
