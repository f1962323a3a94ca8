// An action profile and a selector of which keys, hashed fields and parameters have more than 64 bits.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<128> source;
    bit<128> target;
    int<72> flow;
    bit<128> mark;
    bit<104> note;
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
    action forward(bit<9> port, bit<128> mark, bit<16> note) {
        std.egress_spec = port;
        hdr.h.mark = mark;
        hdr.h.note = (bit<104>) note;
    }
    action note(bit<104> value) {
        std.egress_spec = 2;
        hdr.h.note = value;
    }

    action_profile(16) shared;
    action_selector(HashAlgorithm.crc32, 32w64, 32w32) by_crc32;

    table exactly {
        key = { hdr.h.source: exact; }
        actions = { forward; note; NoAction; }
        implementation = shared;
        size = 16;
    }
    table choose {
        key = {
            hdr.h.target: lpm;
            hdr.h.source: selector;
            hdr.h.flow: selector;
        }
        actions = { forward; note; NoAction; }
        implementation = by_crc32;
        size = 16;
    }

    apply {
        choose.apply();
        exactly.apply();
    }
}

control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), V(), I(), E(), C(), D()) main;
