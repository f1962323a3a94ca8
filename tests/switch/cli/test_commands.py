"""Command files on the embedded switch: what is read back, what outlives a run, and what is refused with its place."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import grpc
import pytest

from esa.p4runtime import p4runtime_pb2 as p4
from esa.switch import Pipeline
from esa.switch.cli.client import CommandError
from esa.switch.cli.names import Names
from esa.switch.cli.registry import COMMANDS, REFUSED, prepare, words_of
from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from esa.switch.runtime.queue_limits import QueueLimit
from tests import forks
from tests.switch.cli.embedded import Switch, switch
from tests.switch.control import PROGRAMS, Client, counter, serving
from tests.switch.test_cli import CERTIFICATE

KINDS = ("table", "action", "action profile", "counter", "meter", "register", "value set")
ADD = "table_add exact_dst forward {dst} => {port}\n"


def frame(dst: int) -> bytes:
    return dst.to_bytes(6, "big") + bytes(54)


def ports(ours: Switch, dst: int) -> list[int]:
    return sorted(port for port, _ in ours.pipeline.process(0, frame(dst)))


def test_entries_keep_their_handles_for_the_next_run() -> None:
    with switch("control_plane") as ours:
        ours.run("".join(ADD.format(dst=dst, port=dst) for dst in (1, 2, 3)) + "table_delete exact_dst 1")
        ours.again()
        assert ours.run("table_modify exact_dst forward 2 => 4\ntable_num_entries exact_dst") == ["2"]
        assert [ports(ours, dst) for dst in (1, 2, 3)] == [[1], [], [4]]
        assert ours.run(ADD.format(dst=9, port=9)) == ["Entry has been added with handle 1"]
        ours.again()
        ours.run("table_delete exact_dst 2")
        assert ports(ours, 3) == []
        ours.run("table_set_default exact_dst forward 7")
        assert ports(ours, 3) == [7]
        ours.run("table_clear exact_dst\ntable_reset_default exact_dst")
        assert (ports(ours, 1), ports(ours, 3), len(ours.pipeline.tables["MyIngress.exact_dst"])) == ([], [], 0)


def test_queues_get_rates_and_depths() -> None:
    with switch("control_plane", (1, 2)) as ours:
        assert ours.run("set_queue_rate 50\nset_queue_depth 9 2\nset_queue_rate 0 1 0") == []
        assert ours.device.queues.limits() == {(2, 0): QueueLimit(rate_pps=50, depth=9)}
        with pytest.raises(CommandError, match="port 3: no such port; allowed: 1, 2"):
            ours.run("set_queue_depth 5 3")


def test_nodes_and_mirrors_follow_their_groups() -> None:
    with switch("control_plane") as ours:
        ours.run(
            "mc_mgrp_create 3\nmc_node_create 0 1 2\nmc_node_associate 3 0\nmirroring_add_mc 7 3\n"
            "table_add exact_dst multicast 1 => 3\ntable_add exact_dst mirror 2 => 9\n"
        )
        assert (ports(ours, 1), ports(ours, 2)) == ([1, 2], [1, 2, 9])
        ours.run("mc_node_create 5 4\nmc_node_associate 3 1")
        assert (ports(ours, 1), ports(ours, 2)) == ([1, 2, 4], [1, 2, 4, 9])
        ours.again()
        dump = "\n".join(ours.run("mc_dump"))
        assert "mgrp(3)" in dump
        assert re.search(r"L1h=1, rid=5\) -> \(ports=\[4\]", dump)
        ours.run("mc_node_destroy 0\nmirroring_add 7 6")
        assert (ports(ours, 1), ports(ours, 2)) == ([4], [6, 9])
        ours.run("mirroring_delete 7\nmc_mgrp_destroy 3")
        assert (ports(ours, 1), ports(ours, 2)) == ([], [9])


def test_what_is_there_is_shown_as_simple_switch_cli_shows_it() -> None:
    with switch("control_plane") as ours:
        ours.run(
            "table_add ternary_both count_type 3 0x10&&&0xf0 5->9 => 7 12\n"
            + ADD.format(dst="0a:0b:0c:0d:0e:0f", port=5)
        )
        dump = ours.run("table_dump ternary_both")
        assert dump[:9] == [
            "==========",
            "TABLE ENTRIES",
            "**********",
            "Dumping entry 0x0",
            "Match key:",
            dump[5],
            dump[6],
            dump[7],
            "Priority: 12",
        ]
        assert [line.split(":", 1)[1].split() for line in dump[5:8]] == [
            ["EXACT", "0003"],
            ["TERNARY", "000000000010", "&&&", "0000000000f0"],
            ["RANGE", "0005", "->", "0009"],
        ]
        assert dump[9:] == [
            "Action entry: MyIngress.count_type - 00000007",
            "==========",
            "Dumping default entry",
            "Action entry: NoAction - ",
            "==========",
        ]
        key = "table_dump_entry_from_key exact_dst 0x0a0b0c0d0e0f"
        assert ours.run(key)[-1] == "Action entry: MyIngress.forward - 0005"
        assert any("MyIngress.ternary_both" in line and "range, 16" in line for line in ours.run("show_tables"))
        assert ours.run("table_info optional_type")[-1].split() == ["NoAction", "[]"]


def test_a_reset_leaves_nothing_behind() -> None:
    with switch("control_plane") as ours:
        ours.run(ADD.format(dst=1, port=1) + "register_write words 2 5\nreset_state")
        assert ours.run("table_num_entries exact_dst\nregister_read words 2") == ["0", "words[2]= 0"]


def test_a_controller_stays_primary() -> None:
    with switch("control_plane") as ours:
        controller = Client(ours.port)
        controller.elect(1)
        ours.run(ADD.format(dst=1, port=1))
        assert controller.nothing()
        info = ours.client.config().p4info
        entity = p4.Entity()
        entity.counter_entry.CopyFrom(counter("port_counter", 1, 3).counter_entry)
        entity.counter_entry.counter_id = info.counters[0].preamble.id
        controller.write(p4.Update(type=p4.Update.MODIFY, entity=entity))
        assert ours.run("counter_read port_counter 1") == ["port_counter[1]= (0 bytes, 3 packets)"]
        controller.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("table_add nowhere forward 1 => 1", "no table 'nowhere'; allowed: .*exact_dst"),
        ("table_add exact_dst sideways 1 => 1", "no action 'sideways'; allowed: .*forward"),
        ("table_add exact_dst forward 1 1", "'=>' is missing"),
        ("table_add exact_dst forward 1 2 => 1", r"2 match fields before =>; allowed: .*\(exact\)"),
        ("table_add exact_dst forward 1 => 1 2", r"2 parameters of MyIngress.forward; allowed: port\(9\)"),
        ("table_add exact_dst forward 1 => 512", "parameter port: 512 does not fit; 0 to 0x1ff is allowed"),
        ("table_add exact_dst forward 00:11:22 => 1", "a number or a MAC address is allowed"),
        ("table_add exact_dst forward -1 => 1", "does not fit"),
        ("table_add lpm_src count_type 5 => 1", "VALUE/LENGTH is allowed"),
        ("table_add lpm_src count_type 5/49 => 1", "0 to 48"),
        ("table_add ternary_both count_type 1 2 3->4 => 1 1", "VALUE&&&MASK is allowed"),
        ("table_add ternary_both count_type 1 0&&&0 4->3 => 1 1", "the lower end is above"),
        ("table_add ternary_both count_type 1 0&&&0 3->4 => 1 x", "priority x"),
        ("table_delete exact_dst", "1 words; allowed: table_delete <table> <entry handle>"),
        ("table_delete exact_dst first", "entry handle first"),
        ("register_read words 16", "0 to 15"),
        ("register_write narrow 0 128", "0 to 127"),
        ("register_read", "allowed: register_read <register>"),
        ("counter_read port_counter 8", "0 to 7"),
        ("meter_set_rates m 0 1:1 2:2", "no meter 'm'; allowed: none"),
        ("act_prof_create_group p", "no action profile 'p'"),
        ("table_indirect_add exact_dst 1 => 0", "has no action profile"),
        ("mc_node_create 0 1 | 2", "LAGs"),
        ("mc_node_create 0 1 1", "twice"),
        ("mirroring_add 0 1", "1 to 32767"),
        ("set_queue_depth 0", "1 to 1000000"),
        ("set_queue_rate 5 512", "egress_port 512: a number from 0 to 511"),
        ("set_queue_rate 5 1 99", "priority 99: a number from 0 to 31"),
        ("port_add veth0 1", "-i PORT@INTERFACE"),
        ("frobnicate", "there is no command 'frobnicate'; `help` lists them"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_done(line: str, message: str) -> None:
    with switch("control_plane") as ours:
        with pytest.raises(CommandError, match=message) as caught:
            ours.run(ADD.format(dst=1, port=1) + line)
        assert str(caught.value).startswith("here:2: ")
        assert line.split()[0] in str(caught.value)
        assert str(caught.value).endswith("; nothing was carried out")
        assert "\n" not in str(caught.value)
        assert len(ours.pipeline.tables["MyIngress.exact_dst"]) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (ADD.format(dst=1, port=2), "already"),
        ("table_delete exact_dst 5", "has no entry 5; allowed: 0"),
        ("mc_node_associate 1 0", "no multicast node 0; allowed: none yet"),
        ("table_add constant count_type 9 => 1", "constant"),
        ("mirroring_get 3", "no mirroring session 3"),
    ],
)
def test_what_the_switch_refuses_says_how_much_was_done(line: str, message: str) -> None:
    with switch("control_plane") as ours:
        with pytest.raises(CommandError, match=message) as caught:
            ours.run(ADD.format(dst=1, port=1) + line.strip() + "\nregister_write words 0 1")
        assert str(caught.value).startswith(f"here:2: {line.split()[0]}: ")
        assert str(caught.value).endswith("; 1 of 3 commands were carried out before it")
        assert ours.run("register_read words 0") == ["words[0]= 0"]


def test_every_command_is_known_or_refused_by_name() -> None:
    assert not set(COMMANDS) & set(REFUSED)
    assert all(each.usage.split()[0] == name for name, each in COMMANDS.items())
    assert words_of("  # a remark") == words_of("// another") == words_of("") == []


def test_signed_registers_have_the_numbers_of_simple_switch() -> None:
    with switch("arithmetic") as ours:
        info = ours.client.config().p4info
        name = next(each.preamble.name for each in info.registers if each.preamble.name.endswith("signed_kept"))
        for each in info.registers:
            if each.preamble.name == name:
                bits = each.type_spec.bitstring.bit.bitwidth
                each.type_spec.bitstring.int.bitwidth = bits
        client = Client(ours.port)
        client.elect(1)
        message = ours.client.config()
        message.p4info.CopyFrom(info)
        client.push(message=message)
        ours.session.names = Names(info)
        for value in (0, 1, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1):
            assert ours.run(f"register_write {name} 0 {value}\nregister_read {name} 0") == [f"{name}[0]= {value}"]
            assert int(ours.pipeline.registers[name].read(0)) % (1 << bits) == value
        client.close()


WORDS = (
    *("exact_dst", "ternary_both", "lpm_src", "optional_type", "keyless", "forward", "count_type", "words", "shared"),
    *("port_counter", "forward_hits", "=>", "|", "&&&", "->", "/", ":", "0", "1", "-1", "1:2", "0.1:5", "nan:1"),
    *(
        "1e400:1",
        "0x1&&&0x1",
        "1->2",
        "1/8",
        "0/0",
        "10.0.0.1",
        "00:00:00:00:00:01",
        "::1",
        "9" * 400,
        "x",
        "",
        "\u00b2",
    ),
)


@pytest.mark.parametrize("program", ["control_plane", "selectors", "meters", "value_sets"])
def test_any_words_are_a_command_or_refused_in_a_line(program: str) -> None:
    rng = random.Random(11)
    with switch(program) as ours:
        own = [each.preamble.name for kind in KINDS for each in ours.session.names.all(kind)]
        said = []
        for name in [*COMMANDS, *REFUSED] * 60:
            words = [rng.choice(own) if rng.random() < 0.4 else rng.choice(WORDS) for _ in range(rng.randrange(7))]
            try:
                prepare(ours.session, [name, *filter(None, words)])
            except CommandError as error:
                said.append(str(error))
        assert len(said) > 1000
        assert not [each for each in said if "\n" in each]


def cli(port: int, *arguments: str, given: str = "") -> subprocess.CompletedProcess:
    address = ("--grpc-server-addr", f"127.0.0.1:{port}")
    return forks.run("esa.switch.cli", *address, *arguments, timeout=60, given=given)


def test_files_and_standard_input_as_a_process(tmp_path: Path) -> None:
    good, bad = tmp_path / "s1-commands.txt", tmp_path / "bad.txt"
    good.write_text("# entries\n\n" + ADD.format(dst=1, port=1))
    bad.write_text(ADD.format(dst=2, port=1) + "table_add exact_dst forward 3 => many\n")
    with switch("control_plane") as ours:
        done = cli(ours.port, "--device-id", "1", str(good))
        assert (done.returncode, done.stdout, done.stderr) == (0, "Entry has been added with handle 0\n", "")
        done = cli(ours.port, "--device-id", "1", str(good), str(bad))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"esa-switch-cli: {bad}:2: table_add: parameter port: 'many'")
        done = cli(ours.port, "--device-id", "1", given="table_num_entries exact_dst")
        assert (done.returncode, done.stdout) == (0, "1\n")
        done = cli(ours.port, given="help")
        assert done.returncode == 2
        assert "no device 0 here: this is device 1" in done.stderr
    for arguments, message in ((["/nonexistent"], "cannot read /nonexistent"), ([str(good)], "no switch answers")):
        done = cli(1, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_over_tls_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    subprocess.run(CERTIFICATE.format(d=tmp_path).split(), check=True, capture_output=True, timeout=30)
    cert, key = (tmp_path / "cert.pem").read_bytes(), (tmp_path / "key.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, cert)], root_certificates=cert, require_client_auth=True)
    files = ["--cacert", f"{tmp_path}/cert.pem", "--cert", f"{tmp_path}/cert.pem", "--key", f"{tmp_path}/key.pem"]
    servicer = P4RuntimeServicer(Device(0), lambda text: Pipeline.load(text, compiled=False))
    servicer.begin((PROGRAMS / "control_plane.json").read_bytes())
    with serving(servicer, credentials) as port:
        address = ["--grpc-server-addr", f"localhost:{port}"]
        done = cli(port, *address, *files, given="table_num_entries exact_dst")
        assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
        for some in ([], files[:2]):
            done = cli(port, *address, *some, given="show_tables")
            assert done.returncode == 2
            assert f"no switch answers at localhost:{port}: " in done.stderr
            assert len(done.stderr.splitlines()) == 1
    for some, message in (
        (files[2:], "--cacert only"),
        (files[:4], "both --cert and --key"),
        (["--cacert", "/no"], "/no"),
    ):
        done = cli(port, *some, given="help")
        assert (done.returncode, message in done.stderr) == (2, True)
