// One of each thing that a packet trace tells of.
#include <core.p4>
#include <v1model.p4>

header eth_t { bit<48> dst; bit<48> src; bit<16> type; }
header tag_t { bit<8> kind; bit<8> hops; bit<16> label; }
struct H { eth_t eth; tag_t tag; }
struct M { @field_list(1) bit<8> kept; bit<16> count; }
struct seen_t { bit<48> src; bit<16> label; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start {
        p.extract(h.eth);
        transition select(h.eth.type) { 0x9000 &&& 0xff00: tag; default: accept; }
    }
    state tag { p.extract(h.tag); transition accept; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    register<bit<16>>(4) seen;
    counter(4, CounterType.packets_and_bytes) by_kind;
    action to(bit<9> port, bit<16> label) {
        s.egress_spec = port;
        if (label != 0) { h.tag.label = label; }
    }
    action flood(bit<16> group) { s.mcast_grp = group; }
    action drop() { mark_to_drop(s); }
    table route {
        key = { h.eth.dst: lpm; h.tag.kind: exact; }
        actions = { to; flood; drop; }
        default_action = drop();
    }
    apply {
        if (!h.tag.isValid()) {
            mark_to_drop(s);
        } else {
            by_kind.count((bit<32>)h.tag.kind);
            seen.read(m.count, (bit<32>)h.tag.kind);
            seen.write((bit<32>)h.tag.kind, m.count + 1);
            log_msg("packet {} of kind {}", { m.count, h.tag.kind });
            route.apply();
            if (h.tag.kind == 1) { m.kept = 7; clone_preserving_field_list(CloneType.I2E, 5, 1); }
            if (h.tag.kind == 2) { digest<seen_t>(1, { h.eth.src, h.tag.label }); }
        }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.tag.hops = h.tag.hops + 1;
        if (h.tag.kind == 3 && h.tag.hops < 2) { recirculate_preserving_field_list(1); }
        if (s.instance_type == 1) { h.tag.setInvalid(); }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h.eth); p.emit(h.tag); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
