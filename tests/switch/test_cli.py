"""The command line: simple_switch_grpc's arguments, one line for what is wrong, a clean end."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from scapy.utils import rdpcap

from esa import __version__
from esa.net import message_batch, poll_set, recv_batch, send_batch, wait_ready
from esa.switch.process.options import Options, UsageError, parse
from esa.switch.runtime.queue_limits import DEFAULT_DEPTH, QueueLimit
from tests import forks
from tests.net.veth import Veth
from tests.switch.control import PROGRAMS, Client, entry, exact, insert, p4

PROGRAM = str(PROGRAMS / "control_plane.json")
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -keyout {d}/key.pem -out {d}/cert.pem -days 30 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost"
)

SLOW = pytest.mark.slow
TGKILL = 234  # its number as a system call of x86_64


def test_simple_switch_grpcs_arguments_are_understood() -> None:
    line = (
        "--no-p4 -i 1@s1-eth1 -i 2@s1-eth2 --pcap pcaps --device-id 3 --log-console -L trace --thrift-port 9090 "
        "--nanolog ipc:///tmp/bm-log.ipc -- --grpc-server-addr 0.0.0.0:50051 --cpu-port 255"
    )
    options = parse(line.split())
    assert options == Options(
        program=None,
        interfaces={1: "s1-eth1", 2: "s1-eth2"},
        device_id=3,
        log_level="trace",
        log_console=True,
        log_file=None,
        pcap=Path("pcaps"),
        grpc_address="0.0.0.0:50051",
        cpu_port=255,
        ssl=False,
        ssl_cacert=None,
        ssl_cert=None,
        ssl_key=None,
        ssl_client_auth=False,
        trace=None,
        faults=None,
        queues={},
        priority_queues=1,
        port_counters=None,
        metrics=None,
        use_files=None,
        dump_packet_data=0,
        real_time=False,
        ignored=("--thrift-port", "--nanolog"),
    )


def test_the_defaults() -> None:
    options = parse(["prog.json"])
    assert (options.program, options.device_id, options.grpc_address) == (Path("prog.json"), 0, "127.0.0.1:9559")
    assert (options.cpu_port, options.pcap, options.interfaces, options.log_level) == (None, None, {}, "info")


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [("--pcap prog.json", "."), ("--pcap=d prog.json", "d"), ("--pcap d prog.json", "d"), ("prog.json --pcap", ".")],
)
def test_pcap_takes_a_directory_or_none(arguments: str, directory: str) -> None:
    assert parse(arguments.split()).pcap == Path(directory)


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ("--trace prog.json", "-"),
        ("--trace - prog.json", "-"),
        ("--trace f prog.json", "f"),
        ("prog.json --trace -i 1@a", "-"),
        ("--trace=f prog.json", "f"),
    ],
)
def test_a_trace_goes_to_a_file_or_to_standard_output(arguments: str, file: str) -> None:
    options = parse(arguments.split())
    assert (options.trace, options.program) == (Path(file), Path("prog.json"))


def test_ports_have_the_queues_that_they_are_given() -> None:
    three = "prog.json -i 1@a -i 2@b -i 3@c"
    options = parse(f"{three} --queue-rate 20Mbps --queue-rate 2@900pps --queue-depth 3@7".split())
    assert options.queues == {
        1: QueueLimit(rate_bps=20e6, depth=DEFAULT_DEPTH),
        2: QueueLimit(rate_pps=900, depth=DEFAULT_DEPTH),
        3: QueueLimit(rate_bps=20e6, depth=7),
    }
    assert parse(f"{three} --queue-rate 2@1.5kbps --queue-depth 9".split()).queues == {2: QueueLimit(None, 1500, 9)}
    assert parse(three.split()).queues == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prog.json -i 1@a --queue-rate 20", "bps, kbps, Mbps, Gbps or pps"),
        ("prog.json -i 1@a --queue-rate 0pps", "from 1 to"),
        ("prog.json -i 1@a --queue-rate nanpps", "from 1 to"),
        ("prog.json -i 1@a --queue-rate 2@1pps", "no such port; allowed: 1"),
        ("prog.json -i 1@a --queue-rate 1pps --queue-rate 2pps", "the default is given twice"),
        ("prog.json -i 1@a --queue-rate 1pps --queue-depth 0", "1 to 1000000"),
        ("prog.json -i 1@a --queue-depth 9", "with --queue-rate"),
        ("prog.json -i 1@a -i 2@b --queue-rate 1@1pps --queue-depth 2@9", "port 2 without a rate"),
        ("", "a program .* or --no-p4"),
        ("prog.json --no-p4", "one of the two"),
        ("prog.json other.json", "other.json"),
        ("prog.json --nonsense", "--nonsense"),
        ("prog.json -- --nonsense", "--nonsense"),
        ("prog.json --packet-in ipc:///tmp/x", "--packet-in: there is no nanomsg socket"),
        ("prog.json --debugger", "--debugger: there is no debugger"),
        ("prog.json --restore-state f", "--restore-state: there is no saved state"),
        ("prog.json -- --load-modules a.so", "--load-modules: externs in .so files"),
        ("prog.json -- --dp-grpc-server-addr h:1", "--dp-grpc-server-addr: there is no dataplane"),
        ("prog.json --use-files -1", "0 to 86400"),
        ("prog.json --use-files 0 --pcap", "--use-files does not go with --pcap"),
        ("prog.json --dump-packet-data many", "0 to 65536"),
        ("prog.json -i eth0", "PORT@INTERFACE"),
        ("prog.json -i x@eth0", "0 to 511"),
        ("prog.json -i 512@eth0", "0 to 511"),
        ("prog.json -i 511@eth0", "511 is where dropped"),
        ("prog.json -i 1@eth0 -i 1@eth1", "port 1 is eth0"),
        ("prog.json -i 1@eth0 -i 2@eth0", "eth0 is another port"),
        ("prog.json --device-id x", "--device-id x"),
        ("prog.json --log-level loud", "trace, debug, info, warn, error, off"),
        ("prog.json -- --cpu-port 0", "1 to 511"),
        ("prog.json -- --cpu-port 511", "511 is where dropped"),
        ("prog.json -i 5@eth0 -- --cpu-port 5", "eth0 is that port"),
        ("prog.json -- --drop-port 7", "only 511"),
        ("prog.json -- --priority-queues 0", "1 to 32"),
        ("prog.json -- --grpc-server-addr 9559", "HOST:PORT"),
        ("prog.json -- --grpc-server-addr h:99999", "0 to 65535"),
        ("prog.json -- --grpc-server-ssl", "--grpc-server-cert"),
        ("prog.json -- --grpc-server-cert c", "--grpc-server-ssl only"),
        (
            "prog.json -- --grpc-server-ssl --grpc-server-cert c --grpc-server-key k --grpc-server-with-client-auth",
            "cacert",
        ),
    ],
)
def test_what_is_wrong_is_named(arguments: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(arguments.split())
    assert "\n" not in str(caught.value)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return forks.run("esa.switch", *arguments, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nonexistent.json"], "/nonexistent.json"),
        ([__file__], "test_cli.py"),
        (["--no-p4", "-i", "1@esa-none0"], "port 1: no interface 'esa-none0'"),
        (["--no-p4", "--pcap=/nonexistent"], "/nonexistent"),
        (["--no-p4", "--log-file", "/nonexistent/log"], "/nonexistent/log"),
        (["--no-p4", "--trace", "/nonexistent/trace"], "/nonexistent/trace"),
        (["--no-p4", "--", "--grpc-server-addr", "192.0.2.7:9559"], "192.0.2.7:9559"),
        (
            ["--no-p4", "--", "--grpc-server-ssl", "--grpc-server-cert", "/nonexistent.pem", "--grpc-server-key", "k"],
            "/nonexistent.pem",
        ),
        (
            ["--no-p4", "--", "--grpc-server-ssl", "--grpc-server-cert", __file__, "--grpc-server-key", __file__],
            "no PEM file",
        ),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("esa-switch: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert "ready" not in done.stdout


@pytest.mark.parametrize(
    ("option", "text"), [("--version", __version__), ("-v", __version__), ("--json-version", "2.")]
)
def test_versions_are_told(option: str, text: str) -> None:
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(text)


@contextmanager
def switch(*arguments: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen, int]]:
    """A switch as a process, and its P4Runtime port."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "esa.switch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(100, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"ready, P4Runtime at \S+?(\d*),", line):
                break
        else:
            raise AssertionError("the switch ended before it was ready")
        yield process, int(found[1] or 0)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)])
def test_a_signal_ends_it_cleanly(number: int) -> None:
    with switch("--no-p4", "--device-id", "4", "--", "--grpc-server-addr", "127.0.0.1:0") as (process, port):
        client = Client(port, device_id=4)
        client.elect(1)
        os.kill(process.pid, number)
        assert process.wait(20) == 0
        client.close()


def test_packets_go_first_where_that_is_asked_for(root: None) -> None:
    with switch("--no-p4", "-i", "1@lo", "--real-time", "--", "--grpc-server-addr", "127.0.0.1:0") as (process, _):
        threads = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
        assert [os.sched_getscheduler(each) for each in threads].count(os.SCHED_RR) == 1
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER


@pytest.mark.slow
def test_two_switches_do_not_share_an_address() -> None:
    with switch("--no-p4", "--", "--grpc-server-addr", "127.0.0.1:0") as (_, port):
        done = run("--no-p4", "--", "--grpc-server-addr", f"127.0.0.1:{port}")
        assert done.returncode == 2
        assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.slow
def test_over_tls_with_and_without_a_clients_certificate(tmp_path: Path) -> None:
    subprocess.run(CERTIFICATE.format(d=tmp_path).split(), check=True, capture_output=True, timeout=30)
    cert, key = (tmp_path / "cert.pem").read_bytes(), (tmp_path / "key.pem").read_bytes()
    ssl = [
        "--grpc-server-ssl",
        "--grpc-server-cert",
        f"{tmp_path}/cert.pem",
        "--grpc-server-key",
        f"{tmp_path}/key.pem",
    ]
    ssl += ["--grpc-server-cacert", f"{tmp_path}/cert.pem", "--grpc-server-with-client-auth"]
    with switch("--no-p4", "--", "--grpc-server-addr", "127.0.0.1:0", *ssl) as (_, port):
        known = Client(port, credentials=grpc.ssl_channel_credentials(cert, key, cert))
        assert known.stub.Capabilities(p4.CapabilitiesRequest(), timeout=10).p4runtime_api_version
        unknown = Client(port, credentials=grpc.ssl_channel_credentials(cert))
        with pytest.raises(grpc.RpcError) as caught:
            unknown.stub.Capabilities(p4.CapabilitiesRequest(), timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        known.close()
        unknown.close()


DST = bytes.fromhex("0200000000a1")
FRAME = DST + bytes(6) + b"\x12\x34" + bytes(86)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="knows the number of tgkill on x86_64 alone")
def test_a_signal_that_another_thread_is_given_ends_it_too() -> None:
    with switch("--no-p4", "--", "--grpc-server-addr", "127.0.0.1:0") as (process, _):
        others = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
        others.remove(process.pid)
        assert ctypes.CDLL(None).syscall(TGKILL, process.pid, others[0], signal.SIGTERM) == 0
        assert process.wait(20) == 0


def exchange(into: socket.socket, out: socket.socket, frame: bytes) -> bytes:
    """Send a frame into the switch, and return the next one that comes out."""
    batch = message_batch(1, 2048, peers=False)
    batch.data[0, : len(frame)] = memoryview(frame)
    batch.length[0] = len(frame)
    assert send_batch(into.fileno(), batch, 0, 1) == 1
    assert wait_ready(poll_set([out.fileno()]), 5_000_000_000) == 1
    assert recv_batch(out.fileno(), batch, 0, 1) == 1
    return bytes(batch.data[0, : batch.length[0]])


@pytest.mark.parametrize("start", [["--no-p4"], [PROGRAM]], ids=["pushed", "from-file"])
def test_a_switch_between_two_ports_and_a_controller(root: None, start: list[str], tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/grpc"
    veth = Veth(2)
    arguments = [*start, "-i", "1@b0", "-i", "2@b1", "--device-id", "1", f"--pcap={tmp_path}", "--log-file"]
    arguments += [f"{tmp_path}/log", "--thrift-port", "9090", "--", "--cpu-port", "510", "--grpc-server-addr", address]
    try:
        with switch(*arguments, prefix=("ip", "netns", "exec", veth.name)) as (process, _):
            client = Client(address)
            client.elect(1)
            client.push()
            with veth.socket("a0") as one, veth.socket("a1") as two:
                client.write(insert(entry("exact_dst", {1: exact(DST)}, "forward", b"\x02")))
                assert exchange(one, two, FRAME) == FRAME
                client.write(insert(entry("exact_dst", {1: exact(bytes(6))}, "to_cpu", b"\x09")))
                batch = message_batch(1, 2048, peers=False)
                batch.length[0] = 60
                send_batch(two.fileno(), batch, 0, 1)
                message = client.receive().packet
                assert message.payload == bytes(60)
                assert [each.value for each in message.metadata] == [b"\x02", b"\x09"]
                request = p4.StreamMessageRequest()
                request.packet.payload = FRAME
                request.packet.metadata.add(metadata_id=1, value=b"\x01")
                request.packet.metadata.add(metadata_id=2, value=b"\x00")
                client.send(request)
                polled = poll_set([one.fileno()])
                assert wait_ready(polled, 5_000_000_000) == 1
            client.close()
            process.terminate()
            assert process.wait(20) == 0
    finally:
        veth.close()
    assert len(rdpcap(f"{tmp_path}/b0_in.pcap")) == 1
    assert [bytes(packet) for packet in rdpcap(f"{tmp_path}/b1_out.pcap")] == [FRAME]
    log = (tmp_path / "log.txt").read_text()
    assert "--thrift-port is accepted" in log
    assert "port 1: rx_packets 1," in log


def test_a_traced_switch_tells_each_packets_way(root: None, tmp_path: Path) -> None:
    veth = Veth(2)
    arguments = [str(PROGRAMS / "traced.json"), "-i", "4@b0", "-i", "2@b1", "--trace", str(tmp_path / "trace")]
    address = f"unix:{tmp_path}/grpc"
    try:
        prefix = ("ip", "netns", "exec", veth.name)
        with switch(*arguments, "--", "--grpc-server-addr", address, prefix=prefix), veth.socket("a0") as one:
            batch = message_batch(1, 2048, peers=False)
            batch.data[0, :60], batch.length[0] = 7, 60
            assert send_batch(one.fileno(), batch, 0, 1) == 1
            deadline = time.monotonic() + 20
            while "dropped" not in (text := (tmp_path / "trace").read_text()):
                assert time.monotonic() < deadline, text
                time.sleep(0.05)
    finally:
        veth.close()
    assert re.match(r"packet 1 at \d+\.\d{6} s: 60 bytes on port 4\n  07070707", text)
