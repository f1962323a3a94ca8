"""A program as a function of packets, in this process: router.json, a route, a frame.

python packet.py
"""

from pathlib import Path

from esa.switch import Pipeline

router = Pipeline.load(Path(__file__).with_name("router.json").read_text())
router.tables["RouterIngress.routes"].add(((0x0A000200, 24),), "RouterIngress.forward", (0x020000000002, 2))
ethernet = bytes.fromhex("0200000000fe 020000000001 0800")
ipv4 = bytes.fromhex("4500001c00000000400163e0 0a000101 0a000201")
for port, packet in router.process(1, ethernet + ipv4 + bytes(8)):
    print(f"by port {port}: {packet.hex()}")
