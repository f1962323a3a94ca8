// Parser value sets: of one field, of a structure with a mask, before and behind values that the program says itself.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<9> kind;  // of 9 bits: those of 8 BMv2's command line writes as 16
    bit<7> rest;
    bit<48> mac;
    int<8> change;
    bit<8> mark;
}

struct headers_t { h_t h; }
struct metadata_t { }

struct pair_t {
    bit<9> kind;
    @match(ternary)
    bit<48> mac;
}

parser P(packet_in pkt, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    value_set<bit<9>>(4) kinds;
    value_set<pair_t>(4) pairs;
    state start {
        pkt.extract(hdr.h);
        transition select(hdr.h.kind) {
            1: one;
            kinds: seen;
            7 &&& 15: seven;
            default: more;
        }
    }
    state one {
        hdr.h.mark = 1;
        transition accept;
    }
    state seen {
        hdr.h.mark = 2;
        transition more;
    }
    state seven {
        hdr.h.mark = 3;
        transition accept;
    }
    state more {
        transition select(hdr.h.kind, hdr.h.mac) {
            pairs: paired;
            default: accept;
        }
    }
    state paired {
        hdr.h.mark = hdr.h.mark + 16;
        transition accept;
    }
}

control V(inout headers_t hdr, inout metadata_t meta) { apply {} }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply { std.egress_spec = 1; }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), V(), I(), E(), C(), D()) main;
