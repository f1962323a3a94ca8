"""TLS between controller and switch: the right certificates work, and each wrong one is refused in one line."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller import Tls
from controller import development_set as certificates
from controller.cli import run
from esa.switch.__main__ import main as switch_main
from tests.controller.jobs import job_dict
from tests.controller.test_esactl import Esactl
from tests.switch.control import Client, p4
from tests.switches import KINDS, SwitchProcess, free_port, running_switch

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
FILES = [f"{name}{part}.pem" for name in ("ca", "server", "client") for part in ("", "-key")]


def server_arguments(folder: Path, server: str = "server") -> list[str]:
    files = {"cacert": "ca.pem", "cert": f"{server}.pem", "key": f"{server}-key.pem"}
    options = [word for option, file in files.items() for word in (f"--grpc-server-{option}", str(folder / file))]
    return ["--grpc-server-ssl", *options, "--grpc-server-with-client-auth"]


def client_options(folder: Path, client: str | None = "client", ca: str = "ca") -> list[str]:
    own = ["--cert", str(folder / f"{client}.pem"), "--key", str(folder / f"{client}-key.pem")] if client else []
    return ["--cacert", str(folder / f"{ca}.pem"), *own]


def put(folder: Path, name: str, issued: certificates.Issued) -> None:
    (folder / f"{name}.pem").write_bytes(issued.cert_pem)
    (folder / f"{name}-key.pem").write_bytes(issued.key_pem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, as `esactl cert` makes it, and beside it certificates that are wrong in one respect each."""
    folder = tmp_path_factory.mktemp("tls")
    certificates.make(folder)
    ca = certificates.issue_authority("test CA", NOW + DAY)
    put(folder, "ca", ca)
    here = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    put(folder, "server", certificates.issue(ca, "switch", server, NOW + DAY, here))
    put(folder, "client", certificates.issue(ca, "controller", client, NOW + DAY))
    put(folder, "expired", certificates.issue(ca, "controller", client, NOW - DAY, since=NOW - 2 * DAY))
    put(folder, "future", certificates.issue(ca, "controller", client, NOW + 2 * DAY, since=NOW + DAY))
    put(folder, "elsewhere", certificates.issue(ca, "switch", server, NOW + DAY, [x509.DNSName("switch9")]))
    put(folder, "otherca", certificates.issue_authority("test CA", NOW + DAY))  # of the same name
    put(folder, "selfsigned", certificates.issue_authority("controller", NOW + DAY))
    encrypted = ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (folder / "encrypted-key.pem").write_bytes(encrypted)
    (folder / "text.pem").write_text("a certificate, honestly\n")
    (folder / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return folder


@pytest.fixture(scope="module", params=KINDS)
def secure(request: pytest.FixtureRequest, folder: Path) -> Iterator[SwitchProcess]:
    """A switch that demands a client's certificate."""
    tls = Tls(folder / "ca.pem", folder / "client.pem", folder / "client-key.pem")
    with running_switch(request.param, server_arguments=server_arguments(folder), tls=tls) as process:
        yield process


@pytest.fixture
def esactl(secure: SwitchProcess, tmp_path: Path) -> Esactl:
    return Esactl(secure.address, tmp_path / "state.json")


def test_with_the_right_certificates_everything_works(esactl: Esactl, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job_dict()))
    options = client_options(folder)
    assert "64-lane program" in esactl(*options, "load")
    assert "added alpha" in esactl(*options, "job", "add", str(tmp_path / "job.json"))
    for option, value in zip(options[::2], options[1::2], strict=True):
        esactl.environment[f"ESA_SWITCH_{option.removeprefix('--').upper()}"] = value
    assert [job["name"] for job in esactl.json("job", "list")] == ["alpha"]
    done = esactl.process("shell", stdin='print("tables:", len(list(tables)))\nexit\n')
    assert (done.status, "tables: " in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("client", "ca", "part"),
    [
        ("client", "otherca", "its certificate is not signed by the CA in {}/otherca.pem: give the CA that signed it"),
        (None, "ca", "it asks for a client certificate: give one that its CA signed (--cert, --key)"),
        ("selfsigned", "ca", "it refuses our certificate {}/selfsigned.pem: give one that its CA signed"),
        ("otherca", "ca", "it refuses our certificate {}/otherca.pem: give one that its CA signed"),
        ("server", "ca", "it refuses our certificate {}/server.pem: give one that its CA signed"),
    ],
)
def test_who_is_not_trusted_is_refused(
    esactl: Esactl, folder: Path, client: str | None, ca: str, part: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = esactl.fails(1, *client_options(folder, client, ca), "load")
    assert said.startswith("no TLS with the switch at 127.0.0.1:")
    assert part.format(folder) in said
    assert capfd.readouterr() == ("", "")  # gRPC's own chatter would show


def test_without_tls_it_says_that_the_switch_speaks_it(esactl: Esactl) -> None:
    assert "it speaks TLS: give its CA (--cacert), and a client certificate" in esactl.fails(1, "job", "list")


@pytest.mark.parametrize("client", ["expired", "selfsigned", None])
def test_the_switch_itself_refuses_a_client_that_does_not_check(
    secure: SwitchProcess, folder: Path, client: str | None
) -> None:
    own = [(folder / f"{client}{part}.pem").read_bytes() for part in ("-key", "")] if client else [None, None]
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), *own)
    stranger = Client(int(secure.address.rpartition(":")[2]), credentials=credentials)
    with pytest.raises(grpc.RpcError) as caught:
        stranger.stub.Capabilities(p4.CapabilitiesRequest(), timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    stranger.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_switch_with_a_certificate_for_another_host_is_not_trusted(kind: str, folder: Path) -> None:
    tls = Tls(folder / "ca.pem", folder / "client.pem", folder / "client-key.pem")
    # It starts; our client, which waits for it, will not have it.
    started = running_switch(kind, server_arguments=server_arguments(folder, "elsewhere"), tls=tls, patience_s=5)
    with pytest.raises(RuntimeError, match="its certificate is for another host, not 127") as caught:
        started.__enter__()
    assert "use a name that it was made for" in str(caught.value)


def test_a_switch_without_tls_is_named(folder: Path, tmp_path: Path) -> None:
    with running_switch("embedded") as process:
        esactl = Esactl(process.address, tmp_path / "state.json")
        assert "it does not speak TLS: leave out --tls" in esactl.fails(1, *client_options(folder), "load")


# Bad input: before anything starts


def wrong_files(folder: Path) -> dict[str, tuple[str, str, str, str]]:
    """name -> (CA, certificate, key, what is said), relative to `folder`."""
    pair = ("client.pem", "client-key.pem")
    return {
        "no CA": ("nosuch.pem", *pair, "{}/nosuch.pem"),
        "no certificate": ("ca.pem", "nosuch.pem", "client-key.pem", "{}/nosuch.pem"),
        "no key": ("ca.pem", "client.pem", "nosuch.pem", "{}/nosuch.pem"),
        "unreadable": (".", *pair, "{}: cannot read the CA certificate: Is a directory"),
        "no PEM CA": ("text.pem", *pair, "{}/text.pem: no PEM file with a certificate"),
        "no PEM certificate": ("ca.pem", "text.pem", "client-key.pem", "{}/text.pem: no PEM file with a certificate"),
        "damaged": ("ca.pem", "damaged.pem", "client-key.pem", "{}/damaged.pem: the certificate in it is damaged"),
        "no PEM key": ("ca.pem", "client.pem", "text.pem", "{}/text.pem: no private key in PEM form"),
        "a certificate for a key": ("ca.pem", "client.pem", "client.pem", "{}/client.pem: no private key in PEM form"),
        "encrypted": ("ca.pem", "client.pem", "encrypted-key.pem", "{}/encrypted-key.pem: the key is encrypted"),
        "another's key": ("ca.pem", "client.pem", "server-key.pem", "{}/server-key.pem: this key does not belong to"),
        "expired": ("ca.pem", "expired.pem", "expired-key.pem", "{}/expired.pem: the certificate expired on"),
        "future": ("ca.pem", "future.pem", "future-key.pem", "{}/future.pem: the certificate is valid only from"),
        "expired CA": ("expired.pem", *pair, "{}/expired.pem: the certificate expired on"),
    }


WRONG = list(wrong_files(Path()))


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_named_by_esactl(folder: Path, tmp_path: Path, case: str) -> None:
    ca, cert, key, part = wrong_files(folder)[case]
    files = zip(("--cacert", "--cert", "--key"), (ca, cert, key), strict=True)
    options = [word for option, file in files for word in (option, str(folder / file))]
    error = Esactl(f"127.0.0.1:{free_port()}", tmp_path / "state.json").fails(2, *options, "load")
    assert part.format(folder) in error


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_named_by_the_switch(folder: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    ca, cert, key, part = wrong_files(folder)[case]
    port = free_port()
    arguments = ["--no-p4", "--", "--grpc-server-addr", f"127.0.0.1:{port}", "--grpc-server-ssl"]
    for option, file in (("cacert", ca), ("cert", cert), ("key", key)):
        arguments += [f"--grpc-server-{option}", str(folder / file)]
    assert switch_main([*arguments, "--grpc-server-with-client-auth"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("esa-switch: --grpc-server-")
    assert err.count("\n") == 1
    assert part.format(folder) in err


def test_a_certificate_without_its_key(folder: Path, tmp_path: Path) -> None:
    esactl = Esactl("127.0.0.1:1", tmp_path / "state.json")
    assert "a client certificate needs both" in esactl.fails(2, "--cert", str(folder / "client.pem"), "load")


# esactl cert


def test_a_development_set_is_made_for_its_owner_alone_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "tls"
    assert run(["cert", str(target), "--host", "switch1", "--host", "10.0.0.5", "--days", "7"]) == 0
    out = capsys.readouterr().out
    assert f"--grpc-server-cert {target}/server.pem" in out
    assert f"--cert {target}/client.pem" in out
    assert sorted(path.name for path in target.iterdir()) == sorted(FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    server = x509.load_pem_x509_certificate((target / "server.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "switch1"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.5"]

    before = {path.name: path.read_bytes() for path in target.iterdir()}
    (target / "ca.pem").unlink()
    assert run(["cert", str(target)]) == 2
    assert "ca-key.pem, server.pem, server-key.pem, client.pem, client-key.pem there" in capsys.readouterr().err
    assert not (target / "ca.pem").exists()
    assert run(["cert", str(target), "--force"]) == 0
    assert all((target / name).read_bytes() != content for name, content in before.items())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host", "not a host"], "host: 'not a host' is neither a host name nor an IP address"),
        (["--host", "-x"], "host: '-x'"),
        (["--host", "*.example"], "host: '*.example'"),
        (["--days", "0"], "days"),
        (["--days", "4000"], "days"),
    ],
)
def test_wrong_wishes_for_a_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert run(["cert", str(tmp_path / "tls"), *arguments]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not (tmp_path / "tls").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["cert", str(tmp_path / "file" / "tls")]) == 2
    assert f"cannot write {tmp_path}/file" in capsys.readouterr().err
