"""Any P4 program for BMv2 as a function of packets, in this process: load it, fill a table, send a frame through.

python experiments/examples/p4_switch.py
"""

from esa.program import program
from esa.switch import Pipeline

switch = Pipeline.load(program(64).json.read_text())
mac = 0x02_00_00_00_00_02
switch.tables["EsaIngress.forwarding.destination"].add((mac,), "EsaIngress.forwarding.forward", (3,))
frame = mac.to_bytes(6, "big") + bytes(6) + b"\x08\x06" + bytes(46)
for port, sent in switch.process(1, frame):
    print(f"{len(sent)} bytes leave by port {port}")
