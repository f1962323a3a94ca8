// Action profiles and selectors: one that two tables share, selectors over several fields, the path after a table by hit
// and by the action that ran, a table of nothing but a selector.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8> kind;
    bit<8> tos;
    bit<8> port;
    bit<16> flow;
    bit<3> small;
    bit<5> rest;
    bit<8> ran;
    bit<16> mark;
    bit<16> other;
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
    action forward(bit<9> port, bit<16> mark) {
        std.egress_spec = port;
        hdr.h.mark = mark;
    }
    action flood(bit<16> mark) {
        std.egress_spec = 2;
        hdr.h.mark = mark;
    }
    action note(bit<16> other) { hdr.h.other = other; }
    action drop() { mark_to_drop(std); }

    action_profile(64) shared;
    action_selector(HashAlgorithm.crc16, 32w128, 32w14) by_crc16;
    action_selector(HashAlgorithm.crc32, 32w128, 32w32) by_crc32;
    action_selector(HashAlgorithm.identity, 32w128, 32w16) by_identity;
    direct_counter(CounterType.packets) hits;

    table plain {
        key = { hdr.h.kind: exact; }
        actions = { forward; flood; drop; NoAction; }
        implementation = shared;
        counters = hits;
        size = 16;
    }
    table also {
        key = { hdr.h.tos: exact; }
        actions = { forward; flood; drop; NoAction; }
        implementation = shared;
        size = 16;
    }
    table choose {
        key = {
            hdr.h.port: exact;
            hdr.h.flow: selector;
            hdr.h.small: selector;
            hdr.h.tos: selector;
        }
        actions = { forward; flood; drop; NoAction; }
        implementation = by_crc16;
        size = 16;
    }
    table choose_ran {
        key = {
            hdr.h.port: ternary;
            hdr.h.flow: selector;
        }
        actions = { forward; flood; drop; }
        implementation = by_crc32;
        size = 16;
    }
    table everywhere {
        key = {
            hdr.h.kind: lpm;
            hdr.h.tos: selector;
        }
        actions = { note; NoAction; }
        implementation = by_identity;
    }

    apply {
        std.egress_spec = 1;
        everywhere.apply();
        // BMv2 gives a member one of the two tables' copies of its action, and stops where the other looks for its path.
        if (plain.apply().hit) { hdr.h.rest = 7; }
        if (also.apply().hit) {
            choose.apply();
        } else {
            switch (choose_ran.apply().action_run) {
                forward: { hdr.h.ran = 1; }
                flood: { hdr.h.ran = 2; }
                drop: { hdr.h.ran = 3; }
            }
        }
    }
}

control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), V(), I(), E(), C(), D()) main;
