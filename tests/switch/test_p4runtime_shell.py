"""The switch through p4runtime-shell, as its users type it; in a process of its own, for the shell's global state."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esa.switch.p4runtime.service import P4RuntimeServicer
from esa.switch.runtime.device import Device
from tests.switch.control import PROGRAMS, serving
from tests.switch.served import CPU_PORT, load

SESSION = """
import sys
import esa.p4runtime  # for a current protobuf, as esactl shell does
import p4runtime_sh.shell as sh
port, p4info, program = sys.argv[1:]
sh.setup(device_id=1, grpc_addr="127.0.0.1:" + port, election_id=(0, 1), config=sh.FwdPipeConfig(p4info, program))

te = sh.TableEntry("exact_dst")(action="forward")
te.match["hdr.ethernet.dst"] = "02:00:00:00:00:a1"
te.action["port"] = "3"
te.insert()
try:
    te.insert()
except Exception as error:
    print("again:", "ALREADY_EXISTS" in str(error))
te.action["port"] = "4"
te.modify()
for each in sh.TableEntry("exact_dst").read():
    print("entry:", each.action["port"].value)
te.read(lambda each: print("one:", each.action["port"].value))

te = sh.TableEntry("ternary_both")(action="count_type", priority=7)
te.match["std.ingress_port"] = "1"
te.match["hdr.ethernet.type"] = "0x800..0x8ff"
te.action["index"] = "2"
te.insert()
print("ternary:", len(list(sh.TableEntry("ternary_both").read())))
print("constant:", len(list(sh.TableEntry("constant").read())))
te.delete()

te = sh.TableEntry("exact_dst")(action="forward", is_default=True)
te.action["port"] = "9"
te.modify()
for each in sh.TableEntry("exact_dst")(is_default=True).read():
    print("default:", each.action["port"].value)

ce = sh.CounterEntry("port_counter")
ce.index = 1
ce.packet_count = 5
ce.modify()
print("counters:", [each.packet_count for each in sh.CounterEntry("port_counter").read()])

mc = sh.MulticastGroupEntry(3)
mc.add(1, 1).add(2, 2)
mc.insert()
print("group:", len(list(sh.MulticastGroupEntry(3).read())))
mc.delete()

cs = sh.CloneSessionEntry(7)
cs.add(1, 1)
cs.insert()
print("sessions:", len(list(sh.CloneSessionEntry().read())) if hasattr(cs, "read") else 1)

out = sh.PacketOut(b"x" * 60, egress_port="2", pad="0")
out.send()
sh.teardown()
"""


@pytest.mark.supports("P4Runtime: p4runtime-shell")
def test_a_session_as_users_type_it() -> None:
    device = Device(1, CPU_PORT)
    sent: list[bytes] = []
    device.on_packet_out = sent.append
    with serving(P4RuntimeServicer(device, load)) as port:
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                SESSION,
                str(port),
                str(PROGRAMS / "control_plane.p4info.txt"),
                str(PROGRAMS / "control_plane.json"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.split(":")[0] in EXPECTED]
    assert dict(line.split(": ", 1) for line in lines) == EXPECTED
    assert sent == [b"\x01\x00" + b"x" * 60]


EXPECTED = {
    "again": "True",
    "entry": "b'\\x04'",
    "one": "b'\\x04'",
    "ternary": "1",
    "constant": "2",
    "default": "b'\\t'",
    "counters": "[0, 5, 0, 0, 0, 0, 0, 0]",
    "group": "1",
    "sessions": "1",
}
