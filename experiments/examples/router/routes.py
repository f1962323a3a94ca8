"""Give a P4Runtime switch router.json, and routes: python routes.py PREFIX/LENGTH=PORT@MAC ...

python routes.py 10.0.1.0/24=1@02:00:00:00:00:01 10.0.2.0/24=2@02:00:00:00:00:02
"""

import ipaddress
import queue
import sys
from pathlib import Path

import grpc
from google.protobuf import text_format

from esa.p4runtime import p4info_pb2, p4runtime_pb2, p4runtime_pb2_grpc

HERE = Path(__file__).parent
channel = grpc.insecure_channel("127.0.0.1:9559")
stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
info = text_format.Parse((HERE / "router.p4info.txt").read_text(), p4info_pb2.P4Info())
ids = {each.preamble.alias: each.preamble.id for each in [*info.tables, *info.actions]}

# Who writes is the primary client: the one whose election id is the highest, for as long as its stream is open.
asked: queue.SimpleQueue = queue.SimpleQueue()
election = p4runtime_pb2.Uint128(low=1)
asked.put(p4runtime_pb2.StreamMessageRequest(arbitration={"device_id": 0, "election_id": election}))
stream = stub.StreamChannel(iter(asked.get, None))
assert next(stream).arbitration.status.code == 0, "another client is primary"

load = p4runtime_pb2.SetForwardingPipelineConfigRequest(election_id=election, action="VERIFY_AND_COMMIT")
load.config.p4info.CopyFrom(info)
load.config.p4_device_config = (HERE / "router.json").read_bytes()
stub.SetForwardingPipelineConfig(load)

write = p4runtime_pb2.WriteRequest(election_id=election)
for route in sys.argv[1:]:
    prefix, _, hop = route.partition("=")
    port, _, mac = hop.partition("@")
    network = ipaddress.ip_network(prefix)
    entry = write.updates.add(type="INSERT").entity.table_entry
    entry.table_id = ids["routes"]
    entry.match.add(field_id=1, lpm={"value": network.network_address.packed, "prefix_len": network.prefixlen})
    entry.action.action.action_id = ids["forward"]
    entry.action.action.params.add(param_id=1, value=bytes.fromhex(mac.replace(":", "")))
    entry.action.action.params.add(param_id=2, value=bytes([int(port)]))
stub.Write(write)
print(f"{len(write.updates)} routes")
asked.put(None)
