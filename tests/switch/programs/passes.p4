// Clones, resubmission, recirculation: the first byte of a packet says what to do.
#include <core.p4>
#include <v1model.p4>

header h_t { bit<8> what; bit<8> hops; bit<8> kept; bit<8> instance; bit<16> port; bit<16> length; }
struct H { h_t h; }
struct M { @field_list(1) bit<8> kept; bit<8> lost; }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.h); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.h.kept = m.kept; h.h.instance = (bit<8>)s.instance_type; h.h.length = (bit<16>)s.packet_length;
        s.egress_spec = 1;
        m.lost = 1;
        if (h.h.what == 1 && s.instance_type == 0) { m.kept = 11; clone_preserving_field_list(CloneType.I2E, 5, 1); h.h.hops = 50; }
        if (h.h.what == 2 && m.kept < 3) { m.kept = m.kept + 1; resubmit_preserving_field_list(1); h.h.hops = 60; }
        if (h.h.what == 5) { truncate(5); }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.h.port = (bit<16>)s.egress_port;
        if (h.h.what == 3 && s.instance_type == 0) { m.kept = 33; clone_preserving_field_list(CloneType.E2E, 5, 1); h.h.hops = 70; }
        else if (h.h.what == 4 && h.h.hops < 3) { h.h.hops = h.h.hops + 1; m.kept = h.h.hops; recirculate_preserving_field_list(1); }
        else { h.h.instance = (bit<8>)s.instance_type; h.h.kept = m.kept + m.lost; }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
