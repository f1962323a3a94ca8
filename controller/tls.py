"""TLS to a switch: which files, whether they fit together, and why a handshake failed."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from esa.errors import BadInput

TIMEOUT_S = 5.0
# The preface and an empty SETTINGS frame (RFC 9113, section 3.4).
_HTTP2_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files; without `cacert` the system's certificates count."""

    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def check(self) -> None:
        """Raise BadInput, naming the option and the file, where they cannot work."""
        for option, path in (("cacert", self.cacert), ("cert", self.cert), ("key", self.key)):
            if path is not None and not path.exists():
                raise BadInput(f"{option}: there is no file {path}")
        if (self.cert is None) != (self.key is None):
            raise BadInput("cert and key: a client certificate needs both")
        from esa.certificates import CertificateError, read_authority, read_identity  # costs every command 40 ms

        option = "cacert"
        try:
            if self.cacert is not None:
                read_authority(self.cacert)
            option = "cert and key"
            if self.cert is not None and self.key is not None:
                read_identity(self.cert, self.key)
        except CertificateError as error:
            raise BadInput(f"{option}: {error}") from None


def why_no_handshake(address: str, tls: Tls) -> str | None:
    """Return why the server at `address` and we cannot agree on TLS; None if we can, or if nobody listens there.

    gRPC's own messages differ from version to version and say little; a handshake of ours with the same files tells.
    """
    context = ssl.create_default_context(cafile=str(tls.cacert) if tls.cacert else None)
    context.set_alpn_protocols(["h2"])
    # As gRPC verifies: neither more strictly nor less.
    context.verify_flags |= ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.cert is not None and tls.key is not None:
        context.load_cert_chain(tls.cert, tls.key)
    host = _host(address)
    try:
        plain = _connect(address)
    except OSError:
        return None
    try:
        with plain, context.wrap_socket(plain, server_hostname=host) as secure:
            return None if _is_taken(secure) else _refusal(tls)
    except ssl.SSLCertVerificationError as error:
        return _distrust(error, host, tls)
    except OSError:
        return "it does not speak TLS: leave out --tls, --cacert, --cert and --key"


def speaks_tls(address: str) -> str | None:
    """Return what to do if the server at `address`, which does not answer without TLS, speaks TLS; else None."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with _connect(address) as plain, context.wrap_socket(plain, server_hostname=_host(address)):
            return "it speaks TLS: give its CA (--cacert), and a client certificate (--cert, --key) if it asks for one"
    except OSError:
        return None


def _host(address: str) -> str:
    return "localhost" if address.startswith("unix:") else address.rpartition(":")[0].strip("[]")


def _connect(address: str) -> socket.socket:
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S)
    unix = socket.socket(socket.AF_UNIX)
    try:
        unix.settimeout(TIMEOUT_S)
        unix.connect(address.removeprefix("unix:"))
    except OSError:
        unix.close()
        raise
    return unix


def _is_taken(secure: ssl.SSLSocket) -> bool:
    """Return whether the server takes us. Under TLS 1.3 a client is through before the server has seen its certificate.

    One that takes us answers the start of HTTP/2; one that does not sends an alert or hangs up.
    """
    try:
        secure.sendall(_HTTP2_START)
        return bool(secure.recv(1))
    except OSError:
        return False


def _distrust(error: ssl.SSLCertVerificationError, host: str, tls: Tls) -> str:
    """Return why we refuse the server."""
    said = error.verify_message
    if "mismatch" in said:
        return f"its certificate is for another host, not {host}: use a name that it was made for (esactl cert --host)"
    if "expired" in said or "not yet valid" in said:
        return f"its certificate is out of date ({said}): the switch needs a new one"
    signer = f"the CA in {tls.cacert}" if tls.cacert else "a CA that this system knows"
    return f"its certificate is not signed by {signer}: give the CA that signed it (--cacert)"


def _refusal(tls: Tls) -> str:
    """Return why the server refuses us."""
    if tls.cert is None:
        return "it asks for a client certificate: give one that its CA signed (--cert, --key)"
    return f"it refuses our certificate {tls.cert}: give one that its CA signed (--cert, --key)"
