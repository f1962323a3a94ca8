"""PEM files for TLS: read and checked before anything starts, so that what is wrong is named with its file.

identity = read_identity(Path("client.pem"), Path("client-key.pem"))
authority = read_authority(Path("ca.pem"))
"""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_CERTIFICATE, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class CertificateError(ValueError):
    """A certificate or key that cannot be used; the message names the file and what to do."""


class Identity(NamedTuple):
    """Who we are in TLS: a certificate (with the chain that follows it in its file) and its private key, as PEM."""

    cert: bytes
    key: bytes


def read_identity(cert: Path, key: Path) -> Identity:
    """A certificate that is valid today, and the key that belongs to it. Raises CertificateError."""
    certificates, keys = _read(cert, "certificate"), _read(key, "private key")
    own = _certificates(cert, certificates)[0]
    try:
        private = load_pem_private_key(keys, password=None)
    except TypeError:
        raise CertificateError(f"{key}: the key is encrypted: give one without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{key}: no private key in PEM form (BEGIN PRIVATE KEY) that can be read") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise CertificateError(f"{key}: this key does not belong to the certificate {cert}: give the two of one set")
    _check_dates(cert, own)
    return Identity(certificates, keys)


def read_authority(cacert: Path) -> bytes:
    """The certificates that a peer's must be signed by, as PEM. Raises CertificateError."""
    content = _read(cacert, "CA certificate")
    for certificate in _certificates(cacert, content):
        _check_dates(cacert, certificate)
    return content


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot read the {what}: {error.strerror}") from None


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    blocks = [_CERTIFICATE + block.partition(_END)[0] + _END + b"\n" for block in content.split(_CERTIFICATE)[1:]]
    if not blocks:
        raise CertificateError(f"{path}: no PEM file with a certificate (BEGIN CERTIFICATE)")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError:
        raise CertificateError(f"{path}: the certificate in it is damaged") from None


def _check_dates(path: Path, certificate: x509.Certificate) -> None:
    first, last = validity(certificate)
    now = datetime.now(timezone.utc)
    if now > last:
        raise CertificateError(f"{path}: the certificate expired on {last:%Y-%m-%d %H:%M} UTC: make a new one")
    if now < first:
        raise CertificateError(f"{path}: the certificate is valid only from {first:%Y-%m-%d %H:%M} UTC on")


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when a certificate is valid."""
    with warnings.catch_warnings():
        # Versions from 42 on have names of their own for dates with a time zone and deprecate these.
        warnings.simplefilter("ignore")
        first, last = certificate.not_valid_before, certificate.not_valid_after
    return first.replace(tzinfo=timezone.utc), last.replace(tzinfo=timezone.utc)
