// Digests of a structure and of a tuple: the last that a packet asks for goes to the control plane, once its ingress is
// over.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8> kind;
    bit<48> mac;
    int<8> change;
    bit<3> small;
    bit<5> rest;
}

struct headers_t { h_t h; }
struct metadata_t { bit<9> port; }

struct learned_t {
    bit<48> mac;
    bit<9> port;
    int<8> change;
    bit<3> small;
}

parser P(packet_in pkt, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control V(inout headers_t hdr, inout metadata_t meta) { apply {} }

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        meta.port = std.ingress_port;
        if (hdr.h.kind & 1 == 1) {
            digest<learned_t>(1, { hdr.h.mac, meta.port, hdr.h.change, hdr.h.small });
        }
        if (hdr.h.kind & 2 == 2) {
            digest<tuple<bit<48>, bit<8>>>(1, { hdr.h.mac, hdr.h.kind });
        }
        std.egress_spec = 1;
    }
}

control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), V(), I(), E(), C(), D()) main;
