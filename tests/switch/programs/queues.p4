// Priority queues: the packet says its priority, and who wants a clone; the egress writes what it sees of the queue.
#include <core.p4>
#include <v1model.p4>

header h_t { bit<8> priority; bit<8> what; bit<8> number; bit<8> instance; bit<16> enq_depth; bit<16> deq_depth; bit<32> waited; }
struct H { h_t h; }
struct M { }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.h); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        s.priority = (bit<3>)h.h.priority;
        if (h.h.what == 1) { clone(CloneType.I2E, 5); }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.h.instance = (bit<8>)s.instance_type;
        h.h.enq_depth = (bit<16>)s.enq_qdepth; h.h.deq_depth = (bit<16>)s.deq_qdepth; h.h.waited = s.deq_timedelta;
        if (h.h.what == 2 && s.instance_type == 0) { clone(CloneType.E2E, 5); }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
