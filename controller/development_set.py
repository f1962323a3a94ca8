"""Certificates to develop with: a CA of one's own, and a server's and a client's certificate that it signed.

make(Path("tls"), hosts=["switch1", "10.0.0.5"], days=30)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from esa.errors import BadInput

HOSTS = ("localhost", "127.0.0.1", "::1")  # what every server certificate is good for
MAX_DAYS = 3650
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)
# Machines whose clocks are not in step shall take a certificate that was just made.
_CLOCK_SKEW = timedelta(hours=1)


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(folder: Path, hosts: Iterable[str] = (), days: int = 30, *, force: bool = False) -> list[Path]:
    """Write ca, server and client, .pem and -key.pem each, readable by their owner alone; returns the paths.

    Raises BadInput for a host that is none, and where one of the files is there and `force` is not set.
    """
    names = [*HOSTS, *(host for host in hosts if host not in HOSTS)]
    if not 1 <= days <= MAX_DAYS:
        raise BadInput(f"days: {days} is not in 1..{MAX_DAYS}")
    alternatives = [_general_name(name) for name in names]
    paths = [folder / f"{name}{part}.pem" for name in ("ca", "server", "client") for part in ("", "-key")]
    there = [path.name for path in paths if path.exists() or path.is_symlink()]
    if there and not force:
        raise BadInput(
            f"{folder}: {', '.join(there)} there already: choose another folder, or replace the set (--force)"
        )

    until = datetime.now(timezone.utc) + timedelta(days=days)
    authority = issue_authority("ESA development CA", until)
    server = issue(authority, "ESA development switch", ExtendedKeyUsageOID.SERVER_AUTH, until, alternatives)
    client = issue(authority, "ESA development controller", ExtendedKeyUsageOID.CLIENT_AUTH, until)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        contents = [pem for issued in (authority, server, client) for pem in (issued.cert_pem, issued.key_pem)]
        for path, content in zip(paths, contents, strict=True):
            _write(path, content)
    except OSError as error:
        raise BadInput(f"{folder}: cannot write {error.filename or folder}: {error.strerror}") from None
    return paths


def issue_authority(name: str, until: datetime, since: datetime | None = None) -> Issued:
    """Make a CA that signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), since, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def issue(
    authority: Issued,
    name: str,
    usage: x509.ObjectIdentifier,
    until: datetime,
    alternatives: Sequence[x509.GeneralName] = (),
    since: datetime | None = None,
) -> Issued:
    """Make a certificate for one usage, signed by `authority`; `alternatives` are the hosts it is good for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), authority.certificate.subject, key.public_key(), since, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(signer, critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(alternatives)), critical=False)
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    since: datetime | None,
    until: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(since or datetime.now(timezone.utc) - _CLOCK_SKEW).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if len(host) <= 253 and _HOST.fullmatch(host):
            return x509.DNSName(host)
    raise BadInput(f"host: '{host}' is neither a host name nor an IP address")


def _write(path: Path, content: bytes) -> None:
    """Replace a file by one that its owner alone may read, from its first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
