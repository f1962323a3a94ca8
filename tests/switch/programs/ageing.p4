// Tables whose entries can have idle time-outs: one with a key of each kind that has rows of its own.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8> a;
    bit<8> b;
}

struct headers_t { h_t h; }
struct metadata_t { }

parser P(packet_in pkt, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control V(inout headers_t hdr, inout metadata_t meta) { apply {} }

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action forward(bit<9> port) { std.egress_spec = port; }
    table exact_a {
        key = { hdr.h.a: exact; }
        actions = { forward; NoAction; }
        default_action = NoAction();
        support_timeout = true;
        size = 8;
    }
    table ternary_b {
        key = { hdr.h.b: ternary; }
        actions = { forward; NoAction; }
        default_action = NoAction();
        support_timeout = true;
        size = 8;
    }
    table ageless {
        key = { hdr.h.b: exact; }
        actions = { forward; NoAction; }
        default_action = NoAction();
        size = 8;
    }
    apply {
        exact_a.apply();
        ternary_b.apply();
        ageless.apply();
    }
}

control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), V(), I(), E(), C(), D()) main;
