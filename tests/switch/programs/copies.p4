// Copies of packets: clones of both kinds into sessions that shorten them, multicast, passes, all as a packet asks.
#include <core.p4>
#include <v1model.p4>

header ask_t { bit<8> ingress_session; bit<8> egress_session; bit<8> group; bit<8> resubmits; bit<8> recirculates; bit<8> limit; bit<16> number; }
header told_t { bit<8> kind; bit<8> kept; bit<16> port; bit<16> rid; bit<32> length; bit<8> passes; }
struct H { ask_t ask; told_t told; }
struct M { @field_list(1) bit<8> kept; @field_list(2) bit<8> passes; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.ask); transition select(s.instance_type) { 4: told; default: accept; } }
    state told { p.extract(h.told); transition accept; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 3;
        if (h.ask.limit == 25) { truncate(25); }
        if (h.ask.group != 0) { s.mcast_grp = (bit<16>) h.ask.group; }
        if (m.passes < h.ask.resubmits && s.instance_type != 4) {
            m.passes = m.passes + 1;
            resubmit_preserving_field_list(2);
        } else if (h.ask.ingress_session != 0 && s.instance_type != 4) {
            m.kept = 0x40 + m.passes;
            clone_preserving_field_list(CloneType.I2E, (bit<32>) h.ask.ingress_session, 1);
        }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        bool again = s.instance_type == 4;
        if (!h.told.isValid()) { h.told.setValid(); h.told.passes = 0; }
        h.told.kind = (bit<8>) s.instance_type;
        h.told.kept = m.kept;
        h.told.port = (bit<16>) s.egress_port;
        h.told.rid = s.egress_rid;
        h.told.length = s.packet_length;
        if (h.ask.egress_session != 0 && s.instance_type == 0) {
            m.kept = 0x80;
            clone_preserving_field_list(CloneType.E2E, (bit<32>) h.ask.egress_session, 1);
        }
        if (h.told.passes < h.ask.recirculates && (s.instance_type == 0 || again)) {
            h.told.passes = h.told.passes + 1;
            recirculate_preserving_field_list(2);
        }
        if (h.ask.limit != 0 && s.instance_type != 1) { truncate((bit<32>) h.ask.limit); }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
